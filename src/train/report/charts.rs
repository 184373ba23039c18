//! The pictures of a report, out of logits and labels.

use std::fmt::Write;

use crate::train::metrics::{sigmoid, surest_first};
use crate::train::report::svg::{Axis, Picture, grid, line, name_below, rungs};

/// Width of a picture, in pixels.
const WIDTH: f64 = 400.0;
/// Height of a picture, in pixels.
const HEIGHT: f64 = 320.0;
/// Points of a line at most: more are not told apart.
const POINTS: usize = 400;
/// Bars of the distribution.
const BARS: usize = 20;

fn share(pixels: (f64, f64)) -> Axis {
    Axis { values: (0.0, 1.0), pixels }
}

/// The axes' places in a picture: across, and upright from the bottom.
const ACROSS: (f64, f64) = (60.0, WIDTH - 20.0);
const UPRIGHT: (f64, f64) = (HEIGHT - 50.0, 20.0);

/// How many reviews of either class score at least as high as each of them: (false, true) positives, the highest score first.
fn counts(logits: &[f32], targets: &[f32]) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    let (mut counts, mut so_far) = (vec![(0, 0)], (0, 0));
    for tie in order.chunk_by(|&a, &b| logits[a] == logits[b]) {
        let positive = tie.iter().filter(|&&at| targets[at] >= 0.5).count();
        so_far = (so_far.0 + tie.len() - positive, so_far.1 + positive);
        counts.push(so_far);
    }
    counts
}

/// At most [`POINTS`] of `points`, the first and the last among them.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let last = points.len().saturating_sub(1);
    if last < POINTS {
        return points;
    }
    (0..POINTS).map(|at| points[at * last / (POINTS - 1)]).collect()
}

/// The receiver operating characteristic.
pub fn roc(logits: &[f32], targets: &[f32], auc: f64) -> Picture {
    let counts = counts(logits, targets);
    let (negative, positive) = *counts.last().expect("one point at least");
    let rate = |count: usize, all: usize| count as f64 / all.max(1) as f64;
    let points = counts.iter().map(|&(wrong, right)| (rate(wrong, negative), rate(right, positive)));
    let points = thinned(points.collect());
    Picture::new(WIDTH, HEIGHT, &format!("Receiver operating characteristic, area {auc:.4}"), |svg| {
        let (x, y) = (share(ACROSS), share(UPRIGHT));
        grid(svg, (x, "false positive rate"), (y, "true positive rate"));
        line(svg, "b", [(x.at(0.0), y.at(0.0)), (x.at(1.0), y.at(1.0))].into_iter());
        line(svg, "a", points.iter().map(|&(wrong, right)| (x.at(wrong), y.at(right))));
        note(svg, (x.at(0.98), y.at(0.06)), &format!("area {auc:.3}"));
    })
}

/// Precision by recall, for `positive`, and the share of positive reviews, which guessing has.
pub fn precision_recall(logits: &[f32], targets: &[f32]) -> Picture {
    let counts = counts(logits, targets);
    let (negative, positive) = *counts.last().expect("one point at least");
    let precision = |(wrong, right): (usize, usize)| right as f64 / (wrong + right).max(1) as f64;
    let recall = |right: usize| right as f64 / positive.max(1) as f64;
    let steps = counts.windows(2);
    let average: f64 = steps.map(|pair| (recall(pair[1].1) - recall(pair[0].1)) * precision(pair[1])).sum();
    let points = counts[1..].iter().map(|&count| (recall(count.1), precision(count)));
    let points = thinned(points.collect());
    let guess = positive as f64 / (positive + negative).max(1) as f64;
    Picture::new(WIDTH, HEIGHT, &format!("Precision by recall, average precision {average:.4}"), |svg| {
        let (x, y) = (share(ACROSS), share(UPRIGHT));
        grid(svg, (x, "recall"), (y, "precision"));
        line(svg, "b", [(x.at(0.0), y.at(guess)), (x.at(1.0), y.at(guess))].into_iter());
        line(svg, "a", points.iter().map(|&(recall, precision)| (x.at(recall), y.at(precision))));
        note(svg, (x.at(0.98), y.at(0.06)), &format!("average precision {average:.3}"));
    })
}

