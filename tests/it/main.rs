//! Integration tests: one binary, so that the library is linked once.

mod common;

mod architecture;
mod attacks;
mod bodies;
mod clients;
mod contract;
mod dependencies;
mod details;
mod download;
mod environment;
mod explained;
mod faults;
mod golden;
mod int8;
mod interrupted;
mod model_directory;
mod ngrams;
mod operators;
mod outputs;
mod own;
mod properties;
mod protocols;
mod serve;
#[cfg(feature = "otlp")]
mod spans;
mod stream;
mod tables;
mod terminal;
mod tls;
mod train;
mod typed;
