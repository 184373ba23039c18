//! What the pictures of model cards and reports share: colours for light and dark, axes with names and round ticks.

use std::fmt::Write;

/// Colours by what is drawn, on a light page: `a` and `b` are lines of data and of comparison, `c` a second line of data.
pub const LIGHT: &str = "svg text{fill:#333;font:12px sans-serif}svg .small{font-size:10px}svg .grid{stroke:#ddd}\
    svg .page{fill:#fff}svg .a{stroke:#1668b3;fill:none}svg .b{stroke:#888;fill:none;stroke-dasharray:5 3}\
    svg .c{stroke:#b5530a;fill:none}svg .dot{fill:#1668b3}svg .kept{stroke:#c60;fill:none}\
    svg .area-a{fill:#1668b3;fill-opacity:.25}svg .area-c{fill:#b5530a;fill-opacity:.25}";
/// The same on a dark page.
pub const DARK: &str = "svg text{fill:#ccc}svg .grid{stroke:#444}svg .page{fill:#111}svg .a{stroke:#6db3f2}\
    svg .b{stroke:#999}svg .c{stroke:#f2a45f}svg .dot{fill:#6db3f2}svg .kept{stroke:#fa4}\
    svg .area-a{fill:#6db3f2}svg .area-c{fill:#f2a45f}";

/// A picture, for a file of its own or for a place in a page that holds [`LIGHT`] and [`DARK`].
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    width: f64,
    height: f64,
    title: String,
    body: String,
}

impl Picture {
    /// A picture of `width` by `height` pixels with what `draw` puts on it; `title` says what it shows to who cannot see.
    pub fn new(width: f64, height: f64, title: &str, draw: impl FnOnce(&mut String)) -> Self {
        let mut body = String::new();
        draw(&mut body);
        Self { width, height, title: title.into(), body }
    }

    /// The text of a file.
    pub fn file(&self) -> String {
        let Self { width, height, title, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\">\n<title>{title}</title>\n\
             <style>{LIGHT}@media(prefers-color-scheme:dark){{{DARK}}}</style>\n\
             <rect class=\"page\" width=\"100%\" height=\"100%\"/>\n{body}</svg>\n"
        )
    }

    /// The text of a place in a page, which is as wide as there is room, and no wider than drawn.
    pub fn inline(&self) -> String {
        let Self { width, height, title, body } = self;
        format!(
            "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" role=\"img\" aria-label=\"{title}\">\n{body}</svg>\n"
        )
    }
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
    rungs(svg, x.pixels, (y, y_name));
    let (bottom, top) = y.pixels;
    for (value, label) in x.ticks() {
        let at = x.at(value);
        let _ = writeln!(
            svg,
            "<path class=\"grid\" d=\"M{at:.1} {bottom:.1}V{top:.1}\"/><text x=\"{at:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\">{label}</text>",
            bottom + 16.0
        );
    }
    name_below(svg, x.pixels, bottom + 34.0, x_name);
}

/// The lines across from the ticks of the upright axis, with its name.
pub fn rungs(svg: &mut String, (left, right): (f64, f64), (y, name): (Axis, &str)) {
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
    let (at, middle) = (left - 44.0, (y.pixels.0 + y.pixels.1) / 2.0);
    let _ = writeln!(
        svg,
        "<text x=\"{at:.1}\" y=\"{middle:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 {at:.1} \
         {middle:.1})\">{name}</text>"
    );
}

/// The name of the axis that lies.
pub fn name_below(svg: &mut String, (left, right): (f64, f64), y: f64, name: &str) {
    let middle = (left + right) / 2.0;
    let _ = writeln!(svg, "<text x=\"{middle:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{name}</text>");
}

/// A line through `points`, drawn as `class` is.
pub fn line(svg: &mut String, class: &str, points: impl Iterator<Item = (f64, f64)>) {
    let points: Vec<String> = points.map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    if !points.is_empty() {
        let _ = writeln!(svg, "<path class=\"{class}\" stroke-width=\"2\" d=\"M{}\"/>", points.join("L"));
    }
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
