//! Answers beside the rows that they are answers to: as CSV, JSON lines or Parquet, or as people read them, in order.

mod explained;
mod form;
mod layout;
mod parquet;
mod terminal;
mod text;

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use self::form::{Form, Packing};
use self::layout::Layout;
pub use self::layout::{Answered, WriteArgs, is_of_answer};
use crate::error::{Error, Result};
use crate::train::data::output::{FileId, Output};
use crate::train::data::reader::{Columns, Outline, Row};

/// Rows in the form in which they are written, made on any thread.
pub enum Block {
    /// Bytes that go out as they are.
    Bytes(Vec<u8>),
    /// Columns of a Parquet row group.
    Columns(Vec<self::parquet::Column>),
}

/// An output that nobody else writes, before it is known what columns there are.
pub struct Claimed<'o> {
    form: Form,
    packing: Packing,
    output: Output<'o>,
}

/// An output of answers that has been begun.
pub struct Writer<'o> {
    layout: Layout,
    form: Form,
    sink: Sink<'o>,
}

enum Sink<'o> {
    Plain(Output<'o>),
    Gzip(GzEncoder<Output<'o>>),
    Zstd(zstd::Encoder<'static, Output<'o>>),
    Parquet(Box<self::parquet::Groups<'o>>),
}

/// What [`Writer::block`] needs, apart from the output.
#[derive(Clone, Debug)]
pub struct Blocks {
    layout: Layout,
    form: Form,
}

impl Blocks {
    /// `rows`, which were read with `columns`, as they are written.
    ///
    /// # Errors
    /// [`Error::Data`] where a value does not go into its column.
    pub fn block(&self, rows: &[Answered], columns: &Columns) -> Result<Block> {
        match self.form {
            Form::Table(delimiter) => {
                Ok(Block::Bytes(text::table_rows(&self.layout, rows, columns, delimiter)))
            }
            Form::JsonLines => Ok(Block::Bytes(text::json_lines(&self.layout, rows, columns))),
            Form::Parquet => Ok(Block::Columns(self::parquet::columns(&self.layout, rows, columns))),
            Form::Terminal { colour } => Ok(Block::Bytes(terminal::rows(rows, colour))),
        }
    }

    /// The members of `row` that are not written: a table and Parquet have the columns that they began with.
    pub fn lost<'r>(&'r self, row: &'r Row) -> impl Iterator<Item = &'r str> {
        let settled = matches!(self.form, Form::Table(_) | Form::Parquet);
        let lost = self.layout.late(row).filter(move |(_, value)| settled && value.get() != "null");
        lost.map(|(name, _)| name)
    }

    /// The columns of the input that are written.
    pub fn kept(&self) -> impl ExactSizeIterator<Item = &str> {
        self.layout.kept.iter().map(|(name, _)| name.as_str())
    }
}

impl<'o> Claimed<'o> {
    /// Opens `path`, or `standard` where there is none; `read` are the files that are read.
    ///
    /// # Errors
    /// As [`Output::open`]; [`Error::Invalid`] where the name does not tell the form.
    pub fn open(
        path: Option<&Path>,
        read: &[FileId],
        standard: &'o mut (dyn Write + Send),
        args: &WriteArgs,
    ) -> Result<Self> {
        let explained = path.is_none() && args.explain.wanted().any();
        let (form, packing) = match terminal::wanted().filter(|_| explained) {
            Some(colour) => (Form::Terminal { colour }, Packing::None),
            None => Form::of(path)?,
        };
        Ok(Self { form, packing, output: Output::open(path, read, standard)? })
    }

    /// Begins with what comes before the answers to rows of which `outline` tells the columns.
    ///
    /// # Errors
    /// [`Error::Setting`] for columns that there are not; [`Error::Io`].
    pub fn begin(self, args: &WriteArgs, outline: &Outline) -> Result<Writer<'o>> {
        let layout = Layout::new(args, outline)?;
        let Self { form, packing, output } = self;
        let mut sink = match packing {
            _ if form == Form::Parquet => Sink::Parquet(Box::new(self::parquet::Groups::new(output))),
            Packing::None => Sink::Plain(output),
            Packing::Gzip => Sink::Gzip(GzEncoder::new(output, Compression::default())),
            Packing::Zstd => Sink::Zstd(zstd::Encoder::new(output, 0).map_err(Error::io("the output"))?),
        };
        if let Form::Table(delimiter) = form {
            let header = text::table_header(&layout, delimiter);
            sink.write(&header)?;
        }
        if let Form::Terminal { colour } = form {
            sink.write(terminal::legend(colour).as_bytes())?;
        }
        Ok(Writer { layout, form, sink })
    }
}

impl Writer<'_> {
    /// What makes blocks for this output.
    pub fn blocks(&self) -> Blocks {
        Blocks { layout: self.layout.clone(), form: self.form }
    }

    /// Writes a block.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Data`] where a value does not go into its column.
    pub fn write(&mut self, block: Block) -> Result<()> {
        match (&mut self.sink, block) {
            (Sink::Parquet(groups), Block::Columns(columns)) => groups.add(&self.layout.names(), columns),
            (_, Block::Columns(_)) => Ok(()),
            (sink, Block::Bytes(bytes)) => sink.write(&bytes),
        }
    }

    /// Ends the output; a file is put in its place.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        let io = Error::io("the output");
        match self.sink {
            Sink::Plain(output) => output.finish(),
            Sink::Gzip(encoder) => encoder.finish().map_err(io)?.finish(),
            Sink::Zstd(encoder) => encoder.finish().map_err(io)?.finish(),
            Sink::Parquet(groups) => groups.finish(&self.layout.names()),
        }
    }
}

impl Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Plain(output) => output.write_all(bytes).and_then(|()| output.flush_standard()),
            Self::Gzip(output) => output.write_all(bytes),
            Self::Zstd(output) => output.write_all(bytes),
            Self::Parquet(_) => Ok(()),
        }
        .map_err(Error::io("the output"))
    }
}
