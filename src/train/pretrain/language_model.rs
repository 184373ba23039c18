//! `trainer language`: language-model pretraining of embedding and LSTM (Dai and Le 2015, arXiv 1511.01432).
//!
//! Each direction learns to tell, from its state at a word, the word that it reads next, among words drawn from the
//! same batch. With the words' own vectors as output weights (tied) and candidates drawn as often as they stand in the
//! text, the product of state and vector tends to `ln p(word | what was read) - ln p(word)`.

use std::io::Write;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use candle_nn::Optimizer;
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use crate::model::{Config, DirectoryKind, Network};
use crate::train::data::corpus::Corpus;
use crate::train::data::digest::digest_of_ids;
use crate::train::data::split;
use crate::train::fit::epochs::{Lessons, Plan, StepOutcome, train_epochs};
use crate::train::fit::optimizer::{OptimizerConfig, StatefulOptimizer};
use crate::train::fit::variables::Variables;
use crate::train::fit::{EpochRow, Position, State};
use crate::train::interrupt::Interrupt;
use crate::train::pretrain::sampled_softmax::{Rows, sampled_softmax};
use crate::train::pretrain::word_vectors::{Vectors, load_vectors, save_vectors};
use crate::train::random::{Stream, stream_rng};
use crate::train::score;
use crate::train::settings::{OptimizerKind, Settings};
use crate::train::stage::{OutputArgs, ResumeArgs, Stage, on_threads, print};

/// How the language model is trained.
#[derive(Clone, Copy, Debug, PartialEq, clap::Args)]
pub struct LanguageSettings {
    /// Passes over the reviews.
    #[arg(long, default_value_t = 3)]
    pub epochs: usize,
    /// Stretches of text per step.
    #[arg(long, default_value_t = 64)]
    pub batch_size: usize,
    /// Tokens of a stretch.
    #[arg(long, default_value_t = 128)]
    pub stretch: usize,
    /// Words against which each true one is told apart.
    #[arg(long, default_value_t = 512)]
    pub candidates: usize,
    /// Size of a step at the start; it falls to a twentieth in a straight line.
    #[arg(long, default_value_t = 0.002)]
    pub learning_rate: f64,
    /// Seed of the initial weights and of every draw.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Threads to compute with; 0 takes every core.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
}

/// What `trainer language` is asked for.
#[derive(Clone, Debug)]
pub struct LanguageJob {
    /// Whose network, tokenizer and split apply, and whose number of threads where `language` names none.
    pub settings: Settings,
    /// How it is trained.
    pub language: LanguageSettings,
    /// The data set: folder or `.tar.gz`.
    pub data: PathBuf,
    /// Word vectors to start from, with their vocabulary.
    pub vectors: PathBuf,
    /// The directory to write: what `train --vectors` reads, the LSTM's weights included.
    pub output: OutputArgs,
    /// Whether to go on from the checkpoint beside the output.
    pub resume: ResumeArgs,
}

impl LanguageJob {
    /// The settings under which a checkpoint is kept.
    fn resolved(&self) -> Result<Settings> {
        let language = &self.language;
        let threads = match language.threads {
            0 => self.settings.threads,
            threads => threads,
        };
        let settings = Settings {
            epochs: language.epochs,
            batch_size: language.batch_size,
            crop: language.stretch,
            learning_rate: language.learning_rate,
            learning_rate_end: 0.05,
            seed: language.seed,
            optimizer: OptimizerKind::Adam,
            threads,
            ..self.settings.clone()
        };
        for (name, value, low) in [
            ("epochs", language.epochs, 1),
            ("batch_size", language.batch_size, 1),
            ("stretch", language.stretch, 2),
            ("candidates", language.candidates, 1),
        ] {
            if value < low {
                return Err(Error::setting(name, format!("{value} is less than {low}")));
            }
        }
        if !(language.learning_rate > 0.0 && language.learning_rate < 1.0) {
            return Err(Error::setting("learning_rate", "does not lie between 0 and 1"));
        }
        if settings.num_layers != 1 {
            return Err(Error::setting("num_layers", "a language model has one layer here"));
        }
        Ok(settings)
    }
}

