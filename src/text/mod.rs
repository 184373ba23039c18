//! From text to ids: one tokenizer and one vocabulary for training and serving.

mod keras;
mod key;
mod reading;
mod sentences;
mod spelling;
mod token;
mod tokenizer;
mod typed;
mod vocabulary;
mod words;

pub use sentences::sentences;
pub use token::Token;
pub use tokenizer::{Counts, Scheme, Tokenizer};
pub use vocabulary::{PADDING_ID, SPECIAL_WORDS, START_ID, UNKNOWN_ID, Vocabulary};

// What counts vocabularies needs to know.
pub(crate) use key::GOLDEN_RATIO;
#[cfg(feature = "train")]
pub(crate) use reading::{PIECE_LETTERS, for_each_piece, piece_key};
#[cfg(feature = "train")]
pub(crate) use typed::class_tokens;
pub(crate) use vocabulary::sha256_hex;
#[cfg(feature = "train")]
pub(crate) use vocabulary::{JOINT, hex};
