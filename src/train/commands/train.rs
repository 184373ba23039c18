//! `trainer train`: from the data set to a model directory.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use candle_nn::Optimizer;

use super::training_data::{Sources, TrainingData, prepare};
use crate::error::Result;
use crate::model::{DirectoryKind, Dropout, Metadata, Network, TRAINING_FILE, save_directory};
use crate::train::data::digest::digest_of_examples;
use crate::train::data::minimal_pairs;
use crate::train::data::own::file_name;
use crate::train::fit::batch::Sampling;
use crate::train::fit::optimizer::{OptimizerConfig, StatefulOptimizer};
use crate::train::fit::variables::Variables;
use crate::train::fit::{EpochRow, Hooks, Position, Schedule, State, Task, fit};
use crate::train::interrupt::Interrupt;
use crate::train::metrics::Metrics;
use crate::train::ngrams::stack::Stack;
use crate::train::report::record::{SeedFigures, TrainingRecord};
use crate::train::report::{card, companions, curve, reliability};
use crate::train::score::{measure, predictor, targets_of};
use crate::train::settings::{Settings, unused_beside};
use crate::train::stage::{OutputArgs, ResumeArgs, Stage, on_threads, print};
use crate::train::trained::{TrainedModel, share_of_positives};

/// The tokens that end a sentence, where the tokenizer keeps them.
const SENTENCE_ENDS: [&str; 5] = [".", "!", "?", "...", "<br>"];
/// The held-out reviews among the results of a record.
const VALIDATION: &str = "validation";
/// The same, by the network without its n-grams.
const LSTM_ALONE: &str = "validation, LSTM alone";

/// What to train on and where to put the result.
#[derive(Clone, Debug)]
pub struct Job {
    /// The resolved settings.
    pub settings: Settings,
    /// What to learn from.
    pub sources: Sources,
    /// The model directory to write.
    pub output: OutputArgs,
    /// Whether to go on from the checkpoint beside the output.
    pub resume: ResumeArgs,
    /// With how many seeds in a row to train; the weights are those of the first, the figures of all are told.
    pub seeds: usize,
    /// The command as it was typed, for the record.
    pub command: String,
}

/// Trains as `job` says, telling `out` about it; `interrupt` is looked at after every step.
///
/// # Errors
/// [`Error::Interrupted`] when training was stopped, after checkpoint and model were saved; else what went wrong.
pub fn train(job: &Job, out: &mut (dyn Write + Send), interrupt: &Interrupt) -> Result<()> {
    job.sources.data.check_holds_not(&job.output.output)?;
    let stage = Stage::claim(&job.output, DirectoryKind::Model, &job.resume)?;
    on_threads(job.settings.threads, || train_on_these_threads(job, stage, out, interrupt))
}

fn train_on_these_threads(
    job: &Job,
    stage: Stage,
    out: &mut (dyn Write + Send),
    interrupt: &Interrupt,
) -> Result<()> {
    // Read and prepare.
    let mut settings = job.settings.clone();
    let mut prepared = prepare(&job.sources, &settings)?;
    // A small data set may have fewer words than were asked for.
    settings.vocab_size = prepared.vocabulary.len();
    for note in &prepared.notes {
        print(out, &format!("{note}\n"))?;
    }
    // Not listed is what has no say, however it is set.
    let unused = unused_beside(&job.sources.own);
    let listed = toml::to_string(&settings).expect("plain data");
    let has_say = |line: &&str| line.split(" = ").next().is_none_or(|name| !unused.contains(&name));
    let listed: String = listed.lines().filter(has_say).map(|line| format!("{line}\n")).collect();
    let data = &prepared.data;
    print(out, &format!("{listed}\n{} reviews to learn from, {} held out\n", data.train, data.validation))?;
    prepared.make_up_sentences(&settings)?;

    // Fit.
    let (state, finished) = fit_network(job, Some(&stage), &settings, &prepared, out, interrupt)?;
    if !finished && stage.keeps_finished() {
        print(out, "the finished model that is there stays until this run has come to its end\n")?;
        return stage.end(finished, out);
    }

    // Weigh n-grams beside the network, calibrate, measure.
    let (model, weighed, results) = round_off(&prepared, &settings, &state, finished)?;

    // Other seeds.
    let seeds = match results.get(VALIDATION) {
        Some(first) if finished && job.seeds > 1 => with_other_seeds(job, &settings, first, out, interrupt)?,
        _ => Vec::new(),
    };

    // Save.
    let record = TrainingRecord {
        version: env!("CARGO_PKG_VERSION").into(),
        command: job.command.clone(),
        settings,
        data: prepared.data.clone(),
        epochs: state.position.rows.clone(),
        kept_epoch: state.position.kept,
        finished,
        stack: weighed,
        calibration: None,
        results,
        seeds,
        // The pairs are English and about films.
        behaviour: if prepared.data.own && prepared.data.init.is_none() {
            Vec::new()
        } else {
            let pairs = minimal_pairs::load_pairs(None)?;
            minimal_pairs::behaviour(&minimal_pairs::judge(&model.predictor(), pairs)?)
        },
    };
    save(stage.output(), &model, &prepared, &record)?;
    if let Some(metrics) = record.results.get(VALIDATION) {
        let kept = record.kept_epoch.map_or("present weights".into(), |epoch| format!("epoch {epoch}"));
        print(out, &format!("\nvalidation, {kept}\n{}", metrics.to_text()))?;
    }
    stage.end(finished, out)
}

