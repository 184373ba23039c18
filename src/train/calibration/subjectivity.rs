//! What tells texts that hold an opinion from those that hold none, by what the classifier reads of them.
//!
//! The classifier has one number for both: a question lies near 0 as an unsure verdict does. The features hold more: a second
//! linear layer, learnt from the made-up sentences (`data/sentences.toml`) with the network's weights untouched, tells them
//! apart in fields that it has learnt nothing from.

use std::collections::BTreeMap;

use half::f16;
use rayon::prelude::*;

use crate::error::Result;
use crate::model::{Array, SUBJECTIVITY_BIAS, SUBJECTIVITY_WEIGHT};
use crate::predict::Predictor;
use crate::train::data::sentences::sentences;
use crate::train::metrics::{class_weights, cross_entropy, sigmoid};

/// Made-up sentences that it learns from.
const SENTENCES: usize = 12_000;
/// The seed that they are drawn with.
const SEED: u64 = 1;
/// Targets no further from one half are those of texts without an opinion.
const NEUTRAL: f32 = 0.03;
/// Half of the weight of the squares of the weights, whose features have a deviation of 1.
const RIDGE: f64 = 0.03;

/// A linear layer whose logit is that of a text that holds an opinion.
#[derive(Clone, Debug, PartialEq)]
pub struct Subjectivity {
    weight: Vec<f32>,
    bias: f32,
}

impl Subjectivity {
    /// Learns it from the features that `predictor` makes of made-up sentences. The same model gives the same bits.
    ///
    /// # Errors
    /// As [`sentences`].
    pub fn learn(predictor: &Predictor) -> Result<Self> {
        let mut examples = sentences(SEED, predictor.config(), predictor.vocabulary())?;
        examples.truncate(SENTENCES);
        let ids: Vec<&[u32]> = examples.iter().map(|example| example.ids.as_slice()).collect();
        let targets: Vec<f32> = examples
            .iter()
            .map(|example| f32::from(u8::from((example.target - 0.5).abs() > NEUTRAL)))
            .collect();
        Ok(Self::of_rows(&features(predictor, &ids), &targets))
    }

    /// The layer that tells rows of target 1 from those of target 0, each of which count half.
    fn of_rows(rows: &[Vec<f32>], targets: &[f32]) -> Self {
        let count = rows.len().max(1) as f64;
        let width = rows.first().map_or(0, Vec::len);
        let (mut mean, mut square) = (vec![0f64; width], vec![0f64; width]);
        for row in rows {
            for ((mean, square), &value) in mean.iter_mut().zip(&mut square).zip(row) {
                *mean += f64::from(value) / count;
                *square += f64::from(value).powi(2) / count;
            }
        }
        let deviation: Vec<f64> =
            mean.iter().zip(&square).map(|(mean, square)| (square - mean * mean).max(1e-12).sqrt()).collect();
        let standard: Vec<Vec<f64>> = rows
            .par_iter()
            .map(|row| {
                let places = row.iter().zip(mean.iter().zip(&deviation));
                let values = places.map(|(&value, (mean, deviation))| (f64::from(value) - mean) / deviation);
                values.chain([1.0]).collect()
            })
            .collect();
        let point = logistic(&standard, targets, &class_weights(targets));
        let weight: Vec<f64> =
            point[..width].iter().zip(&deviation).map(|(weight, deviation)| weight / deviation).collect();
        let bias = point[width] - dot(&weight, &mean);
        Self { weight: weight.iter().map(|value| *value as f32).collect(), bias: bias as f32 }
    }

    /// The logits of the texts with these ids that they hold an opinion.
    pub fn logits(&self, predictor: &Predictor, reviews: &[&[u32]]) -> Vec<f32> {
        let logit = |features: &Vec<f32>| {
            features.iter().zip(&self.weight).map(|(x, w)| x * w).sum::<f32>() + self.bias
        };
        features(predictor, reviews).iter().map(logit).collect()
    }

