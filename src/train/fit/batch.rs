//! What a step learns from: crops of its reviews, long and short, and made-up sentences.

use std::ops::{Range, RangeInclusive};

use rand::Rng;

use crate::train::data::example::Example;

/// How the texts of a step are drawn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampling<'t> {
    /// Tokens of a review that a step reads at most; 0 for all.
    pub crop: usize,
    /// Short crops that are drawn beside a step's reviews, per review.
    pub short_crops: f64,
    /// Stretches with an opinion of their own, in the order in which they are met; where there are any, they
    /// stand in for the short crops.
    pub judged: &'t [Example],
    /// The tokens that end a sentence: a short crop holds whole ones. Without any it begins anywhere.
    pub sentence_ends: &'t [u32],
    /// Made-up sentences.
    pub sentences: &'t [Example],
    /// How many of them are drawn, per review.
    pub sentence_share: f64,
}

/// The texts of a step, reviews first.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Start id first.
    pub ids: Vec<Vec<u32>>,
    /// As [`Example::target`].
    pub targets: Vec<f32>,
    /// As [`Example::weight`].
    pub weights: Vec<f32>,
    /// As [`Example::logit_offset`].
    pub logit_offset: Vec<f32>,
}

impl Batch {
    fn push(&mut self, ids: Vec<u32>, example: &Example, weight: f32) {
        self.ids.push(ids);
        self.targets.push(example.target);
        self.weights.push(weight * example.weight);
        self.logit_offset.push(example.logit_offset);
    }
}

/// Lengths between which a short crop is drawn, in tokens: a sentence or a few.
const SHORT_TOKENS: RangeInclusive<usize> = 5..=60;

/// What a short text counts beside a review, which tells more.
const SHORT_WEIGHT: f32 = 0.5;

impl Sampling<'_> {
    /// The texts of the step over `reviews` that has `number` steps before it.
    pub fn sample_batch(&self, reviews: &[&Example], number: u64, rng: &mut impl Rng) -> Batch {
        let mut step = Batch::default();
        for review in reviews {
            step.push(self.crop(&review.ids, rng), review, 1.0);
        }
        let count = |share: f64| (share * reviews.len() as f64).round() as usize;
        let short = count(self.short_crops);
        if !self.judged.is_empty() {
            let from = (number as usize).wrapping_mul(short);
            for at in 0..short {
                let judged = &self.judged[from.wrapping_add(at) % self.judged.len()];
                step.push(judged.ids.clone(), judged, SHORT_WEIGHT);
            }
        }
        for _ in 0..if self.judged.is_empty() { short } else { 0 } {
            let review = reviews[rng.random_range(0..reviews.len())];
            step.push(self.short_crop(&review.ids, rng), review, SHORT_WEIGHT);
        }
        for _ in 0..if self.sentences.is_empty() { 0 } else { count(self.sentence_share) } {
            let sentence = &self.sentences[rng.random_range(0..self.sentences.len())];
            step.push(sentence.ids.clone(), sentence, SHORT_WEIGHT);
        }
        step
    }

    /// The ids of a review that a step reads: all of them, or a crop behind the start id.
    fn crop(&self, ids: &[u32], rng: &mut impl Rng) -> Vec<u32> {
        if self.crop == 0 || ids.len() <= self.crop {
            return ids.to_vec();
        }
        let from = rng.random_range(1..=ids.len() - (self.crop - 1));
        behind_start(ids, from..from + self.crop - 1)
    }

    /// A sentence or a few of a review, behind the start id.
    fn short_crop(&self, ids: &[u32], rng: &mut impl Rng) -> Vec<u32> {
        let limit = rng.random_range(SHORT_TOKENS);
        if ids.len() <= limit + 1 {
            return ids.to_vec();
        }
        let from = rng.random_range(1..=ids.len() - limit);
        behind_start(ids, self.sentences_from(ids, from, limit))
    }

    /// Whole sentences from the one that holds `from` on: as many as fit into `limit` tokens, at least the first, cut
    /// where it alone is longer than any short crop.
    fn sentences_from(&self, ids: &[u32], from: usize, limit: usize) -> Range<usize> {
        let longest = *SHORT_TOKENS.end();
        let ends = |at: usize| self.sentence_ends.contains(&ids[at]);
        if self.sentence_ends.is_empty() {
            return from..from + limit;
        }
        let earliest = from.saturating_sub(longest).max(1);
        let first = match (earliest..from).rev().find(|&at| ends(at)) {
            Some(end) => end + 1,
            None if earliest == 1 => 1,
            None => from,
        };
        // Marks that are left of the sentence before are none of this one's.
        let first = (first..ids.len()).find(|&at| !ends(at)).unwrap_or(1);
        let from = from.max(first);
        // A run of marks ends one sentence.
        let closed = |at: usize| ends(at) && (at + 1 == ids.len() || !ends(at + 1));
        let mut last = None;
        for at in first..ids.len().min(first + longest) {
            if at >= first + limit && last.is_some() {
                break;
            }
            if at >= from && closed(at) {
                last = Some(at + 1);
            }
        }
        first..last.unwrap_or(ids.len().min(first + longest))
    }
}

