//! `trainer predict`: scores the reviews of files or of standard input, in order, as they come.
//!
//! One thread reads, all cores score, one thread writes; of the input only what these three have in hand is in memory.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::predict::{DetailsWanted, Predictor, Truncate};
use crate::train::data::output::check_ours;
use crate::train::data::reader::{Columns, Input, ReadArgs, Reader, Row, short};
use crate::train::data::writer::{Answered, Block, Blocks, Claimed, WriteArgs, Writer};
use crate::train::progress;

/// Rows that are scored at a time: enough to keep every core busy, few enough to be a stream.
const CHUNK: usize = 2048;
/// Bytes of text at which a chunk ends in any case.
const CHUNK_BYTES: usize = 8 << 20;
/// Rows that one core scores together.
const SHARE: usize = 64;
/// Places of rows without an answer, and members without a column, that are named at the end.
const NAMED: usize = 5;
/// Columns that are proposed at most.
const PROPOSED: usize = 20;

/// What to score and where to put the answers.
#[derive(Clone, Debug)]
pub struct PredictJob {
    /// The model directory.
    pub model: PathBuf,
    /// A file, or a pattern of files; `None` reads standard input.
    pub input: Option<PathBuf>,
    /// How the input is read.
    pub read: ReadArgs,
    /// The file to write, in the form that its name tells; `None` writes JSON lines to standard output.
    pub output: Option<PathBuf>,
    /// Whether a file is replaced that holds no answers.
    pub force: bool,
    /// Which columns are written.
    pub write: WriteArgs,
}

/// Part of a column's name that answers have in every form, and how much of a file is looked through for it.
const PROBABILITIES: &[u8] = b"probabilities";
const LOOKED_AT: u64 = 256 * 1024;

/// Refuses a file that is there and holds no answers of this command.
fn check_output(path: &Path) -> Result<()> {
    let holds_answers = |file: &mut File, size: u64| {
        // A table has the name in its first line, Parquet at its end.
        for from in [0, size.saturating_sub(LOOKED_AT)] {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(from))?;
            file.take(LOOKED_AT).read_to_end(&mut bytes)?;
            if bytes.windows(PROBABILITIES.len()).any(|word| word == PROBABILITIES) {
                return Ok(true);
            }
        }
        Ok(size == 0)
    };
    let packed = path.extension().is_some_and(|kind| kind == "gz" || kind == "zst");
    let against = if packed { "" } else { ", and has no column of probabilities, as answers do" };
    check_ours(path, holds_answers, against)
}

/// Rows that were read together from one file.
struct Chunk {
    /// The file, where there are several.
    file: Option<Arc<str>>,
    columns: Arc<Columns>,
    rows: Vec<Row>,
}

/// Scores as `job` asks; answers that have no file of their own go to `out`, what was read as what and the rate to `log`.
///
/// # Errors
/// Those of reading the model, of reading the input and of writing; [`Error::Data`] where no row at all has an answer, or
/// rows have members that the output, which stands, has no column for. A
/// row that cannot be read and a text without a word are no errors unless `strict`: their answers say so, and the order
/// stays.
pub fn predict(job: &PredictJob, out: &mut (dyn Write + Send), log: &mut dyn Write) -> Result<()> {
    let input = Input::of(job.input.as_deref())?;
    if input == Input::Standard && job.read.format.is_none() {
        let reason = "standard input has no name that tells: csv, tsv, jsonl, json or txt";
        return Err(Error::setting("format", reason));
    }
    let bar = match &input {
        Input::Standard => progress::spinner("scoring"),
        Input::Files(_) => progress::bytes(input.size_bytes(), "scoring"),
    };
    let read = input.ids();
    let mut reader = Reader::open(&input, &job.read, bar.clone())?;
    let predictor = Predictor::load(&job.model)?;
    // A file that cannot be written is told before the first rows are waited for.
    let claimed = Claimed::open(job.output.as_deref(), &read, out, &job.write)?;
    if let Some(path) = job.output.as_deref().filter(|_| !job.force) {
        check_output(path)?;
    }
    let mut writer = claimed.begin(&job.write, &reader.outline()?)?;
    // A closed log is no reason to fail. The bar gives way: both may stand on one terminal.
    let _ = bar.suspend(|| writeln!(log, "{}", reader.taken()));
    let blocks = writer.blocks();

    let started = Instant::now();
    let mut tally = Tally::default();
    let (to_score, chunks) = sync_channel::<Result<Chunk>>(2);
    let (to_write, scored) = sync_channel::<Vec<Block>>(2);
    let written = std::thread::scope(|scope| {
        scope.spawn(move || read_chunks(&mut reader, &to_score));
        let writing = scope.spawn(move || write_blocks(&mut writer, scored).map(|()| writer));
        for chunk in chunks {
            let (made, counted) = score(&predictor, &blocks, chunk?, job)?;
            tally.add(counted);
            if input == Input::Standard {
                bar.set_position(tally.rows);
            }
            if to_write.send(made).is_err() {
                break;
            }
        }
        drop(to_write);
        writing.join().map_err(|_| Error::Data("the writer ended early".into()))?
    });
    bar.finish_and_clear();
    written?.finish()?;
    let seconds = started.elapsed().as_secs_f64();
    let _ = writeln!(log, "{}", tally.summary(seconds));
    tally.check(&blocks)
}

