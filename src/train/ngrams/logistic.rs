//! Logistic regression: on the sparse grams of many reviews (L-BFGS), and on a handful of logits (Newton).

use std::collections::VecDeque;

use crate::train::metrics::{class_weights, cross_entropy, sigmoid};

/// Reviews as rows of a sparse matrix, `X = S B R`: B tells which columns a row has, R scales the columns by `ratios`,
/// S brings every row to length 1 (a row of length 0 stays 0).
pub(super) struct SparseRows {
    /// Columns of row after row, each column at most once in a row.
    pub(super) columns: Vec<u32>,
    /// Where each row ends in `columns`.
    pub(super) ends: Vec<usize>,
    /// r, one for each column.
    pub(super) ratios: Vec<f64>,
}

/// What a row should come out as, and how much it counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// Probability, 0 to 1.
    pub(super) target: f64,
    /// At least 0.
    pub(super) weight: f64,
}

/// How long [`Rows::fit`] looks for the minimum.
#[derive(Clone, Copy, Debug)]
pub(super) struct StopCriteria {
    /// Share of its first length under which the gradient is short enough.
    pub(super) tolerance: f64,
    /// Steps after which it is left at that.
    pub(super) steps: usize,
}

/// Steps that L-BFGS remembers: more than 10 gained no time on the reviews.
const MEMORY: usize = 10;

impl SparseRows {
    /// What is to be added to the weights v of the columns and to the bias c, so that the sums w + v and b + c minimise
    ///
    /// `|w|^2 / 2 + inverse_regularization * sum(weight_i * cross-entropy(target_i, sigmoid((X (v + w))_i + c + b)))`
    ///
    /// by L-BFGS (Nocedal and Wright 2006, algorithm 7.4) with an almost exact line search, which costs one pass over
    /// the rows however many points it tries. The same input gives the same bits.
    pub(super) fn fit_from(
        &self,
        weights: &[f64],
        bias: f64,
        aims: &[Target],
        inverse_regularization: f64,
        stop: StopCriteria,
    ) -> (Vec<f64>, f64) {
        let (columns, scales) = (self.ratios.len(), self.scales());
        // The bias is the last parameter.
        let mut point = vec![0.0; columns + 1];
        let mut logits = self.products(&[weights, &[bias]].concat(), &scales);
        let mut gradient = self.gradient(&point, &logits, &scales, aims, inverse_regularization);
        let enough = stop.tolerance * length(&gradient);
        let mut memory: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
        for _ in 0..stop.steps {
            if length(&gradient) <= enough {
                break;
            }
            let direction = descent(&gradient, &memory);
            let along = self.products(&direction, &scales);
            let step = line_search(&point, &direction, &logits, &along, aims, inverse_regularization);
            point.iter_mut().zip(&direction).for_each(|(at, d)| *at += step * d);
            logits.iter_mut().zip(&along).for_each(|(z, d)| *z += step * d);
            let next = self.gradient(&point, &logits, &scales, aims, inverse_regularization);
            let moved: Vec<f64> = direction.iter().map(|d| step * d).collect();
            let change: Vec<f64> = next.iter().zip(&gradient).map(|(next, old)| next - old).collect();
            let curvature = dot(&moved, &change);
            gradient = next;
            if curvature <= 0.0 {
                // Only rounding makes it so, at the minimum.
                break;
            }
            if memory.len() == MEMORY {
                memory.pop_front();
            }
            memory.push_back((moved, change, 1.0 / curvature));
        }
        let bias = point.pop().unwrap_or_default();
        (point, bias)
    }

    /// [`Rows::fit_from`] nothing.
    #[cfg(test)]
    fn fit(&self, aims: &[Target], inverse_regularization: f64, stop: StopCriteria) -> (Vec<f64>, f64) {
        self.fit_from(&vec![0.0; self.ratios.len()], 0.0, aims, inverse_regularization, stop)
    }

