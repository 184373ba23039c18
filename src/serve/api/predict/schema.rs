//! Bodies of `POST /predict`, as the description has them.

use std::borrow::Cow;

use utoipa::openapi::{OneOfBuilder, Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::answer::{Answer, ReportedAnswers};
use super::parts::OffsetsIn;
use super::request::OnError;
use crate::serve::api::shared::{Review, TruncateMode};

/// The schema of a request: two shapes, of which it must have one.
#[derive(ToSchema)]
#[schema(as = PredictRequest)]
#[allow(dead_code, reason = "only its schema is used")]
#[serde(untagged)]
pub enum PredictBody {
    // No comments for the description: beside a `$ref` in a list they break generators.
    One(OneText),
    Many(ManyTexts),
}

/// One text.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
#[serde(deny_unknown_fields)]
pub struct OneText {
    /// The review.
    #[schema(value_type = Review)]
    text: String,
    /// A string or a number that the answer bears, too.
    #[schema(value_type = serde_json::Value, required = false)]
    id: (),
    /// Which model; the default one where it is absent.
    #[schema(nullable = false)]
    model: Option<String>,
    /// What to do with a text longer than the model reads.
    #[schema(nullable = false)]
    truncate: Option<TruncateMode>,
    /// The score below which the label is `uncertain`, 0.5 to 1.
    #[schema(minimum = 0.5, maximum = 1.0, nullable = false)]
    abstain: Option<f32>,
    /// Adds `words`: what each word does.
    #[schema(nullable = false)]
    explain: Option<bool>,
    /// Adds `sentences` and `mixed`: each sentence judged by itself.
    #[schema(nullable = false)]
    sentences: Option<bool>,
    /// Adds `trajectory`: what would be said if the text ended after each sentence.
    #[schema(nullable = false)]
    trajectory: Option<bool>,
    /// In what `start` and `end` count; code points where it is absent.
    #[schema(nullable = false)]
    offsets: Option<OffsetsIn>,
}

/// Many texts.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
#[serde(deny_unknown_fields)]
pub struct ManyTexts {
    /// The reviews.
    #[schema(value_type = Vec<Review>, min_items = 1, max_items = 1024)]
    texts: Vec<String>,
    /// Strings or numbers that the answers bear, too, one for each text.
    #[schema(value_type = Vec<serde_json::Value>, required = false)]
    ids: (),
    /// What a text that cannot be scored does to the others.
    #[schema(nullable = false)]
    on_error: Option<OnError>,
    /// Which model; the default one where it is absent.
    #[schema(nullable = false)]
    model: Option<String>,
    /// What to do with a text longer than the model reads.
    #[schema(nullable = false)]
    truncate: Option<TruncateMode>,
    /// The score below which the label is `uncertain`, 0.5 to 1.
    #[schema(minimum = 0.5, maximum = 1.0, nullable = false)]
    abstain: Option<f32>,
    /// Adds `words`: what each word does.
    #[schema(nullable = false)]
    explain: Option<bool>,
    /// Adds `sentences` and `mixed`: each sentence judged by itself.
    #[schema(nullable = false)]
    sentences: Option<bool>,
    /// Adds `trajectory`: what would be said if the text ended after each sentence.
    #[schema(nullable = false)]
    trajectory: Option<bool>,
    /// In what `start` and `end` count; code points where it is absent.
    #[schema(nullable = false)]
    offsets: Option<OffsetsIn>,
}

/// The schema of an answer: two shapes, of which it has one. Of `anyOf` some generators make a single
/// shape that no answer fits.
pub struct PredictAnswer;

impl PartialSchema for PredictAnswer {
    fn schema() -> RefOr<Schema> {
        let shapes = [Answer::name(), ReportedAnswers::name()];
        let one =
            shapes.iter().fold(OneOfBuilder::new(), |one, name| one.item(Ref::from_schema_name(&**name)));
        RefOr::T(Schema::OneOf(one.build()))
    }
}

impl ToSchema for PredictAnswer {
    fn name() -> Cow<'static, str> {
        "PredictAnswer".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Answer::name().into(), Answer::schema()));
        schemas.push((ReportedAnswers::name().into(), ReportedAnswers::schema()));
        Answer::schemas(schemas);
        ReportedAnswers::schemas(schemas);
    }
}
