//! How positive is a film review? An LSTM small enough to answer in microseconds.
//!
//! ```
//! use imdb_sentiment::{Label, Predictor};
//!
//! let predictor = Predictor::load("models/imdb")?;
//! let prediction = predictor.predict("A gripping, beautifully shot film.")?;
//! assert_eq!(prediction.label(), Label::Positive);
//! println!("{} with probability {:.3}", prediction.label(), prediction.score());
//! # Ok::<(), imdb_sentiment::Error>(())
//! ```
//!
//! A [`Predictor`] is loaded once and shared by any number of threads; it computes on the thread that calls it. A program
//! that only embeds one depends on this crate with `default-features = false` and compiles no web server and no tensor
//! framework. The features bring the rest:
//!
//! | feature | what it compiles |
//! |---|---|
//! | `serve` (default) | the module `serve` and the binary `server` |
//! | `docs` (default) | the page `/docs`, in `serve` |
//! | `otlp` | spans of requests to an OpenTelemetry collector, in `serve` |
//! | `train` | the modules `train` and `model`'s network in candle, and the binary `trainer` |
//!
//! Tokenizer, vocabulary and tensor names are the same code for training and serving; of the network's equation there
//! are two forms, forward alone and with the way back, that tests hold together. The rooms, lowest first; each may use
//! only lower ones:
//!
//! | room | what lives there |
//! |---|---|
//! | [`error`], [`kernel`] | the crate's errors; fused LSTM arithmetic on slices |
//! | [`text`] | tokenizer and vocabulary |
//! | [`model`] | configuration, weights on disk, the network |
//! | [`predict`] | text in, probability out |
//! | `train`, `serve` | the offline trainer; the HTTP service |

pub mod error;
pub mod kernel;
pub mod model;
pub mod predict;
#[cfg(feature = "serve")]
pub mod serve;
pub mod text;
#[cfg(feature = "train")]
pub mod train;

pub use error::{Error, ModelFault, Result};
pub use predict::{Encoding, Label, Prediction, Predictor, Truncate, WordWeight};
