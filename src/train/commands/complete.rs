//! `trainer complete`: adds to a model directory what the server and people look for beside the weights.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::model::{BASELINE_FILE, GOLDEN_FILE, Lock, NewFile, load_directory};
use crate::predict::Predictor;
use crate::train::commands::rows::{Evaluation, rows};
use crate::train::data::own::file_name;
use crate::train::report::record::TrainingRecord;
use crate::train::report::{card, companions, curve, reliability};
use crate::train::score::mean_logits_of;

/// What to complete, with what.
#[derive(Clone, Debug)]
pub struct CompleteJob {
    /// The model directory.
    pub model: PathBuf,
    /// Labelled rows that the model has not learnt from; golden reviews alone are written without them.
    pub rows: Option<Evaluation>,
    /// Whether files that are there are written anew.
    pub force: bool,
}

/// Writes golden reviews, baseline and calibration picture (where there are rows), history and curve (where there is a
/// record), and a card where there is none; says to `out` which. Files that are there stay unless that is asked for.
///
/// # Errors
/// Those of reading the model, of [`rows`] and of writing; [`Error::Invalid`] where another process writes the directory.
pub fn complete(job: &CompleteJob, out: &mut dyn Write) -> Result<()> {
    // What is written is about the weights that are read: nobody may put others there meanwhile.
    let _lock = Lock::of(&job.model)?;
    let files = load_directory(&job.model)?;
    let record = TrainingRecord::load(&job.model)?;
    let models = [Predictor::new(files)];
    let mut made: Vec<(&str, String)> = Vec::new();
    let json = |value: serde_json::Result<String>| value.expect("plain data") + "\n";
    made.push((GOLDEN_FILE, json(serde_json::to_string_pretty(&companions::golden(&models[0])?))));
    if let Some(evaluation) = &job.rows {
        let (rows, notes) = rows(evaluation, &models)?;
        for note in notes {
            writeln!(out, "{note}").map_err(Error::io("standard output"))?;
        }
        let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
        let targets: Vec<f32> = rows.iter().map(|row| row.target).collect();
        let logits = mean_logits_of(&models, &texts);
        made.push((reliability::RELIABILITY_FILE, reliability::reliability(&logits, &targets).file()));
        let owned: Vec<String> = texts.iter().map(|text| text.to_string()).collect();
        if let Some(baseline) = companions::baseline(&models[0], &owned) {
            made.push((BASELINE_FILE, json(serde_json::to_string_pretty(&baseline))));
        }
    }
    if let Some(record) = &record {
        made.push(("history.csv", curve::history(&record.epochs)));
        made.push((curve::CURVE_FILE, curve::curve(&record.epochs, record.kept_epoch)));
    }
    let mut written = Vec::new();
    for (name, text) in made {
        if job.force || !is_there(&job.model, name) {
            write(&job.model, name, &text)?;
            written.push(name);
        }
    }
    // A card may hold what somebody wrote: it is never written anew.
    if let Some(record) = record.filter(|_| !is_there(&job.model, "README.md")) {
        write(&job.model, "README.md", &card::model_card(&file_name(&job.model), &record))?;
        written.push("README.md");
    }
    let text = match written.is_empty() {
        true => "nothing is missing; --force writes it anew\n".to_string(),
        false => format!("wrote {} in {}\n", written.join(", "), job.model.display()),
    };
    out.write_all(text.as_bytes()).map_err(Error::io("standard output"))
}

fn is_there(model: &Path, name: &str) -> bool {
    fs::symlink_metadata(model.join(name)).is_ok()
}

fn write(model: &Path, name: &str, text: &str) -> Result<()> {
    let path = model.join(name);
    let mut file = NewFile::create(&path)?;
    file.write_all(text.as_bytes()).map_err(Error::io(&path))?;
    file.persist()
}
