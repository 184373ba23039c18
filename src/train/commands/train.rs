//! `trainer train`: from the data set to a model directory.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_nn::Optimizer;

use crate::error::{Error, Result};
use crate::model::{
    Array, Config, DirectoryKind, Dropout, Metadata, Network, NgramTable, Scratch, TRAINING_FILE,
    save_directory,
};
use crate::text::Vocabulary;
use crate::train::data::corpus::Review;
use crate::train::data::digest::{digest_of_examples, digest_of_reviews};
use crate::train::data::example::Example;
use crate::train::data::labelled::DataSource;
use crate::train::data::lessons::Lessons;
use crate::train::data::own::{Gathered, OwnArgs, file_name, gather};
use crate::train::data::split as sides;
use crate::train::data::start::{InitModel, init_model};
use crate::train::data::{minimal_pairs, sentences, vocabulary};
use crate::train::fit::batch::Sampling;
use crate::train::fit::optimizer::{OptimizerConfig, StatefulOptimizer};
use crate::train::fit::variables::Variables;
use crate::train::fit::{EpochRow, Hooks, Position, Schedule, State, Task, fit};
use crate::train::interrupt::Interrupt;
use crate::train::metrics::fit_temperature;
use crate::train::ngrams::stack;
use crate::train::pretrain::word_vectors::{Vectors, load_vectors};
use crate::train::report::record::{DataRecord, TrainingRecord};
use crate::train::report::{card, companions, curve, reliability};
use crate::train::score::{self, examples, logits_of, measure, predictor, targets_of};
use crate::train::settings::{ClassWeights, Settings};
use crate::train::stage::{OutputArgs, ResumeArgs, Stage, on_threads, print};

/// The tokens that end a sentence, where the tokenizer keeps them.
const SENTENCE_ENDS: [&str; 5] = [".", "!", "?", "...", "<br>"];

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
    /// The table of n-grams of the model that training starts from: it stays, and the network learns what is left.
    base: Option<NgramTable>,
    /// Tensors to start from: word vectors, the LSTM of a language model.
    start: BTreeMap<String, Array>,
    /// The table of n-grams, where it is needed before the network is trained.
    wide: Option<NgramTable>,
}

/// Trains as `job` says, telling `out` about it; `interrupt` is looked at after every step.
///
/// # Errors
/// [`Error::Interrupted`] when training was stopped, after checkpoint and model were saved; else what went wrong.
pub fn train(job: &Job, out: &mut (dyn Write + Send), interrupt: &Interrupt) -> Result<()> {
    let stage = Stage::claim(&job.output, DirectoryKind::Model, &job.resume)?;
    on_threads(job.settings.threads, || train_in_pool(job, stage, out, interrupt))
}

fn train_in_pool(job: &Job, stage: Stage, out: &mut (dyn Write + Send), interrupt: &Interrupt) -> Result<()> {
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

    let mut sentences = Vec::new();
    if settings.sentences > 0.0 {
        sentences = sentences::sentences(settings.seed, &material.config, &material.vocabulary)?;
    }
    if material.base.is_none() && settings.ngrams > 0 && !(sentences.is_empty() && material.judged.is_empty())
    {
        let Material { train, judged, data, .. } = &material;
        let table = stack::wide_part(train, data.train, judged, settings.ngrams)?;
        // The grams of a negated word say the opposite of the sentence: the network has to outweigh them.
        let mut scratch = Scratch::default();
        for short in sentences.iter_mut().chain(&mut material.judged) {
            short.beside = stack::SHARE * table.score(&short.ids, &mut scratch);
        }
        material.wide = Some(table);
    }
    let examples_sha256 = digest_of_examples(material.train.iter().chain(&sentences).chain(&material.judged));
    let fresh = || {
        let mut variables = Variables::initial(&material.config, settings.seed)?;
        for (name, array) in &material.start {
            variables.set(name, &array.data)?;
        }
        let optimizer = StatefulOptimizer::new(variables.vars(), OptimizerConfig::from(&settings))?;
        Ok(State { variables, optimizer, position: Position::default(), best: None })
    };
    let mut state = stage.state(&settings, &examples_sha256, fresh, out)?;

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
        learning_rate: (settings.learning_rate, settings.learning_rate * settings.learning_rate_end),
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
            sentences: &sentences,
            sentence_share: settings.sentences,
        },
    };
    let mut hooks = Hooks {
        validate: &mut |variables| {
            let config = Config { ngrams: material.base.is_some(), ..material.config.clone() };
            let predictor =
                predictor(&config, &material.vocabulary, variables.to_arrays()?, material.base.clone());
            Ok((!material.validation.is_empty()).then(|| measure(&predictor, &material.validation)))
        },
        epoch: &mut |row| print(out, &line(row, settings.epochs, data.train)),
        checkpoint: &mut |state| stage.save_checkpoint(state, &settings, &examples_sha256),
        stop: &|steps| job.resume.stop(interrupt, steps),
    };
    let finished = interrupt.heeded_by(|| fit(&task, &network, &mut state, &mut hooks))?;
    if !finished && stage.keeps_finished() {
        print(out, "the finished model that is there stays until this run has come to its end\n")?;
        return stage.end(finished, out);
    }

    let record = save(stage.output(), &job.command, &settings, &material, &state, finished)?;
    if let Some(metrics) = record.results.get("validation") {
        let kept = record.kept_epoch.map_or("present weights".into(), |epoch| format!("epoch {epoch}"));
        print(out, &format!("\nvalidation, {kept}\n{}", metrics.to_text()))?;
    }
    stage.end(finished, out)
}

