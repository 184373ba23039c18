//! Weights on disk: one table of tensor names and shapes, a checked load and an atomic save.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::config::Config;
use super::ngrams::{NGRAMS_FILE, NgramTable};
use crate::error::{Error, Result};
use crate::text::{Vocabulary, sha256_hex};

/// What `__metadata__.format` of a weights file of ours says.
pub const FORMAT: &str = "imdb-sentiment/1";

/// Name of the weights file in a model directory.
const WEIGHTS_FILE: &str = "model.safetensors";
/// Name of the configuration file in a model directory.
const CONFIG_FILE: &str = "config.json";
/// Name of the vocabulary file in a model directory.
const VOCABULARY_FILE: &str = "vocab.txt";
/// Where the weights' metadata keep the SHA-256 of [`NGRAMS_FILE`].
const NGRAMS_DIGEST: &str = "ngrams_sha256";

/// Weights lie within this, far beyond what training gives (tens): products and sums of larger ones may leave the range
/// of 32 bits, and infinity less infinity is a probability that is not a number.
pub(super) const LARGEST_VALUE: f32 = 1e6;

/// One row of the table of tensors: its PyTorch name, its shape, whether it may be absent (then it is zero).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The tensor's name, as PyTorch's `state_dict` gives it.
    pub name: String,
    /// Its shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// Whether it may be absent; an absent one counts as zeros.
    pub optional: bool,
}

/// A tensor in memory: 32-bit floats in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// The values, row by row.
    pub data: Vec<f32>,
}

/// The strings of `__metadata__` in a weights file.
pub type Metadata = BTreeMap<String, String>;

/// In how many bits weights are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits: as they were trained.
    #[default]
    F32,
    /// 16 bits: half the size; a value keeps three digits.
    F16,
}

impl Precision {
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
        }
    }

    /// `value` as it is read back after it was stored.
    pub fn round(self, value: f32) -> f32 {
        match self {
            Self::F32 => value,
            Self::F16 => f16::from_f32(value).to_f32(),
        }
    }
}

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

/// The tensors of a model: names as in PyTorch, gate rows in the order input, forget, cell, output.
pub fn layout(config: &Config) -> Vec<TensorSpec> {
    let mut specs = Vec::new();
    let mut add = |name: String, shape: &[usize], optional: bool| {
        specs.push(TensorSpec { name, shape: shape.to_vec(), optional });
    };
    let (embedding, hidden, gates) = (config.embedding_dim, config.hidden_size, 4 * config.hidden_size);
    add("embedding.weight".into(), &[config.vocab_size, embedding], false);
    for layer in 0..config.num_layers {
        let input = if layer == 0 { embedding } else { config.directions() * hidden };
        for suffix in ["", "_reverse"].iter().take(config.directions()) {
            add(format!("lstm.weight_ih_l{layer}{suffix}"), &[gates, input], false);
            add(format!("lstm.weight_hh_l{layer}{suffix}"), &[gates, hidden], false);
            add(format!("lstm.bias_ih_l{layer}{suffix}"), &[gates], false);
            add(format!("lstm.bias_hh_l{layer}{suffix}"), &[gates], true);
        }
    }
    add("classifier.weight".into(), &[1, config.feature_dim()], false);
    add("classifier.bias".into(), &[1], false);
    specs
}

