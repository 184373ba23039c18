//! What is written about a model: the record, the card and its pictures, and what the server compares itself with.

pub mod card;
pub mod companions;
pub mod curve;
pub mod record;
pub mod reliability;
mod svg;