fn behind_start(ids: &[u32], range: Range<usize>) -> Vec<u32> {
    std::iter::once(ids[0]).chain(ids[range].iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::random::{Stream, stream_rng};

    fn example(ids: Vec<u32>, target: f32) -> Example {
        Example { ids, target, weight: 1.0, logit_offset: 0.0 }
    }

    #[test]
    fn a_crop_keeps_the_start_and_lies_within_the_review() {
        let ids: Vec<u32> = (1..=500).collect();
        let sampling = |crop| Sampling { crop, ..Sampling::default() };
        let mut rng = stream_rng(1, Stream::Step, 0);
        assert_eq!(sampling(0).crop(&ids, &mut rng), ids);
        assert_eq!(sampling(100).crop(&ids[..50], &mut rng), ids[..50]);
        for _ in 0..200 {
            let long = sampling(100).crop(&ids, &mut rng);
            assert_eq!(long.len(), 100);
            let short = sampling(100).short_crop(&ids, &mut rng);
            assert!(SHORT_TOKENS.contains(&(short.len() - 1)));
            for crop in [long, short] {
                assert_eq!(crop[0], 1);
                assert!(crop[1] > 1 && crop[1..].windows(2).all(|pair| pair[1] == pair[0] + 1));
            }
        }
    }

    #[test]
    fn a_short_crop_holds_whole_sentences() {
        // Sentences of 4, 9, 2 and 100 tokens; 7 ends them, and a run of it ends one.
        let sentence = |tokens: usize| std::iter::repeat_n(3, tokens - 1).chain([7]);
        let lengths = [4, 9, 2, 100];
        let ids: Vec<u32> =
            [1].into_iter().chain(lengths.into_iter().flat_map(sentence)).chain([7, 7]).collect();
        let sampling = Sampling { sentence_ends: &[7], ..Sampling::default() };
        assert_eq!(sampling.sentences_from(&ids, 1, 5), 1..5);
        assert_eq!(sampling.sentences_from(&ids, 4, 3), 1..5);
        assert_eq!(sampling.sentences_from(&ids, 5, 8), 5..14);
        assert_eq!(sampling.sentences_from(&ids, 2, 15), 1..16);
        assert_eq!(sampling.sentences_from(&ids, 20, 10), 16..76, "a sentence longer than any crop is cut");
        assert_eq!(sampling.sentences_from(&ids, 110, 10), 110..118, "and entered where the draw fell");
        let mut rng = stream_rng(1, Stream::Step, 0);
        for _ in 0..500 {
            let crop = sampling.short_crop(&ids, &mut rng);
            assert!(crop.len() > 1 && crop[0] == 1 && crop.len() <= ids.len());
        }
    }

    #[test]
    fn a_step_has_its_reviews_first_then_short_texts_of_half_the_weight() {
        let reviews = [example((1..=300).collect(), 1.0), example((1..=9).collect(), 0.0)];
        let made_up = [Example { logit_offset: -1.5, ..example(vec![1, 5, 6], 0.8) }];
        let sampling = Sampling {
            crop: 100,
            short_crops: 1.5,
            sentences: &made_up,
            sentence_share: 1.0,
            ..Sampling::default()
        };
        let step = sampling.sample_batch(&[&reviews[0], &reviews[1]], 0, &mut stream_rng(1, Stream::Step, 0));
        assert_eq!(step.ids.len(), 2 + 3 + 2);
        assert_eq!((step.ids[0].len(), step.ids[1].len()), (100, 9));
        assert_eq!(step.weights, [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5]);
        assert_eq!(step.targets[..2], [1.0, 0.0]);
        assert_eq!(step.targets[5..], [0.8, 0.8]);
        assert_eq!(step.logit_offset, [0.0, 0.0, 0.0, 0.0, 0.0, -1.5, -1.5]);
        assert!(step.ids[2..5].iter().all(|ids| ids.len() < 62));
    }

    #[test]
    fn judged_stretches_are_met_in_turn_with_their_own_targets() {
        let reviews = [example((1..=300).collect(), 1.0), example((1..=9).collect(), 0.0)];
        let judged: Vec<Example> = (2..=5)
            .map(|word| Example { logit_offset: 0.5, ..example(vec![1, word], 0.1 * word as f32) })
            .collect();
        let sampling = Sampling { short_crops: 1.5, judged: &judged, ..Sampling::default() };
        let mut words = Vec::new();
        for number in 0..4 {
            let step = sampling.sample_batch(
                &[&reviews[0], &reviews[1]],
                number,
                &mut stream_rng(1, Stream::Step, number),
            );
            assert_eq!((step.ids.len(), step.weights[2], step.logit_offset[2]), (5, 0.5, 0.5));
            for (ids, target) in step.ids.iter().zip(&step.targets).skip(2) {
                assert_eq!(*target, 0.1 * ids[1] as f32);
                words.push(ids[1]);
            }
        }
        assert_eq!(words, [2, 3, 4, 5, 2, 3, 4, 5, 2, 3, 4, 5]);
    }
}
