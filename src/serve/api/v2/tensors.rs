//! Tensors of the Open Inference Protocol: in JSON, or as bytes behind the JSON.
//!
//! A BYTES tensor as binary data is, for each element, its length (4 bytes, little-endian) and its bytes; numbers
//! are little-endian, booleans one byte.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::predict::{Label, Prediction, Truncate};
use crate::serve::api::shared::TruncateMode;
use crate::serve::compute::request::{ScoreRequest, ScoreResponse, check_abstain};
use crate::serve::http::json::{self, Object, OneOrMany, WholeNumber};
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
            Output::Label => vec![Cell::Text(verdict.label.as_str().into())],
            Output::Score => vec![Cell::Float(verdict.score)],
            Output::Probabilities => vec![Cell::Float(verdict.negative), Cell::Float(verdict.positive)],
            Output::Tokens => vec![int(prediction.tokens)],
            Output::UnknownTokens => vec![int(prediction.unknown_tokens)],
            Output::Truncated => vec![Cell::Bool(prediction.dropped_tokens > 0)],
        }
    }
}

/// The `count` most probable classes as the classification extension writes them: `probability:place:label`.
fn classes(verdict: &Verdict, count: usize) -> Vec<Cell> {
    let mut classes = [(verdict.negative, Label::Negative), (verdict.positive, Label::Positive)];
    classes.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let cell = |(probability, label): &(f32, Label)| {
        Cell::Text(format!("{probability:.6}:{}:{label}", *label as usize).into())
    };
    classes.iter().take(count).map(cell).collect()
}

