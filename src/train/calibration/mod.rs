//! How sure a model sounds of short texts: what tells those that hold an opinion, and the scale that is fitted with it.

pub mod scale;
pub mod subjectivity;
