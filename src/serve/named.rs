//! Closed sets of which each member has a text, for answers, metrics and log lines: it is written once.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{self, Visitor};

/// A closed set whose members have texts.
pub trait Named: Copy + 'static {
    /// Every member, in the order in which they are listed.
    const ALL: &'static [Self];

    /// The text that stands for it.
    fn name(self) -> &'static str;

    /// Its place in [`Named::ALL`].
    fn index(self) -> usize;

    /// The member whose text is `name`.
    fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|member| member.name() == name)
    }
}

/// Declares an enum and the text of each of its members, which is also its JSON, read and written, and its schema.
macro_rules! named {
    (
        $(#[$meta:meta])*
        $vis:vis enum $Name:ident { $($(#[$doc:meta])* $Member:ident = $text:tt,)+ }
    ) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
        $(#[$meta])*
        $vis enum $Name { $($(#[$doc])* #[serde(rename = $text)] $Member,)+ }

        impl $crate::serve::named::Named for $Name {
            const ALL: &'static [Self] = &[$(Self::$Member),+];

            fn name(self) -> &'static str {
                match self { $(Self::$Member => $text,)+ }
            }

            fn index(self) -> usize {
                self as usize
            }
        }

        impl<'de> serde::Deserialize<'de> for $Name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::serve::named::read(deserializer, &[$($text),+])
            }
        }
    };
}

pub(crate) use named;

/// Reads a member by its text. serde's own reader of enums takes whatever is no string for a fault of syntax.
///
/// # Errors
/// The texts that there are, where it is none of them.
pub fn read<'de, T: Named, D: Deserializer<'de>>(
    deserializer: D,
    names: &'static [&'static str],
) -> Result<T, D::Error> {
    struct Member<T>(&'static [&'static str], PhantomData<T>);
    impl<T: Named> Visitor<'_> for Member<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            write!(f, "one of `{}`", self.0.join("`, `"))
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            T::of_name(text).ok_or_else(|| E::unknown_variant(text, self.0))
        }
    }
    deserializer.deserialize_str(Member(names, PhantomData))
}