/// Reads and splits the reviews, settles the vocabulary and encodes.
fn prepare(job: &Job, settings: &Settings) -> Result<Material> {
    let taught_too = !(job.teachers.is_empty() && job.opinions.is_empty());
    let Gathered { corpus, sides, mut notes } = gather(&job.data, taught_too, &job.own, settings)?;
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
    let (mut base, mut init_config) = (None, None);
    let vocabulary = match (&job.vocabulary, &job.vectors) {
        _ if init.is_some() => {
            let InitModel { config, vocabulary, tensors, table, .. } = init.expect("just seen");
            (start, base, init_config) = (tensors, table, Some(config));
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
        base,
        wide: None,
    };
    let mut judged = HashSet::new();
    if !job.opinions.is_empty() {
        let by_ids = (&material.config, &material.vocabulary);
        let lessons =
            Lessons::read(&job.opinions, job.phrases.as_deref(), (&corpus, &sides), settings, by_ids)?;
        lessons.apply(&mut material.train, &train);
        material.data.unlabelled = lessons.long.len();
        material.data.judged = lessons.labelled.len() + lessons.long.len();
        material.data.judged_stretches = lessons.short.len();
        material.train.extend(lessons.long);
        material.judged = lessons.short;
        judged = lessons.reviews;
    }
    weigh_classes(&mut material.train, settings.class_weights);
    if !job.teachers.is_empty() {
        let mut unlabelled = sides::unlabelled(&corpus.unlabelled, settings)?;
        unlabelled.retain(|review| !judged.contains(&review.id));
        let soft = taught(&unlabelled, &job.teachers, &material)?;
        material.data.unlabelled += soft.len();
        material.train.extend(soft);
    }
    if let Some(base) = &material.base {
        let mut scratch = Scratch::default();
        let examples = material.train.iter_mut().chain(&mut material.judged);
        examples.for_each(|example| example.beside = base.score(&example.ids, &mut scratch));
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
fn taught(reviews: &[&Review], teachers: &[PathBuf], material: &Material) -> Result<Vec<Example>> {
    let texts: Vec<&str> = reviews.iter().map(|review| review.text.as_str()).collect();
    let opinions = score::mean_logits(teachers, &texts)?;
    let ids = score::encode_all(&texts, &material.config, &material.vocabulary);
    let soft = ids.into_iter().zip(opinions).filter(|(ids, _)| ids.len() > 1);
    let example = |(ids, logit): (Vec<u32>, f32)| Example {
        ids,
        target: 1.0 / (1.0 + (-logit).exp()),
        weight: 1.0,
        beside: 0.0,
    };
    Ok(soft.map(example).collect())
}

/// Writes the model directory with its card, record, golden reviews and baseline.
fn save(
    output: &Path,
    command: &str,
    settings: &Settings,
    material: &Material,
    state: &State,
    finished: bool,
) -> Result<TrainingRecord> {
    let mut tensors = state.kept_weights()?;
    let round = |tensors: &mut BTreeMap<String, Array>| {
        // What is measured below is what is stored.
        for value in tensors.values_mut().flat_map(|array| &mut array.data) {
            *value = settings.precision.round(*value);
        }
    };
    round(&mut tensors);
    let mut config = material.config.clone();
    let assemble = |config: &Config, tensors: &BTreeMap<String, Array>, ngrams: &Option<NgramTable>| {
        predictor(config, &material.vocabulary, tensors.clone(), ngrams.clone())
    };
    let held_out = &material.validation;
    let (mut results, mut ngrams, mut weighed) = (BTreeMap::new(), None, None);
    let mut predictor = assemble(&config, &tensors, &None);
    if let Some(base) = &material.base {
        // The network learnt what this table leaves to it; together they are the model that was trained.
        config.ngrams = true;
        ngrams = Some(base.clone());
        predictor = assemble(&config, &tensors, &ngrams);
    } else if settings.ngrams > 0 && finished {
        let deep = logits_of(&predictor, held_out);
        let mut alone = config.clone();
        alone.temperature = fit_temperature(&deep, &targets_of(held_out));
        results.insert(
            "validation, LSTM alone".to_string(),
            measure(&assemble(&alone, &tensors, &None), held_out),
        );
        let trained;
        let (table, share) = match &material.wide {
            // The network has learnt what this share leaves to it.
            Some(table) => (table, Some(stack::SHARE)),
            None => {
                trained = stack::wide_part(
                    &material.train,
                    material.data.train,
                    &material.judged,
                    settings.ngrams,
                )?;
                (&trained, None)
            }
        };
        let (table, factors) = stack::stack(&deep, table, held_out, share, &mut tensors)?;
        round(&mut tensors);
        config.ngrams = true;
        (ngrams, weighed) = (Some(table), Some(factors));
        predictor = assemble(&config, &tensors, &ngrams);
    }
    if settings.calibrate && !held_out.is_empty() {
        config.temperature = fit_temperature(&logits_of(&predictor, held_out), &targets_of(held_out));
        predictor = assemble(&config, &tensors, &ngrams);
    }
    if !held_out.is_empty() {
        results.insert("validation".to_string(), measure(&predictor, held_out));
    }
    let record = TrainingRecord {
        version: env!("CARGO_PKG_VERSION").into(),
        command: command.into(),
        settings: settings.clone(),
        data: material.data.clone(),
        epochs: state.position.rows.clone(),
        kept_epoch: state.position.kept,
        finished,
        stack: weighed,
        calibration: None,
        results,
        // The pairs are English and about films.
        behaviour: match material.data.own && material.data.init.is_none() {
            true => Vec::new(),
            false => {
                minimal_pairs::behaviour(&minimal_pairs::judge(&predictor, minimal_pairs::load_pairs(None)?)?)
            }
        },
    };
    let metadata = Metadata::from([
        ("preset".to_string(), settings.preset.clone()),
        ("seed".to_string(), settings.seed.to_string()),
    ]);
    let name = file_name(output);
    let golden = companions::golden(&predictor)?;
    let baseline = companions::baseline(&predictor, &material.validation_texts);
    let json = |value: serde_json::Result<String>| (value.expect("plain data") + "\n").into_bytes();
    let mut extra = vec![
        (TRAINING_FILE, record.to_json().into_bytes()),
        (crate::model::GOLDEN_FILE, json(serde_json::to_string_pretty(&golden))),
        ("README.md", card::model_card(&name, &record).into_bytes()),
        ("history.csv", curve::history(&record.epochs).into_bytes()),
        (curve::CURVE_FILE, curve::curve(&record.epochs, record.kept_epoch).into_bytes()),
    ];
    if !held_out.is_empty() {
        let diagram = reliability::reliability(&logits_of(&predictor, held_out), &targets_of(held_out));
        extra.push((reliability::RELIABILITY_FILE, diagram.into_bytes()));
    }
    if let Some(baseline) = baseline {
        extra.push((crate::model::BASELINE_FILE, json(serde_json::to_string_pretty(&baseline))));
    }
    if let Some(table) = &ngrams {
        extra.push((crate::model::NGRAMS_FILE, table.to_bytes()));
    }
    save_directory(output, &config, &material.vocabulary, &tensors, &metadata, settings.precision, &extra)?;
    Ok(record)
}

/// One line per epoch, for logs and terminals alike.
fn line(row: &EpochRow, epochs: usize, reviews: usize) -> String {
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
