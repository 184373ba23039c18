//! Word vectors from reviews without labels: skip-gram with negative sampling (Mikolov et al. 2013).

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::error::{Error, Result};
use crate::kernel::{Isa, MAX_CONTEXTS, SkipGram};
use crate::model::{Array, Config, DirectoryKind, f32_bytes, f32_values, replace_directory};
use crate::text::{START_ID, Vocabulary};
use crate::train::data::corpus::Corpus;
use crate::train::data::split;
use crate::train::data::vocabulary::count_vocabulary;
use crate::train::random::{Stream, stream_rng};
use crate::train::settings::Settings;
use crate::train::stage::{OutputArgs, ResumeArgs, Stage, print};
use crate::train::{progress, score};

/// How vectors are trained; the defaults are word2vec's, but for the rate of windows that share their draw.
#[derive(Clone, Copy, Debug, PartialEq, clap::Args)]
pub struct VectorSettings {
    /// Length of a vector.
    #[arg(long, default_value_t = 128)]
    pub dim: usize,
    /// Most words to each side of a position; how many is drawn for each.
    #[arg(long, default_value_t = 5)]
    pub window: usize,
    /// Words drawn against each true one, 1 to 15.
    #[arg(long, default_value_t = 8)]
    pub negatives: usize,
    /// Words above this share of the text are skipped at random, the more the more frequent they are.
    #[arg(long, default_value_t = 1e-4)]
    pub subsample: f64,
    /// Passes over the reviews.
    #[arg(long, default_value_t = 5)]
    pub epochs: usize,
    /// Size of a step at the start; it falls to a hundredth in a straight line.
    #[arg(long, default_value_t = 0.05)]
    pub learning_rate: f64,
    /// Seed of the initial vectors and of every draw.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl VectorSettings {
    /// Whether every field can be used.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the field that cannot.
    pub fn check(&self) -> Result<()> {
        let within = |name: &str, value: usize, low: usize, high: usize| match (low..=high).contains(&value) {
            true => Ok(()),
            false => Err(Error::setting(name, format!("{value} does not lie between {low} and {high}"))),
        };
        within("dim", self.dim, 1, 4096)?;
        within("window", self.window, 1, MAX_CONTEXTS / 2)?;
        within("negatives", self.negatives, 1, crate::kernel::MAX_TARGETS - 1)?;
        within("epochs", self.epochs, 1, 1000)?;
        if !(self.learning_rate > 0.0 && self.learning_rate < 10.0 && self.subsample > 0.0) {
            return Err(Error::setting("learning_rate, subsample", "must be positive"));
        }
        Ok(())
    }
}

/// What `trainer vectors` is asked for.
#[derive(Clone, Debug)]
pub struct VectorJob {
    /// Whose tokenizer, vocabulary size and split apply.
    pub settings: Settings,
    /// How the vectors are trained.
    pub vectors: VectorSettings,
    /// The data set: folder or `.tar.gz`.
    pub data: PathBuf,
    /// The directory to write.
    pub output: OutputArgs,
}

/// Counts the vocabulary of the labelled reviews to learn from and of the unlabelled ones that no held-out film has,
/// trains vectors on them and writes both.
///
/// # Errors
/// Those of reading the data set and of writing the directory.
pub fn run(job: &VectorJob, out: &mut dyn Write) -> Result<()> {
    job.vectors.check()?;
    let stage = Stage::claim(&job.output, DirectoryKind::Vectors, &ResumeArgs::default())?;
    let corpus = Corpus::read(&job.data, true)?;
    let texts = split::texts_to_learn_from(&corpus, &job.settings)?;
    let config = job.settings.config();
    let vocabulary = count_vocabulary(texts.iter().copied(), config.tokenizer, config.vocab_size)?;
    // Whole reviews: no network reads them here.
    let whole = Config { max_length: usize::MAX, ..config };
    let reviews = score::encode_all(&texts, &whole, &vocabulary);
    let tokens: usize = reviews.iter().map(Vec::len).sum();
    print(out, &format!("{} words, {} reviews, {tokens} tokens\n", vocabulary.len(), reviews.len()))?;
    // Words are told from others that are drawn: of one alone there is no other.
    let first = reviews.iter().flatten().find(|id| **id > START_ID);
    if !reviews.iter().flatten().any(|id| *id > START_ID && Some(id) != first) {
        return Err(Error::Data("vectors need reviews of at least two different words".into()));
    }
    let started = Instant::now();
    let bar = progress::share("vectors");
    let mut vectors = train_vectors(&reviews, vocabulary.len(), &job.vectors, |share| {
        bar.set_position((share * 1000.0) as u64)
    });
    bar.finish_and_clear();
    normalize(&mut vectors);
    save_vectors(stage.output(), &vectors, &vocabulary, &BTreeMap::new())?;
    print(out, &format!("trained in {:.0} s\n", started.elapsed().as_secs_f64()))?;
    stage.end(true, out)
}

