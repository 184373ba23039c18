//! A model directory: its parts read and checked against each other, and written in one step.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::SafeTensorError;
use safetensors::tensor::{SafeTensors, TensorView};

use super::config::Config;
use super::embedding::Embedding;
use super::ngrams::{NGRAMS_FILE, NgramTable};
use super::opened::{CONFIG_FILE, OpenDirectory, VOCABULARY_FILE, WEIGHTS_FILE};
use super::output::DirectoryKind;
use super::read::not_safetensors;
use super::replace::replace_directory;
use super::weights::{
    Array, EMBEDDING, FORMAT, Metadata, Precision, SUBJECTIVITY_BIAS, SUBJECTIVITY_WEIGHT, TensorSpec,
    encode, layout, read_tensor,
};
use crate::error::{Error, ModelFault, Result};
use crate::text::{Vocabulary, sha256_hex};

/// Where the weights' metadata keep the SHA-256 of [`NGRAMS_FILE`].
const NGRAMS_DIGEST: &str = "ngrams_sha256";

/// A `config.json` has a few hundred bytes.
const CONFIG_LIMIT_BYTES: u64 = 1 << 20;
/// Ten million words, the most that a configuration may name, and their lines' ends.
const VOCABULARY_LIMIT_BYTES: u64 = 256 << 20;
/// The header of a weights file, metadata included.
const HEADER_LIMIT_BYTES: u64 = 16 << 20;
/// Twenty million grams of twelve bytes.
const NGRAMS_LIMIT_BYTES: u64 = 256 << 20;

/// Reads a tensor itself, with its checks, and says so.
type TakeTensor<'t> = &'t mut dyn FnMut(&TensorView, &TensorSpec) -> Result<bool, ModelFault>;

/// The parts of a model directory that the network needs, checked against each other.
#[derive(Clone, Debug)]
pub struct ModelFiles {
    /// The directory's own name, by which the model is called.
    pub name: String,
    /// The configuration.
    pub config: Config,
    /// The vocabulary, as long as the configuration says.
    pub vocabulary: Vocabulary,
    /// Every tensor of [`layout`] that the file holds.
    pub tensors: BTreeMap<String, Array>,
    /// The wide part, where the configuration says that there is one.
    pub ngrams: Option<NgramTable>,
    /// The strings that came with the weights.
    pub metadata: Metadata,
}

/// Reads a model directory and checks that its parts belong together.
///
/// # Errors
/// [`Error::Io`] for a file that cannot be read, [`Error::Model`] for anything that a [`ModelFault`] names.
pub fn load_directory(directory: &Path) -> Result<ModelFiles> {
    OpenDirectory::read_whole(directory, load_opened)
}

/// As [`load_directory`], of a directory that is open.
///
/// # Errors
/// As there.
pub fn load_opened(opened: &OpenDirectory) -> Result<ModelFiles> {
    let (parts, tensors) =
        load_parts(opened, |config, weights| read_tensors(weights, config, &mut |_, _| Ok(false)))?;
    let Parts { config, words: Words { vocabulary, ngrams }, metadata } = parts;
    Ok(ModelFiles { name: opened.name().into(), config, vocabulary, tensors, ngrams, metadata })
}

/// What stands in a model directory beside its tensors.
pub(crate) struct Parts {
    pub config: Config,
    pub words: Words,
    pub metadata: Metadata,
}

/// The parts that go by words.
pub(crate) struct Words {
    pub vocabulary: Vocabulary,
    pub ngrams: Option<NgramTable>,
}

/// As [`load_opened`], of a directory whose network is packed by `pack` at once, from its embedding and its other tensors.
/// Vocabulary and n-grams are read meanwhile, on another thread: they take as long.
///
/// The embedding stays in the bits in which it is stored; by far the largest tensor, it would otherwise be widened only to be
/// narrowed again.
///
/// # Errors
/// Those of [`load_opened`] and of `pack`.
pub(crate) fn load_packed<N>(
    opened: &OpenDirectory,
    pack: impl FnOnce(&Config, Embedding, BTreeMap<String, Array>) -> Result<N>,
) -> Result<(Parts, N)> {
    let (parts, network) = load_parts(opened, |config, weights| {
        let mut embedding = None;
        let tensors = read_tensors(weights, config, &mut |view, spec| {
            let taken = spec.name == EMBEDDING;
            if taken {
                embedding = Some(Embedding::from_tensor(view, spec)?);
            }
            Ok(taken)
        })?;
        Ok(pack(config, embedding.expect("a required tensor"), tensors))
    })?;
    Ok((parts, network?))
}

