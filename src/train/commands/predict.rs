//! `trainer predict`: scores the reviews of files or of standard input, in order, as they come.
//!
//! One thread reads, all cores score, one thread writes; of the input only what these three have in hand is in memory.
//! Cores take share by share as each is done with its last; the writer waits for them in the order in which they were read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use indicatif::ProgressBar;

use crate::error::{Error, Result};
use crate::predict::{DetailsWanted, Predictor, Truncate};
use crate::train::data::output::check_ours;
use crate::train::data::places::{Place, Places};
use crate::train::data::reader::{Columns, Input, Outline, ReadArgs, Reader, Row, short};
use crate::train::data::writer::{Answered, Block, Blocks, Claimed, WriteArgs, Writer, is_of_answer};
use crate::train::progress;

/// Rows that one core scores together.
const SHARE: usize = 64;
/// Bytes of text at which a share ends in any case.
const SHARE_BYTES: usize = 1 << 20;
/// Shares for each core that are read and not yet written: enough that none waits for a slow one, few enough to be a stream.
const SHARES_IN_HAND: usize = 6;
/// Members without a column that are named at the end.
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

/// Refuses a file that is there and holds no answers of this command, or a table that has a column which answers to an input
/// of this `outline` have not: somebody added it.
fn check_output(path: &Path, outline: &Outline) -> Result<()> {
    let known = |name: &str| {
        is_of_answer(name) || name.starts_with("input.") || outline.names.iter().any(|ours| ours == name)
    };
    check_ours(path, |file, size| {
        if !holds_answers(file, size)? {
            let packed = path.extension().is_some_and(|kind| kind == "gz" || kind == "zst");
            let against = if packed { "" } else { ", and has no column of probabilities, as answers do" };
            return Ok(Some(against.into()));
        }
        let mut line = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        BufReader::new(file.take(LOOKED_AT)).read_until(b'\n', &mut line)?;
        let stranger = names_in(path, &line).into_iter().find(|name| !known(name));
        Ok(stranger.map(|name| format!(", and answers have no `{}`", short(&name))))
    })
}

fn holds_answers(file: &mut File, size: u64) -> io::Result<bool> {
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
}

