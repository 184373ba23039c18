//! Reading JSON strictly, and without copying what can be borrowed.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::discreet::Discreet;
use super::fault;
use crate::serve::problem::Problem;

/// The mark that some programs put in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a request's body, which must be a JSON object.
///
/// # Errors
/// 400 where it is not JSON, 422 where it is, but not what belongs there; then with its place.
pub fn read<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, Problem> {
    read_called("the body", body)
}

/// As [`read`] of a line of a body.
///
/// # Errors
/// As there.
pub fn read_line<'de, T: Deserialize<'de>>(line: &'de [u8]) -> Result<T, Problem> {
    read_called("the line", line)
}

fn read_called<'de, T: Deserialize<'de>>(name: &str, body: &'de [u8]) -> Result<T, Problem> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    match serde_json::from_slice(body) {
        Ok(Discreet(Object(value))) => Ok(value),
        Err(error) => Err(fault::of_body::<Object<T>>(name, body, &error)),
    }
}

/// Whether the JSON object of `body` has a field of one of these names, whatever it holds; no where it is none.
pub fn has_field(body: &[u8], names: &[&str]) -> bool {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    // Looked for on the way: the names together may be the whole body.
    struct Fields<'n>(&'n [&'n str]);
    impl<'de> Visitor<'de> for Fields<'_> {
        type Value = bool;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a JSON object")
        }
        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<bool, M::Error> {
            let mut found = false;
            while let Some((name, _)) = map.next_entry::<Text, IgnoredAny>()? {
                found |= self.0.contains(&&*name.0);
            }
            Ok(found)
        }
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let found = Deserializer::deserialize_map(&mut reader, Fields(names));
    found.is_ok_and(|found| found && reader.end().is_ok())
}

/// Values that the JSON of `body` may have, which is about what reading it takes beside the texts: 1 and one more for each
/// comma and each bracket that opens, up to the end of the first value.
pub fn values(body: &[u8]) -> usize {
    let (mut count, mut depth, mut rest) = (1, 0u32, body.iter());
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => {
                while let Some(byte) = rest.next() {
                    match byte {
                        b'"' => break,
                        b'\\' => _ = rest.next(),
                        _ => {}
                    }
                }
            }
            b',' => count += 1,
            b'[' | b'{' => (count, depth) = (count + 1, depth.saturating_add(1)),
            // What lies behind is no JSON.
            b']' | b'}' if depth <= 1 => break,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    count
}

/// A structure that is read from a JSON object only: derived ones also take a list of their fields' values.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Objects<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Objects<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Objects(PhantomData))
    }
}

/// A JSON string, borrowed from the body where it has no escapes.
#[derive(Debug, PartialEq)]
pub struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strings;
        impl<'de> Visitor<'de> for Strings {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.into())))
            }
        }
        deserializer.deserialize_str(Strings)
    }
}

/// One string, or a list of `T`.
#[derive(Debug, PartialEq)]
pub enum OneOr<'a, T> {
    /// One.
    One(Text<'a>),
    /// A list.
    Many(Vec<T>),
}

/// One string or a list of strings.
pub type OneOrMany<'a> = OneOr<'a, Text<'a>>;

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for OneOr<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OneOr<'de, T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(OneOr::One(Text(Cow::Borrowed(text))))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(OneOr::One(Text(Cow::Owned(text.into()))))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(OneOr::Many(list))
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// A whole number from 0, written with or without `.0`: JSON Schema takes both for an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WholeNumber(pub u64);

impl<'de> Deserialize<'de> for WholeNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Up to here a 64-bit float holds every whole number; further ones may have been rounded to one.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        struct Numbers;
        impl Visitor<'_> for Numbers {
            type Value = WholeNumber;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a whole number from 0")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<WholeNumber, E> {
                Ok(WholeNumber(number))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<WholeNumber, E> {
                if number.fract() == 0.0 && (0.0..=EXACT).contains(&number) {
                    Ok(WholeNumber(number as u64))
                } else {
                    Err(E::invalid_value(de::Unexpected::Float(number), &self))
                }
            }
        }
        deserializer.deserialize_u64(Numbers)
    }
}

/// A field that may be absent but not null.
///
/// # Errors
/// Those of `T`.
pub fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::problem::ProblemKind;

    #[derive(Debug, Deserialize)]
    struct Request<'a> {
        #[serde(borrow)]
        text: Text<'a>,
        #[serde(default)]
        options: Option<Object<Options>>,
    }

    #[derive(Debug, Deserialize)]
    struct Options {
        top: WholeNumber,
    }

    #[test]
    fn values_are_counted_outside_of_texts_and_up_to_the_end() {
        assert_eq!(values(b"1"), 1);
        assert_eq!(values(br#"{"texts": ["a, b, [", "c \", d"]}"#), 4);
        assert_eq!(values(br#" [[1, 2], {"a": []}] ,,,[[["#), 7);
        assert_eq!(values(br#"{"texts": ["cut"#), 3);
        assert_eq!(values(b"]]],,"), 1);
        assert_eq!(values(b""), 1);
    }

    #[test]
    fn a_field_is_found_whatever_it_holds() {
        assert!(has_field(br#"{"a": [1, {"b": 2}], "inp\u0075ts": null}"#, &["inputs"]));
        assert!(!has_field(br#"{"a": {"inputs": 1}}"#, &["inputs"]));
        assert!(!has_field(br#"{"inputs": 1} 2"#, &["inputs"]));
        assert!(!has_field(br#"["inputs"]"#, &["inputs"]));
    }

    #[test]
    fn a_list_is_no_object_and_plain_text_is_borrowed() {
        let request: Request = read(br#"{"text": "plain", "options": {"top": 3}}"#).unwrap();
        assert!(matches!(request.text.0, Cow::Borrowed("plain")));
        assert_eq!(request.options.unwrap().0.top, WholeNumber(3));
        let request: Request = read(br#"{"text": "two\nlines"}"#).unwrap();
        assert!(matches!(request.text.0, Cow::Owned(text) if text == "two\nlines"));
        let kind = |body: &[u8]| read::<Request>(body).unwrap_err().kind();
        assert_eq!(kind(br#"["plain", null]"#), ProblemKind::InvalidFields);
        assert_eq!(kind(br#"{"text": "plain", "options": [3]}"#), ProblemKind::InvalidFields);
        assert_eq!(kind(br#"{"text": 3}"#), ProblemKind::InvalidFields);
        assert_eq!(kind(br#"{"text": 3, nonsense"#), ProblemKind::Malformed);
        assert_eq!(kind(b""), ProblemKind::Malformed);
    }

    #[test]
    fn a_whole_number_may_have_a_point() {
        for (text, number) in
            [("3", 3), ("3.0", 3), ("3e2", 300), ("-0.0", 0), ("18446744073709551615", u64::MAX)]
        {
            assert_eq!(serde_json::from_str::<WholeNumber>(text).unwrap(), WholeNumber(number), "{text}");
        }
        for text in ["3.5", "-1", "-1.0", "1e300", "9007199254740994.0", "\"3\"", "true", "null"] {
            assert!(serde_json::from_str::<WholeNumber>(text).is_err(), "{text}");
        }
    }
}
