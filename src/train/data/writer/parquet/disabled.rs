//! What stands in for Parquet in a trainer without it; the form of an output is refused before any of this is reached.

use std::marker::PhantomData;

use super::super::layout::{Answered, Layout};
use crate::error::{Error, Result};
use crate::train::data::output::Output;
use crate::train::data::reader::{Columns, NO_PARQUET};

/// There is none.
pub enum Column {}

/// No column.
pub fn columns(_: &Layout, _: &[Answered], _: &Columns) -> Vec<Column> {
    Vec::new()
}

/// Nothing is written.
pub struct Groups<'o>(PhantomData<Output<'o>>);

impl<'o> Groups<'o> {
    /// Takes the output.
    pub fn new(_: Output<'o>) -> Self {
        Self(PhantomData)
    }

    /// Refuses the rows.
    pub fn add(&mut self, _: &[&str], _: Vec<Column>) -> Result<()> {
        Err(Error::Data(NO_PARQUET.into()))
    }

    /// Refuses to end.
    pub fn finish(self, _: &[&str]) -> Result<()> {
        Err(Error::Data(NO_PARQUET.into()))
    }
}