/// Reads a model directory and checks that its parts belong together.
///
/// # Errors
/// [`Error::Io`], [`Error::Invalid`] or [`Error::Tensor`], each naming the file and the fault: an unreadable or
/// truncated file, a tensor that is missing, unknown, misshapen or of a type other than F32, F16 and BF16, a value
/// that is not finite or beyond a million, a vocabulary, configuration or table of grams other than the one whose digest
/// stands with the weights, a table of grams of words that the vocabulary has not.
pub fn load_directory(directory: &Path) -> Result<ModelFiles> {
    let config_path = directory.join(CONFIG_FILE);
    let config_bytes = fs::read(&config_path).map_err(Error::io(&config_path))?;
    let config = Config::from_bytes(&config_path, &config_bytes)?;

    let vocabulary_path = directory.join(VOCABULARY_FILE);
    let vocabulary = Vocabulary::load(&vocabulary_path)?;
    if vocabulary.len() != config.vocab_size {
        let reason = format!("{} words, {CONFIG_FILE} says {}", vocabulary.len(), config.vocab_size);
        return Err(Error::invalid(&vocabulary_path, reason));
    }

    let path = directory.join(WEIGHTS_FILE);
    let bytes = fs::read(&path).map_err(Error::io(&path))?;
    let unreadable =
        |e: safetensors::SafeTensorError| Error::invalid(&path, format!("not a weights file: {e}"));
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(unreadable)?;
    let metadata: Metadata =
        header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    let file = SafeTensors::deserialize(&bytes).map_err(unreadable)?;

    let ngrams_path = directory.join(NGRAMS_FILE);
    let ngrams_bytes = match config.ngrams {
        true => Some(fs::read(&ngrams_path).map_err(Error::io(&ngrams_path))?),
        false => None,
    };

    // Weights made elsewhere may come without digests; ours always carry them.
    let mut digests = vec![
        ("config_sha256", CONFIG_FILE, sha256_hex(&config_bytes)),
        ("vocab_sha256", VOCABULARY_FILE, vocabulary.sha256().to_string()),
    ];
    digests.extend(ngrams_bytes.as_deref().map(|bytes| (NGRAMS_DIGEST, NGRAMS_FILE, sha256_hex(bytes))));
    for (key, name, actual) in digests {
        if let Some(expected) = metadata.get(key).filter(|expected| **expected != actual) {
            let reason =
                format!("made for another {name}: its SHA-256 is {actual}, the weights name {expected}");
            return Err(Error::invalid(&path, reason));
        }
    }

    let ngrams = ngrams_bytes.map(|bytes| NgramTable::from_bytes(&ngrams_path, &bytes)).transpose()?;
    if let Some(id) = ngrams.iter().map(NgramTable::highest_id).find(|id| *id as usize >= config.vocab_size) {
        let reason = format!("a gram with id {id}, {CONFIG_FILE} says {} words", config.vocab_size);
        return Err(Error::invalid(&ngrams_path, reason));
    }

    let specs = layout(&config);
    let mut tensors = BTreeMap::new();
    for spec in &specs {
        let fault = |reason: String| Error::Tensor { path: path.clone(), tensor: spec.name.clone(), reason };
        match file.tensor(&spec.name) {
            Ok(view) => {
                tensors.insert(spec.name.clone(), read_tensor(&view, &spec.shape).map_err(fault)?);
            }
            Err(_) if spec.optional => {}
            Err(_) => return Err(fault("missing".into())),
        }
    }
    if let Some(name) = file.names().into_iter().find(|name| specs.iter().all(|spec| spec.name != *name)) {
        let reason = format!("the model described by {CONFIG_FILE} has no such tensor");
        return Err(Error::Tensor { path, tensor: name.to_string(), reason });
    }

    let name =
        fs::canonicalize(directory).ok().and_then(|path| Some(path.file_name()?.to_str()?.to_string()));
    let name = name.unwrap_or_else(|| "model".into());
    Ok(ModelFiles { name, config, vocabulary, tensors, ngrams, metadata })
}

/// Checks one tensor's shape, type and values and widens them to 32 bits; the reason in words where it is refused.
fn read_tensor(view: &TensorView, shape: &[usize]) -> Result<Array, String> {
    if view.shape() != shape {
        return Err(format!("shape {:?}, expected {shape:?}", view.shape()));
    }
    let bytes = view.data();
    let data: Vec<f32> = match view.dtype() {
        Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Dtype::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        Dtype::BF16 => bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        other => return Err(format!("type {other:?}, expected F32, F16 or BF16")),
    };
    // A value that is not a number lies in no range.
    match data.iter().position(|value| !(-LARGEST_VALUE..=LARGEST_VALUE).contains(value)) {
        Some(at) => Err(format!("value {at} is {}, beyond {LARGEST_VALUE:e} either way", data[at])),
        None => Ok(Array { shape: shape.to_vec(), data }),
    }
}

/// Writes a model directory in one step: a reader sees the old one or the new one, whole, whenever it looks and
/// whatever stops the writer. Files of the old directory that are not written anew are kept.
///
/// `extra` are further files, name and bytes (model card, training history; [`NGRAMS_FILE`], as
/// [`NgramTable::to_bytes`] gives it, where and only where `config.ngrams` is set). The digests of configuration,
/// vocabulary and table of grams are added to `metadata`.
///
/// # Errors
/// [`Error::Io`] when the disk refuses; the old directory is untouched then. [`Error::Tensor`] when `tensors` are
/// not those of [`layout`]. [`Error::Invalid`] when `config.ngrams` and `extra` do not agree.
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
            match ngrams {
                Some(_) => "there",
                None => "missing",
            }
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
    replace_directory(directory, &files)
}

