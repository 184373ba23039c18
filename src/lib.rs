//! `imdb-sentiment` tells how positive a film review is, from an LSTM small enough to answer in microseconds.
//!
//! One library carries training and serving, so that the tokenizer, the vocabulary, the tensor names and the
//! forward equation are the same code on both sides. The rooms, lowest first; each may use only lower ones:
//!
//! | room | what lives there |
//! |---|---|
//! | [`error`], [`kernel`] | the crate's errors; fused LSTM arithmetic on slices |
//! | [`text`] | tokenizer and vocabulary |
//! | [`model`] | configuration, weights on disk, the network in candle |
//! | [`predict`] | text in, probability out, without candle |
//! | [`train`], [`serve`] | the offline trainer; the HTTP service |

pub mod error;
pub mod kernel;
pub mod model;
pub mod predict;
pub mod serve;
pub mod text;
pub mod train;

pub use error::{Error, Result};
