//! What is learnt from reviews without their labels: word vectors, and a language model that starts from them.

pub mod language_model;
mod sampled_softmax;
pub mod word_vectors;
