//! Training of the wide part: which grams it has, their log-count ratios, their weights.

pub mod logistic;
pub mod stack;

use std::collections::BTreeMap;

use half::f16;

use self::logistic::{SparseRows, StopCriteria, Target};
use crate::error::{Error, Result};
use crate::model::{LONGEST_NGRAM, Ngram, NgramIndex, NgramTable, Scratch, each_gram, parts};
use crate::train::data::example::Example;

/// How a table of grams is trained. The defaults measured best on held-out films, within what chance decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NgramSettings {
    /// Reviews that a gram must stand in.
    pub min_reviews: usize,
    /// Grams that the table has at most: those with the largest weights when all are fitted; they are fitted anew.
    pub max_ngrams: usize,
    /// What is added to every count before ratios are formed.
    pub alpha: f64,
    /// How much the reviews count against small weights (C in liblinear).
    pub inverse_regularization: f64,
    /// Share of its first length under which the gradient is short enough.
    pub tolerance: f64,
    /// Steps of the solver at most.
    pub steps: usize,
}

impl Default for NgramSettings {
    fn default() -> Self {
        Self {
            min_reviews: 3,
            max_ngrams: 150_000,
            alpha: 1.0,
            inverse_regularization: 30.0,
            tolerance: 1e-3,
            steps: 200,
        }
    }
}

/// Trains a table of grams on `examples`, whose targets may be soft.
///
/// With x_ij = 1 where review i holds gram j, its target t_i and its weight c_i:
/// `r_j = ln(p_j / sum(p)) - ln(q_j / sum(q))`, `p_j = alpha + sum(c_i t_i x_ij)`,
/// `q_j = alpha + sum(c_i (1 - t_i) x_ij)`; then the weights w and the bias b minimise
/// `|w|^2 / 2 + inverse_regularization * sum(c_i * cross-entropy(t_i, sigmoid(score_i)))`, [`NgramTable`]'s score.
///
/// With `start`, the table goes on from that one: its grams keep their ratios, `|w|^2` becomes the distance from its weights,
/// and grams of these examples that it has not begin at 0. What no example says anything of stays as it was.
///
/// One thread, no chance: equal examples in equal order give an equal file.
///
/// # Errors
/// [`Error::Setting`] for an alpha or a inverse_regularization that is not a positive number, or where they make weights that 16 bits
/// cannot hold; [`Error::Data`] for a target that is no probability, for a weight that is negative or not finite, and
/// where no word stands in enough reviews.
pub fn train_ngrams(
    examples: &[&Example],
    settings: &NgramSettings,
    start: Option<&NgramTable>,
) -> Result<NgramTable> {
    for (name, value) in
        [("alpha", settings.alpha), ("inverse_regularization", settings.inverse_regularization)]
    {
        if !(value.is_finite() && value > 0.0) {
            return Err(Error::setting(name, format!("{value} is not a positive number")));
        }
    }
    for example in examples {
        let (target, weight) = (example.target, example.weight);
        if !((0.0..=1.0).contains(&target) && weight >= 0.0 && weight.is_finite()) {
            return Err(Error::Data(format!("an example has the target {target} and the weight {weight}")));
        }
    }
    let reviews: Vec<&[u32]> = examples.iter().map(|example| example.ids.as_slice()).collect();
    let mut keys = frequent_grams(&reviews, settings.min_reviews.max(1));
    let start = Start::of(start);
    keys.extend(start.grams.keys());
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() {
        let reason = format!("no word stands in {} of {} reviews", settings.min_reviews, examples.len());
        return Err(Error::Data(reason));
    }
    let aims: Vec<Target> = examples
        .iter()
        .map(|example| Target { target: f64::from(example.target), weight: f64::from(example.weight) })
        .collect();
    let mut fit = fit(&keys, &reviews, &aims, settings, &start);
    if keys.len() > settings.max_ngrams {
        let mut heaviest: Vec<usize> = (0..keys.len()).collect();
        heaviest.sort_by(|&a, &b| fit.weights[b].abs().total_cmp(&fit.weights[a].abs()).then(a.cmp(&b)));
        heaviest.truncate(settings.max_ngrams);
        heaviest.sort_unstable();
        let kept: Vec<u64> = heaviest.into_iter().map(|at| keys[at]).collect();
        fit = self::fit(&kept, &reviews, &aims, settings, &start);
    }
    NgramTable::new(&fit.grams(), fit.bias as f32).map_err(|reason| Error::setting("ngrams", reason))
}

