//! How good probabilities are, against labels.

use serde::{Deserialize, Serialize};

/// Bins of the calibration error.
const ECE_BINS: usize = 15;

/// Figures of a set of scored reviews; shares lie in 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Number of reviews.
    pub reviews: usize,
    /// Mean binary cross-entropy.
    pub loss: f64,
    /// Share of right labels; positive from probability 0.5.
    pub accuracy: f64,
    /// Share of right ones among those called positive; 0 where none was.
    pub precision: f64,
    /// Share of positive ones that were called so; 0 where there is none.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Area under the ROC curve: how often a positive review scores above a negative one, ties counted half; 0.5
    /// where one of the classes is missing.
    pub auc: f64,
    /// Expected calibration error over 15 bins of equal width of the probability of `positive`: the mean, weighted by
    /// reviews, of the distance between a bin's mean probability and its share of positive reviews.
    pub ece: f64,
    /// Positive reviews called positive.
    pub true_positives: usize,
    /// Negative reviews called positive.
    pub false_positives: usize,
    /// Negative reviews called negative.
    pub true_negatives: usize,
    /// Positive reviews called negative.
    pub false_negatives: usize,
}

/// How it is with texts that are answered only from a score on, as `server --abstain` does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Coverage {
    /// The score.
    pub score: f64,
    /// Share of the texts whose score is as high.
    pub answered: f64,
    /// Share of right labels among these; not a number where there is none.
    pub accuracy: f64,
}

/// Scores from which on one may want answers.
const SCORES: [f64; 8] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99];

/// For each number of the surest texts the score of the last of them, and how many of them are labelled rightly.
pub fn surest_first(logits: &[f32], targets: &[f32]) -> Vec<(f64, usize)> {
    let mut rows: Vec<(f32, bool)> =
        logits.iter().zip(targets).map(|(z, t)| (z.abs(), (*z >= 0.0) == (*t >= 0.5))).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let counted = rows.iter().scan(0, |right, (z, is_right)| {
        *right += usize::from(*is_right);
        Some((sigmoid(f64::from(*z)), *right))
    });
    counted.collect()
}

/// What is answered, and how often that is right, from scores of .5 to .99 on.
pub fn coverage(logits: &[f32], targets: &[f32]) -> [Coverage; SCORES.len()] {
    let rows = surest_first(logits, targets);
    SCORES.map(|score| {
        let answered = rows.partition_point(|(reached, _)| *reached >= score);
        let right = rows[..answered].last().map_or(0, |(_, right)| *right);
        let share = answered as f64 / rows.len().max(1) as f64;
        Coverage { score, answered: share, accuracy: right as f64 / answered as f64 }
    })
}

/// [`coverage`] as it is printed for people.
pub fn coverage_table(coverage: &[Coverage]) -> String {
    let mut text = format!("\n{:<20}{:>12}{:>12}\n", "from a score of", "answered", "accuracy");
    for Coverage { score, answered, accuracy } in coverage {
        let accuracy = if accuracy.is_nan() { "-".into() } else { format!("{accuracy:.4}") };
        text += &format!("{score:<20.2}{:>10.1} %{accuracy:>12}\n", 100.0 * answered);
    }
    text
}

/// The reviews whose probability lies in one fifteenth of 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bin {
    /// Number of reviews.
    pub reviews: usize,
    /// Sum of their probabilities.
    pub probabilities: f64,
    /// Sum of their targets.
    pub targets: f64,
}

impl Bin {
    /// Mean probability; not a number for an empty bin.
    pub fn probability(&self) -> f64 {
        self.probabilities / self.reviews as f64
    }

    /// Share of positive reviews; not a number for an empty bin.
    pub fn positive(&self) -> f64 {
        self.targets / self.reviews as f64
    }
}

/// The probability of a logit.
pub fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// The cross-entropy of the logit `z` against `target`; from the logit, so that a saturated one stays finite.
pub fn cross_entropy(z: f64, target: f64) -> f64 {
    z.max(0.0) - z * target + (-z.abs()).exp().ln_1p()
}

fn bin_of(probability: f64) -> usize {
    ((probability * ECE_BINS as f64) as usize).min(ECE_BINS - 1)
}

/// Reviews by probability, in the bins of the calibration error.
pub fn bins(logits: &[f32], targets: &[f32]) -> [Bin; ECE_BINS] {
    let mut bins = [Bin::default(); ECE_BINS];
    for (&logit, &target) in logits.iter().zip(targets) {
        let probability = sigmoid(f64::from(logit));
        let bin = &mut bins[bin_of(probability)];
        bin.reviews += 1;
        bin.probabilities += probability;
        bin.targets += f64::from(target);
    }
    bins
}

