//! From text to ids: one tokenizer and one vocabulary for training and serving.

mod key;
mod sentences;
mod tokenizer;
mod vocabulary;

pub use sentences::sentences;
pub use tokenizer::{Counts, Scheme, Token, Tokenizer};
pub use vocabulary::{PADDING_ID, SPECIAL_WORDS, START_ID, UNKNOWN_ID, Vocabulary};

pub(crate) use vocabulary::sha256_hex;