/// Reads chunk by chunk until the input ends, fails, or nobody takes more.
fn read_chunks(reader: &mut Reader, to: &SyncSender<Result<Chunk>>) {
    let mut chunk = Chunk { file: reader.file(), columns: reader.columns(), rows: Vec::new() };
    let mut bytes = 0;
    loop {
        let row = match reader.next() {
            Some(Ok(row)) => row,
            Some(Err(e)) => {
                let _ = to.send(Ok(chunk)).and_then(|()| to.send(Err(e)));
                return;
            }
            None => {
                let _ = to.send(Ok(chunk));
                return;
            }
        };
        // Another file has columns of its own.
        let other = !Arc::ptr_eq(&chunk.columns, &reader.columns());
        if other || chunk.rows.len() == CHUNK || bytes > CHUNK_BYTES {
            let rows = Vec::with_capacity(CHUNK);
            let next = Chunk { file: reader.file(), columns: reader.columns(), rows };
            if to.send(Ok(std::mem::replace(&mut chunk, next))).is_err() {
                return;
            }
            bytes = 0;
        }
        bytes += row.text.as_ref().map_or(0, String::len);
        chunk.rows.push(row);
    }
}

fn write_blocks(writer: &mut Writer, blocks: Receiver<Vec<Block>>) -> Result<()> {
    for block in blocks.into_iter().flatten() {
        writer.write(block)?;
    }
    Ok(())
}

/// Scores a chunk on all cores.
fn score(
    predictor: &Predictor,
    blocks: &Blocks,
    chunk: Chunk,
    job: &PredictJob,
) -> Result<(Vec<Block>, Tally)> {
    let Chunk { file, columns, mut rows } = chunk;
    let mut shares = Vec::with_capacity(rows.len().div_ceil(SHARE));
    while !rows.is_empty() {
        let rest = rows.split_off(rows.len().min(SHARE));
        shares.push(std::mem::replace(&mut rows, rest));
    }
    let made: Vec<(Block, Tally)> = shares
        .into_par_iter()
        .map(|share| {
            let answered = answers(predictor, share, file.as_deref(), job.write.explain.wanted());
            let tally = Tally::of(&answered, file.as_ref(), blocks);
            if let Some(fault) = tally.first.as_ref().filter(|_| job.read.strict) {
                return Err(Error::Data(fault.clone()));
            }
            if tally.lost > 0 && job.read.strict {
                return Err(Error::Data(tally.without_column(blocks)));
            }
            Ok((blocks.block(&answered, &columns)?, tally))
        })
        .collect::<Result<_>>()?;
    let mut tally = Tally::default();
    let blocks = made.into_iter().map(|(block, counted)| {
        tally.add(counted);
        block
    });
    let blocks = blocks.collect();
    Ok((blocks, tally))
}

fn answers(
    predictor: &Predictor,
    rows: Vec<Row>,
    file: Option<&str>,
    wanted: DetailsWanted,
) -> Vec<Answered> {
    let file = file.map_or(String::new(), |file| format!("{file}: "));
    let encoded: Vec<Result<_, String>> = rows
        .iter()
        .map(|row| match &row.text {
            Ok(text) => predictor.encode(text, Truncate::Tail).map_err(|e| e.to_string()),
            Err(reason) => Err(reason.clone()),
        })
        .collect();
    let readable: Vec<_> = encoded.iter().filter_map(|encoding| encoding.as_ref().ok().cloned()).collect();
    let mut predictions = predictor.run(&readable).into_iter();
    rows.into_iter()
        .zip(encoded)
        .map(|(row, encoding)| {
            let answer = encoding.and_then(|_| predictions.next().ok_or_else(|| "no prediction".to_string()));
            let answer = answer.map_err(|reason| format!("{file}line {}: {reason}", row.line));
            let text = row.text.as_deref().ok().filter(|_| wanted.any() && answer.is_ok());
            let details = text.and_then(|text| predictor.details(text, wanted).ok());
            Answered { row, answer, details }
        })
        .collect()
}