    /// The layer whose logit is `slope` times this one's and `offset` more, as it is stored: in 16 bits.
    pub fn tensors(&self, slope: f32, offset: f32) -> BTreeMap<String, Array> {
        let stored = |value: f32| f16::from_f32(value).to_f32();
        let weight: Vec<f32> = self.weight.iter().map(|weight| stored(slope * weight)).collect();
        let bias = vec![stored(slope * self.bias + offset)];
        [
            (SUBJECTIVITY_WEIGHT.into(), Array { shape: vec![1, weight.len()], data: weight }),
            (SUBJECTIVITY_BIAS.into(), Array { shape: vec![1], data: bias }),
        ]
        .into()
    }
}

/// What the classifier reads of each text.
fn features(predictor: &Predictor, reviews: &[&[u32]]) -> Vec<Vec<f32>> {
    reviews.par_chunks(predictor.batch_rows()).flat_map_iter(|chunk| predictor.features(chunk)).collect()
}

/// Steps after which the minimum is taken as found, and those of a step's conjugate gradients.
const STEPS: usize = 30;
const INNER_STEPS: usize = 60;
/// Share of its first length under which a gradient is short enough.
const TOLERANCE: f64 = 1e-5;

/// The parameters, the bias last, that minimise `mean(weight * cross-entropy) + RIDGE * sum of squares` over rows that end in
/// 1: Newton's method, each step by conjugate gradients (Nocedal and Wright 2006, algorithm 7.1). The bias is free.
fn logistic(rows: &[Vec<f64>], targets: &[f32], weights: &[f64]) -> Vec<f64> {
    let (width, count) = (rows.first().map_or(1, Vec::len), rows.len().max(1) as f64);
    let ridge = |at: usize| if at + 1 == width { 0.0 } else { 2.0 * RIDGE };
    let products = |point: &[f64]| -> Vec<f64> { rows.par_iter().map(|row| dot(row, point)).collect() };
    let transposed = |values: &[f64], point: &[f64]| -> Vec<f64> {
        let mut sums: Vec<f64> = point.iter().enumerate().map(|(at, value)| ridge(at) * value).collect();
        for (row, value) in rows.iter().zip(values) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += value * x / count);
        }
        sums
    };
    let loss = |point: &[f64], logits: &[f64]| {
        let rows = logits.iter().zip(targets).zip(weights);
        let fit: f64 = rows.map(|((z, target), w)| w * cross_entropy(*z, f64::from(*target))).sum();
        fit / count + RIDGE * dot(&point[..width - 1], &point[..width - 1])
    };
    let mut point = vec![0f64; width];
    let mut logits = products(&point);
    let mut enough = 0.0;
    for step in 0..STEPS {
        let shares: Vec<f64> = logits.iter().map(|z| sigmoid(*z)).collect();
        let residuals: Vec<f64> = shares
            .iter()
            .zip(targets)
            .zip(weights)
            .map(|((share, target), w)| w * (share - f64::from(*target)))
            .collect();
        let gradient = transposed(&residuals, &point);
        let length = dot(&gradient, &gradient).sqrt();
        if step == 0 {
            enough = TOLERANCE * length;
        }
        if length <= enough {
            break;
        }
        let curved = |direction: &[f64]| {
            let along = products(direction);
            let curvature = shares.iter().zip(weights).map(|(share, w)| w * share * (1.0 - share));
            let values: Vec<f64> = along.iter().zip(curvature).map(|(z, c)| z * c).collect();
            transposed(&values, direction)
        };
        let move_by = conjugate_gradients(&gradient, curved);
        let along = products(&move_by);
        let best = loss(&point, &logits);
        // A whole step may go too far while the point is far from the minimum.
        let halvings = (0..30).map(|halvings| 0.5f64.powi(halvings));
        let shorter = halvings.map(|part| {
            let next: Vec<f64> = point.iter().zip(&move_by).map(|(at, by)| at - part * by).collect();
            let there: Vec<f64> = logits.iter().zip(&along).map(|(z, by)| z - part * by).collect();
            (loss(&next, &there), next, there)
        });
        let Some((_, next, there)) = shorter.into_iter().find(|(value, ..)| *value < best) else { break };
        (point, logits) = (next, there);
    }
    point
}

