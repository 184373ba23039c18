//! The scale by length, fitted: labelled texts are told as surely as they are right, texts without an opinion stay unsure.

use crate::error::Result;
use crate::model::ShortScale;
use crate::predict::{Predictor, Truncate};
use crate::train::calibration::subjectivity::Subjectivity;
use crate::train::data::minimal_pairs::{Expectation, NEUTRAL, load_pairs};
use crate::train::metrics::{class_weights, cross_entropy, sigmoid};

/// What a model without a scale says of a text.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Its logit, without the configuration's bias.
    pub logit: f32,
    /// Ids that it was read as.
    pub ids: usize,
    /// The logit that it holds an opinion.
    pub opinion: f32,
    /// Its label, 0 or 1.
    pub target: f32,
}

/// A scale, and how the logit that a text holds an opinion is to be told in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fitted {
    /// The scale.
    pub scale: ShortScale,
    /// What that logit is multiplied by.
    pub slope: f32,
    /// What is added to it then.
    pub offset: f32,
}

impl Fitted {
    /// The logit of `told` under the scale, before the configuration's bias.
    pub fn apply(&self, told: &Told) -> f32 {
        let opinion = sigmoid(f64::from(self.slope * told.opinion + self.offset)) as f32;
        self.scale.apply(told.logit, told.ids, opinion)
    }
}

/// The committed list of texts without an opinion, as `predictor` tells them; their target is one half.
///
/// # Errors
/// As [`load_pairs`].
pub fn neutral(predictor: &Predictor, subjectivity: &Subjectivity) -> Result<Vec<Told>> {
    let pairs = load_pairs(None)?.into_iter().filter(|pair| pair.expect == Expectation::Neutral);
    let read = pairs.filter_map(|pair| predictor.encode(&pair.a, Truncate::Tail).ok());
    let encodings: Vec<_> = read.collect();
    let ids: Vec<&[u32]> = encodings.iter().map(|encoding| encoding.windows()[0].as_slice()).collect();
    let opinions = subjectivity.logits(predictor, &ids);
    let predictions = predictor.run(&encodings);
    let rows = predictions.iter().zip(&ids).zip(opinions);
    let bias = predictor.config().bias;
    Ok(rows
        .map(|((prediction, ids), opinion)| Told {
            logit: if prediction.logit == 0.0 { 0.0 } else { prediction.logit - bias },
            ids: ids.len(),
            opinion,
            target: 0.5,
        })
        .collect())
}

/// Share of the texts without an opinion that must lie near one half, a little more than what is asked for.
const NEAR_HALF: f64 = 0.905;
/// A logit from which on such a text costs: a probability of .62.
const NEUTRAL_LOGIT: f64 = 0.5;
/// What a logit further out costs, beside the cross-entropy of a labelled text: the least that keeps enough of them is taken.
const PENALTIES: [f64; 11] = [0.05, 0.1, 0.125, 0.15, 0.175, 0.2, 0.25, 0.3, 0.4, 0.8, 1.6];

/// Parameters: bias, gain, the positive gain by it, tokens, slope, offset, damping.
type Point = [f64; 7];
/// Whence the search starts: a soft border between texts with an opinion and others, and a sharp one.
const STARTS: [Point; 2] = [[0.3, 2.5, 1.2, 22.0, 1.5, 0.0, 0.5], [0.3, 2.5, 1.2, 22.0, 5.0, 4.0, 0.5]];
const FIRST_STEPS: Point = [0.2, 1.0, 0.3, 6.0, 1.0, 1.0, 0.3];
/// With more than 40 tokens whole reviews would be told otherwise too.
const LOWEST: Point = [-2.0, 0.0, 0.5, 5.0, 0.1, -10.0, 0.0];
const HIGHEST: Point = [2.0, 6.0, 1.5, 40.0, 10.0, 10.0, 1.0];
/// How often steps are halved.
const HALVINGS: usize = 8;
/// Rounds of steps of one size at most.
const ROUNDS: usize = 60;

