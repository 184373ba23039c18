//! `trainer texts`: lists the texts that a teacher is to judge, one JSON object a line.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::train::data::corpus::{Class, Corpus, Review};
use crate::train::data::output::{FileId, Output, check_file_outside, check_ours};
use crate::train::data::split::{DataSplit, unlabelled};
use crate::train::data::texts::{Source, TextId, cleaned, read_phrases, short_digest, stretches};
use crate::train::settings::Settings;

/// Which reviews are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Those to learn from, labelled and unlabelled.
    Train,
    /// The labelled ones that are held out.
    Validation,
    /// The labelled ones that are set aside for one last look.
    Final,
}

/// What `trainer texts` is asked for, the data apart.
#[derive(Clone, Debug, clap::Args)]
pub struct TextsArgs {
    /// The file to write, JSON lines: id, text, split, film and label where there are.
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// Replace a file that holds no texts of this command.
    #[arg(long)]
    pub force: bool,
    /// Which reviews; may be given more than once. Held-out films leave only where they are asked for.
    #[arg(long = "on", value_name = "SIDE", default_value = "train")]
    pub sides: Vec<Side>,
    /// Stretches of one to four sentences that are listed beside the whole reviews, per sentence; 0 for none.
    #[arg(long, default_value_t = 1.5)]
    pub stretches: f64,
    /// A file of phrases to list as well, one a line.
    #[arg(long, value_name = "FILE")]
    pub phrases: Option<PathBuf>,
    /// Seed of the choice of stretches.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// What a line of this command has behind its id and its text.
const KEY: &[u8] = b",\"digest\":\"";

/// Bytes of a file's first line that are looked at to see whose it is; a review is shorter.
const LONGEST_LINE: u64 = 1 << 20;

/// One text to judge.
#[derive(Serialize)]
struct Line {
    id: String,
    text: String,
    /// Of the text as it stands in the data.
    digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    film: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'static str>,
}

/// Writes the texts, each review whole and then its stretches; says to `out` how many, where it is not the output itself.
///
/// # Errors
/// Those of reading the data set, of its split and of writing; [`Error::Setting`] for a share that is none.
pub fn run(data: &Path, settings: &Settings, args: &TextsArgs, out: &mut (dyn Write + Send)) -> Result<()> {
    if !(0.0..=16.0).contains(&args.stretches) {
        return Err(Error::setting("stretches", format!("{} does not lie in 0 to 16", args.stretches)));
    }
    check_file_outside(data, &args.output)?;
    check_output(&args.output, args.force)?;
    let phrases = args.phrases.as_deref().map(read_phrases).transpose()?.unwrap_or_default();
    let asked: BTreeSet<Side> = args.sides.iter().copied().collect();
    let corpus = Corpus::read(data, asked.contains(&Side::Train))?;
    let reviews = listed(&corpus, settings, &asked)?;
    let path = &args.output;
    let read: Vec<FileId> =
        [Some(data), args.phrases.as_deref()].into_iter().flatten().filter_map(FileId::at).collect();
    let mut file = Output::open(Some(path), &read, out)?;
    let mut written = 0usize;
    // As many as one thread's worth of memory holds easily, made by all of them, written in order.
    for chunk in reviews.chunks(4096) {
        let lines: Vec<(usize, String)> =
            chunk.par_iter().map(|(side, review)| lines(*side, review, args)).collect();
        for (count, text) in lines {
            written += count;
            file.write_all(text.as_bytes()).map_err(Error::io(path))?;
        }
    }
    let mut phrase_count = 0;
    for (number, phrase) in (1..).zip(&phrases).filter(|(_, phrase)| !phrase.is_empty()) {
        let id = TextId { source: Source::Phrases, number, range: None };
        let line = Line {
            id: id.to_string(),
            text: cleaned(phrase),
            digest: short_digest(phrase),
            split: None,
            film: None,
            label: None,
        };
        file.write_all(json(&line).as_bytes()).map_err(Error::io(path))?;
        phrase_count += 1;
    }
    let to_file = matches!(file, Output::File(_));
    file.finish()?;
    if !to_file {
        return Ok(());
    }
    let reviews = reviews.len();
    writeln!(
        out,
        "{reviews} reviews, {} stretches, {phrase_count} phrases in {}",
        written - reviews,
        path.display()
    )
    .map_err(Error::io("output"))
}

/// Refuses an output that is there and was not written by this command.
fn check_output(path: &Path, force: bool) -> Result<()> {
    if force {
        return Ok(());
    }
    check_ours(path, |file, size| {
        let mut line = Vec::new();
        BufReader::new(file.take(LONGEST_LINE)).read_until(b'\n', &mut line)?;
        let ours =
            size == 0 || line.starts_with(b"{\"id\":") && line.windows(KEY.len()).any(|part| part == KEY);
        Ok((!ours).then(|| " and holds no texts of this command".into()))
    })
}

/// The reviews of the sides `asked` for, by class and number.
fn listed<'c>(
    corpus: &'c Corpus,
    settings: &Settings,
    asked: &BTreeSet<Side>,
) -> Result<Vec<(Side, &'c Review)>> {
    let split = DataSplit::of(&corpus.train, settings)?;
    let mut reviews: Vec<(Side, &Review)> = Vec::new();
    for (side, positions) in
        [(Side::Train, &split.train), (Side::Validation, &split.validation), (Side::Final, &split.final_test)]
    {
        if asked.contains(&side) {
            reviews.extend(positions.iter().map(|&at| (side, &corpus.train[at])));
        }
    }
    if asked.contains(&Side::Train) && !corpus.unlabelled.is_empty() {
        reviews.extend(
            unlabelled(&corpus.unlabelled, settings)?.into_iter().map(|review| (Side::Train, review)),
        );
    }
    reviews.sort_by_key(|(_, review)| (review.class, review.id));
    Ok(reviews)
}

/// The lines of one review, and how many they are.
fn lines(side: Side, review: &Review, args: &TextsArgs) -> (usize, String) {
    let whole = TextId::of(review);
    let label = match review.class {
        Class::Negative => Some("negative"),
        Class::Positive => Some("positive"),
        Class::Unlabelled => None,
    };
    let line = |id: TextId, text: &str, label| {
        json(&Line {
            id: id.to_string(),
            text: cleaned(text),
            digest: short_digest(text),
            split: Some(side),
            film: review.film,
            label,
        })
    };
    let mut text = line(whole.clone(), &review.text, label);
    let stretches = stretches(review, args.stretches, args.seed);
    for range in &stretches {
        let id = TextId { range: Some((range.start as u32, range.end as u32)), ..whole.clone() };
        text += &line(id, &review.text[range.clone()], None);
    }
    (1 + stretches.len(), text)
}

fn json(line: &Line) -> String {
    serde_json::to_string(line).expect("plain data") + "\n"
}