/// From the state of a fitted network to a model with its n-grams, calibrated, and its figures.
fn round_off<'m>(
    prepared: &'m TrainingData,
    settings: &Settings,
    state: &State,
    finished: bool,
) -> Result<(TrainedModel<'m>, Option<Stack>, BTreeMap<String, Metrics>)> {
    let TrainingData { config, vocabulary, validation, .. } = prepared;
    let weights = state.kept_weights()?;
    let mut model = TrainedModel::new(config.clone(), weights, vocabulary, settings.precision, validation);
    let (mut results, mut weighed) = (BTreeMap::new(), None);
    if settings.ngrams > 0 && finished {
        results.extend(model.calibrated_metrics().map(|alone| (LSTM_ALONE.to_string(), alone)));
        let (table, share) = prepared.ngram_table(settings)?;
        weighed = Some(model.add_ngrams(&table, share)?);
    }
    match (settings.calibrate, prepared.data.own) {
        (false, _) => {}
        (true, true) => {
            let grouped = prepared.data.group.is_some();
            let all = || [targets_of(&prepared.train), targets_of(validation)].concat();
            model.calibrate_with_bias(grouped.then(|| share_of_positives(&all())));
        }
        (true, false) => model.calibrate(),
    }
    results.extend(model.metrics().map(|metrics| (VALIDATION.to_string(), metrics)));
    Ok((model, weighed, results))
}

/// The figures of as many seeds as are asked for, from that of `settings` on, whose are `first`: how much of them is chance.
/// What is trained with the others is not kept; an interrupt ends it with those that are done.
fn with_other_seeds(
    job: &Job,
    settings: &Settings,
    first: &Metrics,
    out: &mut (dyn Write + Send),
    interrupt: &Interrupt,
) -> Result<Vec<SeedFigures>> {
    let mut all = vec![SeedFigures { seed: settings.seed, validation: first.clone() }];
    for seed in (settings.seed + 1..).take(job.seeds - 1) {
        print(out, &format!("\nseed {seed}\n"))?;
        let mut settings = Settings { seed, ..job.settings.clone() };
        let mut prepared = prepare(&job.sources, &settings)?;
        settings.vocab_size = prepared.vocabulary.len();
        prepared.make_up_sentences(&settings)?;
        let (state, finished) = fit_network(job, None, &settings, &prepared, out, interrupt)?;
        if !finished {
            print(out, &format!("stopped; the figures are of {} seeds\n", all.len()))?;
            break;
        }
        let (_, _, mut results) = round_off(&prepared, &settings, &state, finished)?;
        all.extend(results.remove(VALIDATION).map(|validation| SeedFigures { seed, validation }));
    }
    Ok(all)
}

