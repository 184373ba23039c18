//! A JSON reader whose errors repeat nothing long.
//!
//! serde's own hold the value or the name that does not fit, escaped: up to six times a body's size, made several times
//! over before the first letter of an answer. Here every string that does not fit meets an error of our own.

use std::fmt::{self, Display, Write};

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, Expected, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};

use crate::serve::problem::quoted;

/// Most bytes of a message: our own words, and short names.
const MAX_BYTES: usize = 1000;

/// What is read with errors that repeat nothing long.
pub struct Discreet<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Discreet<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(Within(deserializer)).map(Self)
    }
}

/// A part of serde's conversation, all of whose parts are wrapped as well.
struct Within<T>(T);

/// Lets the visitor say what does not fit: asked for a number or a list, serde_json would itself say that a string is none,
/// and repeat it. What a value is, JSON tells.
macro_rules! any {
    ($($method:ident($($name:ident: $kind:ty),*);)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $kind,)* visitor: V) -> Result<V::Value, D::Error> {
            $(let _ = $name;)*
            self.0.deserialize_any(Within(visitor))
        })*
    };
}

/// Passes each call on, its visitor wrapped.
macro_rules! wrapped {
    ($($method:ident($($name:ident: $kind:ty),*);)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $kind,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($name,)* Within(visitor))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Within<D> {
    type Error = D::Error;

    any! {
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
    }

    wrapped! {
        deserialize_any();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_newtype_struct(name: &'static str);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// Passes a value on that is short whatever it is.
macro_rules! short_values {
    ($($method:ident: $kind:ty;)*) => {
        $(fn $method<E: de::Error>(self, value: $kind) -> Result<V::Value, E> {
            self.0.$method(value)
        })*
    };
}

/// Passes a value on that may be long, with an error that repeats none of it.
macro_rules! long_values {
    ($($method:ident: $kind:ty;)*) => {
        $(fn $method<E: de::Error>(self, value: $kind) -> Result<V::Value, E> {
            self.0.$method(value).map_err(|fault: Fault| E::custom(fault))
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Within<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.expecting(f)
    }

    short_values! {
        visit_bool: bool;
        visit_i64: i64;
        visit_i128: i128;
        visit_u64: u64;
        visit_u128: u128;
        visit_f64: f64;
        visit_char: char;
    }

    long_values! {
        visit_str: &str;
        visit_borrowed_str: &'de str;
        visit_string: String;
        visit_bytes: &[u8];
        visit_borrowed_bytes: &'de [u8];
        visit_byte_buf: Vec<u8>;
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Within(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Within(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Within(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Within(fields))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Within(variant))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Within<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Within(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Within<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Within(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Within<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(Within(seed))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Within(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Within<A> {
    type Error = A::Error;
    type Variant = Within<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        self.0.variant_seed(Within(seed)).map(|(value, variant)| (value, Within(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Within<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(Within(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, Within(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, Within(visitor))
    }
}

/// Why a string does not fit, without the string: as serde says it, but that a name is there only where it is one.
#[derive(Debug)]
struct Fault(String);

impl Fault {
    fn no_type(kind: &str, found: Unexpected, expected: &dyn Expected) -> Self {
        match found {
            Unexpected::Str(_) => Self::cut(format_args!("invalid {kind}: string, expected {expected}")),
            Unexpected::Bytes(_) => Self::cut(format_args!("invalid {kind}: bytes, expected {expected}")),
            found => Self::cut(format_args!("invalid {kind}: {found}, expected {expected}")),
        }
    }

    fn unknown(what: &str, name: &str, expected: &'static [&'static str]) -> Self {
        let name = quoted(name);
        match expected {
            [] => Self::cut(format_args!("unknown {what} {name}, there are no {what}s")),
            [only] => Self::cut(format_args!("unknown {what} {name}, expected `{only}`")),
            [one, other] => Self::cut(format_args!("unknown {what} {name}, expected `{one}` or `{other}`")),
            all => {
                let all = all.join("`, `");
                Self::cut(format_args!("unknown {what} {name}, expected one of `{all}`"))
            }
        }
    }

    fn cut(message: impl Display) -> Self {
        struct Short(String);
        impl Write for Short {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                let room = MAX_BYTES - self.0.len();
                let end = (0..=room.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
                self.0.push_str(&text[..end.unwrap_or(0)]);
                if text.len() <= room { Ok(()) } else { Err(fmt::Error) }
            }
        }
        let mut short = Short(String::new());
        // An error is that of a full message.
        let _ = write!(short, "{message}");
        Self(short.0)
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::cut(message)
    }

    fn invalid_type(found: Unexpected, expected: &dyn Expected) -> Self {
        Self::no_type("type", found, expected)
    }

    fn invalid_value(found: Unexpected, expected: &dyn Expected) -> Self {
        Self::no_type("value", found, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown("variant", variant, expected)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown("field", field, expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Request {
        texts: Vec<String>,
        side: Option<Side>,
        level: Option<f64>,
        inner: Option<Box<Request>>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Side {
        Left,
        Right,
    }

    fn said(body: &str) -> String {
        match serde_json::from_str::<Discreet<Request>>(body) {
            Ok(read) => format!("{:?}", read.0),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_fits_is_read_as_ever() {
        let body =
            r#"{"texts": ["a\n", "b"], "side": "left", "level": 2, "inner": {"texts": [], "level": null}}"#;
        let plain: Request = serde_json::from_str(body).unwrap();
        assert_eq!(said(body), format!("{plain:?}"));
    }

    #[test]
    fn what_does_not_fit_is_said_as_by_serde_where_it_is_short() {
        for body in [
            r#"{"texts": [1]}"#,
            r#"{"txt": []}"#,
            r#"{"texts": [], "side": "up"}"#,
            r#"{"texts": [], "level": true}"#,
            r#"{"texts": [], "texts": []}"#,
            r#"{"side": "left"}"#,
            r#"{"texts": [], "inner": {"texts": {}}}"#,
            "[]",
        ] {
            // But for the column, which is that behind the value.
            let without_place = |message: String| message.split(" at line ").next().unwrap().to_string();
            let plain = serde_json::from_str::<Request>(body).unwrap_err().to_string();
            assert_eq!(without_place(said(body)), without_place(plain), "{body}");
        }
    }

    #[test]
    fn nothing_that_a_client_wrote_at_length_is_repeated() {
        let review = "a secret review, expected `nothing`, expected \u{7f}".repeat(1000);
        for body in [
            format!(r#"{{"texts": "{review}"}}"#),
            format!(r#"{{"texts": [], "level": "{review}"}}"#),
            format!(r#"{{"texts": [], "side": "{review}"}}"#),
            format!(r#"{{"texts": [], "{review}": 1}}"#),
            format!(r#"{{"texts": [], "inner": {{"texts": [], "side": "{review}\n"}}}}"#),
            format!(r#"{{"texts": [], "inner": "{review}"}}"#),
        ] {
            let said = said(&body);
            assert!(said.len() < 300 && !said.contains("secret"), "{said}");
            assert!(said.contains(", expected ") && said.contains(" at line 1 column "), "{said}");
        }
    }
}
