//! What is said of a text besides its verdict: its words, its sentences, how the verdict came about.

use std::ops::Range;

use super::{Encoding, Label, Prediction, Predictor, Truncate, WordWeight};
use crate::error::Result;
use crate::text::sentences;

/// Most points of a trajectory; of more sentences the ends that lie most evenly are taken.
pub const MAX_POINTS: usize = 24;
/// Score from which on a sentence is sure enough to contradict another.
const CONFIDENT: f32 = 0.9;

/// What is asked for besides the verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DetailsWanted {
    /// What each word does.
    pub words: bool,
    /// Each sentence by itself.
    pub sentences: bool,
    /// The verdict after each sentence.
    pub trajectory: bool,
}

/// What is said of one text besides its verdict; ranges and places are in bytes.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Details {
    /// The words that the model read.
    pub words: Vec<WordWeight>,
    /// The sentences that hold a word, each judged as if it stood alone.
    pub sentences: Vec<(Range<usize>, Prediction)>,
    /// What would be said if the text ended at this place.
    pub trajectory: Vec<(usize, Prediction)>,
}

impl Details {
    /// Whether confident sentences disagree.
    pub fn mixed(&self) -> bool {
        disagree(self.sentences.iter().map(|(_, said)| (said.label(), said.score())))
    }
}

impl DetailsWanted {
    /// Whether anything is.
    pub fn any(self) -> bool {
        self.words || self.sentences || self.trajectory
    }
}

impl Predictor {
    /// What is `wanted` of `text`, on the calling thread; a text that is too long keeps its last tokens.
    ///
    /// # Errors
    /// As [`Predictor::encode`].
    pub fn details(&self, text: &str, wanted: DetailsWanted) -> Result<Details> {
        let words = if wanted.words { self.explain(text, Truncate::Tail)? } else { Vec::new() };
        let borders = if wanted.sentences || wanted.trajectory { sentences(text) } else { Vec::new() };
        let judged = if wanted.sentences { &borders[..] } else { &[] };
        let ends = if wanted.trajectory { trajectory_ends(&borders) } else { Vec::new() };
        let parts: Vec<Range<usize>> = judged.iter().cloned().chain(ends.iter().map(|&end| 0..end)).collect();
        let encodings = self.encode_parts(text, &parts);
        let readable: Vec<Encoding> = encodings.iter().flatten().cloned().collect();
        let mut predictions = self.run(&readable).into_iter();
        let said: Vec<Option<Prediction>> =
            encodings.iter().map(|part| part.as_ref().and_then(|_| predictions.next())).collect();
        let (of_sentences, of_points) = said.split_at(judged.len());
        let sentences = judged.iter().zip(of_sentences);
        let points = ends.iter().zip(of_points);
        Ok(Details {
            words,
            sentences: sentences.filter_map(|(range, said)| Some((range.clone(), said.clone()?))).collect(),
            trajectory: points.filter_map(|(&end, said)| Some((end, said.clone()?))).collect(),
        })
    }
}

/// Whether some of these labels and scores are surely positive and others surely negative.
pub fn disagree(verdicts: impl Iterator<Item = (Label, f32)> + Clone) -> bool {
    let says = |label: Label| verdicts.clone().any(|(said, score)| said == label && score >= CONFIDENT);
    says(Label::Positive) && says(Label::Negative)
}

/// The ends of `borders`, at most [`MAX_POINTS`] of them, the last one always.
pub fn trajectory_ends(borders: &[Range<usize>]) -> Vec<usize> {
    let (count, kept) = (borders.len(), borders.len().min(MAX_POINTS));
    (1..=kept).map(|point| borders[(point * count).div_ceil(kept) - 1].end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sure_verdicts_disagree() {
        let of = |verdicts: &[(Label, f32)]| disagree(verdicts.iter().copied());
        assert!(of(&[(Label::Positive, 0.95), (Label::Negative, 0.9)]));
        assert!(!of(&[(Label::Positive, 0.95), (Label::Negative, 0.89)]));
        assert!(!of(&[(Label::Positive, 0.95), (Label::Uncertain, 0.99)]) && !of(&[]));
    }

    proptest::proptest! {
        #[test]
        fn points_are_spread_and_end_with_the_text(count in 0usize..200) {
            let borders: Vec<Range<usize>> = (0..count).map(|at| 10 * at..10 * at + 9).collect();
            let ends = trajectory_ends(&borders);
            assert_eq!(ends.len(), count.min(MAX_POINTS));
            assert_eq!(ends.last(), borders.last().map(|last| &last.end));
            assert!(ends.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
