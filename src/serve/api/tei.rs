//! `POST /predict` as the clients of text-embeddings-inference ask it: with `inputs`.

use serde::Deserialize;

use super::huggingface::{Reading, TruncationDirection, truncate};
use crate::serve::compute::request::ScoreRequest;
use crate::serve::http::json::{self, OneOr, OneOrMany, Text};
use crate::serve::problem::{Problem, ProblemKind};

/// The body; what it does not name is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PredictRequest<'a> {
    /// `"a"`, `["a"]`, or a batch `[["a"], ["b"]]`.
    #[serde(borrow)]
    inputs: OneOr<'a, OneOrMany<'a>>,
    #[serde(default)]
    truncate: Option<bool>,
    #[serde(default)]
    truncation_direction: Option<TruncationDirection>,
    #[serde(default)]
    raw_scores: Option<bool>,
}

/// Reads the body of a request.
///
/// # Errors
/// 400 where it is not JSON, 422 where its fields do not fit or it asks about pairs of texts.
pub fn parse(bytes: &[u8]) -> Result<(ScoreRequest<'_>, Reading), Problem> {
    let request: PredictRequest = json::read(bytes)?;
    let (texts, bare) = match request.inputs {
        OneOr::One(text) => (vec![text], true),
        OneOr::Many(items) => {
            let bare = matches!(items[..], [OneOr::One(_)]);
            (texts(items)?, bare)
        }
    };
    let question = ScoreRequest {
        texts: texts.into_iter().map(|text| text.0).collect(),
        list: (!bare).then_some("inputs"),
        truncate: truncate(request.truncate, request.truncation_direction),
        ..ScoreRequest::default()
    };
    Ok((question, Reading { top_k: 2, raw: request.raw_scores.unwrap_or(false), bare }))
}

/// The text of `["a"]`, or those of a batch.
fn texts(items: Vec<OneOrMany>) -> Result<Vec<Text>, Problem> {
    let refused = |detail: String| Err(Problem::new(ProblemKind::InvalidFields, detail));
    let strings = items.iter().filter(|item| matches!(item, OneOr::One(_))).count();
    if strings > 0 && items.len() > 1 {
        let what = match (strings, items.len()) {
            (2, 2) => "a list of two strings is a pair of texts, and the model reads one",
            _ => "a list of strings is one text or a pair",
        };
        return refused(format!("inputs: {what}; several texts are [[\"first\"], [\"second\"]]"));
    }
    let mut texts = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        match item {
            OneOr::One(text) => texts.push(text),
            OneOr::Many(mut list) => match (list.pop(), list.len()) {
                (Some(text), 0) => texts.push(text),
                (Some(_), 1) => {
                    return refused(format!("inputs[{index}]: a pair of texts, and the model reads one"));
                }
                (_, more) => {
                    let count = if more == 0 { 0 } else { more + 1 };
                    return refused(format!("inputs[{index}]: {count} strings, it must be one"));
                }
            },
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_two_is_a_pair_and_a_list_of_lists_is_a_batch() {
        let read = |inputs: &str| {
            let body = format!(r#"{{"inputs": {inputs}}}"#);
            let outcome =
                parse(body.as_bytes()).map(|(request, reading)| (request.texts.len(), reading.bare));
            outcome.map_err(|problem| (problem.kind(), problem.detail().to_string()))
        };
        assert_eq!(read(r#""a""#), Ok((1, true)));
        assert_eq!(read(r#"["a"]"#), Ok((1, true)));
        assert_eq!(read(r#"[["a"]]"#), Ok((1, false)));
        assert_eq!(read(r#"[["a"], ["b"], ["c"]]"#), Ok((3, false)));
        for (inputs, word) in [
            (r#"["a", "b"]"#, "pair"),
            (r#"["a", "b", "c"]"#, "pair"),
            (r#"["a", ["b"]]"#, "pair"),
            (r#"[["a"], ["b", "c"]]"#, "inputs[1]"),
            (r#"[["a"], []]"#, "inputs[1]: 0 strings"),
            (r#"[["a", "b", "c"]]"#, "3 strings"),
            (r#"[["a"], [3]]"#, "inputs[1][0]"),
            ("3", "inputs: invalid type"),
        ] {
            let (kind, detail) = read(inputs).unwrap_err();
            assert!(kind == ProblemKind::InvalidFields && detail.contains(word), "{inputs}: {detail}");
        }
    }
}