/// How many rows had answers.
#[derive(Debug, Default)]
struct Tally {
    rows: u64,
    failed: u64,
    /// The first reason.
    first: Option<String>,
    /// Files, where there are several, and lines of the first rows without an answer.
    places: Vec<(Option<Arc<str>>, u64)>,
    /// How many rows have members that are not written, and the first of these.
    lost: u64,
    members: Vec<String>,
}

impl Tally {
    fn of(answered: &[Answered], file: Option<&Arc<str>>, blocks: &Blocks) -> Self {
        let (mut lost, mut members) = (0, Vec::new());
        for answered in answered {
            let mut names = blocks.lost(&answered.row).peekable();
            lost += u64::from(names.peek().is_some());
            names.for_each(|name| note(&mut members, name));
        }
        let failed = answered.iter().filter(|answered| answered.answer.is_err());
        Self {
            rows: answered.len() as u64,
            failed: failed.clone().count() as u64,
            first: failed.clone().find_map(|answered| answered.answer.as_ref().err().cloned()),
            places: failed.take(NAMED).map(|answered| (file.cloned(), answered.row.line)).collect(),
            lost,
            members,
        }
    }

    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.failed += other.failed;
        self.first = self.first.take().or(other.first);
        self.places.extend(other.places);
        self.places.truncate(NAMED);
        self.lost += other.lost;
        other.members.iter().for_each(|name| note(&mut self.members, name));
    }

    fn summary(&self, seconds: f64) -> String {
        let rate = self.rows as f64 / seconds.max(1e-9);
        let mut text = format!("{} reviews in {seconds:.2} s, {rate:.0} reviews/s", self.rows);
        if let Some(first) = &self.first {
            text += &format!("; {} without an answer ({}): {first}", self.failed, self.places());
        }
        text
    }

    /// The lines of rows without an answer, by their files.
    fn places(&self) -> String {
        let lines = |places: &[(Option<Arc<str>>, u64)]| {
            let lines: Vec<String> = places.iter().map(|(_, line)| line.to_string()).collect();
            let file = places[0].0.as_ref().map_or(String::new(), |file| format!("{file}: "));
            format!("{file}lines {}", lines.join(", "))
        };
        let files: Vec<String> = self.places.chunk_by(|one, next| one.0 == next.0).map(lines).collect();
        let more = if self.failed as usize > self.places.len() { ", …" } else { "" };
        files.join("; ") + more
    }

    fn check(&self, blocks: &Blocks) -> Result<()> {
        match (&self.first, self.rows == self.failed) {
            (Some(first), true) => Err(Error::Data(format!("no row has an answer; {first}"))),
            _ if self.lost > 0 => Err(Error::Data(self.without_column(blocks))),
            _ => Ok(()),
        }
    }

    /// What to do about members that are not written.
    fn without_column(&self, blocks: &Blocks) -> String {
        let rows = if self.lost == 1 { "1 row has".into() } else { format!("{} rows have", self.lost) };
        let members: Vec<String> = self.members.iter().take(NAMED).map(|name| short(name)).collect();
        let more = if self.members.len() > NAMED { ", …" } else { "" };
        let columns: Vec<String> = blocks.kept().map(short).chain(members.iter().cloned()).collect();
        let columns = match columns.len() > PROPOSED {
            true => String::new(),
            false => format!(" {}{}", columns.join(","), more.replace(' ', "")),
        };
        format!(
            "{rows} members that the output has no column for ({}{more}): write .jsonl, or name all that is wanted by \
             --keep-columns{columns}",
            members.join(", ")
        )
    }
}

/// Adds `name`, as far as it is to be named.
fn note(members: &mut Vec<String>, name: &str) {
    if members.len() <= NAMED && !members.iter().any(|member| member == name) {
        members.push(name.to_string());
    }
}
