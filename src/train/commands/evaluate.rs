//! `trainer evaluate`: how good a model is on labelled reviews.

use std::io::Write;

use serde::Serialize;

use crate::error::Result;
use crate::predict::Predictor;
use crate::train::commands::rows::{Evaluation, rows};
use crate::train::metrics::{
    Coverage, Metrics, best_threshold, coverage, coverage_table, ece_by_chance, ece_of_even_classes,
};
use crate::train::score::mean_logits_of;

/// Reviews from which on a threshold that would be better is no chance.
const ENOUGH: usize = 50;

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluated {
    /// The figures.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// The calibration error that so many reviews show by chance.
    pub ece_by_chance: f64,
    /// The calibration error where either class counts half.
    pub ece_of_even_classes: f64,
    /// What is answered, and how often that is right, from several scores on.
    pub coverage: Vec<Coverage>,
}

impl Evaluated {
    /// As it is printed for people.
    pub fn to_text(&self) -> String {
        let (chance, even) = (self.ece_by_chance, self.ece_of_even_classes);
        let more = format!("\n{:<20}{chance:.4}\n{:<20}{even:.4}\n", "ece by chance", "of even classes");
        self.metrics.to_text() + &more + &coverage_table(&self.coverage)
    }
}

/// Figures of the models together, as `evaluation` asks; what was taken for what, and what was left out, goes to `log`.
///
/// # Errors
/// Those of reading the models, and of [`rows`].
pub fn evaluate(evaluation: &Evaluation, log: &mut dyn Write) -> Result<Evaluated> {
    let models = evaluation.models.iter().map(Predictor::load).collect::<Result<Vec<_>>>()?;
    let (rows, notes) = rows(evaluation, &models)?;
    let mut note = |text: &str| {
        // A closed log is no reason to fail.
        let _ = writeln!(log, "{text}");
    };
    notes.iter().for_each(|text| note(text));
    let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    let targets: Vec<f32> = rows.iter().map(|row| row.target).collect();
    let logits = mean_logits_of(&models, &texts);
    let metrics = Metrics::of(&logits, &targets);
    let (threshold, accuracy) = best_threshold(&logits, &targets);
    if metrics.reviews >= ENOUGH && accuracy - metrics.accuracy > 0.05 {
        note(&format!(
            "the order is better than the labels: parted at a probability of {threshold:.3} in place of .5, {accuracy:.4} \
             would be right; `trainer calibrate` moves it there"
        ));
    }
    Ok(Evaluated {
        metrics,
        ece_by_chance: ece_by_chance(&logits),
        ece_of_even_classes: ece_of_even_classes(&logits, &targets),
        coverage: coverage(&logits, &targets).to_vec(),
    })
}
