//! What is said of a body that cannot be read: that it is no JSON, or where in it something does not fit.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_path_to_error::{Path, Segment};

use super::discreet::Discreet;
use crate::serve::problem::{Problem, ProblemKind, quoted};

/// The problem of `body`, which is called `name`, and of which `error` was said when it was read as a [`Discreet`] `T`: 400
/// where it is no JSON, 422 with the place where it is, but not what belongs there.
pub fn of_body<'de, T: Deserialize<'de>>(name: &str, body: &'de [u8], error: &serde_json::Error) -> Problem {
    if let Some(reason) = no_text(body) {
        return Problem::new(ProblemKind::Malformed, format!("{name} {reason}"));
    }
    // The reader stops at the first wrong field, and may call a wrong type a fault of syntax: what is no JSON is for a
    // reader to say that takes any.
    if let Err(syntax) = serde_json::from_slice::<Sound>(body) {
        // What is nested deeply may stand in a field that is not read at all.
        let deep = syntax.to_string().starts_with(TOO_DEEP) && error.is_data();
        if !deep || serde_json::from_slice::<IgnoredAny>(body).is_err() {
            return Problem::new(ProblemKind::Malformed, format!("{name} {}", no_json(&syntax, body)));
        }
    }
    // Keeping the place costs time, so it is asked for only now.
    let mut reader = serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize::<_, Discreet<T>>(&mut reader) {
        Ok(_) => Problem::new(ProblemKind::InvalidFields, in_words(error)),
        Err(fault) => {
            let message = in_words(fault.inner());
            let problem = |detail| Problem::new(ProblemKind::InvalidFields, detail);
            let (place, index) = place(fault.path(), &message);
            let problem = problem(if place.is_empty() { message } else { format!("{place}: {message}") });
            index.map_or(problem.clone(), |index| problem.at(index))
        }
    }
}

/// What `error` says, without words of the language that this is written in.
fn in_words(error: &serde_json::Error) -> String {
    let words = [("ident", "a value"), ("f64", "a number"), ("i64", "a whole number")];
    words.iter().fold(error.to_string(), |message, (theirs, ours)| {
        message.replacen(&format!("expected {theirs} at line"), &format!("expected {ours} at line"), 1)
    })
}

/// Why `body` is no text in UTF-8, where it is not.
fn no_text(body: &[u8]) -> Option<String> {
    if body.trim_ascii().is_empty() {
        return Some("is empty, it must be a JSON object".into());
    }
    let packed = |name| Some(format!("is packed with {name}; say so: `content-encoding: {name}`"));
    match body {
        [0x1f, 0x8b, ..] => return packed("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => return packed("zstd"),
        // With its mark, or `{"` in two or four bytes a letter.
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 0, 0, _, ..] | [0, 1..=255, ..] | [1..=255, 0, ..] => {
            return Some("is UTF-16 or UTF-32, it must be UTF-8".into());
        }
        _ => {}
    }
    let at = std::str::from_utf8(body).err()?.valid_up_to();
    let begin = &body[..body.len().min(512)];
    // Text of any encoding has no such bytes.
    if begin.iter().any(|&byte| byte < 0x09 || (0x0e..0x1b).contains(&byte)) {
        return Some("is binary data, it must be JSON".into());
    }
    Some(format!("is not UTF-8: byte {at} belongs to another encoding"))
}

/// How the parser begins to say that a body is nested too deeply.
const TOO_DEEP: &str = "recursion limit exceeded";

/// Why `body`, which is UTF-8, is no JSON.
fn no_json(error: &serde_json::Error, body: &[u8]) -> String {
    let message = in_words(error);
    if let Some(place) = message.strip_prefix(TOO_DEEP) {
        return format!("is nested too deeply{place}");
    }
    let several = |(first, rest): (&str, &str)| {
        [first, rest].iter().all(|line| line.trim_start().starts_with('{')) && first.trim_end().ends_with('}')
    };
    let text = std::str::from_utf8(body).unwrap_or_default().trim();
    if message.starts_with("trailing characters") && text.split_once('\n').is_some_and(several) {
        return format!("is not JSON: {message}; one object a line is `application/x-ndjson`");
    }
    let surrogate = message.starts_with("lone leading surrogate")
        || message.starts_with("unexpected end of hex escape")
        || message.starts_with("invalid unicode code point");
    let half =
        if surrogate { "; a string has half of a surrogate pair, as of an emoji that was cut" } else { "" };
    format!("is not JSON: {message}{half}")
}