/// Slots of the table from which negatives are drawn; word2vec's choice is 1e8, for a vocabulary of millions.
const DRAW_SLOTS: usize = 1 << 21;

/// Trains vectors `[vocab_size, dim]` on reviews given as ids; `progress` is told the share done. One thread, so that
/// one seed gives one result; a pass over 16 million tokens takes some 15 seconds.
///
/// The vectors of padding and start stay at their small random start: no window holds them.
pub fn train_vectors(
    reviews: &[Vec<u32>],
    vocab_size: usize,
    settings: &VectorSettings,
    mut progress: impl FnMut(f64),
) -> Vec<f32> {
    let mut rng = stream_rng(settings.seed, Stream::Weights, 0);
    let bound = 0.5 / settings.dim as f32;
    let start: Vec<f32> = (0..vocab_size * settings.dim).map(|_| rng.random_range(-bound..bound)).collect();
    let mut model = SkipGram::new(Isa::current(), settings.dim, &start);

    let mut counts = vec![0u64; vocab_size];
    reviews.iter().flatten().filter(|id| **id > START_ID).for_each(|&id| counts[id as usize] += 1);
    let total: u64 = counts.iter().sum();
    let kept = keep_thresholds(&counts, total, settings.subsample);
    let table = draw_table(&counts);

    let mut sentence = Vec::new();
    let mut targets = Vec::with_capacity(settings.negatives + 1);
    let steps = (settings.epochs * reviews.len()).max(1);
    for step in 0..settings.epochs * reviews.len() {
        if step % 500 == 0 {
            progress(step as f64 / steps as f64);
        }
        let rate = settings.learning_rate * (1.0 - 0.99 * step as f64 / steps as f64);
        let mut rng = stream_rng(settings.seed, Stream::Step, step as u64);
        sentence.clear();
        let review = &reviews[step % reviews.len()];
        sentence
            .extend(review.iter().filter(|id| **id > START_ID && rng.random::<u32>() <= kept[**id as usize]));
        train_sentence(&mut model, &sentence, &table, settings, rate as f32, &mut targets, &mut rng);
    }
    progress(1.0);
    model.vectors()
}

fn train_sentence(
    model: &mut SkipGram,
    sentence: &[u32],
    table: &[u32],
    settings: &VectorSettings,
    rate: f32,
    targets: &mut Vec<u32>,
    rng: &mut ChaCha8Rng,
) {
    let mut contexts = [0u32; MAX_CONTEXTS];
    for (at, &word) in sentence.iter().enumerate() {
        let reach = rng.random_range(1..=settings.window);
        let around = sentence[at.saturating_sub(reach)..at].iter();
        let around = around.chain(&sentence[at + 1..(at + 1 + reach).min(sentence.len())]);
        let mut count = 0;
        for &context in around {
            contexts[count] = context;
            count += 1;
        }
        targets.clear();
        targets.push(word);
        while targets.len() <= settings.negatives {
            let drawn = table[rng.random::<u32>() as usize % table.len()];
            if drawn != word {
                targets.push(drawn);
            }
        }
        model.train(&contexts[..count], targets, rate);
    }
}