/// The calibration error where either class counts half: what is left of it does not come from how often texts are positive,
/// which a text does not tell. That of [`Metrics::ece`] where one class is missing.
pub fn ece_of_even_classes(logits: &[f32], targets: &[f32]) -> f64 {
    let mut distances = [0f64; ECE_BINS];
    for ((&logit, &target), weight) in logits.iter().zip(targets).zip(class_weights(targets)) {
        let probability = sigmoid(f64::from(logit));
        distances[bin_of(probability)] += weight * (probability - f64::from(target));
    }
    distances.iter().map(|distance| distance.abs()).sum::<f64>() / logits.len().max(1) as f64
}

/// The calibration error that as many reviews show in the mean of a model whose probabilities are right: labels are drawn, so
/// that no bin has its exact share. By the normal approximation, `sum over bins of sqrt(2 / pi sum of p (1 - p))` by review.
pub fn ece_by_chance(logits: &[f32]) -> f64 {
    let mut variances = [0f64; ECE_BINS];
    for &logit in logits {
        let probability = sigmoid(f64::from(logit));
        variances[bin_of(probability)] += probability * (1.0 - probability);
    }
    let error = |variance: &f64| (variance * std::f64::consts::FRAC_2_PI).sqrt();
    variances.iter().map(error).sum::<f64>() / logits.len().max(1) as f64
}

impl Metrics {
    /// Figures of `logits` against `targets` (0 or 1), of equal length.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn of(logits: &[f32], targets: &[f32]) -> Self {
        assert_eq!(logits.len(), targets.len());
        let count = logits.len().max(1) as f64;
        let mut metrics = Self { reviews: logits.len(), auc: auc(logits, targets), ..Self::default() };
        for (&logit, &target) in logits.iter().zip(targets) {
            let (z, t) = (f64::from(logit), f64::from(target));
            metrics.loss += cross_entropy(z, t) / count;
            let probability = sigmoid(z);
            match (probability >= 0.5, target >= 0.5) {
                (true, true) => metrics.true_positives += 1,
                (true, false) => metrics.false_positives += 1,
                (false, false) => metrics.true_negatives += 1,
                (false, true) => metrics.false_negatives += 1,
            }
        }
        let share = |part: usize, whole: usize| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let right = metrics.true_positives;
        metrics.accuracy = share(right + metrics.true_negatives, metrics.reviews);
        metrics.precision = share(right, right + metrics.false_positives);
        metrics.recall = share(right, right + metrics.false_negatives);
        metrics.f1 = share(2 * right, 2 * right + metrics.false_positives + metrics.false_negatives);
        metrics.ece =
            bins(logits, targets).iter().map(|bin| (bin.probabilities - bin.targets).abs()).sum::<f64>();
        metrics.ece /= count;
        metrics
    }

    /// Whether there are reviews of either class, without which nothing can be in order.
    pub fn has_both_classes(&self) -> bool {
        let positive = self.true_positives + self.false_negatives;
        (1..self.reviews).contains(&positive)
    }

    /// The area under the ROC curve as it is printed, a dash where one of the classes is missing.
    pub fn auc_text(&self) -> String {
        if self.has_both_classes() { format!("{:.4}", self.auc) } else { "-".into() }
    }

    /// As it is printed for people: one figure a line, the confusion matrix last.
    pub fn to_text(&self) -> String {
        let mut text = format!("{:<12}{}\n", "reviews", self.reviews);
        let value = |value: f64| format!("{value:.4}");
        for (name, value) in [
            ("loss", value(self.loss)),
            ("accuracy", value(self.accuracy)),
            ("precision", value(self.precision)),
            ("recall", value(self.recall)),
            ("f1", value(self.f1)),
            ("auc", self.auc_text()),
            ("ece", value(self.ece)),
        ] {
            text += &format!("{name:<12}{value}\n");
        }
        text += &format!("\n{:<20}{:>12}{:>12}\n", "", "negative", "positive");
        text +=
            &format!("{:<20}{:>12}{:>12}\n", "labelled negative", self.true_negatives, self.false_positives);
        text +=
            &format!("{:<20}{:>12}{:>12}\n", "labelled positive", self.false_negatives, self.true_positives);
        text
    }
}

/// The area under the ROC curve from ranks, ties sharing their mean rank (Mann and Whitney's U).
fn auc(logits: &[f32], targets: &[f32]) -> f64 {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    let positive = targets.iter().filter(|target| **target >= 0.5).count();
    let negative = targets.len() - positive;
    if positive == 0 || negative == 0 {
        return 0.5;
    }
    let (mut at, mut ranks) = (0, 0f64);
    for tie in order.chunk_by(|&a, &b| logits[a] == logits[b]) {
        let mean_rank = at as f64 + (tie.len() + 1) as f64 / 2.0;
        ranks += mean_rank * tie.iter().filter(|&&index| targets[index] >= 0.5).count() as f64;
        at += tie.len();
    }
    let (positive, negative) = (positive as f64, negative as f64);
    (ranks - positive * (positive + 1.0) / 2.0) / (positive * negative)
}

