//! `trainer inspect`: what a model directory holds.

use std::fmt::Write as _;
use std::path::Path;

use crate::error::{Error, Result};
use crate::model::load_directory;
use crate::train::report::record::TrainingRecord;

/// Tensors, shapes, parameters, digests, settings and results of the model in `directory`, as text.
///
/// # Errors
/// As [`load_directory`]; [`Error::Invalid`] for a damaged training record.
pub fn inspect(directory: &Path) -> Result<String> {
    let files = load_directory(directory)?;
    let record = TrainingRecord::load(directory)?;
    let mut text = format!("model {}\n\n", files.name);
    let wide = files.tensors.keys().map(String::len).max().unwrap_or(0);
    let mut total = 0;
    let _ = writeln!(
        text,
        "{:<wide$}  {:>16}  {:>12}  {:>9}  {:>9}",
        "tensor", "shape", "parameters", "mean", "spread"
    );
    for (name, array) in &files.tensors {
        let count = array.data.len();
        total += count;
        let mean = array.data.iter().map(|v| f64::from(*v)).sum::<f64>() / count as f64;
        let square = array.data.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count as f64;
        let shape = array.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
        let _ =
            writeln!(text, "{name:<wide$}  {shape:>16}  {count:>12}  {mean:>9.5}  {:>9.5}", square.sqrt());
    }
    let _ = writeln!(text, "{:<wide$}  {:>16}  {total:>12}\n", "total", "");

    for (file, size) in sizes(directory)? {
        let _ = writeln!(text, "{file:<20}{size:>12} bytes");
    }
    let _ = writeln!(text, "\nmetadata");
    for (key, value) in &files.metadata {
        let _ = writeln!(text, "  {key:<16}{value}");
    }
    let _ = writeln!(text, "  {:<16}{}", "vocabulary", files.vocabulary.sha256());
    let _ = writeln!(text, "\nconfig.json\n{}", files.config.to_json().trim_end());
    let Some(record) = record else {
        text.push_str("\nno training.json: the weights were made elsewhere\n");
        return Ok(text);
    };
    let _ = writeln!(text, "\ntrained by\n  {}", record.command);
    let _ = writeln!(text, "\nsettings\n{}", toml::to_string(&record.settings).expect("plain data"));
    let kept = record.kept_epoch.map_or("none".into(), |epoch| epoch.to_string());
    let state = if record.finished { "finished" } else { "stopped before its end" };
    let _ = writeln!(text, "epochs {} ({state}), kept {kept}", record.epochs.len());
    for row in &record.epochs {
        let validation = match (row.validation_loss, row.validation_accuracy) {
            (Some(loss), Some(accuracy)) => format!("  validation loss {loss:.4} accuracy {accuracy:.4}"),
            _ => String::new(),
        };
        let (epoch, loss, accuracy) = (row.epoch, row.loss, row.accuracy);
        let _ = writeln!(text, "  {epoch:>3}  loss {loss:.4} accuracy {accuracy:.4}{validation}");
    }
    for (set, metrics) in &record.results {
        let _ = writeln!(text, "\n{set}\n{}", metrics.to_text().trim_end());
    }
    Ok(text)
}

/// Files of the directory and their sizes, by name.
fn sizes(directory: &Path) -> Result<Vec<(String, u64)>> {
    let mut sizes = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(Error::io(directory))? {
        let entry = entry.map_err(Error::io(directory))?;
        let metadata = entry.metadata().map_err(Error::io(entry.path()))?;
        if metadata.is_file() {
            sizes.push((entry.file_name().to_string_lossy().into_owned(), metadata.len()));
        }
    }
    sizes.sort();
    Ok(sizes)
}