/// For each word the highest of 2^32 draws at which it is kept: `sqrt(t / f) + t / f` of the time.
fn keep_thresholds(counts: &[u64], total: u64, subsample: f64) -> Vec<u32> {
    let threshold = |&count: &u64| {
        let ratio = subsample * total as f64 / count.max(1) as f64;
        ((ratio.sqrt() + ratio).min(1.0) * u32::MAX as f64) as u32
    };
    counts.iter().map(threshold).collect()
}

/// Words in proportion to their count to the power 3/4.
fn draw_table(counts: &[u64]) -> Vec<u32> {
    let weight = |count: u64| (count as f64).powf(0.75);
    let sum: f64 = counts.iter().map(|&count| weight(count)).sum();
    let mut table = Vec::with_capacity(DRAW_SLOTS);
    let mut reached = 0.0;
    for (word, &count) in counts.iter().enumerate() {
        reached += weight(count);
        table.resize(((reached / sum * DRAW_SLOTS as f64) as usize).min(DRAW_SLOTS), word as u32);
    }
    // Without a single word there is nothing to draw from; padding will do, for no window asks for it.
    table.resize(DRAW_SLOTS, counts.len().saturating_sub(1) as u32);
    table
}

/// Spread of an embedding's components to start from. Adam moves a component by some hundredths in an epoch, so that a
/// spread of 0.1 is soon overwritten: validation accuracy after some epochs .881 at 0.1, .897 at 0.5, .889 at 1.
const SPREAD: f32 = 0.5;

/// Scales `vectors` as a whole so that the standard deviation of a component is [`SPREAD`].
pub fn normalize(vectors: &mut [f32]) {
    let mean_square = vectors.iter().map(|x| f64::from(x * x)).sum::<f64>() / vectors.len().max(1) as f64;
    let factor = SPREAD / (mean_square.sqrt() as f32).max(f32::MIN_POSITIVE);
    vectors.iter_mut().for_each(|x| *x *= factor);
}

/// Name of the vectors' file in their directory.
const FILE: &str = "vectors.safetensors";
/// Name of the vectors in it, which is also that of the variable that they start.
const EMBEDDING: &str = "embedding.weight";
/// Name of the vocabulary's file in it.
const VOCABULARY_FILE: &str = "vocab.txt";

/// Writes `vectors` `[vocab, dim]`, their vocabulary and further tensors (an LSTM's) into `directory`.
///
/// # Errors
/// [`Error::Io`] when the disk refuses, [`Error::Invalid`] when something else lies there.
pub fn save_vectors(
    directory: &Path,
    vectors: &[f32],
    vocabulary: &Vocabulary,
    others: &BTreeMap<String, Array>,
) -> Result<()> {
    let shape = vec![vocabulary.len(), vectors.len() / vocabulary.len()];
    let mut tensors = BTreeMap::from([(EMBEDDING, (shape, f32_bytes(vectors)))]);
    tensors.extend(
        others.iter().map(|(name, array)| (name.as_str(), (array.shape.clone(), f32_bytes(&array.data)))),
    );
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("shape and bytes agree"))
    });
    let metadata = Some([("vocab_sha256".to_string(), vocabulary.sha256().to_string())].into());
    let path = directory.join(FILE);
    let file = safetensors::serialize(views, metadata).map_err(|e| Error::invalid(&path, e.to_string()))?;
    let words = vocabulary.to_text();
    let files = [(FILE, file.as_slice()), (VOCABULARY_FILE, words.as_bytes())];
    replace_directory(directory, DirectoryKind::Vectors, &files)
}

/// What a directory of word vectors holds.
#[derive(Clone, Debug)]
pub struct Vectors {
    /// The words of the vectors.
    pub vocabulary: Vocabulary,
    /// Length of a vector.
    pub dim: usize,
    /// The vectors, `[vocab, dim]`.
    pub vectors: Vec<f32>,
    /// What stands beside them by name: the LSTM of a language model.
    pub others: BTreeMap<String, Array>,
}