/// Reads a model directory; `read` makes of its weights what the caller wants.
fn load_parts<T>(
    opened: &OpenDirectory,
    read: impl FnOnce(&Config, &SafeTensors) -> Result<T, ModelFault>,
) -> Result<(Parts, T)> {
    let config_path = opened.path().join(CONFIG_FILE);
    let config_bytes = opened.read(CONFIG_FILE, CONFIG_LIMIT_BYTES)?;
    let config = Config::from_bytes(&config_path, &config_bytes)?;
    let path = opened.path().join(WEIGHTS_FILE);

    let (words, weights) = std::thread::scope(|scope| {
        let words = scope.spawn(|| ReadWords::read(opened, &config));
        let weights = read_weights(opened, &config, read);
        (words.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), weights)
    });
    let words = words?;
    let (metadata, made) = weights?;

    // Weights made elsewhere may come without digests; ours always carry them.
    let mut digests = vec![
        ("config_sha256", CONFIG_FILE, sha256_hex(&config_bytes)),
        ("vocab_sha256", VOCABULARY_FILE, words.vocabulary.sha256().to_string()),
    ];
    digests.extend(words.ngrams.as_ref().map(|(digest, _)| (NGRAMS_DIGEST, NGRAMS_FILE, digest.clone())));
    for (key, file, found) in digests {
        if let Some(expected) = metadata.get(key).filter(|expected| **expected != found) {
            return Err(Error::model(&path)(ModelFault::Digest { file, found, expected: expected.clone() }));
        }
    }
    let ngrams = words.ngrams.map(|(_, table)| table).transpose()?;
    let made = made.map_err(Error::model(&path))?;
    let words = Words { vocabulary: words.vocabulary, ngrams };
    Ok((Parts { config, words, metadata }, made))
}

/// [`Words`] before it is known whether they belong to the weights.
struct ReadWords {
    vocabulary: Vocabulary,
    /// The digest of the table's file, and the table.
    ngrams: Option<(String, Result<NgramTable>)>,
}

impl ReadWords {
    fn read(opened: &OpenDirectory, config: &Config) -> Result<Self> {
        let path = opened.path().join(VOCABULARY_FILE);
        let vocabulary = read_vocabulary(&opened.read(VOCABULARY_FILE, VOCABULARY_LIMIT_BYTES)?, config)
            .map_err(Error::model(&path))?;
        let path = opened.path().join(NGRAMS_FILE);
        let table = |bytes: &[u8]| {
            let (table, vocab_size) = (NgramTable::from_bytes(&path, bytes)?, config.vocab_size);
            match table.highest_id() {
                id if id as usize >= vocab_size => {
                    Err(Error::model(&path)(ModelFault::NgramId { id, vocab_size }))
                }
                _ => Ok(table),
            }
        };
        let bytes = if config.ngrams { Some(opened.read(NGRAMS_FILE, NGRAMS_LIMIT_BYTES)?) } else { None };
        let ngrams = bytes.map(|bytes| (sha256_hex(&bytes), table(&bytes)));
        Ok(Self { vocabulary, ngrams })
    }
}

/// The strings that come with the weights, and what `read` makes of the tensors.
fn read_weights<T>(
    opened: &OpenDirectory,
    config: &Config,
    read: impl FnOnce(&Config, &SafeTensors) -> Result<T, ModelFault>,
) -> Result<(Metadata, Result<T, ModelFault>)> {
    let path = opened.path().join(WEIGHTS_FILE);
    // The widest type takes eight bytes a value; more is not what the configuration describes.
    let values: usize = layout(config).iter().map(|spec| spec.shape.iter().product::<usize>()).sum();
    let bytes = opened.read(WEIGHTS_FILE, 8 * values as u64 + HEADER_LIMIT_BYTES)?;
    let unreadable = |e: SafeTensorError| Error::model(&path)(not_safetensors(&bytes, e));
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(unreadable)?;
    let metadata = header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    let weights = SafeTensors::deserialize(&bytes).map_err(unreadable)?;
    Ok((metadata, read(config, &weights)))
}