/// Where a fault stands, as `texts[3]`, and which of the texts that is.
fn place(path: &Path, message: &str) -> (String, Option<usize>) {
    let mut segments: Vec<&Segment> = path.iter().collect();
    if message.starts_with("unknown field") {
        // The message names it.
        while segments.pop_if(|segment| !matches!(segment, Segment::Seq { .. })).is_some() {}
    }
    let mut place = String::new();
    for segment in &segments {
        match segment {
            Segment::Seq { index } => place += &format!("[{index}]"),
            Segment::Map { key } => {
                let key = quoted(key);
                place += if place.is_empty() { "" } else { "." };
                place += key.trim_matches('`');
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let index = match segments[..] {
        [Segment::Map { key }, Segment::Seq { index }, ..] if TEXTS.contains(&&**key) => Some(*index),
        _ => None,
    };
    (place, index)
}

/// Fields that hold the texts, one after the other.
const TEXTS: [&str; 3] = ["texts", "inputs", "input"];

/// Any JSON, read to its end and not kept. Unlike serde's own [`IgnoredAny`] it looks at the letters of strings.
struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;
        impl<'de> Visitor<'de> for Anything {
            type Value = Sound;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Sound, E> {
                Ok(Sound)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Sound, E> {
                Ok(Sound)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Sound, E> {
                Ok(Sound)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Sound, E> {
                Ok(Sound)
            }
            fn visit_str<E>(self, _: &str) -> Result<Sound, E> {
                Ok(Sound)
            }
            fn visit_unit<E>(self) -> Result<Sound, E> {
                Ok(Sound)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Sound, A::Error> {
                while items.next_element::<Sound>()?.is_some() {}
                Ok(Sound)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Sound, A::Error> {
                while fields.next_entry::<Sound, Sound>()?.is_some() {}
                Ok(Sound)
            }
        }
        deserializer.deserialize_any(Anything)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_named() {
        let named = |body: &[u8]| no_text(body).unwrap_or_default();
        let utf16: Vec<u8> = "{\"text\": \"x\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(named(&utf16).contains("UTF-16"));
        assert!(named(&[b"\xfe\xff", &utf16[..]].concat()).contains("UTF-16"));
        assert!(named(b"\x1f\x8b\x08\0").contains("content-encoding: gzip"));
        assert!(named(b"{\"text\": \"caf\xe9\"}").contains("byte 13"));
        assert!(named(b"\x89PNG\r\n\x1a\n\0\0\0").contains("binary"));
        assert!(named(b" \n").contains("empty"));
        assert_eq!(named("{\"text\": \"é\"}".as_bytes()), "");
    }

    #[test]
    fn the_place_of_a_fault_is_named_and_no_value() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code)]
        struct Request {
            texts: Vec<String>,
            options: Option<std::collections::BTreeMap<String, bool>>,
        }
        let said = |body: &str| {
            let error = serde_json::from_str::<Discreet<Request>>(body).err().unwrap();
            let problem = of_body::<Request>("the body", body.as_bytes(), &error);
            (problem.kind(), problem.detail().to_string())
        };
        let (kind, detail) = said(r#"{"texts": ["a", "b", 3]}"#);
        assert_eq!(kind, ProblemKind::InvalidFields);
        assert!(detail.starts_with("texts[2]: invalid type: integer `3`, expected a string"), "{detail}");
        let (_, detail) = said(r#"{"texts": [], "options": {"x": "a secret"}}"#);
        assert!(detail.starts_with("options.x: invalid type: string, expected a boolean"), "{detail}");
        let (_, detail) = said(r#"{"texts": [], "txt": 1}"#);
        assert!(detail.starts_with("unknown field `txt`"), "{detail}");
        let long = format!(r#"{{"texts": [], "options": {{"{}": 1}}}}"#, "secret ".repeat(100));
        assert!(!said(&long).1.contains("secret"), "{}", said(&long).1);
        let (kind, detail) = said("{\"texts\": []}\n{\"texts\": []}");
        assert!(kind == ProblemKind::Malformed && detail.contains("application/x-ndjson"), "{detail}");
    }
}
