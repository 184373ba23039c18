//! Requests of `POST /predict` as they stand on the wire.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::parts::OffsetsIn;
use crate::predict::{Offsets, Truncate};
use crate::serve::api::huggingface::Reading;
use crate::serve::api::shared::TruncateMode;
use crate::serve::compute::details::Wanted;
use crate::serve::compute::request::{ScoreRequest, check_abstain};
use crate::serve::http::json::{self, Text, not_null};
use crate::serve::named::named;
use crate::serve::problem::{Problem, ProblemKind};

/// Longest id of a text, in bytes: it comes back with every answer.
const MAX_ID_BYTES: usize = 256;

/// The body of `POST /predict`; exactly one of `text` and `texts`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PredictRequest<'a> {
    #[serde(borrow, default, deserialize_with = "not_null")]
    text: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "not_null")]
    texts: Option<Vec<Element<'a>>>,
    #[serde(borrow, default)]
    id: Option<Id<'a>>,
    #[serde(borrow, default)]
    ids: Option<Vec<Id<'a>>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(default)]
    truncate: Option<TruncateMode>,
    #[serde(default)]
    abstain: Option<f64>,
    #[serde(default)]
    explain: Option<bool>,
    #[serde(default)]
    sentences: Option<bool>,
    #[serde(default)]
    trajectory: Option<bool>,
    #[serde(default)]
    offsets: Option<OffsetsIn>,
    #[serde(default)]
    on_error: Option<OnError>,
}

named! {
    /// What a text that cannot be scored does to the others.
    pub enum OnError {
        /// The request is refused (default).
        Refuse = "refuse",
        /// It gets a problem in its place.
        Report = "report",
    }
}

/// In which form the answer is given.
#[derive(Debug)]
pub enum Form {
    /// The answer of one text.
    One(Option<Id<'static>>),
    /// Those of many.
    Many(Vec<Id<'static>>),
    /// Those of many, each an answer or a problem; with the elements that are no texts, and what they are.
    Report(Vec<Id<'static>>, Vec<(usize, Cow<'static, str>)>),
    /// Labels with scores, as text-embeddings-inference and Hugging Face give them.
    Classes(Reading),
}

/// Reads the body of a request: the question, and the form of its answer. A body with `inputs` is in another's format,
/// which `inputs` reads.
///
/// # Errors
/// 400 where it is not JSON, 422 where its fields do not fit; those of `inputs`.
pub fn parse<'a>(
    bytes: &'a [u8],
    inputs: impl FnOnce(&'a [u8]) -> Result<(ScoreRequest<'a>, Reading), Problem>,
) -> Result<(ScoreRequest<'a>, Form), Problem> {
    let problem = match json::read::<PredictRequest>(bytes) {
        Ok(request) => return request.question(),
        Err(problem) => problem,
    };
    let theirs = problem.kind() == ProblemKind::InvalidFields && json::has_field(bytes, &["inputs"]);
    if !theirs || json::has_field(bytes, &["text", "texts"]) {
        return Err(problem);
    }
    inputs(bytes).map(|(request, reading)| (request, Form::Classes(reading)))
}

/// A line's problem, and the id of its text, if it has one.
pub type LineProblem = (Problem, Option<Id<'static>>);

/// Reads one line of a stream: a question about one text, and its id.
///
/// # Errors
/// As [`parse`]; with the id where only the rest does not fit.
pub fn parse_line(bytes: &[u8]) -> Result<(ScoreRequest<'_>, Option<Id<'static>>), LineProblem> {
    #[derive(Deserialize)]
    struct Called<'a> {
        #[serde(borrow, default)]
        id: Option<Id<'a>>,
    }
    let read = || match json::read_line::<PredictRequest>(bytes)?.question()? {
        (request, Form::One(id)) => Ok((request, id)),
        _ => Err(Problem::new(ProblemKind::InvalidFields, "a line of a stream has one `text`")),
    };
    read().map_err(|problem| {
        let called: Option<Called> = json::read_line(bytes).ok();
        (problem, called.and_then(|called| called.id).map(Id::into_owned))
    })
}

