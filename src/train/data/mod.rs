//! What the trainer learns from: reviews and what is drawn from them.
//!
//! `corpus` reads the public release, `download` fetches it, `reader` reads tables and `labelled` their labels (`labels`
//! says what they mean), `writer` writes answers beside rows and `output` is where they go; `split` says which reviews are
//! held out; `texts` lists what a teacher is to judge, `opinions` reads what it said, `lessons` what follows;
//! `vocabulary` counts words, `pieces` learns parts of words; `sentences` and `minimal_pairs`
//! are made up.

pub mod corpus;
pub mod digest;
pub mod download;
pub mod example;
pub mod labelled;
pub mod labels;
pub mod lessons;
pub mod minimal_pairs;
pub mod opinions;
pub mod output;
pub mod own;
pub mod pieces;
pub mod places;
pub mod reader;
pub mod sentences;
pub mod split;
pub mod start;
pub mod texts;
pub mod vocabulary;
pub mod writer;