/// Trains the network from its start, or from the checkpoint of a `stage`; returns its state and whether the schedule ended.
fn fit_network(
    job: &Job,
    stage: Option<&Stage>,
    settings: &Settings,
    prepared: &TrainingData,
    out: &mut (dyn Write + Send),
    interrupt: &Interrupt,
) -> Result<(State, bool)> {
    let learnt = prepared.train.iter().chain(&prepared.sentences).chain(&prepared.judged);
    let examples_sha256 = digest_of_examples(learnt);
    let fresh = || {
        let mut variables = Variables::initial(&prepared.config, settings.seed)?;
        for (name, array) in &prepared.start {
            variables.set(name, &array.data)?;
        }
        let optimizer = StatefulOptimizer::new(variables.vars(), OptimizerConfig::from(settings))?;
        Ok(State { variables, optimizer, position: Position::default(), best: None })
    };
    let mut state = match stage {
        Some(stage) => stage.state(settings, &examples_sha256, fresh, out)?,
        None => fresh()?,
    };

    let sentence_ends: Vec<u32> =
        SENTENCE_ENDS.iter().filter_map(|mark| prepared.vocabulary.id(mark)).collect();
    let network = Network::new(&prepared.config, settings.threads, state.variables.builder())?;
    let task = Task {
        examples: &prepared.train,
        schedule: Schedule {
            epochs: settings.epochs,
            batch_size: settings.batch_size,
            bucketed: settings.bucketed,
            seed: settings.seed,
        },
        clip_norm: settings.clip_norm,
        keep: settings.keep,
        patience: settings.patience,
        learning_rate: settings.learning_rate(),
        dropout: Dropout {
            words: settings.dropout_words as f32,
            embedding: settings.dropout_embedding as f32,
            features: settings.dropout_features as f32,
        },
        sampling: Sampling {
            crop: settings.crop,
            short_crops: settings.short_crops,
            judged: &prepared.judged,
            sentence_ends: &sentence_ends,
            sentences: &prepared.sentences,
            sentence_share: settings.sentences,
        },
    };
    let mut hooks = Hooks {
        validate: &mut |variables| {
            let predictor = predictor(&prepared.config, &prepared.vocabulary, variables.to_arrays()?, None);
            Ok((!prepared.validation.is_empty()).then(|| measure(&predictor, &prepared.validation)))
        },
        epoch: &mut |row| print(out, &epoch_line(row, settings.epochs, prepared.data.train)),
        checkpoint: &mut |state| match stage {
            Some(stage) => stage.save_checkpoint(state, settings, &examples_sha256),
            None => Ok(()),
        },
        stop: &|steps| job.resume.stop(interrupt, steps),
    };
    let finished = interrupt.heeded_by(|| fit(&task, &network, &mut state, &mut hooks))?;
    Ok((state, finished))
}

/// Writes the model directory with its card, record, golden reviews and baseline.
fn save(output: &Path, model: &TrainedModel, prepared: &TrainingData, record: &TrainingRecord) -> Result<()> {
    let settings = &record.settings;
    let metadata = Metadata::from([
        ("preset".to_string(), settings.preset.clone()),
        ("seed".to_string(), settings.seed.to_string()),
    ]);
    let predictor = model.predictor();
    let golden = companions::golden(&predictor)?;
    let baseline = companions::baseline(&predictor, &prepared.validation_texts);
    let json = |value: serde_json::Result<String>| (value.expect("plain data") + "\n").into_bytes();
    let mut extra = vec![
        (TRAINING_FILE, record.to_json().into_bytes()),
        (crate::model::GOLDEN_FILE, json(serde_json::to_string_pretty(&golden))),
        ("README.md", card::model_card(&file_name(output), record).into_bytes()),
        ("history.csv", curve::history(&record.epochs).into_bytes()),
        (curve::CURVE_FILE, curve::curve(&record.epochs, record.kept_epoch).into_bytes()),
    ];
    if !prepared.validation.is_empty() {
        let diagram = reliability::reliability(model.held_out_logits(), &targets_of(&prepared.validation));
        extra.push((reliability::RELIABILITY_FILE, diagram.file().into_bytes()));
    }
    if let Some(baseline) = baseline {
        extra.push((crate::model::BASELINE_FILE, json(serde_json::to_string_pretty(&baseline))));
    }
    if let Some(table) = &model.ngrams {
        extra.push((crate::model::NGRAMS_FILE, table.to_bytes()));
    }
    save_directory(
        output,
        &model.config,
        &prepared.vocabulary,
        &model.tensors,
        &metadata,
        settings.precision,
        &extra,
    )
}

/// One line per epoch, for logs and terminals alike.
fn epoch_line(row: &EpochRow, epochs: usize, reviews: usize) -> String {
    let validation = match (row.validation_loss, row.validation_accuracy) {
        (Some(loss), Some(accuracy)) => format!("  validation loss {loss:.4} accuracy {accuracy:.4}"),
        _ => String::new(),
    };
    format!(
        "epoch {:>2}/{epochs}  loss {:.4} accuracy {:.4}{validation}  {:.1} s  {:.0} reviews/s\n",
        row.epoch,
        row.loss,
        row.accuracy,
        row.seconds,
        reviews as f64 / row.seconds.max(0.01)
    )
}