    fn rows(&self) -> impl Iterator<Item = &[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.columns[start..end])
    }

    /// S: what brings each row to length 1.
    fn scales(&self) -> Vec<f64> {
        let square = |row: &[u32]| row.iter().map(|&j| self.ratios[j as usize].powi(2)).sum::<f64>();
        let scale = |square: f64| if square > 0.0 { 1.0 / square.sqrt() } else { 0.0 };
        self.rows().map(|row| scale(square(row))).collect()
    }

    /// `X w + b` for the parameters w, b.
    fn products(&self, parameters: &[f64], scales: &[f64]) -> Vec<f64> {
        let (weights, bias) = parameters.split_at(self.ratios.len());
        let scaled: Vec<f64> = weights.iter().zip(&self.ratios).map(|(w, r)| w * r).collect();
        let sum = |row: &[u32]| row.iter().map(|&j| scaled[j as usize]).sum::<f64>();
        self.rows().zip(scales).map(|(row, scale)| scale * sum(row) + bias[0]).collect()
    }

    /// The gradient at `point`, whose logits are given.
    fn gradient(
        &self,
        point: &[f64],
        logits: &[f64],
        scales: &[f64],
        aims: &[Target],
        inverse_regularization: f64,
    ) -> Vec<f64> {
        let mut gradient = vec![0.0; self.ratios.len()];
        let mut bias = 0.0;
        for (((row, scale), z), aim) in self.rows().zip(scales).zip(logits).zip(aims) {
            let error = inverse_regularization * aim.weight * (sigmoid(*z) - aim.target);
            bias += error;
            row.iter().for_each(|&j| gradient[j as usize] += scale * error);
        }
        gradient.iter_mut().zip(&self.ratios).zip(point).for_each(|((g, r), w)| *g = *g * r + w);
        gradient.push(bias);
        gradient
    }
}

/// The L-BFGS direction: minus the inverse Hessian, as far as `memory` (move, change of gradient, 1 / their product;
/// oldest first) knows it, times the gradient.
fn descent(gradient: &[f64], memory: &VecDeque<(Vec<f64>, Vec<f64>, f64)>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut shares = Vec::with_capacity(memory.len());
    for (moved, change, inverse) in memory.iter().rev() {
        let share = inverse * dot(moved, &direction);
        direction.iter_mut().zip(change).for_each(|(d, y)| *d -= share * y);
        shares.push(share);
    }
    let scale = memory.back().map_or(1.0, |(_, change, inverse)| 1.0 / (inverse * dot(change, change)));
    direction.iter_mut().for_each(|d| *d *= scale);
    for ((moved, change, inverse), share) in memory.iter().zip(shares.iter().rev()) {
        let share = share - inverse * dot(change, &direction);
        direction.iter_mut().zip(moved).for_each(|(d, s)| *d += share * s);
    }
    direction
}

/// The step along `direction` (in logits: `along`) at which the objective's slope has nearly vanished: Newton's
/// method, within a bracket.
fn line_search(
    point: &[f64],
    direction: &[f64],
    logits: &[f64],
    along: &[f64],
    aims: &[Target],
    inverse_regularization: f64,
) -> f64 {
    // The bias, the last parameter, is not held small.
    let held = point.len() - 1;
    let (cross, square) =
        (dot(&point[..held], &direction[..held]), dot(&direction[..held], &direction[..held]));
    let slope = |step: f64| {
        let (mut first, mut second) = (cross + step * square, square);
        for ((z, d), aim) in logits.iter().zip(along).zip(aims) {
            let p = sigmoid(z + step * d);
            first += inverse_regularization * aim.weight * (p - aim.target) * d;
            second += inverse_regularization * aim.weight * p * (1.0 - p) * d * d;
        }
        (first, second)
    };
    let (start, mut curvature) = slope(0.0);
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let (mut step, mut first) = (0.0, start);
    for _ in 0..30 {
        let newton = step - first / curvature;
        step = match newton > low && newton < high {
            true => newton,
            false if high.is_finite() => 0.5 * (low + high),
            false => 2.0 * low.max(1e-9),
        };
        (first, curvature) = slope(step);
        // A hundredth of the slope left changes no direction that matters.
        if first.abs() <= 0.01 * start.abs() {
            break;
        }
        if first < 0.0 { low = step } else { high = step }
    }
    step
}