/// The vocabulary in the bytes of a `vocab.txt`, as long as `config` says.
fn read_vocabulary(bytes: &[u8], config: &Config) -> Result<Vocabulary, ModelFault> {
    let invalid = |reason: String| ModelFault::Vocabulary { reason };
    let text =
        std::str::from_utf8(bytes).map_err(|e| invalid(format!("not UTF-8 at byte {}", e.valid_up_to())))?;
    let vocabulary = Vocabulary::from_text(text).map_err(|e| invalid(e.to_string()))?;
    match (vocabulary.len(), config.vocab_size) {
        (words, vocab_size) if words != vocab_size => Err(ModelFault::VocabularySize { words, vocab_size }),
        _ => Ok(vocabulary),
    }
}

/// The tensors of a model, all of them and no others, but those that `take` takes.
fn read_tensors(
    weights: &SafeTensors,
    config: &Config,
    take: TakeTensor,
) -> Result<BTreeMap<String, Array>, ModelFault> {
    let specs = layout(config);
    let mut tensors = BTreeMap::new();
    for spec in &specs {
        match weights.tensor(&spec.name) {
            Ok(view) if take(&view, spec)? => {}
            Ok(view) => {
                tensors.insert(spec.name.clone(), read_tensor(&view, spec)?);
            }
            Err(_) if spec.optional => {}
            Err(_) => {
                let tensor = spec.name.clone();
                let prefixed =
                    |name: &&str| name.strip_suffix(&*tensor).is_some_and(|prefix| prefix.ends_with('.'));
                return Err(match weights.names().into_iter().find(prefixed) {
                    Some(found) => ModelFault::PrefixedTensor { found: found.to_string(), tensor },
                    None => ModelFault::MissingTensor { tensor },
                });
            }
        }
    }
    if tensors.contains_key(SUBJECTIVITY_BIAS) && !tensors.contains_key(SUBJECTIVITY_WEIGHT) {
        return Err(ModelFault::MissingTensor { tensor: SUBJECTIVITY_WEIGHT.into() });
    }
    match weights.names().into_iter().find(|name| specs.iter().all(|spec| spec.name != *name)) {
        Some(name) => Err(ModelFault::UnknownTensor { tensor: name.to_string() }),
        None => Ok(tensors),
    }
}

/// Writes a model directory in one step: a reader sees the old one or the new one, whole, whenever it looks and
/// whatever stops the writer. Links are followed; plain files of the old directory that are no part of a model are kept.
///
/// `extra` are further files, name and bytes (model card, training history; [`NGRAMS_FILE`], as
/// [`NgramTable::to_bytes`] gives it, where and only where `config.ngrams` is set). The digests of configuration,
/// vocabulary and table of grams are added to `metadata`.
///
/// # Errors
/// [`Error::Io`] when the disk refuses, [`Error::Invalid`] when something else than a model directory lies there; it is
/// untouched then. [`Error::Model`] when `tensors` are not those of [`layout`]. [`Error::Invalid`] when `config.ngrams` and `extra` do not agree.
pub fn save_directory(
    directory: &Path,
    config: &Config,
    vocabulary: &Vocabulary,
    tensors: &BTreeMap<String, Array>,
    metadata: &Metadata,
    precision: Precision,
    extra: &[(&str, Vec<u8>)],
) -> Result<()> {
    let config_json = config.to_json().into_bytes();
    let mut metadata = metadata.clone();
    metadata.insert("format".into(), FORMAT.into());
    metadata.insert("config_sha256".into(), sha256_hex(&config_json));
    metadata.insert("vocab_sha256".into(), vocabulary.sha256().into());
    metadata.remove(NGRAMS_DIGEST);
    let ngrams = extra.iter().find(|(name, _)| *name == NGRAMS_FILE);
    if ngrams.is_some() != config.ngrams {
        let reason = format!(
            "`ngrams` is {}, but the table is {}",
            config.ngrams,
            if ngrams.is_some() { "there" } else { "missing" }
        );
        return Err(Error::invalid(directory.join(CONFIG_FILE), reason));
    }
    metadata.extend(ngrams.map(|(_, bytes)| (NGRAMS_DIGEST.into(), sha256_hex(bytes))));
    metadata.entry("version".into()).or_insert_with(|| env!("CARGO_PKG_VERSION").into());
    let weights = encode(&directory.join(WEIGHTS_FILE), config, tensors, &metadata, precision)?;

    let vocabulary_text = vocabulary.to_text().into_bytes();
    let mut files: Vec<(&str, &[u8])> =
        vec![(CONFIG_FILE, &config_json), (VOCABULARY_FILE, &vocabulary_text), (WEIGHTS_FILE, &weights)];
    files.extend(extra.iter().map(|(name, bytes)| (*name, bytes.as_slice())));
    replace_directory(directory, DirectoryKind::Model, &files)
}
