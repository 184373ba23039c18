//! Bodies of the Open Inference Protocol, as the description has them.

use utoipa::ToSchema;

use super::tensors::Output;
use crate::serve::api::shared::{Review, TruncateMode};

/// A request of the Open Inference Protocol.
#[derive(ToSchema)]
#[schema(example = json!({
    "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["A gripping, beautifully shot film."]}]
}))]
#[allow(dead_code, reason = "only its schema is used")]
pub struct InferBody {
    /// Comes back with the answer.
    #[schema(nullable = false)]
    id: Option<String>,
    /// Options.
    #[schema(nullable = false)]
    parameters: Option<InferParameters>,
    /// The one input.
    #[schema(min_items = 1, max_items = 1)]
    inputs: Vec<InferInput>,
    /// Which outputs; all of them where none is named.
    #[schema(nullable = false)]
    outputs: Option<Vec<InferOutput>>,
}

/// Options of an inference.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct InferParameters {
    /// What to do with a text longer than the model reads.
    #[schema(nullable = false)]
    truncate: Option<TruncateMode>,
    /// The score below which the label is `uncertain`, 0.5 to 1.
    #[schema(minimum = 0.5, maximum = 1.0, nullable = false)]
    abstain: Option<f32>,
    /// Whether outputs come as bytes behind the JSON, where they say nothing of their own.
    #[schema(nullable = false)]
    binary_data_output: Option<bool>,
    /// `str` or `base64`: how elements stand for texts, where the input says nothing of its own.
    #[schema(nullable = false)]
    content_type: Option<String>,
}

/// The input tensor.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct InferInput {
    /// `text`.
    #[schema(pattern = "^text$", example = "text")]
    name: String,
    /// Its product must be the number of texts.
    #[schema(min_items = 1, example = json!([1]))]
    shape: Vec<i64>,
    /// `BYTES`.
    #[schema(pattern = "^BYTES$", example = "BYTES")]
    datatype: String,
    /// The texts.
    #[schema(value_type = Vec<Review>, min_items = 1, required = false)]
    data: Vec<String>,
    /// Options of this input.
    #[schema(nullable = false)]
    parameters: Option<InferInputParameters>,
}

/// Options of an input.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct InferInputParameters {
    /// How many bytes the texts have that follow the JSON; instead of `data`.
    #[schema(minimum = 0, nullable = false)]
    binary_data_size: Option<i64>,
    /// `str`, or `base64`: elements are texts in base64.
    #[schema(nullable = false)]
    content_type: Option<String>,
}

/// Bytes of a tensor that follow the JSON.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct BinaryData {
    /// How many bytes.
    #[schema(minimum = 0)]
    binary_data_size: i64,
}

/// An output that is wanted.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct InferOutput {
    /// Its name.
    #[schema(value_type = Output, example = "label")]
    name: String,
    /// Options of this output.
    #[schema(nullable = false)]
    parameters: Option<InferOutputParameters>,
}

/// Options of an output.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct InferOutputParameters {
    /// Whether it comes as bytes behind the JSON.
    #[schema(nullable = false)]
    binary_data: Option<bool>,
    /// Of `probabilities`: gives so many classes, the most probable one first, as `probability:place:label`.
    #[schema(minimum = 0, nullable = false)]
    classification: Option<usize>,
}

/// An answer of the Open Inference Protocol.
#[derive(ToSchema)]
#[schema(example = json!({
    "model_name": "imdb", "model_version": "0f1e2d3c4b5a",
    "outputs": [{"name": "label", "datatype": "BYTES", "shape": [1], "data": ["positive"]}]
}))]
#[allow(dead_code, reason = "only its schema is used")]
pub struct InferAnswer {
    /// The model.
    model_name: String,
    /// Its version.
    model_version: String,
    /// The request's.
    #[schema(nullable = false)]
    id: Option<String>,
    /// The outputs that were asked for, in this order.
    outputs: Vec<OutputTensor>,
}

/// The JSON of an answer and, behind it, the values of the outputs that were wanted as binary data.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct InferBytes(Vec<u8>);

/// One output.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct OutputTensor {
    /// Its name.
    name: Output,
    /// Its type.
    #[schema(example = "BYTES")]
    datatype: String,
    /// The number of texts first.
    #[schema(example = json!([1]))]
    shape: Vec<i64>,
    /// The values, row by row: strings of BYTES, numbers, booleans.
    #[schema(value_type = Vec<serde_json::Value>, required = false)]
    data: (),
    /// Instead of `data`: where the values follow the JSON.
    #[schema(nullable = false)]
    parameters: Option<BinaryData>,
}
