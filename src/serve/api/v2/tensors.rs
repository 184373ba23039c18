//! Tensors of the Open Inference Protocol: in JSON, or as bytes behind the JSON.
//!
//! A BYTES tensor as binary data is, for each element, its length (4 bytes, little-endian) and its bytes; numbers
//! are little-endian, booleans one byte.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::predict::{Prediction, Truncate};
use crate::serve::api::shared::{Review, TruncateMode};
use crate::serve::compute::score::{ScoreRequest, ScoreResponse, check_abstain};
use crate::serve::http::json::{self, Object, WholeNumber};
use crate::serve::models::verdict::Verdict;
use crate::serve::named::{Named, named};
use crate::serve::problem::{Problem, ProblemKind, quoted};

/// The name of the one input.
pub const INPUT: &str = "text";

named! {
    /// An output tensor; they are answered in this order.
    pub enum Output {
        /// The label.
        Label = "label",
        /// Probability of the more probable side.
        Score = "score",
        /// Probabilities: negative, positive.
        Probabilities = "probabilities",
        /// Tokens that the model read.
        Tokens = "tokens",
        /// Words that the model's vocabulary does not hold.
        UnknownTokens = "unknown_tokens",
        /// Whether part of the text was not read.
        Truncated = "truncated",
    }
}

impl Output {
    /// Its type, as the protocol calls it.
    pub fn datatype(self) -> &'static str {
        match self {
            Output::Label => "BYTES",
            Output::Score | Output::Probabilities => "FP32",
            Output::Tokens | Output::UnknownTokens => "INT32",
            Output::Truncated => "BOOL",
        }
    }

    /// The shape for `texts` texts (-1 for any number).
    pub fn shape(self, texts: i64) -> Vec<i64> {
        match self {
            Output::Probabilities => vec![texts, 2],
            _ => vec![texts],
        }
    }

    /// Its values for one text.
    fn cells(self, verdict: &Verdict, prediction: &Prediction) -> Vec<Cell> {
        let int = |value: usize| Cell::Int(value.try_into().unwrap_or(i32::MAX));
        match self {
            Output::Label => vec![Cell::Text(verdict.label.as_str())],
            Output::Score => vec![Cell::Float(verdict.score)],
            Output::Probabilities => vec![Cell::Float(verdict.negative), Cell::Float(verdict.positive)],
            Output::Tokens => vec![int(prediction.tokens)],
            Output::UnknownTokens => vec![int(prediction.unknown_tokens)],
            Output::Truncated => vec![Cell::Bool(prediction.dropped_tokens > 0)],
        }
    }
}