/// The columns that the first line of a table of this name tells; none where it is packed or no table of text.
fn names_in(path: &Path, line: &[u8]) -> Vec<String> {
    let table = |delimiter: u8| {
        let mut builder = csv::ReaderBuilder::new();
        let mut records = builder.delimiter(delimiter).has_headers(false).from_reader(line).into_records();
        let record = records.next().and_then(|record| record.ok());
        record.map(|record| record.iter().map(String::from).collect()).unwrap_or_default()
    };
    match path.extension().and_then(|kind| kind.to_str()) {
        Some("csv") => table(b','),
        Some("tsv") => table(b'\t'),
        Some("jsonl" | "ndjson") => {
            let object = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line);
            object.map(|object| object.into_iter().map(|(name, _)| name).collect()).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// Rows that were read together from one file.
struct Share {
    /// The file, where there are several.
    file: Option<Arc<str>>,
    columns: Arc<Columns>,
    rows: Vec<Row>,
}

/// What a core makes of a share.
type Scored = Result<(Block, Tally)>;

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
    let outline = reader.outline()?;
    if let Some(path) = job.output.as_deref().filter(|_| !job.force) {
        check_output(path, &outline)?;
    }
    let writer = claimed.begin(&job.write, &outline)?;
    // A closed log is no reason to fail. The bar gives way: both may stand on one terminal.
    let _ = bar.suspend(|| writeln!(log, "{}", reader.taken()));
    let blocks = writer.blocks();

    let started = Instant::now();
    let in_hand = SHARES_IN_HAND * rayon::current_num_threads();
    let (to_score, shares) = sync_channel::<Result<Share>>(2);
    let (to_write, scored) = sync_channel::<Receiver<Scored>>(in_hand);
    let counting = (input == Input::Standard).then(|| bar.clone());
    let (predictor, blocks) = (&predictor, &blocks);
    let written = std::thread::scope(|scope| {
        scope.spawn(move || read_shares(&mut reader, &to_score));
        let writing = scope.spawn(move || write_shares(writer, scored, counting.as_ref()));
        rayon::in_place_scope(|cores| {
            for share in shares {
                let (done, answer) = sync_channel(1);
                match share {
                    Ok(share) => cores.spawn(move |_| {
                        // Nobody waits for it where the writer has failed.
                        let _ = done.send(score(predictor, blocks, share, job));
                    }),
                    Err(e) => _ = done.send(Err(e)),
                }
                if to_write.send(answer).is_err() {
                    break;
                }
            }
            drop(to_write);
        });
        writing.join().map_err(|_| Error::Data("the writer ended early".into()))?
    });
    bar.finish_and_clear();
    let tally = written?;
    let seconds = started.elapsed().as_secs_f64();
    let _ = writeln!(log, "{}", tally.summary(seconds));
    tally.check(blocks)
}

/// Reads share by share until the input ends, fails, or nobody takes more.
fn read_shares(reader: &mut Reader, to: &SyncSender<Result<Share>>) {
    let begin = |reader: &Reader| Share {
        file: reader.file(),
        columns: reader.columns().clone(),
        rows: Vec::with_capacity(SHARE),
    };
    let mut share = begin(reader);
    let mut bytes = 0;
    loop {
        let row = match reader.next() {
            Some(Ok(row)) => row,
            Some(Err(e)) => {
                let _ = to.send(Ok(share)).and_then(|()| to.send(Err(e)));
                return;
            }
            None => {
                let _ = to.send(Ok(share));
                return;
            }
        };
        // Another file has columns of its own.
        let other = !Arc::ptr_eq(&share.columns, reader.columns());
        if other || share.rows.len() == SHARE || bytes > SHARE_BYTES {
            if to.send(Ok(std::mem::replace(&mut share, begin(reader)))).is_err() {
                return;
            }
            bytes = 0;
        }
        bytes += row.bytes();
        share.rows.push(row);
    }
}

/// Writes what the cores make of the shares, in the order in which they were read, to the end of the output.
fn write_shares(
    mut writer: Writer,
    shares: Receiver<Receiver<Scored>>,
    counting: Option<&ProgressBar>,
) -> Result<Tally> {
    let mut tally = Tally::default();
    for share in shares {
        let (block, counted) = share.recv().map_err(|_| Error::Data("a thread ended early".into()))??;
        writer.write(block)?;
        tally.add(counted);
        if let Some(bar) = counting {
            bar.set_position(tally.rows);
        }
    }
    writer.finish()?;
    Ok(tally)
}

/// Scores a share on the calling thread.
fn score(predictor: &Predictor, blocks: &Blocks, share: Share, job: &PredictJob) -> Scored {
    let Share { file, columns, rows } = share;
    let answered = answers(predictor, rows, file.as_deref(), job.write.explain.wanted());
    let tally = Tally::of(&answered, file.as_ref(), blocks);
    if let Some(fault) = tally.first.as_ref().filter(|_| job.read.strict) {
        return Err(Error::Data(fault.clone()));
    }
    if tally.lost > 0 && job.read.strict {
        return Err(Error::Data(tally.without_column(blocks)));
    }
    Ok((blocks.block(&answered, &columns)?, tally))
}

fn answers(
    predictor: &Predictor,
    rows: Vec<Row>,
    file: Option<&str>,
    wanted: DetailsWanted,
) -> Vec<Answered> {
    let file = file.map_or(String::new(), |file| format!("{file}: "));
    let mut readable = Vec::with_capacity(rows.len());
    let faults: Vec<Option<String>> = rows
        .iter()
        .map(|row| {
            let text = row.text.as_ref().map_err(String::clone);
            let encoded =
                text.and_then(|text| predictor.encode(text, Truncate::Tail).map_err(|e| e.to_string()));
            encoded.map(|encoding| readable.push(encoding)).err()
        })
        .collect();
    let mut predictions = predictor.run(&readable).into_iter();
    rows.into_iter()
        .zip(faults)
        .map(|(row, fault)| {
            let answer = match fault {
                Some(reason) => Err(format!("{file}line {}: {reason}", row.line)),
                None => Ok(predictions.next().expect("a prediction for each text")),
            };
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
    /// The rows without an answer, and the reason of the first.
    failed: Places,
    first: Option<String>,
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
        let (mut failed, mut first) = (Places::default(), None);
        for Answered { row, answer, .. } in answered {
            if let Err(reason) = answer {
                failed.note(&Place { file: file.cloned(), line: row.line });
                first.get_or_insert_with(|| reason.clone());
            }
        }
        Self { rows: answered.len() as u64, failed, first, lost, members }
    }

    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.failed.add(other.failed);
        self.first = self.first.take().or(other.first);
        self.lost += other.lost;
        other.members.iter().for_each(|name| note(&mut self.members, name));
    }

    fn summary(&self, seconds: f64) -> String {
        let rate = self.rows as f64 / seconds.max(1e-9);
        let mut text = format!("{} reviews in {seconds:.2} s, {rate:.0} reviews/s", self.rows);
        if let Some(first) = &self.first {
            text += &format!("; {} without an answer ({}): {first}", self.failed.count(), self.failed);
        }
        text
    }

    fn check(&self, blocks: &Blocks) -> Result<()> {
        match (&self.first, self.rows == self.failed.count()) {
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