impl<'a> PredictRequest<'a> {
    fn question(self) -> Result<(ScoreRequest<'a>, Form), Problem> {
        let invalid = |detail: &'static str| Err(Problem::new(ProblemKind::InvalidFields, detail));
        let report = self.on_error == Some(OnError::Report);
        let (texts, form) = match (self.text, self.texts) {
            (Some(_), Some(_)) => return invalid("give `text` or `texts`, not both"),
            (None, None) => return invalid("give `text`, a string, or `texts`, a list of strings"),
            (Some(_), None) if report => {
                return invalid("`on_error`: a single text has no others to spare; give `texts`");
            }
            (Some(_), None) if self.ids.is_some() => {
                return invalid("`ids` goes with `texts`; with `text` goes `id`");
            }
            (Some(text), None) => (vec![text.0], Form::One(self.id.map(Id::into_owned))),
            (None, Some(_)) if self.id.is_some() => {
                return invalid("`id` goes with `text`; with `texts` goes `ids`");
            }
            (None, Some(elements)) => many(elements, self.ids, report)?,
        };
        let request = ScoreRequest {
            model: self.model.map(|model| model.0),
            list: (!matches!(form, Form::One(_))).then_some("texts"),
            texts,
            report,
            truncate: self.truncate.map(Truncate::from).unwrap_or_default(),
            abstain: check_abstain(self.abstain)?,
            wanted: Wanted {
                words: self.explain.unwrap_or(false),
                sentences: self.sentences.unwrap_or(false),
                trajectory: self.trajectory.unwrap_or(false),
                offsets: self.offsets.map(Offsets::from).unwrap_or_default(),
            },
            ..ScoreRequest::default()
        };
        Ok((request, form))
    }
}

/// The texts of `elements`, and the form of their answers.
fn many<'a>(
    elements: Vec<Element<'a>>,
    ids: Option<Vec<Id<'a>>>,
    report: bool,
) -> Result<(Vec<Cow<'a, str>>, Form), Problem> {
    let invalid = |detail: String| Problem::new(ProblemKind::InvalidFields, detail);
    let ids = ids.unwrap_or_default();
    if !ids.is_empty() && ids.len() != elements.len() {
        let detail = format!("{} `ids` for {} `texts`; give one for each", ids.len(), elements.len());
        return Err(invalid(detail));
    }
    let (mut texts, mut strange) = (Vec::with_capacity(elements.len()), Vec::new());
    for (index, element) in elements.into_iter().enumerate() {
        match element {
            Element::Text(text) => texts.push(text),
            Element::Other(what) if report => {
                strange.push((index, what));
                // Keeps the place.
                texts.push(Cow::Borrowed(""));
            }
            Element::Other(what) => {
                return Err(invalid(format!("texts[{index}]: {}", no_text(&what))).at(index));
            }
        }
    }
    let ids = ids.into_iter().map(Id::into_owned).collect();
    Ok((texts, if report { Form::Report(ids, strange) } else { Form::Many(ids) }))
}

/// What is said of an element that is no text.
pub fn no_text(what: &str) -> String {
    format!("invalid type: {what}, expected a string")
}

/// An element of `texts`: a text, or in words what stands there instead.
#[derive(Debug)]
enum Element<'a> {
    Text(Cow<'a, str>),
    Other(Cow<'static, str>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Element<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Read by itself, a string that cannot be one spoils no other.
        let json = <&RawValue>::deserialize(deserializer)?.get();
        Ok(match json.starts_with('"').then(|| serde_json::from_str(json)) {
            Some(Ok(Text(text))) => Element::Text(text),
            Some(Err(_)) => Element::Other("string with half of a surrogate pair".into()),
            None => Element::Other(what(json)),
        })
    }
}