/// A value of an output.
enum Cell {
    Text(&'static str),
    Float(f32),
    Int(i32),
    Bool(bool),
}

impl Cell {
    fn to_value(&self) -> Value {
        match self {
            Cell::Text(text) => json!(text),
            Cell::Float(value) => json!(value),
            Cell::Int(value) => json!(value),
            Cell::Bool(value) => json!(value),
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Cell::Text(text) => {
                bytes.extend((text.len() as u32).to_le_bytes());
                bytes.extend(text.as_bytes());
            }
            Cell::Float(value) => bytes.extend(value.to_le_bytes()),
            Cell::Int(value) => bytes.extend(value.to_le_bytes()),
            Cell::Bool(value) => bytes.push(u8::from(*value)),
        }
    }
}

/// Which outputs are wanted, each with whether as binary data, and the request's id.
#[derive(Debug)]
pub struct Wanted {
    id: Option<String>,
    outputs: Vec<(Output, bool)>,
}

/// The JSON of a request; fields and parameters that are not ours to know are passed over.
#[derive(Debug, Deserialize)]
pub struct InferRequest {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    parameters: Option<Object<Parameters>>,
    inputs: Vec<Object<InputTensor>>,
    #[serde(default)]
    outputs: Option<Vec<Object<RequestedOutput>>>,
}

#[derive(Debug, Default, Deserialize)]
struct Parameters {
    #[serde(default)]
    truncate: Option<TruncateMode>,
    #[serde(default)]
    abstain: Option<f64>,
    #[serde(default)]
    binary_data_output: Option<bool>,
    #[serde(default)]
    binary_data_size: Option<WholeNumber>,
    #[serde(default)]
    binary_data: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct InputTensor {
    name: String,
    shape: Vec<WholeNumber>,
    datatype: String,
    #[serde(default)]
    parameters: Option<Object<Parameters>>,
    #[serde(default)]
    data: Option<Vec<Nested>>,
}

/// Elements may be nested as the shape is; a row per text is what some clients send.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "`data` must hold strings")]
enum Nested {
    One(String),
    Row(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct RequestedOutput {
    name: String,
    #[serde(default)]
    parameters: Option<Object<Parameters>>,
}

impl InferRequest {
    /// Reads the JSON and the tensors behind it.
    ///
    /// # Errors
    /// 400 where it is not JSON or the lengths do not add up, 422 where the tensors are not those of the model.
    pub fn parse(json: &[u8], tensors: &[u8]) -> Result<(ScoreRequest<'static>, Wanted), Problem> {
        let request: Self = json::read(json)?;
        let invalid = |detail: String| Err(Problem::new(ProblemKind::InvalidFields, detail));
        let Ok([Object(input)]) = <[Object<InputTensor>; 1]>::try_from(request.inputs) else {
            return invalid(format!("`inputs` must hold one tensor, named `{INPUT}`"));
        };
        if input.name != INPUT || input.datatype != "BYTES" {
            return invalid(format!(
                "input {} of type {}: the model has one input, `{INPUT}` of type BYTES",
                quoted(&input.name),
                quoted(&input.datatype)
            ));
        }
        let size = input.parameters.and_then(|parameters| parameters.0.binary_data_size);
        let texts: Vec<String> = match (input.data, size) {
            (Some(data), None) => data.into_iter().flat_map(Nested::into_texts).collect(),
            (None, Some(WholeNumber(size))) if size == tensors.len() as u64 => read_bytes_tensor(tensors)?,
            (None, Some(WholeNumber(size))) => {
                let detail = format!("binary_data_size is {size}, {} bytes follow the JSON", tensors.len());
                return Err(Problem::new(ProblemKind::Malformed, detail));
            }
            _ => return invalid("give `data`, or binary data and its `binary_data_size`".into()),
        };
        let shape: Vec<u64> = input.shape.into_iter().map(|WholeNumber(size)| size).collect();
        let elements = shape.iter().try_fold(1u64, |product, size| product.checked_mul(*size));
        if elements != Some(texts.len() as u64) {
            // A shape may have any number of sides.
            let sides = &shape[..shape.len().min(4)];
            let more = if sides.len() < shape.len() { " and further sides" } else { "" };
            return invalid(format!("shape {sides:?}{more} does not fit {} texts", texts.len()));
        }
        let parameters = request.parameters.map_or_else(Parameters::default, |parameters| parameters.0);
        let abstain = check_abstain(parameters.abstain)?;
        let by_default = parameters.binary_data_output.unwrap_or(false);
        let mut outputs = Vec::new();
        for Object(wanted) in request.outputs.unwrap_or_default() {
            let Some(output) = Output::of_name(&wanted.name) else {
                let names: Vec<_> = Output::ALL.iter().map(|output| output.name()).collect();
                return invalid(format!(
                    "no output {}; there are {}",
                    quoted(&wanted.name),
                    names.join(", ")
                ));
            };
            // Each is written for every text: a long list of them would be a small request for an endless answer.
            if outputs.iter().any(|(named, _)| *named == output) {
                return invalid(format!("output `{}` is wanted twice", output.name()));
            }
            let binary = wanted.parameters.and_then(|parameters| parameters.0.binary_data);
            outputs.push((output, binary.unwrap_or(by_default)));
        }
        if outputs.is_empty() {
            outputs = Output::ALL.iter().map(|output| (*output, by_default)).collect();
        }
        let question = ScoreRequest {
            texts: texts.into_iter().map(Cow::Owned).collect(),
            truncate: parameters.truncate.map(Truncate::from).unwrap_or_default(),
            abstain,
            ..ScoreRequest::default()
        };
        Ok((question, Wanted { id: request.id, outputs }))
    }
}

impl Nested {
    fn into_texts(self) -> Vec<String> {
        match self {
            Nested::One(text) => vec![text],
            Nested::Row(row) => row,
        }
    }
}

fn read_bytes_tensor(mut bytes: &[u8]) -> Result<Vec<String>, Problem> {
    let broken = |detail: &'static str| Problem::new(ProblemKind::Malformed, detail);
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| broken("a length is cut off"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let (text, rest) = rest.split_at_checked(length).ok_or_else(|| broken("an element is cut off"))?;
        let text = std::str::from_utf8(text).map_err(|_| broken("an element is not UTF-8 text"))?;
        texts.push(text.to_string());
        bytes = rest;
    }
    Ok(texts)
}

/// The two parts of an answer's body.
#[derive(Debug)]
pub struct InferResponse {
    /// The JSON.
    pub json: Vec<u8>,
    /// The tensors wanted as binary data, one after the other.
    pub tensors: Vec<u8>,
}

impl InferResponse {
    /// The outputs `wanted` of `scored`.
    pub fn new(scored: &ScoreResponse, wanted: Wanted) -> Self {
        let mut tensors = Vec::new();
        let mut outputs = Vec::new();
        for (output, binary) in &wanted.outputs {
            let cells = scored
                .predictions
                .iter()
                .flat_map(|prediction| output.cells(&scored.verdict(prediction), prediction));
            let mut entry = Map::new();
            entry.insert("name".into(), json!(output.name()));
            entry.insert("datatype".into(), json!(output.datatype()));
            entry.insert("shape".into(), json!(output.shape(scored.predictions.len() as i64)));
            if *binary {
                let before = tensors.len();
                cells.for_each(|cell| cell.write(&mut tensors));
                entry.insert("parameters".into(), json!({"binary_data_size": tensors.len() - before}));
            } else {
                entry.insert("data".into(), cells.map(|cell| cell.to_value()).collect());
            }
            outputs.push(Value::Object(entry));
        }
        let mut answer = Map::new();
        answer.insert("model_name".into(), json!(&*scored.loaded.name));
        answer.insert("model_version".into(), json!(scored.loaded.version));
        if let Some(id) = &wanted.id {
            answer.insert("id".into(), json!(id));
        }
        answer.insert("outputs".into(), Value::Array(outputs));
        Self { json: Value::Object(answer).to_string().into_bytes(), tensors }
    }
}

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
    /// Instead of `data`: where the texts follow the JSON.
    #[schema(nullable = false)]
    parameters: Option<BinaryData>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_as_json_in_rows_or_as_bytes() {
        let parse = |json: &str, tensors: &[u8]| InferRequest::parse(json.as_bytes(), tensors);
        let texts = |json: &str, tensors: &[u8]| parse(json, tensors).unwrap().0.texts;
        let json = r#"{"inputs":[{"name":"text","shape":[2.0,1],"datatype":"BYTES","data":[["a"],["b"]]}]}"#;
        assert_eq!(texts(json, b""), ["a", "b"]);
        let json = r#"{"inputs":[{"name":"text","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":11.0}}]}"#;
        assert_eq!(texts(json, b"\x01\0\0\0a\x02\0\0\0bc"), ["a", "bc"]);
        for bad in [
            &b"\x01\0\0\0a\x09\0\0\0bc"[..],
            b"\x01\0\0\0a\x02\0\0\0\xff\xff",
            b"\x01\0\0\0abcdefgh"[..11].as_ref(),
        ] {
            assert_eq!(parse(json, bad).unwrap_err().kind(), ProblemKind::Malformed);
        }
        assert_eq!(parse(json, b"").unwrap_err().kind(), ProblemKind::Malformed);
        let json = r#"{"inputs":[{"name":"text","shape":[3],"datatype":"BYTES","data":["a"]}]}"#;
        assert_eq!(parse(json, b"").unwrap_err().kind(), ProblemKind::InvalidFields);
    }
}