/// The scale under which `rows` have the least cross-entropy, both classes counting half, while [`NEAR_HALF`] of `neutral`
/// lie as near one half as texts without an opinion should (as many as can be, where so many cannot); `bias` is added last.
pub fn fit(rows: &[Told], neutral: &[Told], bias: f32) -> Fitted {
    let targets: Vec<f32> = rows.iter().map(|row| row.target).collect();
    let weights = class_weights(&targets);
    let count = rows.len().max(1) as f64;
    let logit = |fitted: &Fitted, told: &Told| f64::from(fitted.apply(told) + bias);
    let loss = |fitted: &Fitted| {
        let rows = rows.iter().zip(&weights);
        let sum: f64 =
            rows.map(|(row, w)| w * cross_entropy(logit(fitted, row), f64::from(row.target))).sum();
        let ShortScale { gain, bias, .. } = fitted.scale;
        // A few rows tell little: it weighs as much as one of them.
        (sum + f64::from(bias).powi(2) + (f64::from(gain) / 3.0).powi(2)) / count
    };
    let near = |fitted: &Fitted| {
        let near =
            neutral.iter().filter(|told| (sigmoid(logit(fitted, told)) - 0.5).abs() <= f64::from(NEUTRAL));
        near.count() as f64 / neutral.len().max(1) as f64
    };
    let outside = |fitted: &Fitted| {
        let sum: f64 = neutral.iter().map(|told| (logit(fitted, told).abs() - NEUTRAL_LOGIT).max(0.0)).sum();
        sum / neutral.len().max(1) as f64
    };
    let mut best: Option<(bool, f64, Fitted)> = None;
    for penalty in PENALTIES {
        for start in STARTS {
            let point = search(start, |point| {
                let fitted = of_point(point);
                loss(&fitted) + penalty * outside(&fitted)
            });
            let fitted = rounded(of_point(&point));
            let share = near(&fitted);
            let enough = neutral.is_empty() || share >= NEAR_HALF;
            // Of those that keep enough the one of the least loss; before there is one, the one that keeps the most.
            let value = if enough { loss(&fitted) } else { 1.0 - share };
            let better = match &best {
                None => true,
                Some((had_enough, had, _)) => (!enough, value) < (!had_enough, *had),
            };
            if better {
                best = Some((enough, value, fitted));
            }
        }
    }
    best.map(|(.., fitted)| fitted).expect("some penalty is tried")
}

fn of_point(&[bias, gain, ratio, tokens, slope, offset, damping]: &Point) -> Fitted {
    let scale = ShortScale {
        gain: gain as f32,
        positive_gain: Some((gain * ratio) as f32),
        tokens: tokens as f32,
        threshold: 0.0,
        bias: bias as f32,
        damping: damping as f32,
    };
    Fitted { scale, slope: slope as f32, offset: offset as f32 }
}

/// As it is written: finer digits are more than the data tell.
fn rounded(fitted: Fitted) -> Fitted {
    let round = |value: f32| (value * 100.0).round() / 100.0;
    let ShortScale { gain, positive_gain, tokens, threshold, bias, damping } = fitted.scale;
    let scale = ShortScale {
        gain: round(gain),
        positive_gain: positive_gain.map(round),
        tokens: tokens.round(),
        threshold,
        bias: round(bias),
        damping: round(damping),
    };
    Fitted { scale, slope: round(fitted.slope), offset: round(fitted.offset) }
}