/// x in `H x = gradient`, about, where `curved` gives H times a vector.
fn conjugate_gradients(gradient: &[f64], curved: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let mut solution = vec![0f64; gradient.len()];
    let (mut rest, mut direction) = (gradient.to_vec(), gradient.to_vec());
    let mut square = dot(&rest, &rest);
    let enough = square * 1e-4;
    for _ in 0..INNER_STEPS {
        let image = curved(&direction);
        let curvature = dot(&direction, &image);
        if square <= enough || curvature <= 0.0 {
            break;
        }
        let by = square / curvature;
        solution.iter_mut().zip(&direction).for_each(|(x, d)| *x += by * d);
        rest.iter_mut().zip(&image).for_each(|(rest, image)| *rest -= by * image);
        let next = dot(&rest, &rest);
        direction.iter_mut().zip(&rest).for_each(|(d, rest)| *d = rest + next / square * *d);
        square = next;
    }
    solution
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of three features: one that tells, one of noise on another scale, one that never changes.
    fn rows() -> (Vec<Vec<f32>>, Vec<f32>) {
        let row = |at: usize| {
            let target = f32::from(u8::from(at.is_multiple_of(5)));
            let noise = ((at * 37) % 101) as f32 / 101.0;
            (vec![target * 0.01 + noise * 0.012, 100.0 * noise, 7.0], target)
        };
        (0..600).map(row).unzip()
    }

    #[test]
    fn it_finds_what_parts_the_rows() {
        let (rows, targets) = rows();
        let layer = Subjectivity::of_rows(&rows, &targets);
        let logit =
            |row: &Vec<f32>| row.iter().zip(&layer.weight).map(|(x, w)| x * w).sum::<f32>() + layer.bias;
        let right = rows.iter().zip(&targets).filter(|(row, target)| (logit(row) > 0.0) == (**target > 0.5));
        assert!(right.count() > 590);
        assert!(layer.weight[0] > 0.0 && layer.weight[1] < 0.0 && layer.weight[2].abs() < 1e-3, "{layer:?}");
    }

    #[test]
    fn the_minimum_has_no_slope() {
        let (rows, targets) = rows();
        let standard: Vec<Vec<f64>> =
            rows.iter().map(|row| vec![f64::from(row[0]) * 100.0, f64::from(row[1]) / 30.0, 1.0]).collect();
        let weights = class_weights(&targets);
        let point = logistic(&standard, &targets, &weights);
        let loss = |point: &[f64]| {
            let rows = standard.iter().zip(&targets).zip(&weights);
            let fit: f64 =
                rows.map(|((row, target), w)| w * cross_entropy(dot(row, point), f64::from(*target))).sum();
            fit / rows_of(&standard) + RIDGE * dot(&point[..2], &point[..2])
        };
        for at in 0..3 {
            for by in [-0.01, 0.01] {
                let mut near = point.clone();
                near[at] += by;
                assert!(loss(&near) > loss(&point), "{at} {by}");
            }
        }
    }

    fn rows_of(rows: &[Vec<f64>]) -> f64 {
        rows.len() as f64
    }

    #[test]
    fn slope_and_offset_are_stored_with_it() {
        let layer = Subjectivity { weight: vec![0.5, -0.25], bias: 1.0 };
        let tensors = layer.tensors(2.0, 0.5);
        assert_eq!(tensors[SUBJECTIVITY_WEIGHT], Array { shape: vec![1, 2], data: vec![1.0, -0.5] });
        assert_eq!(tensors[SUBJECTIVITY_BIAS], Array { shape: vec![1], data: vec![2.5] });
    }
}
