//! `trainer train`: from the data set to a model directory.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_nn::Optimizer;

use crate::error::{Error, Result};
use crate::model::{
    Array, Config, DirectoryKind, Dropout, Metadata, Network, NgramTable, Scratch, TRAINING_FILE,
    save_directory,
};
use crate::predict::sigmoid;
use crate::text::Vocabulary;
use crate::train::data::corpus::Review;
use crate::train::data::digest::{digest_of_examples, digest_of_reviews};
use crate::train::data::example::Example;
use crate::train::data::labelled::{DataSource, OwnArgs};
use crate::train::data::lessons::Lessons;
use crate::train::data::own::{Gathered, file_name, gather};
use crate::train::data::split as sides;
use crate::train::data::start::{InitModel, init_model};
use crate::train::data::{minimal_pairs, sentences, vocabulary};
use crate::train::fit::batch::Sampling;
use crate::train::fit::optimizer::{OptimizerConfig, StatefulOptimizer};
use crate::train::fit::variables::Variables;
use crate::train::fit::{EpochRow, Hooks, Position, Schedule, State, Task, fit};
use crate::train::interrupt::Interrupt;
use crate::train::metrics::Metrics;
use crate::train::ngrams::stack::{self, Stack};
use crate::train::pretrain::word_vectors::{Vectors, load_vectors};
use crate::train::report::record::{DataRecord, SeedFigures, TrainingRecord};
use crate::train::report::{card, companions, curve, reliability};
use crate::train::score::{self, examples, measure, predictor, targets_of};
use crate::train::settings::{ClassWeights, Settings};
use crate::train::stage::{OutputArgs, ResumeArgs, Stage, on_threads, print};
use crate::train::trained::TrainedModel;

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
    /// The public release, a table of one's own, or a folder of classes.
    pub data: DataSource,
    /// How data of one's own is read and split.
    pub own: OwnArgs,
    /// A model to start from.
    pub init: Option<PathBuf>,
    /// The published word index; `None` counts the words of the reviews learnt from.
    pub vocabulary: Option<PathBuf>,
    /// Word vectors to start from, as `trainer vectors` writes them; they bring their vocabulary.
    pub vectors: Option<PathBuf>,
    /// Models whose mean opinion of the unlabelled reviews is learnt from as well.
    pub teachers: Vec<PathBuf>,
    /// Files of opinions to learn from.
    pub opinions: Vec<PathBuf>,
    /// The phrases that some of the opinions are of.
    pub phrases: Option<PathBuf>,
    /// The model directory to write.
    pub output: OutputArgs,
    /// Whether to go on from the checkpoint beside the output.
    pub resume: ResumeArgs,
    /// With how many seeds in a row to train; the weights are those of the first, the figures of all are told.
    pub seeds: usize,
    /// The command as it was typed, for the record.
    pub command: String,
}

/// The reviews of a run, ready to learn from.
struct Material {
    vocabulary: Vocabulary,
    config: Config,
    train: Vec<Example>,
    /// Stretches with opinions of their own.
    judged: Vec<Example>,
    validation: Vec<Example>,
    validation_texts: Vec<String>,
    data: DataRecord,
    /// What was taken for what, and what was left out.
    notes: Vec<String>,
    /// Tensors to start from: word vectors, the LSTM of a language model.
    start: BTreeMap<String, Array>,
    /// Made-up sentences to learn from beside the reviews.
    sentences: Vec<Example>,
    /// The table of n-grams, where it is needed before the network is trained.
    ngrams: Option<NgramTable>,
    /// The table to go on from, where training starts from a model with one.
    start_ngrams: Option<NgramTable>,
}