struct Fit {
    keys: Vec<u64>,
    ratios: Vec<f64>,
    weights: Vec<f64>,
    bias: f64,
}

impl Fit {
    fn grams(&self) -> Vec<Ngram> {
        let values = self.ratios.iter().zip(&self.weights);
        let gram = |(&key, (&ratio, &weight)): (&u64, (&f64, &f64))| Ngram {
            key,
            ratio: ratio as f32,
            weight: weight as f32,
        };
        self.keys.iter().zip(values).map(gram).collect()
    }
}

/// What a table goes on from.
struct Start {
    /// Ratio and weight of each gram.
    grams: BTreeMap<u64, (f64, f64)>,
    bias: f64,
}

impl Start {
    fn of(table: Option<&NgramTable>) -> Self {
        let gram = |gram: Ngram| (gram.key, (f64::from(gram.ratio), f64::from(gram.weight)));
        let grams = table.into_iter().flat_map(NgramTable::iter).map(gram).collect();
        Self { grams, bias: table.map_or(0.0, |table| f64::from(table.bias())) }
    }
}

/// Ratios and weights of the grams `keys`.
fn fit(keys: &[u64], reviews: &[&[u32]], aims: &[Target], settings: &NgramSettings, start: &Start) -> Fit {
    let (columns, ends) = places(&NgramIndex::new(keys), reviews);
    let ratios = log_count_ratios(&columns, &ends, aims, keys.len(), settings.alpha);
    let known = |key: &u64| start.grams.get(key).copied();
    // The weights are learnt for the ratios that the file holds.
    let ratios = ratios.into_iter().zip(keys).map(|(ratio, key)| {
        let ratio = known(key).map_or(ratio, |(ratio, _)| ratio);
        f64::from(f16::from_f64(ratio))
    });
    let rows = SparseRows { columns, ends, ratios: ratios.collect() };
    let stop = StopCriteria { tolerance: settings.tolerance, steps: settings.steps };
    let before: Vec<f64> = keys.iter().map(|key| known(key).map_or(0.0, |(_, weight)| weight)).collect();
    let (moved, bias) = rows.fit_from(&before, start.bias, aims, settings.inverse_regularization, stop);
    let weights = before.iter().zip(moved).map(|(before, moved)| before + moved).collect();
    Fit { keys: keys.to_vec(), ratios: rows.ratios, weights, bias: start.bias + bias }
}

/// The keys, ascending, of the grams that stand in at least `min` reviews.
fn frequent_grams(reviews: &[&[u32]], min: usize) -> Vec<u64> {
    let (mut keys, mut shorter) = (Vec::new(), NgramIndex::new(&[]));
    for length in 1..=LONGEST_NGRAM {
        // A gram stands in no more reviews than its parts, so one with a rare part needs no counting.
        let mut frequent = counts(reviews, length, &shorter);
        frequent.retain(|(_, count)| *count >= min);
        let found: Vec<u64> = frequent.into_iter().map(|(key, _)| key).collect();
        shorter = NgramIndex::new(&found);
        // More ids make a higher key, so the keys stay in order.
        keys.extend(found);
    }
    keys
}

/// In how many reviews each gram of `length` ids stands, for those whose parts are in `shorter`; keys ascending.
fn counts(reviews: &[&[u32]], length: usize, shorter: &NgramIndex) -> Vec<(u64, usize)> {
    let (mut all, mut here) = (Vec::new(), Vec::new());
    for ids in reviews {
        here.clear();
        each_gram(ids, |key| {
            let (front, back) = parts(key);
            let is_long_enough = (front > 0) == (length > 1) && (parts(front).0 > 0) == (length > 2);
            if is_long_enough
                && (length == 1 || shorter.find(front).is_some() && shorter.find(back).is_some())
            {
                here.push(key);
            }
        });
        here.sort_unstable();
        here.dedup();
        all.extend_from_slice(&here);
    }
    all.sort_unstable();
    all.chunk_by(|a, b| a == b).map(|same| (same[0], same.len())).collect()
}

/// The places in `index` of each review's distinct grams, ascending, review after review; and where each review ends.
fn places(index: &NgramIndex, reviews: &[&[u32]]) -> (Vec<u32>, Vec<usize>) {
    let (mut columns, mut ends, mut scratch) = (Vec::new(), Vec::new(), Scratch::default());
    for ids in reviews {
        let start = columns.len();
        index.each_distinct(ids, &mut scratch, |place, _| columns.push(place));
        // In order, the solver's passes over the weights are kinder to the cache.
        columns[start..].sort_unstable();
        ends.push(columns.len());
    }
    (columns, ends)
}