/// The bytes of the weights file.
fn encode(
    path: &Path,
    config: &Config,
    tensors: &BTreeMap<String, Array>,
    metadata: &Metadata,
    precision: Precision,
) -> Result<Vec<u8>> {
    let specs = layout(config);
    let mut parts = Vec::with_capacity(specs.len());
    for spec in &specs {
        let fault = |reason: String| Error::Tensor { path: path.into(), tensor: spec.name.clone(), reason };
        let Some(array) = tensors.get(&spec.name) else {
            if spec.optional {
                continue;
            }
            return Err(fault("missing".into()));
        };
        if array.shape != spec.shape || array.data.len() != spec.shape.iter().product::<usize>() {
            return Err(fault(format!("shape {:?}, expected {:?}", array.shape, spec.shape)));
        }
        // What would not load again must not take the place of what does.
        let stored = |value: f32| (-LARGEST_VALUE..=LARGEST_VALUE).contains(&precision.round(value));
        if let Some(at) = array.data.iter().position(|&value| !stored(value)) {
            return Err(fault(format!("value {at} is {}: the training has gone astray", array.data[at])));
        }
        let values = array.data.iter();
        let bytes = match precision {
            Precision::F32 => values.flat_map(|value| value.to_le_bytes()).collect(),
            Precision::F16 => values.flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
        };
        parts.push((spec.name.as_str(), precision.name(), spec.shape.clone(), bytes));
    }
    Ok(safetensors_bytes(metadata, parts))
}

/// The bytes of a safetensors file of `tensors` (name, type, shape, bytes), stored in their order; the header has its
/// keys sorted, so that equal tensors give equal bytes.
pub(super) fn safetensors_bytes<'t>(
    metadata: &Metadata,
    tensors: impl IntoIterator<Item = (&'t str, &'t str, Vec<usize>, Vec<u8>)>,
) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), serde_json::json!(metadata));
    let mut body = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let start = body.len();
        body.extend(bytes);
        let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [start, body.len()]});
        header.insert(name.into(), entry);
    }
    let mut text = serde_json::Value::Object(header).to_string().into_bytes();
    // The format asks for no alignment, but readers that map the file are glad of 8 bytes.
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text);
    bytes.extend(body);
    bytes
}

/// Puts a directory with `files` in the place of `directory` in one step.
fn replace_directory(directory: &Path, files: &[(&str, &[u8])]) -> Result<()> {
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&parent).map_err(Error::io(&parent))?;
    let name =
        directory.file_name().ok_or_else(|| Error::invalid(directory, "not the name of a directory"))?;
    let beside = parent.join(format!(".{}.{}.partial", name.to_string_lossy(), std::process::id()));
    let written = write_files(directory, &beside, files).and_then(|()| exchange(&beside, directory));
    // After an exchange this is the old directory; after a fault it is what was half written.
    if beside.exists() {
        let removed = fs::remove_dir_all(&beside).map_err(Error::io(&beside));
        return written.and(removed);
    }
    written
}

fn write_files(old: &Path, beside: &Path, files: &[(&str, &[u8])]) -> Result<()> {
    if beside.exists() {
        fs::remove_dir_all(beside).map_err(Error::io(beside))?;
    }
    fs::create_dir(beside).map_err(Error::io(beside))?;
    for entry in fs::read_dir(old).into_iter().flatten().flatten() {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        // A table of grams belongs to the weights it came with.
        let kept = is_file && entry.file_name() != NGRAMS_FILE;
        if kept && files.iter().all(|(name, _)| entry.file_name() != *name) {
            let to = beside.join(entry.file_name());
            fs::copy(entry.path(), &to)
                .and_then(|_| fs::File::open(&to)?.sync_all())
                .map_err(Error::io(&to))?;
        }
    }
    for (name, bytes) in files {
        let path = beside.join(name);
        let mut file = fs::File::create(&path).map_err(Error::io(&path))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::io(&path))?;
    }
    fs::File::open(beside).and_then(|dir| dir.sync_all()).map_err(Error::io(beside))
}

/// Renames `beside` to `directory`, swapping the two where there is already one.
fn exchange(beside: &Path, directory: &Path) -> Result<()> {
    if !directory.exists() {
        return fs::rename(beside, directory).map_err(Error::io(directory));
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        if renameat_with(CWD, beside, CWD, directory, RenameFlags::EXCHANGE).is_ok() {
            return Ok(());
        }
    }
    // A file system without the exchange (or another system): two renames, the first undone if the second fails.
    let aside = beside.with_extension("old");
    // Left by a writer that was killed in between; its `directory` has been written anew since.
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(Error::io(&aside))?;
    }
    fs::rename(directory, &aside).map_err(Error::io(directory))?;
    if let Err(e) = fs::rename(beside, directory) {
        let _ = fs::rename(&aside, directory);
        return Err(Error::io(directory)(e));
    }
    fs::remove_dir_all(&aside).map_err(Error::io(&aside))
}
