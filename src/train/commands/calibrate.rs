//! `trainer calibrate`: how sure a model sounds on data of one's own; temperature and bias are fitted, or the scale by
//! length; weights stay.

use std::io::Write;
use std::path::PathBuf;

use half::f16;

use crate::error::{Error, Result};
use crate::model::{
    BASELINE_FILE, DirectoryKind, GOLDEN_FILE, ModelFiles, NGRAMS_FILE, Precision, ShortScale, TRAINING_FILE,
    load_directory, save_directory,
};
use crate::predict::{Predictor, Truncate};
use crate::train::data::labelled::{self, DataSource, TableArgs};
use crate::train::data::minimal_pairs::{Expectation, behaviour, judge, load_pairs};
use crate::train::data::own::file_name;
use crate::train::metrics::{Metrics, cross_entropy, surest_first};
use crate::train::ngrams::logistic::platt;
use crate::train::report::record::{Calibration, TrainingRecord};
use crate::train::report::{card, companions, curve, reliability};
use crate::train::score::mean_logits_of;
use crate::train::stage::{OutputArgs, ResumeArgs, Stage, print};

/// Rows under which two numbers cannot be fitted.
const FEWEST: usize = 20;

/// What to calibrate, on what.
#[derive(Clone, Debug)]
pub struct CalibrateJob {
    /// The model directory.
    pub model: PathBuf,
    /// A table of one's own, or a folder of classes.
    pub data: DataSource,
    /// How it is read.
    pub table: TableArgs,
    /// The wanted share of right answers among those that are given; the others abstain.
    pub precision: Option<f64>,
    /// Whether the scale by length is fitted in place of temperature and bias.
    pub by_length: bool,
    /// The model directory to write.
    pub output: OutputArgs,
    /// The command as it was typed, for the record.
    pub command: String,
}

/// Fits temperature and bias, or the scale by length, to labelled rows, and finds from which score on answers are as often right as is wanted;
/// writes the model with them, new golden reviews and a new baseline.
///
/// # Errors
/// As [`Stage::claim`], [`load_directory`] and [`labelled::read`]; [`Error::Data`] where there are too few rows, one class
/// alone, or the model tells nothing about them.
pub fn calibrate(job: &CalibrateJob, out: &mut (dyn Write + Send)) -> Result<()> {
    let stage = Stage::claim(&job.output, DirectoryKind::Model, &ResumeArgs::default())?;
    if matches!(job.data, DataSource::Release(_)) {
        return Err(Error::Data(
            "`calibrate` takes a table of texts and labels, or a folder of classes".into(),
        ));
    }
    let mut files = load_directory(&job.model)?;
    let given = [Predictor::new(files.clone())];
    let read = labelled::read(&job.data, &job.table, None)?;
    read.notes.iter().try_for_each(|note| print(out, &format!("{note}\n")))?;
    let mut rows = read.rows;
    let mut lengths = Vec::with_capacity(rows.len());
    rows.retain(|row| {
        let encoding = row.target.and_then(|_| given[0].encode(&row.text, Truncate::Tail).ok());
        lengths.extend(encoding.iter().map(|encoding| encoding.tokens()));
        encoding.is_some()
    });
    let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    let targets: Vec<f32> = rows.iter().filter_map(|row| row.target).collect();
    let positives = targets.iter().filter(|target| **target >= 0.5).count();
    if rows.len() < FEWEST || positives == 0 || positives == rows.len() {
        let reason =
            format!("{} labelled rows with a word, {positives} positive: too few of one kind", rows.len());
        return Err(Error::Data(reason));
    }
    let told = mean_logits_of(&given, &texts);
    if job.by_length {
        // A scale that the model has is fitted anew, from what it says without one.
        files.config.set_short_scale(ShortScale::default());
        let plain = [Predictor::new(files.clone())];
        let logits = mean_logits_of(&plain, &texts);
        let rows: Vec<Told> = (0..texts.len())
            .map(|at| Told { logit: logits[at], ids: lengths[at], target: targets[at] })
            .collect();
        let sides = [rows, neutral(&plain[0])?];
        files.config.set_short_scale(fit_short(&sides, files.config.bias));
    } else {
        let (factor, shift) = platt(&told, &targets);
        // Rising certainty must mean rising odds.
        if !(factor.is_finite() && factor > 1e-3 && shift.is_finite()) {
            return Err(Error::Data("the model's probabilities tell nothing about these labels".into()));
        }
        files.config.temperature = (files.config.temperature / factor).clamp(1e-3, 1e3);
        files.config.bias = files.config.bias * factor + shift;
    }
    let short = Some(files.config.short_scale()).filter(|short| short.gain != 0.0 || short.bias != 0.0);

    let after = Predictor::new(files.clone());
    let models = [after];
    let fitted = mean_logits_of(&models, &texts);
    let (old, new) = (Metrics::of(&told, &targets), Metrics::of(&fitted, &targets));
    let abstain = job.precision.map(|wanted| abstain_below(&fitted, &targets, wanted));
    let mut text = format!(
        "{} rows, {positives} positive\ntemperature {:.3}, bias {:+.3}{}\nbefore: loss {:.4} accuracy {:.4} calibration error \
         {:.4}\nafter:  loss {:.4} accuracy {:.4} calibration error {:.4}\n",
        rows.len(),
        files.config.temperature,
        files.config.bias,
        short.map_or(String::new(), |short| format!("; with s = exp(-n / {}), {short}", short.tokens)),
        old.loss,
        old.accuracy,
        old.ece,
        new.loss,
        new.accuracy,
        new.ece
    );
    match (abstain, job.precision) {
        (Some(Some((score, share))), Some(wanted)) => {
            text += &format!(
                "answers of a score from {score:.3} on are right in {wanted} of all cases; {:.1} % of the rows have one \
                 (server --abstain {score:.3})\n",
                100.0 * share
            );
        }
        (Some(None), Some(wanted)) => text += &format!("no score is right in {wanted} of all cases\n"),
        _ => {}
    }
    print(out, &text)?;

    let calibration = Calibration {
        data: match &job.data {
            DataSource::Release(path) | DataSource::Folders(path) | DataSource::Table(path) => {
                file_name(path)
            }
        },
        command: job.command.clone(),
        rows: rows.len(),
        positives,
        temperature: files.config.temperature,
        bias: files.config.bias,
        short,
        abstain: abstain.flatten().map(|(score, _)| score),
    };
    save(&stage, job, files, &models[0], calibration, new, (&fitted, &targets), &texts)?;
    stage.end(true, out)
}