/// Trains as `job` says, telling `out` about it; `interrupt` is looked at after every step.
///
/// # Errors
/// [`Error::Interrupted`] when training was stopped, after checkpoint and model were saved; else what went wrong.
pub fn train(job: &Job, out: &mut (dyn Write + Send), interrupt: &Interrupt) -> Result<()> {
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
    let mut material = prepare(job, &settings)?;
    // A small data set may have fewer words than were asked for.
    settings.vocab_size = material.vocabulary.len();
    for note in &material.notes {
        print(out, &format!("{note}\n"))?;
    }
    let listed = toml::to_string(&settings).expect("plain data");
    let data = &material.data;
    print(out, &format!("{listed}\n{} reviews to learn from, {} held out\n", data.train, data.validation))?;
    material.make_up_sentences(&settings)?;

    // Fit.
    let (state, finished) = fit_network(job, Some(&stage), &settings, &material, out, interrupt)?;
    if !finished && stage.keeps_finished() {
        print(out, "the finished model that is there stays until this run has come to its end\n")?;
        return stage.end(finished, out);
    }

    // Weigh n-grams beside the network, calibrate, measure.
    let (model, weighed, results) = round_off(&material, &settings, &state, finished)?;

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
        data: material.data.clone(),
        epochs: state.position.rows.clone(),
        kept_epoch: state.position.kept,
        finished,
        stack: weighed,
        calibration: None,
        results,
        seeds,
        // The pairs are English and about films.
        behaviour: if material.data.own && material.data.init.is_none() {
            Vec::new()
        } else {
            let pairs = minimal_pairs::load_pairs(None)?;
            minimal_pairs::behaviour(&minimal_pairs::judge(&model.predictor(), pairs)?)
        },
    };
    save(stage.output(), &model, &material, &record)?;
    if let Some(metrics) = record.results.get(VALIDATION) {
        let kept = record.kept_epoch.map_or("present weights".into(), |epoch| format!("epoch {epoch}"));
        print(out, &format!("\nvalidation, {kept}\n{}", metrics.to_text()))?;
    }
    stage.end(finished, out)
}

impl Material {
    /// Makes up the sentences that are learnt from beside the reviews, and, where there are short texts to learn from
    /// and n-grams to come, fits the n-grams first: the network has to know what they will say.
    fn make_up_sentences(&mut self, settings: &Settings) -> Result<()> {
        if settings.sentences > 0.0 {
            self.sentences = sentences::sentences(settings.seed, &self.config, &self.vocabulary)?;
        }
        if settings.ngrams == 0 || (self.sentences.is_empty() && self.judged.is_empty()) {
            return Ok(());
        }
        let table = self.fit_ngrams(settings)?;
        // The n-grams of a negated word say the opposite of the sentence: the network has to outweigh them.
        let mut scratch = Scratch::default();
        for short in self.sentences.iter_mut().chain(&mut self.judged) {
            short.logit_offset = stack::SHARE * table.score(&short.ids, &mut scratch);
        }
        self.ngrams = Some(table);
        Ok(())
    }

    /// The table of n-grams, and the share at which the network has learnt with it.
    fn ngram_table(&self, settings: &Settings) -> Result<(Cow<'_, NgramTable>, Option<f32>)> {
        match &self.ngrams {
            Some(table) => Ok((Cow::Borrowed(table), Some(stack::SHARE))),
            None => Ok((Cow::Owned(self.fit_ngrams(settings)?), None)),
        }
    }

    fn fit_ngrams(&self, settings: &Settings) -> Result<NgramTable> {
        stack::wide_part(
            &self.train,
            self.data.train,
            &self.judged,
            settings.ngrams,
            self.start_ngrams.as_ref(),
        )
    }
}

/// From the state of a fitted network to a model with its n-grams, calibrated, and its figures.
fn round_off<'m>(
    material: &'m Material,
    settings: &Settings,
    state: &State,
    finished: bool,
) -> Result<(TrainedModel<'m>, Option<Stack>, BTreeMap<String, Metrics>)> {
    let Material { config, vocabulary, validation, .. } = material;
    let weights = state.kept_weights()?;
    let mut model = TrainedModel::new(config.clone(), weights, vocabulary, settings.precision, validation);
    let (mut results, mut weighed) = (BTreeMap::new(), None);
    if settings.ngrams > 0 && finished {
        results.extend(model.calibrated_metrics().map(|alone| (LSTM_ALONE.to_string(), alone)));
        let (table, share) = material.ngram_table(settings)?;
        weighed = Some(model.add_ngrams(&table, share)?);
    }
    match (settings.calibrate, material.data.own) {
        (false, _) => {}
        (true, true) => model.calibrate_with_bias(),
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
        let mut material = prepare(job, &settings)?;
        settings.vocab_size = material.vocabulary.len();
        material.make_up_sentences(&settings)?;
        let (state, finished) = fit_network(job, None, &settings, &material, out, interrupt)?;
        if !finished {
            print(out, &format!("stopped; the figures are of {} seeds\n", all.len()))?;
            break;
        }
        let (_, _, mut results) = round_off(&material, &settings, &state, finished)?;
        all.extend(results.remove(VALIDATION).map(|validation| SeedFigures { seed, validation }));
    }
    Ok(all)
}