/// r for every column, as [`train_ngrams`] writes it down.
fn log_count_ratios(columns: &[u32], ends: &[usize], aims: &[Target], count: usize, alpha: f64) -> Vec<f64> {
    let (mut positive, mut negative) = (vec![alpha; count], vec![alpha; count]);
    let mut start = 0;
    for (&end, aim) in ends.iter().zip(aims) {
        for &column in &columns[start..end] {
            positive[column as usize] += aim.weight * aim.target;
            negative[column as usize] += aim.weight * (1.0 - aim.target);
        }
        start = end;
    }
    let of_all = (positive.iter().sum::<f64>() / negative.iter().sum::<f64>()).ln();
    positive.iter().zip(&negative).map(|(p, q)| (p / q).ln() - of_all).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pack_ngram;

    const GOOD: u32 = 10;
    const BAD: u32 = 11;
    const NOT: u32 = 12;
    const FILM: u32 = 13;

    fn settings() -> NgramSettings {
        NgramSettings { min_reviews: 2, tolerance: 1e-6, ..NgramSettings::default() }
    }

    fn example(ids: &[u32], target: f32) -> Example {
        Example { ids: [&[1], ids].concat(), target, weight: 1.0, logit_offset: 0.0 }
    }

    /// Made-up reviews in which only the order of the words tells.
    fn examples() -> Vec<Example> {
        (0..24)
            .map(|n| match n % 4 {
                0 => example(&[FILM, GOOD, 20 + n, FILM], 1.0),
                1 => example(&[FILM, BAD, 20 + n], 0.0),
                2 => example(&[NOT, GOOD, FILM], 0.0),
                _ => example(&[NOT, BAD, FILM], 1.0),
            })
            .collect()
    }

    fn train(examples: &[Example], settings: &NgramSettings) -> Result<NgramTable> {
        train_ngrams(&examples.iter().collect::<Vec<_>>(), settings, None)
    }

    fn score(table: &NgramTable, ids: &[u32]) -> f32 {
        table.score(ids, &mut Scratch::default())
    }

    #[test]
    fn runs_of_words_are_learnt_that_the_words_alone_cannot_tell() {
        let table = train(&examples(), &settings()).unwrap();
        for example in examples() {
            assert_eq!(score(&table, &example.ids) > 0.0, example.target == 1.0, "{:?}", example.ids);
        }
        assert!(score(&table, &[1, NOT, BAD]) > 1.0 && score(&table, &[1, NOT, GOOD]) < -1.0);
        let again = train(&examples(), &settings()).unwrap();
        assert_eq!(again.to_bytes(), table.to_bytes());
    }

    #[test]
    fn grams_are_counted_once_a_review_and_rare_ones_left_out() {
        let reviews: [&[u32]; 4] = [&[1, 5, 6, 7, 5, 6, 7], &[5, 6, 2, 7], &[8, 8, 8, 8], &[5, 6, 7, 0, 9]];
        let reviews: Vec<&[u32]> = reviews.to_vec();
        let key = |ids: &[u32]| pack_ngram(ids).unwrap();
        let expected: [&[u32]; 6] = [&[5], &[6], &[7], &[5, 6], &[6, 7], &[5, 6, 7]];
        assert_eq!(frequent_grams(&reviews, 2), expected.map(key));
        assert_eq!(frequent_grams(&reviews, 3), [&[5][..], &[6], &[7], &[5, 6]].map(key));
        assert_eq!(counts(&reviews, 1, &NgramIndex::new(&[]))[..3], [(5, 3), (6, 3), (7, 3)]);
        // Every gram, counted without short cuts.
        let every = frequent_grams(&reviews, 1);
        assert!(every.contains(&key(&[7, 5, 6])) && every.contains(&key(&[8, 8, 8])));
        assert!(every.is_sorted() && !every.contains(&key(&[6, 9])));
    }

    #[test]
    fn ratios_are_those_of_the_formula_with_soft_and_weighted_targets() {
        let aim = |target, weight| Target { target, weight };
        // Column 0 in rows 0 and 1, column 1 in row 1.
        let ratios = log_count_ratios(&[0, 0, 1], &[1, 3], &[aim(1.0, 2.0), aim(0.25, 1.0)], 2, 1.0);
        let (p, q) = ([1.0 + 2.0 + 0.25, 1.25f64], [1.0 + 0.75, 1.75f64]);
        for column in 0..2 {
            let expected = (p[column] / (p[0] + p[1])).ln() - (q[column] / (q[0] + q[1])).ln();
            assert!((ratios[column] - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn a_soft_target_pulls_less_and_an_example_of_no_weight_not_at_all() {
        let mut soft = examples();
        soft.iter_mut().for_each(|example| example.target = 0.5 + (example.target - 0.5) * 0.6);
        let (hard, soft) = (train(&examples(), &settings()).unwrap(), train(&soft, &settings()).unwrap());
        let ids = [1, FILM, GOOD];
        assert!(0.0 < score(&soft, &ids) && score(&soft, &ids) < score(&hard, &ids));
        // Fitted well, the probability is the target: sigmoid^-1(0.8) is 1.39.
        assert!((score(&soft, &examples()[0].ids) - 1.39).abs() < 0.2);

        let mut more = examples();
        more.push(Example { weight: 0.0, ..example(&[FILM, GOOD], 0.0) });
        assert_eq!(train(&more, &settings()).unwrap(), hard);
        let mut doubled = examples();
        doubled.iter_mut().for_each(|example| example.weight = 2.0);
        let half = NgramSettings { alpha: 2.0, inverse_regularization: 15.0, ..settings() };
        let (ours, theirs) = (score(&train(&doubled, &half).unwrap(), &ids), score(&hard, &ids));
        assert!((ours - theirs).abs() < 1e-2, "{ours} {theirs}");
    }

    #[test]
    fn the_table_keeps_the_heaviest_grams() {
        let all = train(&examples(), &settings()).unwrap();
        let few = train(&examples(), &NgramSettings { max_ngrams: 4, ..settings() }).unwrap();
        let mut heaviest: Vec<Ngram> = all.iter().collect();
        heaviest.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
        let lightest_kept = heaviest[3].weight.abs();
        assert_eq!(few.len(), 4);
        for gram in few.iter() {
            let weight = all.iter().find(|other| other.key == gram.key).unwrap().weight;
            assert!(weight.abs() >= lightest_kept);
        }
    }

    #[test]
    fn a_table_goes_on_from_another() {
        let before = train(&examples(), &settings()).unwrap();
        // Elsewhere people call a bad film good, and speak of what the first table never saw.
        let elsewhere: Vec<Example> = (0..24)
            .map(|n| if n % 2 == 0 { example(&[BAD, 99], 1.0) } else { example(&[98, FILM], 0.0) })
            .collect();
        let all: Vec<&Example> = elsewhere.iter().collect();
        let after = train_ngrams(&all, &settings(), Some(&before)).unwrap();
        assert!(score(&before, &[1, BAD]) < 0.0 && score(&after, &[1, BAD, 99]) > 0.0);
        assert!(score(&after, &[1, 98]) < 0.0, "a gram of the new examples");
        // What the new examples say nothing of is what it was.
        let weight = |table: &NgramTable, ids: &[u32]| {
            let key = pack_ngram(ids).unwrap();
            table.iter().find(|gram| gram.key == key).map(|gram| gram.weight)
        };
        assert_eq!(weight(&after, &[NOT, GOOD]), weight(&before, &[NOT, GOOD]));
    }

    #[test]
    fn what_cannot_be_learnt_from_is_named() {
        let fault = |examples: &[Example], settings: &NgramSettings| {
            train(examples, settings).unwrap_err().to_string()
        };
        assert!(fault(&[], &settings()).contains("of 0 reviews"));
        assert!(fault(&examples(), &NgramSettings { min_reviews: 99, ..settings() }).contains("99"));
        for (target, weight) in [(1.5, 1.0), (f32::NAN, 1.0), (1.0, -1.0), (1.0, f32::INFINITY)] {
            let mut wrong = examples();
            wrong[3] = Example { target, weight, ..wrong[3].clone() };
            assert!(fault(&wrong, &settings()).contains("an example has"));
        }
        for wrong in [0.0, -1.0, f64::NAN] {
            assert!(fault(&examples(), &NgramSettings { alpha: wrong, ..settings() }).contains("`alpha`"));
            assert!(
                fault(&examples(), &NgramSettings { inverse_regularization: wrong, ..settings() })
                    .contains("`inverse_regularization`")
            );
        }
    }
}