/// Trains on the labelled reviews to learn from and the unlabelled ones that no held-out film has; writes embedding,
/// LSTM weights and vocabulary.
///
/// # Errors
/// Those of reading vectors and data set and of writing; [`Error::Interrupted`] when it was stopped, after its
/// checkpoint was saved.
pub fn run(job: &LanguageJob, out: &mut (dyn Write + Send), interrupt: &Interrupt) -> Result<()> {
    let mut settings = job.resolved()?;
    let stage = Stage::claim(&job.output, DirectoryKind::Vectors, &job.resume)?;
    let Vectors { vocabulary, dim, vectors, .. } = load_vectors(&job.vectors)?;
    // Words are told by their own vectors, so a state is as long as a vector.
    (settings.embedding_dim, settings.hidden_size) = (dim, dim);
    settings.vocab_size = vocabulary.len();
    let config = settings.config();
    let corpus = Corpus::read(&job.data, true)?;
    let texts = split::texts_to_learn_from(&corpus, &settings)?;
    let whole = Config { max_length: usize::MAX, ..config.clone() };
    on_threads(settings.threads, || {
        let reviews = score::encode_all(&texts, &whole, &vocabulary);
        let stretches = cut(&reviews, job.language.stretch);
        let tokens: usize = stretches.iter().map(|stretch| stretch.len()).sum();
        let counts = format!("{} reviews, {tokens} tokens in {} stretches\n", reviews.len(), stretches.len());
        print(out, &counts)?;

        let digest = format!("{} {}", digest_of_ids(&reviews), job.language.candidates);
        let fresh = || {
            let mut variables = Variables::initial(&config, settings.seed)?;
            variables.set("embedding.weight", &vectors)?;
            let optimizer = StatefulOptimizer::new(variables.vars(), OptimizerConfig::from(&settings))?;
            Ok(State { variables, optimizer, position: Position::default(), best: None })
        };
        let mut state = stage.state(&settings, &digest, fresh, out)?;
        let network = Network::new(&config, settings.threads, state.variables.builder())?;
        let stop = |steps| job.resume.stop(interrupt, steps);
        let mut told = |row: &EpochRow| {
            let (epoch, epochs) = (row.epoch, settings.epochs);
            print(out, &format!("epoch {epoch}/{epochs}  loss {:.4}  {:.0} s\n", row.loss, row.seconds))
        };
        let plan = Plan {
            epochs: settings.epochs,
            steps: (stretches.len().div_ceil(settings.batch_size) * settings.epochs) as u64,
            examples: stretches.len(),
            seed: settings.seed,
            clip_norm: settings.clip_norm,
            learning_rate: settings.learning_rate(),
        };
        let mut lessons = Stretches {
            stretches: &stretches,
            network: &network,
            settings: &settings,
            candidates: job.language.candidates,
            told: &mut told,
        };
        let finished = interrupt.heeded_by(|| train_epochs(&plan, &mut state, &stop, &mut lessons))?;
        if finished {
            let mut arrays = state.variables.to_arrays()?;
            let embedding = arrays.remove("embedding.weight").expect("a variable of every network").data;
            arrays.retain(|name, _| name.starts_with("lstm."));
            save_vectors(stage.output(), &embedding, &vocabulary, &arrays)?;
        } else {
            stage.save_checkpoint(&state, &settings, &digest)?;
        }
        stage.end(finished, out)
    })
}

/// The reviews cut into stretches of at most `length` tokens, ends of one token left out: nothing is told from them.
fn cut(reviews: &[Vec<u32>], length: usize) -> Vec<&[u32]> {
    reviews.iter().flat_map(|review| review.chunks(length)).filter(|stretch| stretch.len() > 1).collect()
}

/// Stretches of text, and what a language model learns from them.
struct Stretches<'s, 'o> {
    stretches: &'s [&'s [u32]],
    network: &'s Network,
    settings: &'s Settings,
    candidates: usize,
    /// Told of every epoch.
    told: &'s mut (dyn FnMut(&EpochRow) -> Result<()> + 'o),
}

impl<'s> Lessons for Stretches<'s, '_> {
    type Batch = Vec<&'s [u32]>;

    fn batches(&self, epoch: usize) -> Vec<Vec<&'s [u32]>> {
        let mut order = self.stretches.to_vec();
        order.shuffle(&mut stream_rng(self.settings.seed, Stream::Order, epoch as u64));
        order.chunks(self.settings.batch_size).map(<[&[u32]]>::to_vec).collect()
    }

    fn step(&self, batch: &Vec<&'s [u32]>, _: u64, rng: &mut ChaCha8Rng) -> Result<StepOutcome> {
        let loss = loss(self.network, batch, self.candidates, rng)?;
        Ok(StepOutcome { loss, weight: 1.0, seen: batch.len(), right: None })
    }

    fn end_epoch(&mut self, state: &mut State, seconds: &dyn Fn() -> f64) -> Result<bool> {
        let position = &mut state.position;
        let row = EpochRow {
            epoch: position.epoch + 1,
            loss: position.mean_loss(),
            accuracy: 0.0,
            validation_loss: None,
            validation_accuracy: None,
            seconds: seconds(),
        };
        // Fails where the training has diverged: before anything is told or saved of it.
        state.variables.to_arrays()?;
        (self.told)(&row)?;
        *position = Position { epoch: row.epoch, ..Position::default() };
        Ok(true)
    }
}

/// The mean loss of both directions on `batch`.
fn loss(network: &Network, batch: &[&[u32]], candidates: usize, rng: &mut impl Rng) -> Result<Tensor> {
    let told = network.read(batch)?;
    let rows: Vec<u32> = told.rows.iter().flatten().copied().collect();
    let drawn: Vec<u32> = (0..candidates).map(|_| rows[rng.random_range(0..rows.len())]).collect();
    let others =
        told.vectors.index_select(&Tensor::from_slice(&drawn, drawn.len(), &Device::Cpu)?, 0)?.t()?;
    let mut losses = Vec::new();
    for (reverse, states) in told.states.iter().enumerate() {
        // Each position but the last tells the next one; reading backwards, each but the first the one before.
        let (mut from, mut to, mut start) = (Vec::new(), Vec::new(), 0u32);
        for review in told.rows.iter() {
            let places = start..start + review.len() as u32 - 1;
            start = places.end + 1;
            if reverse == 1 {
                from.extend(places.clone().map(|at| at + 1));
                to.extend(&review[..review.len() - 1]);
            } else {
                from.extend(places);
                to.extend(&review[1..]);
            }
        }
        let index = |rows: &[u32]| Tensor::from_slice(rows, rows.len(), &Device::Cpu);
        let states = states.index_select(&index(&from)?, 0)?; // [P, H]
        let right = (&states * told.vectors.index_select(&index(&to)?, 0)?)?.sum(1)?; // [P]
        let wrong = states.matmul(&others)?; // [P, K]
        losses.push(sampled_softmax(&wrong, &right, Rows { targets: to, candidates: drawn.clone() })?);
    }
    let count = losses.len() as f64;
    Ok((Tensor::stack(&losses, 0)?.sum_all()? / count)?)
}