/// How many reviews of either class have which probability.
pub fn distribution(logits: &[f32], targets: &[f32]) -> Picture {
    let mut bars = [[0usize; BARS]; 2];
    for (&logit, &target) in logits.iter().zip(targets) {
        let at = ((sigmoid(f64::from(logit)) * BARS as f64) as usize).min(BARS - 1);
        bars[usize::from(target >= 0.5)][at] += 1;
    }
    let most = bars.iter().flatten().copied().max().unwrap_or(0).max(1) as f64;
    Picture::new(WIDTH, HEIGHT, "Reviews of either label by predicted probability", |svg| {
        let (x, y) = (share(ACROSS), Axis { values: (0.0, 1.05 * most), pixels: UPRIGHT });
        grid(svg, (x, "predicted probability"), (y, "reviews"));
        for (bars, class) in bars.iter().zip(["c", "a"]) {
            let tops = bars.iter().enumerate().flat_map(|(at, &count)| {
                let (left, right) = (at as f64 / BARS as f64, (at + 1) as f64 / BARS as f64);
                [(x.at(left), y.at(count as f64)), (x.at(right), y.at(count as f64))]
            });
            let around: Vec<(f64, f64)> =
                std::iter::once((x.at(0.0), y.at(0.0))).chain(tops).chain([(x.at(1.0), y.at(0.0))]).collect();
            let path: Vec<String> = around.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
            let _ = writeln!(svg, "<path class=\"area-{class}\" d=\"M{}Z\"/>", path.join("L"));
            line(svg, class, around.into_iter());
        }
        key(svg, [("c", "labelled negative"), ("a", "labelled positive")]);
    })
}

/// Accuracy among the surest reviews, by the share of reviews that they are.
pub fn coverage(logits: &[f32], targets: &[f32]) -> Picture {
    let points =
        thinned(covered(logits, targets).into_iter().map(|(share, right, _)| (share, right)).collect());
    // The few surest reviews swing from all right to half; what they say is no figure.
    let points: Vec<(f64, f64)> = points.into_iter().filter(|(share, _)| *share >= 0.02).collect();
    let lowest = points.iter().map(|(_, right)| *right).fold(1.0, f64::min);
    let bottom = ((lowest * 20.0).floor() / 20.0 - 0.05).clamp(0.0, 0.9);
    Picture::new(WIDTH, HEIGHT, "Accuracy by the share of reviews that are answered", |svg| {
        let (x, y) = (share(ACROSS), Axis { values: (bottom, 1.0), pixels: UPRIGHT });
        grid(svg, (x, "share answered, the surest first"), (y, "accuracy"));
        line(svg, "a", points.iter().map(|&(share, right)| (x.at(share), y.at(right))));
    })
}

/// For each number of the surest reviews: their share, their accuracy, and the score of the last of them.
pub fn covered(logits: &[f32], targets: &[f32]) -> Vec<(f64, f64, f64)> {
    let rows = surest_first(logits, targets);
    let each = rows.iter().enumerate().map(|(at, (score, right))| {
        let count = (at + 1) as f64;
        (count / rows.len() as f64, *right as f64 / count, *score)
    });
    each.collect()
}

/// Reviews of one kind: its name, how many were judged rightly, how many there are.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What they have in common.
    pub name: String,
    /// Right verdicts.
    pub right: usize,
    /// Reviews.
    pub all: usize,
}