/// For each review the weight with which its class (from target 0.5 positive) counts half; 1 where one class is missing.
pub fn class_weights(targets: &[f32]) -> Vec<f64> {
    let positive = targets.iter().filter(|target| **target >= 0.5).count();
    let negative = targets.len() - positive;
    let weight = |class: usize| match positive.min(negative) {
        0 => 1.0,
        _ => targets.len() as f64 / (2 * class) as f64,
    };
    targets.iter().map(|&target| weight(if target >= 0.5 { positive } else { negative })).collect()
}

/// The probability at which the most labels are right when texts above it count as positive, and the share of them.
pub fn best_threshold(logits: &[f32], targets: &[f32]) -> (f64, f64) {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    let positive = |at: usize| targets[at] >= 0.5;
    // All above the threshold at first; then one after the other below it.
    let mut right = order.iter().filter(|&&at| positive(at)).count();
    let (mut best, mut logit) = (right, f64::NEG_INFINITY);
    for (place, &at) in order.iter().enumerate() {
        right = if positive(at) { right - 1 } else { right + 1 };
        let next = order.get(place + 1).map(|&next| logits[next]);
        if right > best && next != Some(logits[at]) {
            best = right;
            logit = next.map_or(f64::INFINITY, |next| f64::from(logits[at] + next) / 2.0);
        }
    }
    (sigmoid(logit), best as f64 / logits.len().max(1) as f64)
}