/// What `json`, a value but no string, is, in serde's words.
fn what(json: &str) -> Cow<'static, str> {
    match json.as_bytes().first() {
        Some(b'n') => "null".into(),
        Some(b't' | b'f') => format!("boolean `{json}`").into(),
        Some(b'[') => "sequence".into(),
        Some(b'{') => "map".into(),
        _ => {
            let whole = json.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
            let kind = if whole { "integer" } else { "number" };
            if json.len() > 32 { kind.into() } else { format!("{kind} `{json}`").into() }
        }
    }
}

/// What a client calls a text by: a string or a number, given back as it came.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Id<'a> {
    /// A string.
    Text(Cow<'a, str>),
    /// A number as it is written: one that is read may lose digits.
    Number(Cow<'a, RawValue>),
}

impl Id<'_> {
    /// The same, with a string of its own.
    pub fn into_owned(self) -> Id<'static> {
        match self {
            Id::Text(text) => Id::Text(Cow::Owned(text.into_owned())),
            Id::Number(number) => Id::Number(Cow::Owned(number.into_owned())),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Id<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = <&RawValue>::deserialize(deserializer)?;
        let json = value.get();
        let (length, id) = match json.as_bytes().first() {
            Some(b'"') => {
                let Text(text) = serde_json::from_str(json).map_err(D::Error::custom)?;
                (text.len(), Id::Text(text))
            }
            Some(b'-' | b'0'..=b'9') => (json.len(), Id::Number(Cow::Borrowed(value))),
            _ => {
                let fault = format_args!("invalid type: {}, expected a string or a number", what(json));
                return Err(D::Error::custom(fault));
            }
        };
        match length > MAX_ID_BYTES {
            true => Err(D::Error::custom(format_args!("an id has at most {MAX_ID_BYTES} bytes"))),
            false => Ok(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_as_it_was_written() {
        for id in ["7", "123456789012345678901234567890", "1e3", "1.10", "-0", r#""x\"é""#, "\"\""] {
            let line = format!(r#"{{"text": "good", "id": {id}}}"#);
            let (_, called) = parse_line(line.as_bytes()).unwrap();
            assert_eq!(serde_json::to_string(&called.unwrap()).unwrap(), id);
        }
        let (_, none) = parse_line(br#"{"text": "good", "id": null}"#).unwrap();
        assert!(none.is_none(), "{none:?}");
    }

    #[test]
    fn half_of_a_surrogate_pair_costs_its_text_alone() {
        let ask = |on_error: &str| {
            let body =
                format!(r#"{{"texts": ["good", "cut \ud83d", "\ud83d\ude00"], "on_error": "{on_error}"}}"#);
            parse(body.as_bytes(), |_| unreachable!()).map(|(request, form)| {
                (request.texts.iter().map(|text| text.to_string()).collect::<Vec<_>>(), form)
            })
        };
        let (texts, form) = ask("report").unwrap();
        assert_eq!(texts, ["good", "", "\u{1f600}"]);
        let Form::Report(_, strange) = form else { panic!("{form:?}") };
        assert_eq!((strange.len(), strange[0].0), (1, 1));
        assert!(strange[0].1.contains("half of a surrogate pair"), "{strange:?}");
        let detail = ask("refuse").unwrap_err().into_detail();
        assert!(detail.contains("half of a surrogate pair"), "{detail}");
    }

    #[test]
    fn what_is_no_id_is_named() {
        let said = |id: &str| {
            let line = format!(r#"{{"text": "good", "id": {id}}}"#);
            parse_line(line.as_bytes()).unwrap_err().0.detail().to_string()
        };
        for (id, what) in [("[1]", "sequence"), ("{}", "map"), ("true", "boolean `true`")] {
            let expected = format!("id: invalid type: {what}, expected a string or a number");
            assert!(said(id).starts_with(&expected), "{}", said(id));
        }
        for long in [format!("\"{}\"", "x".repeat(257)), "1".repeat(257)] {
            assert!(said(&long).contains("at most 256 bytes"), "{}", said(&long));
        }
        for broken in ["\"\\ud800\"", "tru", "1.", "0x1"] {
            assert!(said(broken).starts_with("the line is not JSON: "), "{}", said(broken));
        }
    }
}
