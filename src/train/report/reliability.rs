//! The reliability diagram of a model directory: how often reviews of a given probability are positive.

use std::fmt::Write;

use crate::train::metrics::{Bin, bins};
use crate::train::report::svg::{Axis, Picture, grid, line};

/// Name of the diagram's file in a model directory.
pub const RELIABILITY_FILE: &str = "calibration.svg";

/// Length of a side of the square, in pixels.
const SIDE: f64 = 320.0;
/// Distance of the square from the left border, where the axis is named.
const MARGIN: f64 = 60.0;

/// The share of positive reviews by probability, in the bins of the calibration error: a perfect model's points lie on
/// the diagonal. Beside each point stands how many reviews it is of, which its size tells too.
pub fn reliability(logits: &[f32], targets: &[f32]) -> Picture {
    let bins = bins(logits, targets);
    let most = bins.iter().map(|bin| bin.reviews).max().unwrap_or(0).max(1) as f64;
    let x = Axis { values: (0.0, 1.0), pixels: (MARGIN, MARGIN + SIDE) };
    let y = Axis { values: (0.0, 1.0), pixels: (20.0 + SIDE, 20.0) };
    let title = "Share of positive reviews by predicted probability";
    Picture::new(SIDE + MARGIN + 50.0, SIDE + 70.0, title, |svg| {
        grid(svg, (x, "predicted probability"), (y, "share positive"));
        let _ = writeln!(
            svg,
            "<path class=\"b\" d=\"M{:.1} {:.1}L{:.1} {:.1}\"/>",
            x.at(0.0),
            y.at(0.0),
            x.at(1.0),
            y.at(1.0)
        );
        let filled: Vec<&Bin> = bins.iter().filter(|bin| bin.reviews > 0).collect();
        let place = |bin: &Bin| (x.at(bin.probability()), y.at(bin.positive()));
        line(svg, "a", filled.iter().map(|bin| place(bin)));
        for bin in filled {
            let (x, y) = place(bin);
            let radius = 2.0 + 6.0 * (bin.reviews as f64 / most).sqrt();
            let _ = writeln!(
                svg,
                "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"><title>{} reviews, mean probability \
                 {:.3}, {:.3} positive</title></circle><text x=\"{:.1}\" y=\"{:.1}\" class=\"small\">{}</text>",
                bin.reviews,
                bin.probability(),
                bin.positive(),
                x + radius + 2.0,
                y + 12.0,
                bin.reviews
            );
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_for_each_bin_with_reviews() {
        let svg = reliability(&[4.0, 4.0, -4.0, 0.0], &[1.0, 1.0, 0.0, 1.0]).file();
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(svg.contains("2 reviews, mean probability 0.982, 1.000 positive"), "{svg}");
    }
}
