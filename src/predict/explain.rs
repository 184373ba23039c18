//! Why the model says so: what each word of a text adds to its logit.

use std::ops::Range;

use super::{Predictor, Truncate, keep_tail, overlapping_windows};
use crate::error::Result;
use crate::text::UNKNOWN_ID;

/// A word or mark of a text, and what it does to the verdict.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WordWeight {
    /// Where it stands in the text, in bytes.
    pub range: Range<usize>,
    /// What it adds to the logit: above 0 it speaks for a positive text.
    pub weight: f32,
    /// Whether the vocabulary holds it.
    pub known: bool,
}

/// The work of an explanation, in parts that can be done one at a time.
#[derive(Clone, Debug)]
pub struct ExplanationPlan {
    words: Vec<WordWeight>,
    /// For each window its ids, and which word each of them is; none for the start id.
    windows: Vec<(Vec<u32>, Vec<Option<usize>>)>,
    /// Whether a word is in any window.
    read: Vec<bool>,
}

impl ExplanationPlan {
    /// For each id of the part `window`, which word it is of; `None` for a start id.
    ///
    /// # Panics
    /// When there is no such part.
    pub fn places(&self, window: usize) -> &[Option<usize>] {
        &self.windows[window].1
    }

    /// Number of parts.
    pub fn windows(&self) -> usize {
        self.windows.len()
    }

    /// Tokens of the part `window`.
    pub fn tokens(&self, window: usize) -> usize {
        self.windows[window].0.len()
    }
}

impl Predictor {
    /// What each word that the model reads of `text` adds to the logit that [`Predictor::run`] gives it, in order.
    ///
    /// The network's part is an integrated gradient from a text of average words, that of the grams is exact; where a text
    /// is read in several windows, a word's weight is the mean over all of them, as the logit is. The weights add up to
    /// the logit less that of average words, nearly. It takes some six times as long as the prediction.
    ///
    /// ```no_run
    /// # use imdb_sentiment::{Predictor, Truncate};
    /// let predictor = Predictor::load("models/imdb")?;
    /// let text = "Beautifully shot, but dull.";
    /// for word in predictor.explain(text, Truncate::Tail)? {
    ///     println!("{:+.2} {}", word.weight, &text[word.range]);
    /// }
    /// # Ok::<(), imdb_sentiment::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Predictor::encode`].
    pub fn explain(&self, text: &str, truncate: Truncate) -> Result<Vec<WordWeight>> {
        let mut plan = self.plan_explanation(text, truncate)?;
        for window in 0..plan.windows() {
            self.explain_window(&mut plan, window);
        }
        Ok(plan.finish())
    }

    /// The parts of [`Predictor::explain`], none of them done.
    ///
    /// # Errors
    /// As [`Predictor::encode`].
    pub fn plan_explanation(&self, text: &str, truncate: Truncate) -> Result<ExplanationPlan> {
        let encoding = self.encode(text, truncate)?;
        let mut words: Vec<WordWeight> = Vec::with_capacity(encoding.tokens);
        let mut word_of = Vec::with_capacity(encoding.tokens);
        self.tokenizer.encode_with(text, &self.vocabulary, |_, range| {
            // Several ids of one range are the pieces of one word.
            if words.last().is_none_or(|word| word.range != range) {
                words.push(WordWeight { range, weight: 0.0, known: true });
            }
            word_of.push(words.len() - 1);
        });
        // The same cut over numbers: 0 for the start id, then each id's number and one.
        let (count, limit) = (word_of.len() + 1, self.config.max_length);
        let mut numbers: Vec<u32> = (0..count as u32).collect();
        let numbers = match truncate {
            Truncate::Windows => overlapping_windows(&numbers, limit),
            Truncate::Head => vec![numbers[..count.min(limit)].to_vec()],
            Truncate::Tail | Truncate::Error => {
                keep_tail(&mut numbers, limit);
                vec![numbers]
            }
        };
        let several = numbers.len() > 1;
        let mut read = vec![false; words.len()];
        let windows = encoding.windows.into_iter().zip(numbers).map(|(ids, numbers)| {
            // Each of several windows begins with a start id of its own.
            let place = |(at, number): (usize, u32)| match several && at == 0 {
                true => None,
                false => (number as usize).checked_sub(1).map(|at| word_of[at]),
            };
            let places: Vec<Option<usize>> = numbers.into_iter().enumerate().map(place).collect();
            for (word, id) in places.iter().zip(&ids).filter_map(|(place, id)| Some(((*place)?, id))) {
                read[word] = true;
                words[word].known &= *id != UNKNOWN_ID;
            }
            (ids, places)
        });
        let windows = windows.collect();
        Ok(ExplanationPlan { words, windows, read })
    }

    /// Does the part `window` of `plan`, which is one of this model.
    ///
    /// # Panics
    /// When there is no such part, or the plan is another model's.
    pub fn explain_window(&self, plan: &mut ExplanationPlan, window: usize) {
        let (ids, places) = &plan.windows[window];
        let share = 1.0 / plan.windows.len() as f32;
        for (place, weight) in places.iter().zip(self.engine.contributions(ids)) {
            if let Some(word) = place {
                plan.words[*word].weight += share * weight;
            }
        }
    }
}

impl ExplanationPlan {
    /// The words that the model reads, with what the parts that are done say of them.
    pub fn finish(self) -> Vec<WordWeight> {
        self.words.into_iter().zip(self.read).filter_map(|(word, read)| read.then_some(word)).collect()
    }
}
