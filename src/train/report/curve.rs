//! The curve (`curve.svg`) of a model directory: loss and accuracy by epoch.

use std::fmt::Write;

use crate::train::fit::EpochRow;

/// Name of the curve's file in a model directory.
pub const CURVE_FILE: &str = "curve.svg";

/// The epochs as a table: `history.csv`.
pub fn history(rows: &[EpochRow]) -> String {
    let mut text = String::from("epoch,loss,accuracy,validation_loss,validation_accuracy,seconds\n");
    let or_empty = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    for row in rows {
        let (loss, accuracy) = (or_empty(row.validation_loss), or_empty(row.validation_accuracy));
        let _ =
            writeln!(text, "{},{},{},{loss},{accuracy},{}", row.epoch, row.loss, row.accuracy, row.seconds);
    }
    text
}

/// Width of the picture, in pixels.
const WIDTH: f64 = 720.0;
/// Height of the picture, in pixels.
const HEIGHT: f64 = 260.0;

/// The curve: two panels, loss and accuracy by epoch, training dashed and validation solid.
pub fn curve(rows: &[EpochRow]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let training = |pick: fn(&EpochRow) -> f64| rows.iter().map(pick).map(Some).collect::<Vec<_>>();
    let validation = |pick: fn(&EpochRow) -> Option<f64>| rows.iter().map(pick).collect::<Vec<_>>();
    panel(&mut svg, 0.0, "loss", &training(|row| row.loss), &validation(|row| row.validation_loss));
    let (inside, outside) = (training(|row| row.accuracy), validation(|row| row.validation_accuracy));
    panel(&mut svg, WIDTH / 2.0, "accuracy", &inside, &outside);
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, left: f64, title: &str, training: &[Option<f64>], validation: &[Option<f64>]) {
    let (x0, x1, y0, y1) = (left + 50.0, left + WIDTH / 2.0 - 15.0, HEIGHT - 40.0, 35.0);
    let values = || training.iter().chain(validation).flatten().copied().filter(|value| value.is_finite());
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let (low, high) = if low < high { (low, high) } else { (low.min(1.0) - 0.5, low.min(1.0) + 0.5) };
    let x = |at: usize| x0 + (x1 - x0) * at as f64 / (training.len().max(2) - 1) as f64;
    let y = |value: f64| y0 - (y0 - y1) * (value - low) / (high - low);
    let mut add = |line: String| {
        svg.push_str(&line);
        svg.push('\n');
    };
    add(format!("<text x=\"{x0}\" y=\"20\" font-weight=\"bold\">{title}</text>"));
    for step in 0..=4 {
        let value = low + (high - low) * f64::from(step) / 4.0;
        let at = y(value);
        add(format!("<path d=\"M{x0:.1} {at:.1}H{x1:.1}\" stroke=\"#ddd\"/>"));
        add(format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value:.3}</text>",
            x0 - 5.0,
            at + 4.0
        ));
    }
    // At most ten marks, however many epochs.
    for at in (0..training.len()).step_by(training.len().div_ceil(10).max(1)) {
        let (x, y) = (x(at), y0 + 16.0);
        add(format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>", at + 1));
    }
    for (name, series, style, offset) in [
        ("training", training, "stroke=\"#888\" stroke-dasharray=\"5 3\"", 0.0),
        ("validation", validation, "stroke=\"#1668b3\"", 90.0),
    ] {
        let mut path = String::new();
        for (at, value) in series.iter().enumerate() {
            if let Some(value) = value.filter(|value| value.is_finite()) {
                let command = if path.is_empty() { 'M' } else { 'L' };
                let _ = write!(path, "{command}{:.1} {:.1}", x(at), y(value));
                add(format!("<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2\"/>", x(at), y(value)));
            }
        }
        if !path.is_empty() {
            let at = x0 + 110.0 + offset;
            add(format!("<path d=\"{path}\" fill=\"none\" stroke-width=\"2\" {style}/>"));
            add(format!("<path d=\"M{at:.1} 16h20\" stroke-width=\"2\" {style}/>"));
            add(format!("<text x=\"{:.1}\" y=\"20\">{name}</text>", at + 24.0));
        }
    }
}