/// The temperature that logits are to be divided by for the least cross-entropy on `targets`, between 0.25 and 8
/// (Guo et al. 2017): it changes no label, only how sure the probabilities sound. Each class counts half.
pub fn fit_temperature(logits: &[f32], targets: &[f32]) -> f32 {
    let weights = class_weights(targets);
    let loss = |temperature: f64| -> f64 {
        let rows = logits.iter().zip(targets).zip(&weights);
        rows.map(|((logit, target), weight)| {
            let (z, t) = (f64::from(*logit) / temperature, f64::from(*target));
            weight * cross_entropy(z, t)
        })
        .sum()
    };
    // The loss has one minimum in 1 / temperature, so narrowing a bracket finds it.
    let (mut low, mut high) = (0.125f64, 4.0f64);
    for _ in 0..60 {
        let third = (high - low) / 3.0;
        if loss(1.0 / (low + third)) < loss(1.0 / (high - third)) { high -= third } else { low += third }
    }
    (2.0 / (low + high)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_small_set() {
        let (logits, targets) = ([2.0, -1.0, 0.5, -3.0, 1.0], [1.0, 1.0, 0.0, 0.0, 1.0]);
        let metrics = Metrics::of(&logits, &targets);
        assert_eq!((metrics.true_positives, metrics.false_positives), (2, 1));
        assert_eq!((metrics.true_negatives, metrics.false_negatives), (1, 1));
        assert!((metrics.accuracy - 0.6).abs() < 1e-12);
        assert!((metrics.precision - 2.0 / 3.0).abs() < 1e-12);
        assert!((metrics.recall - 2.0 / 3.0).abs() < 1e-12);
        assert!((metrics.f1 - 2.0 / 3.0).abs() < 1e-12);
        // Of six pairs of a positive and a negative review, one stands the wrong way.
        assert!((metrics.auc - 5.0 / 6.0).abs() < 1e-12);
        let loss: f64 = [(2.0, 1.0), (-1.0, 1.0), (0.5, 0.0), (-3.0, 0.0), (1.0f64, 1.0)]
            .iter()
            .map(|&(z, t): &(f64, f64)| -(t * sigmoid(z).ln() + (1.0 - t) * (1.0 - sigmoid(z)).ln()) / 5.0)
            .sum();
        assert!((metrics.loss - loss).abs() < 1e-12);
    }

    #[test]
    fn the_best_threshold_parts_what_can_be_parted() {
        let (threshold, accuracy) = best_threshold(&[3.0, 1.0, 2.0, 0.5], &[1.0, 0.0, 1.0, 0.0]);
        assert!((threshold - sigmoid(1.5)).abs() < 1e-6 && accuracy == 1.0);
        assert_eq!(best_threshold(&[1.0, 1.0], &[1.0, 0.0]).1, 0.5);
        assert_eq!(best_threshold(&[], &[]).1, 0.0);
    }

    #[test]
    fn each_class_weighs_half() {
        assert_eq!(class_weights(&[1.0, 0.0, 0.0, 0.0]), [2.0, 2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0]);
        assert_eq!(class_weights(&[1.0, 1.0]), [1.0, 1.0]);
        assert!(class_weights(&[]).is_empty());
    }

    #[test]
    fn saturated_logits_and_ties_stay_finite() {
        let metrics = Metrics::of(&[1e4, -1e4, 1e4, 1e4], &[1.0, 0.0, 0.0, 1.0]);
        assert!((metrics.loss - 2500.0).abs() < 1e-9);
        assert!((metrics.auc - 0.75).abs() < 1e-12);
        assert_eq!(Metrics::of(&[0.0; 4], &[1.0, 0.0, 1.0, 0.0]).auc, 0.5);
        assert_eq!(Metrics::of(&[], &[]).reviews, 0);
        let alone = Metrics::of(&[1.0], &[1.0]);
        assert_eq!((alone.auc, alone.auc_text()), (0.5, "-".into()));
    }

    #[test]
    fn calibration_error_is_the_distance_of_the_bins() {
        // Two reviews of probability 0.9 in one bin, half of them positive; one of 0.1 that is negative.
        let logit = |p: f64| (p / (1.0 - p)).ln() as f32;
        let metrics = Metrics::of(&[logit(0.9), logit(0.9), logit(0.1)], &[1.0, 0.0, 0.0]);
        assert!((metrics.ece - (2.0 * 0.4 + 0.1) / 3.0).abs() < 1e-6);
    }

    #[test]
    fn how_often_texts_are_positive_is_no_error_of_even_classes() {
        // Told at .75 and .25, as is right of as many of either class; three of four are positive.
        let logit = 3f32.ln();
        let rows = |logit: f32, positive: usize, negative: usize| {
            let rows = std::iter::repeat_n((logit, 1.0), positive);
            rows.chain(std::iter::repeat_n((logit, 0.0), negative))
        };
        let (logits, targets): (Vec<f32>, Vec<f32>) = rows(logit, 90, 10).chain(rows(-logit, 30, 30)).unzip();
        assert!(ece_of_even_classes(&logits, &targets) < 1e-6);
        assert!(Metrics::of(&logits, &targets).ece > 0.15);
        let even = Metrics::of(&logits[..20], &targets[..20]).ece;
        assert!((ece_of_even_classes(&logits[..20], &targets[..20]) - even).abs() < 1e-12);
        assert_eq!(ece_of_even_classes(&[], &[]), 0.0);
    }

    #[test]
    fn few_reviews_show_a_calibration_error_by_chance() {
        // One bin of probability .5: the mean distance of a share of n draws from it is sqrt(2 / pi * .25 / n).
        assert!((ece_by_chance(&[0.0; 100]) - 0.0399).abs() < 1e-4);
        assert!((ece_by_chance(&[0.0; 10_000]) - 0.00399).abs() < 1e-5);
        assert_eq!(ece_by_chance(&[]), 0.0);
        assert!(ece_by_chance(&[1e4, -1e4]) < 1e-9);
    }

    #[test]
    fn what_is_answered_from_a_score_on_is_told_with_how_often_it_is_right() {
        let logit = |p: f64| (p / (1.0 - p)).ln() as f32;
        let coverage = coverage(&[logit(0.55), logit(0.25), logit(0.93), logit(0.02)], &[0.0, 0.0, 1.0, 1.0]);
        let at = |score: f64| coverage.iter().find(|row| row.score == score).unwrap();
        assert_eq!((at(0.5).answered, at(0.5).accuracy), (1.0, 0.5));
        assert_eq!((at(0.7).answered, at(0.7).accuracy), (0.75, 2.0 / 3.0));
        assert_eq!((at(0.95).answered, at(0.95).accuracy), (0.25, 0.0));
        assert_eq!(at(0.99).answered, 0.0);
    }

    #[test]
    fn the_temperature_undoes_a_scale() {
        // Labels drawn as often as the logits say, then the logits stretched.
        let logits: Vec<f32> = (0..20_000).map(|n| (n % 200) as f32 / 25.0 - 4.0).collect();
        let targets: Vec<f32> = logits
            .iter()
            .enumerate()
            .map(|(n, z)| f32::from(u8::from((n / 200) as f32 / 100.0 < 1.0 / (1.0 + (-z).exp()))))
            .collect();
        let stretched: Vec<f32> = logits.iter().map(|z| z * 2.5).collect();
        assert!((fit_temperature(&stretched, &targets) - 2.5).abs() < 0.1);
    }
}
