//! What the pictures of a model card share: colours for light and dark, axes with names and round ticks.

use std::fmt::Write;

/// Colours by what is drawn, for a light page and for a dark one.
const STYLE: &str = "<style>\
    text{fill:#333;font:12px sans-serif}.title{font-weight:bold}.grid{stroke:#ddd}.page{fill:#fff}\
    .a{stroke:#1668b3;fill:none}.b{stroke:#888;fill:none;stroke-dasharray:5 3}.dot{fill:#1668b3}.kept{stroke:#c60;fill:none}\
    @media(prefers-color-scheme:dark){text{fill:#ccc}.grid{stroke:#444}.page{fill:#111}.a{stroke:#6db3f2}.b{stroke:#999}\
    .dot{fill:#6db3f2}.kept{stroke:#fa4}}</style>";

/// A picture of `width` by `height` pixels with what `draw` puts on it.
pub fn picture(width: f64, height: f64, draw: impl FnOnce(&mut String)) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\">\n{STYLE}\n<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n"
    );
    draw(&mut svg);
    svg.push_str("</svg>\n");
    svg
}

/// One axis: the values it shows and the pixels between which it shows them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// Lowest and highest value.
    pub values: (f64, f64),
    /// Where they lie.
    pub pixels: (f64, f64),
}

impl Axis {
    /// Where `value` lies.
    pub fn at(&self, value: f64) -> f64 {
        let ((low, high), (from, to)) = (self.values, self.pixels);
        from + (to - from) * (value - low) / (high - low)
    }

    /// Round values, some five of them, with as many digits as tell them apart.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let (low, high) = self.values;
        let rough = (high - low) / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * power)
            .into_iter()
            .find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(power);
        let digits = (-step.log10().floor()).max(0.0) as usize;
        let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
        (first..=last).map(|at| at as f64 * step).map(|value| (value, format!("{value:.digits$}"))).collect()
    }
}

/// The grid between two axes with their ticks and names.
pub fn grid(svg: &mut String, x: (Axis, &str), y: (Axis, &str)) {
    let ((x, x_name), (y, y_name)) = (x, y);
    let ((left, right), (bottom, top)) = (x.pixels, y.pixels);
    for (value, label) in y.ticks() {
        let at = y.at(value);
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{left:.1} {at:.1}H{right:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\">{label}</text>",
            left - 6.0,
            at + 4.0
        );
    }
    for (value, label) in x.ticks() {
        let at = x.at(value);
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{at:.1} {bottom:.1}V{top:.1}\"/><text x=\"{at:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\">{label}</text>",
            bottom + 16.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{x_name}</text>",
        (left + right) / 2.0,
        bottom + 34.0
    );
    let (at, middle) = (left - 44.0, (bottom + top) / 2.0);
    let _ = writeln!(
        svg,
        "<text x=\"{at:.1}\" y=\"{middle:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 {at:.1} \
         {middle:.1})\">{y_name}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let labels = |low, high| {
            let axis = Axis { values: (low, high), pixels: (0.0, 100.0) };
            axis.ticks().into_iter().map(|(_, label)| label).collect::<Vec<_>>()
        };
        assert_eq!(labels(0.0, 1.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(0.317, 0.409), ["0.32", "0.34", "0.36", "0.38", "0.40"]);
        assert_eq!(labels(1.0, 10.0), ["2", "4", "6", "8", "10"]);
    }
}
