//! `trainer predict`: scores the reviews of a file or of standard input, in order, as they come.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rayon::prelude::*;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::predict::{Predictor, Truncate};
use crate::train::data::labelled_file::{Format, Row, Table};
use crate::train::data::output::{FileId, Output};
use crate::train::progress;

/// Reviews in memory at a time: enough to keep every thread busy, few enough to be a stream.
const CHUNK: usize = 4096;
/// Reviews that one thread scores together.
const SHARE: usize = 64;

/// What to score and where to put the answers.
#[derive(Clone, Debug)]
pub struct Scoring {
    /// The model directory.
    pub model: PathBuf,
    /// The reviews; `None` reads standard input.
    pub input: Option<PathBuf>,
    /// How the input holds them; `None` goes by its name, one text a line where that tells nothing.
    pub format: Option<Format>,
    /// `.csv` writes CSV, anything else JSON lines; `None` writes JSON lines to standard output.
    pub output: Option<PathBuf>,
}

/// What is written for one review.
#[derive(Debug, Serialize)]
struct Answer {
    /// `positive` from probability 0.5; absent for a text without a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'static str>,
    /// Probability that the review is positive.
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f32>,
    tokens: usize,
    unknown_tokens: usize,
    truncated: bool,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Scores as `scoring` asks; answers that have no file of their own go to `out`, the rate to `log`.
///
/// # Errors
/// Those of reading the model, of reading the input (its line named) and of writing. A text without a word is no
/// error: its answer says so, and the order stays.
pub fn score_file(scoring: &Scoring, out: &mut dyn Write, log: &mut dyn Write) -> Result<()> {
    let read: Vec<FileId> = match &scoring.input {
        Some(path) => FileId::at(path),
        None => FileId::of(std::io::stdin()),
    }
    .into_iter()
    .collect();
    let predictor = Predictor::load(&scoring.model)?;
    let format = scoring.format.or_else(|| scoring.input.as_deref().and_then(Format::of_path));
    let format = format.unwrap_or(Format::Txt);
    let (bar, input, name): (_, Box<dyn Read>, _) = match &scoring.input {
        Some(path) => {
            let file = File::open(path).map_err(Error::io(path))?;
            let bar = progress::bytes(file.metadata().map_err(Error::io(path))?.len(), "scoring");
            (bar, Box::new(file), path.as_path())
        }
        None => (progress::spinner("scoring"), Box::new(std::io::stdin()), Path::new("standard input")),
    };
    let by_bytes = scoring.input.is_some();
    let input: Box<dyn Read> = if by_bytes { Box::new(bar.wrap_read(input)) } else { input };
    let mut table = Table::new(BufReader::new(input), format, name)?;

    let as_csv = scoring.output.as_deref().and_then(Format::of_path) == Some(Format::Csv);
    let shown = scoring.output.clone().unwrap_or_else(|| "standard output".into());
    let mut writer = Output::open(scoring.output.as_deref(), &read, out)?;
    let write_error = |e: std::io::Error| Error::io(&shown)(e);
    if as_csv {
        writer
            .write_all(b"label,probability,tokens,unknown_tokens,truncated,error\n")
            .map_err(write_error)?;
    }
    let (started, mut count) = (Instant::now(), 0u64);
    loop {
        let rows: Vec<Row> = table.by_ref().take(CHUNK).collect::<Result<_>>()?;
        if rows.is_empty() {
            break;
        }
        let answers: Vec<Answer> =
            rows.par_chunks(SHARE).flat_map_iter(|share| answers(&predictor, share)).collect();
        for answer in &answers {
            let line = if as_csv { csv_line(answer) } else { json_line(answer) };
            writer.write_all(line.as_bytes()).map_err(write_error)?;
        }
        writer.flush().map_err(write_error)?;
        count += rows.len() as u64;
        if !by_bytes {
            bar.set_position(count);
        }
    }
    writer.finish()?;
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    let rate = count as f64 / seconds.max(1e-9);
    // A closed log is no reason to fail: the answers are out.
    let _ = writeln!(log, "{count} reviews in {seconds:.2} s, {rate:.0} reviews/s");
    Ok(())
}

fn answers(predictor: &Predictor, rows: &[Row]) -> Vec<Answer> {
    let encodings: Vec<_> = rows.iter().map(|row| predictor.encode(&row.text, Truncate::Tail)).collect();
    let readable: Vec<_> = encodings.iter().filter_map(|encoding| encoding.as_ref().ok().cloned()).collect();
    let mut predictions = predictor.run(&readable).into_iter();
    encodings
        .iter()
        .map(|encoding| match encoding.as_ref().map(|_| predictions.next()) {
            Ok(Some(prediction)) => Answer {
                label: Some(if prediction.probability >= 0.5 { "positive" } else { "negative" }),
                probability: Some(prediction.probability),
                tokens: prediction.tokens,
                unknown_tokens: prediction.unknown_tokens,
                truncated: prediction.dropped_tokens > 0,
                error: None,
            },
            Ok(None) => no_answer("no prediction".into()),
            Err(e) => no_answer(e.to_string()),
        })
        .collect()
}

fn no_answer(error: String) -> Answer {
    Answer {
        label: None,
        probability: None,
        tokens: 0,
        unknown_tokens: 0,
        truncated: false,
        error: Some(error),
    }
}

fn json_line(answer: &Answer) -> String {
    serde_json::to_string(answer).expect("plain data") + "\n"
}

fn csv_line(answer: &Answer) -> String {
    let probability = answer.probability.map_or(String::new(), |probability| probability.to_string());
    format!(
        "{},{probability},{},{},{},{}\n",
        answer.label.unwrap_or_default(),
        answer.tokens,
        answer.unknown_tokens,
        answer.truncated,
        answer.error.as_deref().unwrap_or_default()
    )
}