/// Lengths over which gain and bias may fall, in ids: past the longest, whole reviews would be told otherwise too.
const LENGTHS: [f32; 5] = [5.0, 10.0, 20.0, 30.0, 40.0];

/// What a model without a gain says of a text.
#[derive(Clone, Copy)]
struct Told {
    logit: f32,
    ids: usize,
    target: f32,
}

/// What `predictor` says of texts without an opinion, whose target is one half: rows of opinions alone would make it sure of
/// those too.
fn neutral(predictor: &Predictor) -> Result<Vec<Told>> {
    let pairs = load_pairs(None)?.into_iter().filter(|pair| pair.expect == Expectation::Neutral);
    let told = pairs.filter_map(|pair| {
        let encoding = predictor.encode(&pair.a, Truncate::Tail).ok()?;
        let logit = predictor.run(std::slice::from_ref(&encoding)).pop()?.logit;
        Some(Told { logit, ids: encoding.tokens(), target: 0.5 })
    });
    Ok(told.collect())
}

/// The scale under which the texts of the second side, which hold no opinion, lie at one half in the mean, of the least
/// cross-entropy, in which both sides count alike; `bias` is in the logits.
fn fit_short(sides: &[Vec<Told>; 2], bias: f32) -> ShortScale {
    let neutral = &sides[1];
    let centre = |tokens: f32| -> f32 {
        let total: f32 = neutral.iter().map(|told| told.logit - bias).sum();
        let shares: f32 = neutral.iter().map(|told| (-(told.ids as f32) / tokens).exp()).sum();
        if neutral.is_empty() { 0.0 } else { (-total / shares * 100.0).round().clamp(-100.0, 100.0) / 100.0 }
    };
    let loss = |scale: &ShortScale| -> f64 {
        let of_row = |told: &Told| {
            let logit = scale.apply(told.logit - bias, told.ids) + bias;
            cross_entropy(f64::from(logit), f64::from(told.target))
        };
        sides.iter().map(|side| side.iter().map(of_row).sum::<f64>() / side.len().max(1) as f64).sum()
    };
    // Steps finer than these are more than the data tell.
    let steps = |from: i32, to: i32, of_one: f32| (from..=to).map(move |step| step as f32 / of_one);
    let mut best = (f64::INFINITY, ShortScale::default());
    for tokens in LENGTHS {
        for threshold in steps(0, 10, 10.0) {
            for gain in steps(-9, 60, 10.0) {
                let scale = ShortScale { gain, tokens, threshold, bias: centre(tokens) };
                let loss = loss(&scale);
                if loss < best.0 {
                    best = (loss, scale);
                }
            }
        }
    }
    best.1
}