/// A value of an output.
enum Cell {
    Text(Cow<'static, str>),
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

/// Which outputs are wanted, and the request's id.
#[derive(Debug)]
pub struct Wanted {
    id: Option<String>,
    outputs: Vec<WantedOutput>,
}

/// An output that is wanted, and how.
#[derive(Debug)]
struct WantedOutput {
    output: Output,
    /// As bytes behind the JSON.
    binary: bool,
    /// As so many classes, the most probable ones first.
    classes: Option<usize>,
}

/// The JSON of a request; fields and parameters that are not ours to know are passed over, those that would change the
/// answer are not.
#[derive(Debug, Deserialize)]
pub struct InferRequest<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    parameters: Option<Object<Parameters>>,
    #[serde(borrow)]
    inputs: Vec<Object<InputTensor<'a>>>,
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
    content_type: Option<String>,
    #[serde(default)]
    sequence_id: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct InputTensor<'a> {
    name: String,
    shape: Vec<WholeNumber>,
    datatype: String,
    #[serde(default)]
    parameters: Option<Object<InputParameters>>,
    /// Elements may be nested as the shape is; a row per text is what some clients send.
    #[serde(borrow, default)]
    data: Option<Vec<OneOrMany<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
struct InputParameters {
    #[serde(default)]
    binary_data_size: Option<WholeNumber>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    shared_memory_region: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct RequestedOutput {
    name: String,
    #[serde(default)]
    parameters: Option<Object<OutputParameters>>,
}

#[derive(Debug, Default, Deserialize)]
struct OutputParameters {
    #[serde(default)]
    binary_data: Option<bool>,
    #[serde(default)]
    classification: Option<WholeNumber>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    shared_memory_region: Option<IgnoredAny>,
}

fn invalid<T>(detail: impl Into<Cow<'static, str>>) -> Result<T, Problem> {
    Err(Problem::new(ProblemKind::InvalidFields, detail))
}

impl<'a> InferRequest<'a> {
    /// Reads the JSON and the tensors behind it.
    ///
    /// # Errors
    /// 400 where it is not JSON or the lengths do not add up, 422 where the tensors are not those of the model or
    /// something is asked for that there is not.
    pub fn parse(json: &'a [u8], tensors: &'a [u8]) -> Result<(ScoreRequest<'a>, Wanted), Problem> {
        let request: Self = json::read(json)?;
        let Ok([Object(input)]) = <[Object<InputTensor>; 1]>::try_from(request.inputs) else {
            return invalid(format!("`inputs` must hold one tensor, named `{INPUT}`"));
        };
        let parameters = request.parameters.map_or_else(Parameters::default, |parameters| parameters.0);
        if parameters.sequence_id.is_some() {
            return invalid("parameters.sequence_id: the model keeps nothing from one request to the next");
        }
        // That of a request stands for all its inputs; here it has one.
        let codec = Codec::of(parameters.content_type.as_deref())?;
        let texts = input.texts(tensors, codec)?;
        let abstain = check_abstain(parameters.abstain)?;
        let by_default = parameters.binary_data_output.unwrap_or(false);
        let outputs = wanted_outputs(request.outputs.unwrap_or_default(), by_default)?;
        let question = ScoreRequest {
            list: Some("inputs[0].data"),
            texts,
            truncate: parameters.truncate.map(Truncate::from).unwrap_or_default(),
            abstain,
            ..ScoreRequest::default()
        };
        Ok((question, Wanted { id: request.id, outputs }))
    }
}

impl<'a> InputTensor<'a> {
    /// The texts that it holds, in JSON or in `tensors`, where its own content type says nothing else in `codec`.
    fn texts(self, tensors: &'a [u8], codec: Codec) -> Result<Vec<Cow<'a, str>>, Problem> {
        if self.name != INPUT || self.datatype != "BYTES" {
            return invalid(format!(
                "input {} of type {}: the model has one input, `{INPUT}` of type BYTES",
                quoted(&self.name),
                quoted(&self.datatype)
            ));
        }
        let parameters = self.parameters.map_or_else(InputParameters::default, |parameters| parameters.0);
        if parameters.shared_memory_region.is_some() {
            return invalid("shared memory is not known here; send the tensor with the request");
        }
        let codec = match parameters.content_type.as_deref() {
            None => codec,
            own => Codec::of(own)?,
        };
        let elements: Vec<Cow<str>> = match (self.data, parameters.binary_data_size) {
            (Some(data), None) => {
                let rows = data.into_iter().map(|row| match row {
                    OneOrMany::One(text) => vec![text],
                    OneOrMany::Many(row) => row,
                });
                rows.flatten().map(|text| text.0).collect()
            }
            (None, Some(WholeNumber(size))) if size == tensors.len() as u64 => read_bytes_tensor(tensors)?,
            (None, Some(WholeNumber(size))) => {
                let detail = format!("binary_data_size is {size}, {} bytes follow the JSON", tensors.len());
                return Err(Problem::new(ProblemKind::Malformed, detail));
            }
            _ => return invalid("give `data`, or binary data and its `binary_data_size`"),
        };
        let shape: Vec<u64> = self.shape.into_iter().map(|WholeNumber(size)| size).collect();
        let product = shape.iter().try_fold(1u64, |product, size| product.checked_mul(*size));
        if product != Some(elements.len() as u64) {
            // A shape may have any number of sides.
            let sides = &shape[..shape.len().min(4)];
            let more = if sides.len() < shape.len() { " and further sides" } else { "" };
            return invalid(format!("shape {sides:?}{more} does not fit {} texts", elements.len()));
        }
        match codec {
            Codec::Text => Ok(elements),
            Codec::Base64 => elements.iter().enumerate().map(|(at, element)| decoded(at, element)).collect(),
        }
    }
}

/// How the elements of a tensor stand for texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    Text,
    Base64,
}

impl Codec {
    /// The codec that a content type names; text where there is none.
    fn of(content_type: Option<&str>) -> Result<Self, Problem> {
        match content_type {
            None | Some("" | "str") => Ok(Self::Text),
            Some("base64") => Ok(Self::Base64),
            Some(other) => {
                invalid(format!("content_type {} is not known; there are `str` and `base64`", quoted(other)))
            }
        }
    }
}

fn decoded(at: usize, element: &str) -> Result<Cow<'static, str>, Problem> {
    let broken = |what: &str| Problem::new(ProblemKind::InvalidFields, format!("data[{at}]: {what}")).at(at);
    let bytes = BASE64.decode(element).map_err(|_| broken("not base64"))?;
    String::from_utf8(bytes)
        .map(Cow::Owned)
        .map_err(|_| broken("what stands there in base64 is not UTF-8 text"))
}

/// The outputs that `requested` names, all where it names none; as bytes where they say so or `binary` does.
fn wanted_outputs(
    requested: Vec<Object<RequestedOutput>>,
    binary: bool,
) -> Result<Vec<WantedOutput>, Problem> {
    let mut outputs: Vec<WantedOutput> = Vec::new();
    for Object(wanted) in requested {
        let Some(output) = Output::of_name(&wanted.name) else {
            let names: Vec<_> = Output::ALL.iter().map(|output| output.name()).collect();
            return invalid(format!("no output {}; there are {}", quoted(&wanted.name), names.join(", ")));
        };
        // Each is written for every text: a long list of them would be a small request for an endless answer.
        if outputs.iter().any(|named| named.output == output) {
            return invalid(format!("output `{}` is wanted twice", output.name()));
        }
        let parameters = wanted.parameters.map_or_else(OutputParameters::default, |parameters| parameters.0);
        if parameters.shared_memory_region.is_some() {
            return invalid("shared memory is not known here; outputs come with the answer");
        }
        if Codec::of(parameters.content_type.as_deref())? == Codec::Base64 {
            return invalid("outputs are not given in base64; `binary_data` gives their bytes");
        }
        let classes = match parameters.classification {
            None | Some(WholeNumber(0)) => None,
            Some(WholeNumber(count)) if output == Output::Probabilities => {
                Some(usize::try_from(count).unwrap_or(usize::MAX).min(2))
            }
            Some(_) => {
                let only = Output::Probabilities.name();
                return invalid(format!("classification of `{}`: only `{only}` has classes", output.name()));
            }
        };
        outputs.push(WantedOutput { output, binary: parameters.binary_data.unwrap_or(binary), classes });
    }
    if outputs.is_empty() {
        let all = Output::ALL.iter();
        outputs = all.map(|&output| WantedOutput { output, binary, classes: None }).collect();
    }
    Ok(outputs)
}

fn read_bytes_tensor(mut bytes: &[u8]) -> Result<Vec<Cow<'_, str>>, Problem> {
    let broken = |detail: &'static str| Problem::new(ProblemKind::Malformed, detail);
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| broken("a length is cut off"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let (text, rest) = rest.split_at_checked(length).ok_or_else(|| broken("an element is cut off"))?;
        let text = std::str::from_utf8(text).map_err(|_| broken("an element is not UTF-8 text"))?;
        texts.push(Cow::Borrowed(text));
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
        for wanted in &wanted.outputs {
            let output = wanted.output;
            let texts = scored.predictions.len() as i64;
            let cells = scored.predictions.iter().flat_map(|prediction| {
                let verdict = scored.verdict(prediction);
                wanted
                    .classes
                    .map_or_else(|| output.cells(&verdict, prediction), |count| classes(&verdict, count))
            });
            let (datatype, shape) = match wanted.classes {
                None => (output.datatype(), output.shape(texts)),
                Some(count) => ("BYTES", vec![texts, count as i64]),
            };
            let mut entry = Map::new();
            entry.insert("name".into(), json!(output.name()));
            entry.insert("datatype".into(), json!(datatype));
            entry.insert("shape".into(), json!(shape));
            if wanted.binary {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_as_json_in_rows_or_as_bytes() {
        fn parse<'a>(json: &'a str, tensors: &'a [u8]) -> Result<(ScoreRequest<'a>, Wanted), Problem> {
            InferRequest::parse(json.as_bytes(), tensors)
        }
        fn texts<'a>(json: &'a str, tensors: &'a [u8]) -> Vec<Cow<'a, str>> {
            parse(json, tensors).unwrap().0.texts
        }
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
