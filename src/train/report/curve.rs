//! The curve (`curve.svg`) of a model directory: loss and accuracy by epoch.

use std::fmt::Write;

use crate::train::fit::EpochRow;
use crate::train::report::svg::{Axis, Picture, grid};

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
const WIDTH: f64 = 760.0;
/// Height of the picture, in pixels.
const HEIGHT: f64 = 280.0;

/// The curve: two panels, loss and accuracy by epoch, training dashed and validation solid; a line marks the epoch whose
/// weights are kept.
pub fn curve(rows: &[EpochRow], kept: Option<usize>) -> String {
    let picture = Picture::new(WIDTH, HEIGHT, "Loss and accuracy by epoch", |svg| {
        panel(svg, 0.0, "loss", &losses(rows), kept);
        panel(svg, WIDTH / 2.0, "accuracy", &accuracies(rows), kept);
    });
    picture.file()
}

/// The same as two pictures, which stand below each other where there is little room.
pub fn curves(rows: &[EpochRow], kept: Option<usize>) -> [Picture; 2] {
    [("loss", losses(rows)), ("accuracy", accuracies(rows))].map(|(name, series)| {
        let title = format!("{name} by epoch, training and validation");
        Picture::new(WIDTH / 2.0, HEIGHT, &title, |svg| panel(svg, 0.0, name, &series, kept))
    })
}

/// Training, then validation.
type Series = [Vec<Option<f64>>; 2];

fn losses(rows: &[EpochRow]) -> Series {
    [rows.iter().map(|row| Some(row.loss)).collect(), rows.iter().map(|row| row.validation_loss).collect()]
}

fn accuracies(rows: &[EpochRow]) -> Series {
    let training = rows.iter().map(|row| Some(row.accuracy)).collect();
    [training, rows.iter().map(|row| row.validation_accuracy).collect()]
}

fn panel(svg: &mut String, left: f64, name: &str, series: &Series, kept: Option<usize>) {
    let values = || series.iter().flatten().flatten().copied().filter(|value| value.is_finite());
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let (low, high) = if low < high { (low, high) } else { (low.min(1.0) - 0.5, low.min(1.0) + 0.5) };
    let room = 0.05 * (high - low);
    let epochs = series[0].len().max(2) as f64;
    let x = Axis { values: (1.0, epochs), pixels: (left + 60.0, left + WIDTH / 2.0 - 15.0) };
    let y = Axis { values: (low - room, high + room), pixels: (HEIGHT - 50.0, 35.0) };
    grid(svg, (x, "epoch"), (y, name));
    if let Some(epoch) = kept {
        let (at, (bottom, top)) = (x.at(epoch as f64), y.pixels);
        let _ = writeln!(
            svg,
            "<path class=\"kept\" d=\"M{at:.1} {bottom:.1}V{top:.1}\"><title>epoch {epoch}: these weights are kept</title></path>"
        );
    }
    for ((values, style), (label, offset)) in
        series.iter().zip(["b", "a"]).zip([("training", 0.0), ("validation", 100.0)])
    {
        let points: Vec<(f64, f64)> = (1..)
            .zip(values)
            .filter_map(|(epoch, value)| {
                Some((x.at(f64::from(epoch)), y.at(value.filter(|value| value.is_finite())?)))
            })
            .collect();
        if points.is_empty() {
            continue;
        }
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let at = left + 60.0 + offset;
        let _ = writeln!(
            svg,
            "<path class=\"{style}\" stroke-width=\"2\" d=\"M{}\"/><path class=\"{style}\" stroke-width=\"2\" d=\"M{at:.1} \
             16h20\"/><text x=\"{:.1}\" y=\"20\">{label}</text>",
            path.join("L"),
            at + 24.0
        );
        for (x, y) in points.iter().filter(|_| style == "a") {
            let _ = writeln!(svg, "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>");
        }
    }
}
