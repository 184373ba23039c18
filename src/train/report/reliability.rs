//! The reliability diagram of a model directory: how often reviews of a given probability are positive.

use std::fmt::Write;

use crate::train::metrics::{Bin, bins};

/// Name of the diagram's file in a model directory.
pub const RELIABILITY_FILE: &str = "calibration.svg";

/// Length of a side of the square, in pixels.
const SIDE: f64 = 300.0;
/// Distance of the square from the left and the upper border.
const MARGIN: f64 = 50.0;

/// The share of positive reviews by probability, in the bins of the calibration error: a perfect model's points lie on
/// the diagonal. The size of a point tells how many reviews it stands for.
pub fn reliability(logits: &[f32], targets: &[f32]) -> String {
    let bins = bins(logits, targets);
    let most = bins.iter().map(|bin| bin.reviews).max().unwrap_or(0).max(1) as f64;
    let (width, height) = (SIDE + MARGIN + 20.0, SIDE + MARGIN + 40.0);
    let x = |share: f64| MARGIN + share * SIDE;
    let y = |share: f64| 30.0 + (1.0 - share) * SIDE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"18\" font-weight=\"bold\">share of positive reviews by probability</text>\n"
    );
    for step in 0..=5 {
        let share = f64::from(step) / 5.0;
        let (across, up) = (x(share), y(share));
        let (left, right, top, bottom) = (x(0.0), x(1.0), y(1.0), y(0.0));
        let _ = writeln!(
            svg,
            "<path d=\"M{left:.1} {up:.1}H{right:.1}M{across:.1} {top:.1}V{bottom:.1}\" stroke=\"#ddd\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{share:.1}</text>\n\
             <text x=\"{across:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{share:.1}</text>",
            left - 6.0,
            up + 4.0,
            bottom + 18.0
        );
    }
    let _ = writeln!(
        svg,
        "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"#888\" stroke-dasharray=\"5 3\"/>",
        x(0.0),
        y(0.0),
        x(1.0),
        y(1.0)
    );
    let filled: Vec<&Bin> = bins.iter().filter(|bin| bin.reviews > 0).collect();
    let line: Vec<String> =
        filled.iter().map(|bin| format!("{:.1} {:.1}", x(bin.probability()), y(bin.positive()))).collect();
    let _ = writeln!(
        svg,
        "<path d=\"M{}\" fill=\"none\" stroke=\"#1668b3\" stroke-width=\"2\"/>",
        line.join("L")
    );
    for bin in filled {
        let radius = 2.0 + 6.0 * (bin.reviews as f64 / most).sqrt();
        let _ = writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\" fill=\"#1668b3\"><title>{} reviews, mean \
             probability {:.3}, {:.3} positive</title></circle>",
            x(bin.probability()),
            y(bin.positive()),
            bin.reviews,
            bin.probability(),
            bin.positive()
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_for_each_bin_with_reviews() {
        let svg = reliability(&[4.0, 4.0, -4.0, 0.0], &[1.0, 1.0, 0.0, 1.0]);
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(svg.contains("2 reviews, mean probability 0.982, 1.000 positive"), "{svg}");
    }
}
