//! What is written about a model: the record, the card and its pictures, the report (`page`, `charts`), and what the server
//! compares itself with.

pub mod card;
pub mod charts;
pub mod companions;
pub mod curve;
pub mod page;
pub mod record;
pub mod reliability;
mod svg;
