//! From text to ids: one tokenizer and one vocabulary for training and serving.

mod keras;
mod key;
mod pieces;
mod reading;
mod sentences;
mod spelling;
mod table;
mod token;
mod tokenizer;
mod typed;
mod vocabulary;
mod words;

pub use sentences::sentences;
pub use token::Token;
pub use tokenizer::{Counts, Scheme, Tokenizer};
pub use vocabulary::{PADDING_ID, SPECIAL_WORDS, START_ID, UNKNOWN_ID, Vocabulary};

// What other tables of numbers, and what counts vocabularies, need.
pub(crate) use key::GOLDEN_RATIO;
#[cfg(feature = "train")]
pub(crate) use pieces::{JOINT, PIECE_LETTERS, for_each_piece, piece_key};
pub(crate) use table::Filter;
#[cfg(feature = "train")]
pub(crate) use typed::class_tokens;
#[cfg(feature = "train")]
pub(crate) use vocabulary::hex;
pub(crate) use vocabulary::sha256_hex;