/// The score from which on answers are right in the share `wanted` of all cases, and the share of rows that have one.
fn abstain_below(logits: &[f32], targets: &[f32], wanted: f64) -> Option<(f64, f64)> {
    let rows = surest_first(logits, targets);
    let often_enough = |&at: &usize| rows[at].1 as f64 >= wanted * (at + 1) as f64;
    let last = (0..rows.len()).rev().find(often_enough)?;
    Some((rows[last].0, (last + 1) as f64 / rows.len() as f64))
}

/// Writes the model with what was measured.
#[allow(clippy::too_many_arguments)]
fn save(
    stage: &Stage,
    job: &CalibrateJob,
    files: ModelFiles,
    predictor: &Predictor,
    calibration: Calibration,
    metrics: Metrics,
    (logits, targets): (&[f32], &[f32]),
    texts: &[&str],
) -> Result<()> {
    let name = file_name(stage.output());
    let json = |value: serde_json::Result<String>| (value.expect("plain data") + "\n").into_bytes();
    let owned: Vec<String> = texts.iter().map(|text| text.to_string()).collect();
    let golden = companions::golden(predictor)?;
    let mut extra = vec![
        (GOLDEN_FILE, json(serde_json::to_string_pretty(&golden))),
        (reliability::RELIABILITY_FILE, reliability::reliability(logits, targets).file().into_bytes()),
    ];
    if let Some(baseline) = companions::baseline(predictor, &owned) {
        extra.push((BASELINE_FILE, json(serde_json::to_string_pretty(&baseline))));
    }
    if let Some(table) = &files.ngrams {
        extra.push((NGRAMS_FILE, table.to_bytes()));
    }
    // A model that was made elsewhere has no record to go on from.
    if let Some(mut record) = TrainingRecord::load(&job.model)? {
        record.results.insert(format!("{}, calibrated on it", calibration.data), metrics);
        record.calibration = Some(calibration);
        if !record.behaviour.is_empty() {
            record.behaviour = behaviour(&judge(predictor, load_pairs(None)?)?);
        }
        extra.push(("README.md", card::model_card(&name, &record).into_bytes()));
        extra.push((curve::CURVE_FILE, curve::curve(&record.epochs, record.kept_epoch).into_bytes()));
        extra.push(("history.csv", curve::history(&record.epochs).into_bytes()));
        extra.push((TRAINING_FILE, record.to_json().into_bytes()));
    }
    let half = files
        .tensors
        .values()
        .flat_map(|array| &array.data)
        .all(|value| f16::from_f32(*value).to_f32() == *value);
    let precision = if half { Precision::F16 } else { Precision::F32 };
    let (config, words, tensors) = (&files.config, &files.vocabulary, &files.tensors);
    save_directory(stage.output(), config, words, tensors, &files.metadata, precision, &extra)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::metrics::sigmoid;

    #[test]
    fn short_texts_are_made_as_sure_as_they_are_right() {
        // Twenty short texts told at .73 of which nineteen are right, and long ones that are right as often as told.
        let told = |logit: f32, ids: usize, target: f32| Told { logit, ids, target };
        let mut rows: Vec<Told> = (0..20).map(|at| told(1.0, 4, f32::from(at < 19))).collect();
        rows.extend((0..100).map(|at| told(1.0, 300, f32::from(at < 73))));
        rows.extend(rows.clone().into_iter().map(|row| told(-row.logit, row.ids, 1.0 - row.target)));
        let scale = fit_short(&[rows.clone(), Vec::new()], 0.0);
        assert!((sigmoid(f64::from(scale.apply(1.0, 4))) - 0.95).abs() < 0.01, "{scale:?}");
        assert!((scale.apply(1.0, 300) - 1.0).abs() < 0.02, "{scale:?}");
        // Texts of no opinion, of which it is half sure, are left at that.
        let neutral = [told(0.5, 4, 0.5), told(-0.5, 4, 0.5)].repeat(50);
        let held = fit_short(&[rows, neutral], 0.0);
        assert!(held.apply(0.5, 4) < 0.6 && held.apply(1.0, 4) > 2.0, "{held:?}");
    }

    #[test]
    fn one_abstains_below_the_score_that_is_right_often_enough() {
        // The two surest are right, the third is wrong, the fourth right.
        let (logits, targets) = ([4.0, -3.0, 2.0, 1.0], [1.0, 0.0, 0.0, 1.0]);
        let (score, share) = abstain_below(&logits, &targets, 0.9).unwrap();
        assert!((score - sigmoid(3.0)).abs() < 1e-9 && share == 0.5);
        assert_eq!(abstain_below(&logits, &targets, 0.75).unwrap().1, 1.0);
        assert_eq!(abstain_below(&[1.0], &[0.0], 0.9), None);
    }
}