/// A point from which no step makes `loss` less: pattern search (Hooke and Jeeves 1961), which asks for no slope.
fn search(start: Point, loss: impl Fn(&Point) -> f64) -> Point {
    let within = |at: usize, value: f64| value.clamp(LOWEST[at], HIGHEST[at]);
    let (mut point, mut steps) = (start, FIRST_STEPS);
    let mut best = loss(&point);
    for _ in 0..=HALVINGS {
        for _ in 0..ROUNDS {
            let before = point;
            for at in 0..point.len() {
                for step in [steps[at], -steps[at]] {
                    let mut next = point;
                    next[at] = within(at, next[at] + step);
                    let value = loss(&next);
                    if value < best - 1e-9 {
                        (point, best) = (next, value);
                        break;
                    }
                }
            }
            if point == before {
                break;
            }
            // On along the whole way of this round.
            let next: Point = std::array::from_fn(|at| within(at, 2.0 * point[at] - before[at]));
            let value = loss(&next);
            if value < best {
                (point, best) = (next, value);
            }
        }
        steps = steps.map(|step| step / 2.0);
    }
    point
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(logit: f32, ids: usize, opinion: f32, target: f32) -> Told {
        Told { logit, ids, opinion, target }
    }

    /// Twenty short texts told at .73 of which nineteen are right, and long ones that are right as often as told.
    fn rows() -> Vec<Told> {
        let mut rows: Vec<Told> =
            (0..200_u32).map(|at| told(1.0, 4, 3.0, f32::from(u8::from(!at.is_multiple_of(20))))).collect();
        rows.extend((0..1000).map(|at| told(1.0, 300, 3.0, f32::from(u8::from(at % 100 < 73)))));
        rows.extend(rows.clone().into_iter().map(|row| told(-row.logit, row.ids, 3.0, 1.0 - row.target)));
        rows
    }

    fn probability(fitted: &Fitted, told: &Told) -> f64 {
        sigmoid(f64::from(fitted.apply(told)))
    }

    #[test]
    fn short_texts_are_made_as_sure_as_they_are_right() {
        let fitted = fit(&rows(), &[], 0.0);
        for logit in [1.0, -1.0] {
            let short = probability(&fitted, &told(logit, 4, 3.0, 1.0));
            assert!((short.max(1.0 - short) - 0.95).abs() < 0.01, "{fitted:?}");
            assert!((fitted.apply(&told(logit, 300, 3.0, 1.0)) - logit).abs() < 0.02, "{fitted:?}");
        }
    }

    #[test]
    fn texts_without_an_opinion_stay_unsure_where_they_can_be_told() {
        // As sure of them as of the others, but known to hold no opinion.
        let neutral = [told(0.8, 4, -3.0, 0.5), told(-0.8, 4, -3.0, 0.5)].repeat(50);
        let fitted = fit(&rows(), &neutral, 0.0);
        assert!(neutral.iter().all(|row| (probability(&fitted, row) - 0.5).abs() <= 0.15), "{fitted:?}");
        assert!(probability(&fitted, &told(1.0, 4, 3.0, 1.0)) > 0.93, "{fitted:?}");
        // Where nothing tells them apart, the labelled texts pay for it.
        let alike: Vec<Told> = neutral.iter().map(|row| Told { opinion: 3.0, ..*row }).collect();
        let held = fit(&rows(), &alike, 0.0);
        assert!(probability(&held, &told(1.0, 4, 3.0, 1.0)) < 0.9, "{held:?}");
    }

    #[test]
    fn neither_class_gains_by_being_the_more_frequent() {
        // Three times as many of one class as of the other, told alike and right alike.
        let mut rows = rows();
        let more: Vec<Told> = rows.iter().copied().filter(|row| row.target == 1.0).collect();
        (0..2).for_each(|_| rows.extend(&more));
        let fitted = fit(&rows, &[], 0.0);
        let [above, below] = [1.0, -1.0].map(|logit| probability(&fitted, &told(logit, 4, 3.0, 1.0)));
        assert!((above + below - 1.0).abs() < 0.02, "{above} {below}");
    }

    #[test]
    fn the_search_finds_a_minimum_inside_and_at_the_border() {
        let aim = [0.1, 1.7, 1.1, 60.0, 3.3, -2.5, 0.25];
        let loss = |point: &Point| -> f64 {
            point.iter().zip(&aim).map(|(at, aim)| (at - aim).powi(2)).sum::<f64>()
                + 0.5 * (point[1] - aim[1]) * (point[4] - aim[4])
        };
        let found = search(STARTS[0], loss);
        assert_eq!(found[3], 40.0);
        for at in [0, 1, 2, 4, 5, 6] {
            assert!((found[at] - aim[at]).abs() < 0.02, "{found:?}");
        }
    }
}