/// The factors a, b and the constant c with which `a * lstm + b * wide + c` has the least cross-entropy on `targets`
/// (0 to 1), by Newton's method. Each class counts half, whatever its share: held-out films need not be liked as often
/// as films are.
///
/// The two logits of a review must come from models that have not learnt from it, or the better fitted one is
/// trusted too much.
///
/// # Panics
/// When the three have different lengths.
pub fn combine(lstm_logits: &[f32], wide_logits: &[f32], targets: &[f32]) -> (f32, f32, f32) {
    combine_weighted(lstm_logits, wide_logits, targets, class_weights(targets))
}

/// The factor a and the constant c with which `a * logit + c` has the least cross-entropy on `targets` (Platt 1999), each
/// row counting the same: the constant takes in how often the rows are positive.
pub fn platt(logits: &[f32], targets: &[f32]) -> (f32, f32) {
    let (factor, _, shift) =
        combine_weighted(logits, &vec![0.0; logits.len()], targets, vec![1.0; targets.len()]);
    (factor, shift)
}

fn combine_weighted(
    lstm_logits: &[f32],
    wide_logits: &[f32],
    targets: &[f32],
    weights: Vec<f64>,
) -> (f32, f32, f32) {
    assert!(lstm_logits.len() == wide_logits.len() && wide_logits.len() == targets.len(), "lengths");
    let rows: Vec<([f64; 3], f64, f64)> = lstm_logits
        .iter()
        .zip(wide_logits)
        .zip(targets.iter().zip(weights))
        .map(|((lstm, wide), (target, w))| ([f64::from(*lstm), f64::from(*wide), 1.0], f64::from(*target), w))
        .collect();
    // Holds the factors finite where the two sides can be parted without a fault; too weak to matter elsewhere.
    let ridge = 1e-3;
    let loss = |factors: &[f64; 3]| {
        let fit: f64 = rows.iter().map(|(x, target, w)| w * cross_entropy(dot(x, factors), *target)).sum();
        fit + ridge * dot(factors, factors) / 2.0
    };
    let mut factors = [0.0f64; 3];
    let mut best = loss(&factors);
    for _ in 0..100 {
        let mut gradient = factors.map(|factor| ridge * factor);
        let mut hessian = [[ridge, 0.0, 0.0], [0.0, ridge, 0.0], [0.0, 0.0, ridge]];
        for (x, target, w) in &rows {
            let p = sigmoid(dot(x, &factors));
            for i in 0..3 {
                gradient[i] += w * (p - target) * x[i];
                (0..3).for_each(|j| hessian[i][j] += w * p * (1.0 - p) * x[i] * x[j]);
            }
        }
        let move_by = solve(hessian, gradient);
        let trials = (0..40).map(|halvings| 0.5f64.powi(halvings));
        let mut points = trials.map(|part| std::array::from_fn(|i| factors[i] - part * move_by[i]));
        let Some((point, value)) =
            points.find_map(|point| Some((point, loss(&point))).filter(|x| x.1 < best))
        else {
            break;
        };
        (factors, best) = (point, value);
    }
    (factors[0] as f32, factors[1] as f32, factors[2] as f32)
}

