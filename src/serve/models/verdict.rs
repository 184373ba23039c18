//! What is said of a text: a label, and how sure it is.

use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::predict::{Label, Prediction};
use crate::serve::named::Named;

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
    /// What `prediction` says; `uncertain` where the score is below `abstain`.
    pub fn new(prediction: &Prediction, abstain: Option<f32>) -> Self {
        Self {
            label: abstain.map_or_else(|| prediction.label(), |least| prediction.label_above(least)),
            score: prediction.score(),
            negative: 1.0 - prediction.probability,
            positive: prediction.probability,
        }
    }
}

impl Named for Label {
    const ALL: &'static [Self] = &Label::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl PartialSchema for Label {
    fn schema() -> RefOr<Schema> {
        let names = Label::ALL.map(Label::as_str);
        let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
        schema.description(Some("A label.")).build().into()
    }
}

impl ToSchema for Label {}
