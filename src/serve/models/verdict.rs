//! What is said of a text: a label, and how sure it is.

use crate::serve::named::{Named, named};

named! {
    /// A label.
    pub enum Label {
        /// More probably negative.
        Negative = "negative",
        /// More probably positive.
        Positive = "positive",
        /// Not sure enough to say.
        Uncertain = "uncertain",
    }
}

/// What is said of one text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The more probable side, or [`Label::Uncertain`].
    pub label: Label,
    /// Probability of the more probable side.
    pub score: f32,
    /// Probability that the text is negative.
    pub negative: f32,
    /// Probability that the text is positive.
    pub positive: f32,
}

impl Verdict {
    /// What the `probability` of a positive text says; `uncertain` where the score is below `abstain`.
    pub fn new(probability: f32, abstain: Option<f32>) -> Self {
        let (positive, negative) = (probability, 1.0 - probability);
        let (side, score) =
            if positive >= 0.5 { (Label::Positive, positive) } else { (Label::Negative, negative) };
        let label = if abstain.is_some_and(|least| score < least) { Label::Uncertain } else { side };
        Self { label, score, negative, positive }
    }
}

impl Label {
    /// Its text in answers.
    pub fn name(self) -> &'static str {
        Named::name(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_the_labels_and_a_low_one_is_uncertain() {
        let verdict = Verdict::new(0.25, None);
        assert_eq!((verdict.label.name(), verdict.score, verdict.negative), ("negative", 0.75, 0.75));
        assert_eq!(Verdict::new(0.5, None).label.name(), "positive");
        assert_eq!(Verdict::new(0.55, Some(0.6)).label.name(), "uncertain");
        assert_eq!(Verdict::new(0.35, Some(0.6)).label.name(), "negative");
    }
}