/// Solves `matrix * x = right` for a symmetric, positive definite matrix by Gaussian elimination.
fn solve(mut matrix: [[f64; 3]; 3], mut right: [f64; 3]) -> [f64; 3] {
    for pivot in 0..3 {
        for row in pivot + 1..3 {
            let factor = matrix[row][pivot] / matrix[pivot][pivot];
            (pivot..3).for_each(|column| matrix[row][column] -= factor * matrix[pivot][column]);
            right[row] -= factor * right[pivot];
        }
    }
    for row in (0..3).rev() {
        let known: f64 = (row + 1..3).map(|column| matrix[row][column] * right[column]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn length(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: StopCriteria = StopCriteria { tolerance: 1e-9, steps: 500 };

    fn rows() -> (SparseRows, Vec<Target>) {
        let rows = SparseRows {
            columns: vec![0, 1, 1, 2, 0, 2, 3, 2],
            ends: vec![2, 4, 7, 7, 8],
            ratios: vec![1.5, -0.5, 2.0, 0.25],
        };
        let aim = |(target, weight)| Target { target, weight };
        let aims = [(1.0, 1.0), (0.0, 2.0), (0.75, 1.0), (0.1, 0.5), (0.5, 1.0)];
        (rows, aims.map(aim).to_vec())
    }

    fn objective(rows: &SparseRows, aims: &[Target], inverse_regularization: f64, point: &[f64]) -> f64 {
        let logits = rows.products(point, &rows.scales());
        let fit: f64 =
            logits.iter().zip(aims).map(|(z, aim)| aim.weight * cross_entropy(*z, aim.target)).sum();
        dot(&point[..4], &point[..4]) / 2.0 + inverse_regularization * fit
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_objective() {
        let (rows, aims) = rows();
        let point = [0.3, -0.7, 0.2, 1.1, 0.4];
        let logits = rows.products(&point, &rows.scales());
        let gradient = rows.gradient(&point, &logits, &rows.scales(), &aims, 3.0);
        for at in 0..5 {
            let moved = |by: f64| {
                let mut moved = point;
                moved[at] += by;
                objective(&rows, &aims, 3.0, &moved)
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - gradient[at]).abs() < 1e-6, "{at}: {slope} {}", gradient[at]);
        }
    }

    #[test]
    fn the_fit_is_a_minimum_whatever_the_strength_and_repeats_its_bits() {
        let (rows, aims) = rows();
        for inverse_regularization in [1e-3, 1.0, 30.0, 1e4] {
            let (mut point, bias) = rows.fit(&aims, inverse_regularization, STOP);
            assert_eq!((point.clone(), bias), rows.fit(&aims, inverse_regularization, STOP));
            point.push(bias);
            let lowest = objective(&rows, &aims, inverse_regularization, &point);
            for at in 0..5 {
                for by in [-1e-3, 1e-3] {
                    let mut moved = point.clone();
                    moved[at] += by;
                    assert!(
                        objective(&rows, &aims, inverse_regularization, &moved) > lowest,
                        "{inverse_regularization} {at} {by}"
                    );
                }
            }
        }
    }

    #[test]
    fn without_columns_the_bias_is_the_logit_of_the_mean_target() {
        let rows = SparseRows { columns: vec![], ends: vec![0, 0], ratios: vec![] };
        let aims = [Target { target: 0.9, weight: 2.0 }, Target { target: 0.0, weight: 1.0 }];
        let (weights, bias) = rows.fit(&aims, 5.0, STOP);
        assert!(weights.is_empty());
        assert!((sigmoid(bias) - 0.6).abs() < 1e-6);
        // Rows that count nothing leave it at the start.
        assert_eq!(rows.fit(&[Target { target: 1.0, weight: 0.0 }; 2], 5.0, STOP), (vec![], 0.0));
    }

    #[test]
    fn combining_finds_the_factors_that_made_soft_targets() {
        let lstm: Vec<f32> = (0..200).map(|n| (n * 37 % 101) as f32 / 20.0 - 2.5).collect();
        let wide: Vec<f32> = (0..200).map(|n| (n * 53 % 97) as f32 / 25.0 - 2.0).collect();
        let made = |(a, b): (&f32, &f32)| sigmoid(f64::from(0.5 * a + 1.5 * b - 0.25)) as f32;
        let targets: Vec<f32> = lstm.iter().zip(&wide).map(made).collect();
        let (a, b, c) = combine(&lstm, &wide, &targets);
        for (found, expected) in [(a, 0.5), (b, 1.5), (c, -0.25)] {
            assert!((found - expected).abs() < 1e-3, "{found} {expected}");
        }
    }

    #[test]
    fn combining_stays_finite_where_nothing_decides_or_everything_does() {
        for targets in [[1.0, 0.0], [1.0, 1.0]] {
            let (a, b, c) = combine(&[60.0, -60.0], &[0.0, 0.0], &targets);
            assert!(a.is_finite() && b == 0.0 && c.is_finite(), "{a} {b} {c}");
        }
        assert_eq!(combine(&[], &[], &[]), (0.0, 0.0, 0.0));
    }
}