/// Reads what [`save_vectors`] wrote.
///
/// # Errors
/// [`Error::Io`] or [`Error::Invalid`] naming the file and the fault.
pub fn load_vectors(directory: &Path) -> Result<Vectors> {
    let vocabulary = Vocabulary::load(&directory.join(VOCABULARY_FILE))?;
    let path = directory.join(FILE);
    let bytes = fs::read(&path).map_err(Error::io(&path))?;
    let fault = |reason: String| Error::invalid(&path, reason);
    let file = SafeTensors::deserialize(&bytes).map_err(|e| fault(format!("not a vectors file: {e}")))?;
    let mut arrays = BTreeMap::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(fault(format!("`{}` is {:?}, not F32", name.escape_debug(), view.dtype())));
        }
        let data = f32_values(view.data());
        if data.iter().any(|value| !value.is_finite()) {
            return Err(fault("a value is not finite".into()));
        }
        arrays.insert(name.to_string(), Array { shape: view.shape().to_vec(), data });
    }
    let embedding = arrays.remove(EMBEDDING).ok_or_else(|| fault(format!("no `{EMBEDDING}`")))?;
    match embedding.shape.as_slice() {
        [words, dim] if *words == vocabulary.len() && *dim > 0 => {
            Ok(Vectors { vocabulary, dim: *dim, vectors: embedding.data, others: arrays })
        }
        shape => Err(fault(format!("{shape:?}, expected [{}, dim]", vocabulary.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> VectorSettings {
        VectorSettings {
            dim: 16,
            window: 2,
            negatives: 4,
            subsample: 1.0,
            epochs: 40,
            learning_rate: 0.05,
            seed: 1,
        }
    }

    /// Words 3 and 4 stand in the same places, word 5 in others.
    fn reviews() -> Vec<Vec<u32>> {
        (0..200)
            .map(|n| match n % 4 {
                0 => vec![1, 6, 3, 7],
                1 => vec![1, 6, 4, 7],
                2 => vec![1, 8, 5, 9],
                _ => vec![1, 9, 5, 8],
            })
            .collect()
    }

    fn cosine(vectors: &[f32], a: usize, b: usize) -> f32 {
        let row = |word: usize| &vectors[word * 16..][..16];
        let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
        dot(row(a), row(b)) / (dot(row(a), row(a)) * dot(row(b), row(b))).sqrt()
    }

    #[test]
    fn words_of_like_surroundings_come_close() {
        let vectors = train_vectors(&reviews(), 10, &settings(), |_| ());
        let (near, far) = (cosine(&vectors, 3, 4), cosine(&vectors, 3, 5));
        assert!(near > 0.7 && near > far + 0.3, "{near} {far}");
        assert_eq!(vectors, train_vectors(&reviews(), 10, &settings(), |_| ()));
    }

    #[test]
    fn vectors_round_trip_and_damage_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let vocabulary = Vocabulary::from_words(["a", "b"]).unwrap();
        let vectors: Vec<f32> = (0..15).map(|x| x as f32).collect();
        let lstm = Array { shape: vec![2, 1], data: vec![0.5, -0.5] };
        let others = BTreeMap::from([("lstm.weight_hh_l0".to_string(), lstm)]);
        save_vectors(directory.path(), &vectors, &vocabulary, &others).unwrap();
        let read = load_vectors(directory.path()).unwrap();
        assert_eq!((read.vocabulary.to_text(), read.dim, read.vectors), (vocabulary.to_text(), 3, vectors));
        assert_eq!(read.others, others);
        let path = directory.path().join(FILE);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(load_vectors(directory.path()).unwrap_err().to_string().contains(FILE));
    }

    #[test]
    fn normalizing_sets_the_spread() {
        let mut vectors = vec![3.0, -3.0, 3.0, -3.0];
        normalize(&mut vectors);
        assert!(vectors.iter().all(|x| (x.abs() - SPREAD).abs() < 1e-6));
    }
}