/// Trains the network from its start, or from the checkpoint of a `stage`; returns its state and whether the schedule ended.
fn fit_network(
    job: &Job,
    stage: Option<&Stage>,
    settings: &Settings,
    material: &Material,
    out: &mut (dyn Write + Send),
    interrupt: &Interrupt,
) -> Result<(State, bool)> {
    let learnt = material.train.iter().chain(&material.sentences).chain(&material.judged);
    let examples_sha256 = digest_of_examples(learnt);
    let fresh = || {
        let mut variables = Variables::initial(&material.config, settings.seed)?;
        for (name, array) in &material.start {
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
        SENTENCE_ENDS.iter().filter_map(|mark| material.vocabulary.id(mark)).collect();
    let network = Network::new(&material.config, settings.threads, state.variables.builder())?;
    let task = Task {
        examples: &material.train,
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
            judged: &material.judged,
            sentence_ends: &sentence_ends,
            sentences: &material.sentences,
            sentence_share: settings.sentences,
        },
    };
    let mut hooks = Hooks {
        validate: &mut |variables| {
            let predictor = predictor(&material.config, &material.vocabulary, variables.to_arrays()?, None);
            Ok((!material.validation.is_empty()).then(|| measure(&predictor, &material.validation)))
        },
        epoch: &mut |row| print(out, &epoch_line(row, settings.epochs, material.data.train)),
        checkpoint: &mut |state| match stage {
            Some(stage) => stage.save_checkpoint(state, settings, &examples_sha256),
            None => Ok(()),
        },
        stop: &|steps| job.resume.stop(interrupt, steps),
    };
    let finished = interrupt.heeded_by(|| fit(&task, &network, &mut state, &mut hooks))?;
    Ok((state, finished))
}

/// Reads and splits the reviews, settles the vocabulary and encodes.
fn prepare(job: &Job, settings: &Settings) -> Result<Material> {
    let taught_too = !(job.teachers.is_empty() && job.opinions.is_empty());
    let Gathered { corpus, sides, mut notes, names } = gather(&job.data, taught_too, &job.own, settings)?;
    let pick = |positions: &[usize]| positions.iter().map(|&at| &corpus.train[at]).collect::<Vec<&Review>>();
    let (train, validation) = (pick(&sides.train), pick(&sides.validation));
    let mut start = BTreeMap::new();
    let texts: Vec<&str> = train.iter().map(|review| review.text.as_str()).collect();
    let init = job.init.as_ref().map(|directory| init_model(directory, &texts, settings.seed)).transpose()?;
    if let Some(init) = &init {
        notes.push(format!(
            "starts from {}, {} words added to its {}",
            init.name,
            init.added,
            init.vocabulary.len() - init.added
        ));
    }
    let (mut init_config, mut start_ngrams) = (None, None);
    let vocabulary = match (&job.vocabulary, &job.vectors) {
        _ if init.is_some() => {
            let InitModel { config, vocabulary, tensors, ngrams, .. } = init.expect("just seen");
            (start, init_config, start_ngrams) = (tensors, Some(config), ngrams);
            vocabulary
        }
        (_, Some(path)) => {
            let Vectors { vocabulary, dim, vectors, others } = load_vectors(path)?;
            if dim != settings.embedding_dim {
                let reason = format!("{} has vectors of length {dim}", path.display());
                return Err(Error::setting("embedding_dim", reason));
            }
            start = others;
            let shape = vec![vocabulary.len(), dim];
            start.insert("embedding.weight".to_string(), Array { shape, data: vectors });
            vocabulary
        }
        (Some(path), None) => Vocabulary::from_word_index(path, settings.vocab_size)?,
        (None, None) => {
            let texts = train.iter().map(|review| review.text.as_str());
            vocabulary::count_vocabulary(texts, settings.config().tokenizer, settings.vocab_size)?
        }
    };
    let config = init_config.unwrap_or_else(|| settings.config());
    let config = Config { vocab_size: vocabulary.len(), ngrams: false, ..config };
    let mut material = Material {
        train: examples(&train, &config, &vocabulary),
        judged: Vec::new(),
        validation: examples(&validation, &config, &vocabulary),
        validation_texts: validation.iter().map(|review| review.text.clone()).collect(),
        data: DataRecord {
            name: match &job.data {
                DataSource::Release(path) | DataSource::Folders(path) | DataSource::Table(path) => {
                    file_name(path)
                }
            },
            own: !matches!(job.data, DataSource::Release(_)),
            group: job.own.group_column.clone(),
            init: job.init.as_ref().map(|path| file_name(path)),
            vocabulary: match (&job.vocabulary, &job.vectors) {
                (_, Some(path)) | (Some(path), None) => file_name(path),
                (None, None) if job.init.is_some() => "of the model that training starts from".into(),
                (None, None) => "counted".into(),
            },
            train: train.len(),
            unlabelled: 0,
            teachers: job.teachers.iter().map(|teacher| file_name(teacher)).collect(),
            opinions: job.opinions.iter().map(|path| file_name(path)).collect(),
            judged: 0,
            judged_stretches: 0,
            validation: validation.len(),
            validation_sha256: digest_of_reviews(&validation),
        },
        vocabulary,
        config,
        start,
        notes,
        sentences: Vec::new(),
        ngrams: None,
        start_ngrams,
    };
    let mut judged = HashSet::new();
    if !job.opinions.is_empty() {
        let by_ids = (&material.config, &material.vocabulary);
        let lessons = Lessons::read(
            &job.opinions,
            job.phrases.as_deref(),
            (&corpus, &sides, &names),
            settings,
            by_ids,
        )?;
        lessons.apply(&mut material.train, &train);
        material.data.unlabelled = lessons.long.len();
        material.data.judged = lessons.labelled.len() + lessons.long.len();
        material.data.judged_stretches = lessons.short.len();
        if lessons.left_out > 0 {
            let count = lessons.left_out;
            material
                .notes
                .push(format!("{count} opinions on reviews that are held out or left out are not used"));
        }
        material.train.extend(lessons.long);
        material.judged = lessons.short;
        judged = lessons.reviews;
    }
    weigh_classes(&mut material.train, settings.class_weights);
    if !job.teachers.is_empty() {
        let mut unlabelled = sides::unlabelled(&corpus.unlabelled, settings)?;
        unlabelled.retain(|review| !judged.contains(&review.id));
        let soft = soft_labelled(&unlabelled, &job.teachers, &material)?;
        material.data.unlabelled += soft.len();
        material.train.extend(soft);
    }
    Ok(material)
}

/// Gives labelled examples the weight of their class.
fn weigh_classes(examples: &mut [Example], weights: ClassWeights) {
    let positives = examples.iter().filter(|example| example.target >= 0.5).count() as f32;
    let (all, negatives) = (examples.len() as f32, examples.len() as f32 - positives);
    let (negative, positive) = match weights {
        ClassWeights::None => return,
        ClassWeights::Balanced => (all / (2.0 * negatives.max(1.0)), all / (2.0 * positives.max(1.0))),
        ClassWeights::Pair(negative, positive) => (negative, positive),
    };
    for example in examples {
        example.weight *= if example.target >= 0.5 { positive } else { negative };
    }
}

/// Unlabelled reviews with the mean opinion of `teachers` as their target. Reviews without a word are left out.
fn soft_labelled(reviews: &[&Review], teachers: &[PathBuf], material: &Material) -> Result<Vec<Example>> {
    let texts: Vec<&str> = reviews.iter().map(|review| review.text.as_str()).collect();
    let opinions = score::mean_logits(teachers, &texts)?;
    let ids = score::encode_all(&texts, &material.config, &material.vocabulary);
    let soft = ids.into_iter().zip(opinions).filter(|(ids, _)| ids.len() > 1);
    let example = |(ids, logit): (Vec<u32>, f32)| Example {
        ids,
        target: sigmoid(logit),
        weight: 1.0,
        logit_offset: 0.0,
    };
    Ok(soft.map(example).collect())
}

/// Writes the model directory with its card, record, golden reviews and baseline.
fn save(output: &Path, model: &TrainedModel, material: &Material, record: &TrainingRecord) -> Result<()> {
    let settings = &record.settings;
    let metadata = Metadata::from([
        ("preset".to_string(), settings.preset.clone()),
        ("seed".to_string(), settings.seed.to_string()),
    ]);
    let predictor = model.predictor();
    let golden = companions::golden(&predictor)?;
    let baseline = companions::baseline(&predictor, &material.validation_texts);
    let json = |value: serde_json::Result<String>| (value.expect("plain data") + "\n").into_bytes();
    let mut extra = vec![
        (TRAINING_FILE, record.to_json().into_bytes()),
        (crate::model::GOLDEN_FILE, json(serde_json::to_string_pretty(&golden))),
        ("README.md", card::model_card(&file_name(output), record).into_bytes()),
        ("history.csv", curve::history(&record.epochs).into_bytes()),
        (curve::CURVE_FILE, curve::curve(&record.epochs, record.kept_epoch).into_bytes()),
    ];
    if !material.validation.is_empty() {
        let diagram = reliability::reliability(model.held_out_logits(), &targets_of(&material.validation));
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
        &material.vocabulary,
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