/// Accuracy of each of `groups`, with the interval in which it lies in 95 of 100 cases; how many reviews below.
pub fn by_group(groups: &[Group], name: &str) -> Picture {
    let intervals: Vec<(f64, f64)> = groups.iter().map(|group| wilson(group.right, group.all)).collect();
    let lowest = intervals.iter().map(|(low, _)| *low).fold(1.0, f64::min);
    let bottom = ((lowest * 10.0).floor() / 10.0).clamp(0.0, 0.9);
    let floor = HEIGHT - 65.0;
    Picture::new(WIDTH, HEIGHT, &format!("Accuracy by {name}"), |svg| {
        let y = Axis { values: (bottom, 1.0), pixels: (floor, 20.0) };
        rungs(svg, ACROSS, (y, "accuracy"));
        let width = (ACROSS.1 - ACROSS.0) / groups.len().max(1) as f64;
        for (at, (group, (low, high))) in groups.iter().zip(intervals).enumerate() {
            let x = ACROSS.0 + (at as f64 + 0.5) * width;
            let accuracy = group.right as f64 / group.all.max(1) as f64;
            let _ = writeln!(
                svg,
                "<path class=\"a\" d=\"M{x:.1} {:.1}V{:.1}\"/><circle class=\"dot\" cx=\"{x:.1}\" cy=\"{:.1}\" \
                 r=\"5\"><title>{}: {accuracy:.3} of {}, {low:.3} to {high:.3}</title></circle><text x=\"{x:.1}\" \
                 y=\"{:.1}\" text-anchor=\"middle\">{}</text><text class=\"small\" x=\"{x:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{}</text>",
                y.at(low),
                y.at(high),
                y.at(accuracy),
                group.name,
                group.all,
                floor + 16.0,
                group.name,
                floor + 30.0,
                group.all
            );
        }
        name_below(svg, ACROSS, floor + 48.0, &format!("{name} (number of reviews below)"));
    })
}

/// The interval in which a share lies in 95 of 100 cases, of which `right` of `all` were seen (Wilson 1927).
pub fn wilson(right: usize, all: usize) -> (f64, f64) {
    const Z: f64 = 1.96;
    if all == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (all as f64, right as f64 / all as f64);
    let middle = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + Z * Z / n;
    (((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0))
}

/// A few words in a picture, which end at `x`.
fn note(svg: &mut String, (x, y): (f64, f64), text: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{text}</text>");
}

/// What two lines are, above them.
fn key(svg: &mut String, lines: [(&str, &str); 2]) {
    for ((class, name), x) in lines.into_iter().zip([ACROSS.0, ACROSS.0 + 150.0]) {
        let _ = writeln!(
            svg,
            "<path class=\"{class}\" stroke-width=\"2\" d=\"M{x:.1} 10h20\"/><text x=\"{:.1}\" y=\"14\">{name}</text>",
            x + 26.0
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_from_the_surest_on_and_ties_go_together() {
        let counts = counts(&[2.0, 1.0, 1.0, -3.0], &[1.0, 0.0, 1.0, 0.0]);
        assert_eq!(counts, [(0, 0), (0, 1), (1, 2), (2, 2)]);
        assert_eq!(super::counts(&[], &[]), [(0, 0)]);
    }

    #[test]
    fn accuracy_by_coverage_begins_with_the_surest() {
        let covered = covered(&[4.0, -3.0, 2.0, 1.0], &[1.0, 0.0, 0.0, 1.0]);
        let rights: Vec<f64> = covered.iter().map(|(_, right, _)| *right).collect();
        assert_eq!(rights, [1.0, 1.0, 2.0 / 3.0, 0.75]);
        assert_eq!(covered[3].0, 1.0);
        assert!((covered[1].2 - sigmoid(3.0)).abs() < 1e-12);
    }

    #[test]
    fn an_interval_holds_the_share_and_shrinks() {
        let (low, high) = wilson(8, 10);
        assert!((low - 0.4902).abs() < 1e-3 && (high - 0.9433).abs() < 1e-3, "{low} {high}");
        let (closer, _) = wilson(800, 1000);
        assert!(closer > low && wilson(0, 0) == (0.0, 1.0) && wilson(5, 5).1 == 1.0);
    }

    #[test]
    fn long_lines_are_thinned_and_keep_their_ends() {
        let points: Vec<(f64, f64)> = (0..10_001).map(|at| (f64::from(at), 0.0)).collect();
        let thin = thinned(points);
        assert_eq!((thin.len(), thin[0].0, thin[POINTS - 1].0), (POINTS, 0.0, 10_000.0));
        assert_eq!(thinned(vec![(1.0, 2.0)]), [(1.0, 2.0)]);
    }
}
