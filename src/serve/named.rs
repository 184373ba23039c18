//! Closed sets of which each member has a text, for answers, metrics and log lines: it is written once.

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

/// Declares an enum and the text of each of its members, which is also its JSON and its schema.
macro_rules! named {
    (
        $(#[$meta:meta])*
        $vis:vis enum $Name:ident { $($(#[$doc:meta])* $Member:ident = $text:tt,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
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
    };
}

pub(crate) use named;
