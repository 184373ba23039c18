//! A run's state on disk: one safetensors file beside the output, replaced in one step.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use candle_nn::Optimizer;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::model::{Array, f32_bytes, f32_values, write_atomically};
use crate::train::fit::optimizer::{OptimizerConfig, StatefulOptimizer};
use crate::train::fit::variables::Variables;
use crate::train::fit::{Position, State};
use crate::train::settings::Settings;

/// What `__metadata__.format` says.
const FORMAT: &str = "imdb-sentiment-checkpoint/2";
/// What the format of every version begins with.
const FAMILY: &str = "imdb-sentiment-checkpoint/";
/// Where the metadata keep the digest of all the rest.
const DIGEST: &str = "sha256";
/// The header of a checkpoint, settings and epochs included, is shorter.
const HEADER_LIMIT_BYTES: u64 = 8 << 20;

/// Where the checkpoint of the model directory `output` lies: `<output>.checkpoint`.
pub fn path_for(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".checkpoint");
    name.into()
}

/// Writes `state` to `path`; a reader sees the old file or the new one, whole. `examples_sha256` names what is
/// learnt from.
///
/// # Errors
/// [`Error::Io`] when the disk refuses, [`Error::Data`] when a weight is not finite.
pub fn save(path: &Path, state: &State, settings: &Settings, examples_sha256: &str) -> Result<()> {
    let mut arrays: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
    for (group, tensors) in [("weights", Some(&state.variables.to_arrays()?)), ("best", state.best.as_ref())]
    {
        for (name, array) in tensors.into_iter().flatten() {
            arrays.insert(format!("{group}/{name}"), (array.shape.clone(), f32_bytes(&array.data)));
        }
    }
    for (name, values) in state.optimizer.state() {
        arrays.insert(format!("optimizer/{name}"), (vec![values.len()], f32_bytes(values)));
    }
    let json = |value: serde_json::Result<String>| value.expect("plain data");
    let mut metadata = HashMap::from([
        ("format".to_string(), FORMAT.to_string()),
        ("settings".to_string(), json(serde_json::to_string(settings))),
        ("examples_sha256".to_string(), examples_sha256.to_string()),
        ("steps".to_string(), state.optimizer.steps().to_string()),
        ("position".to_string(), json(serde_json::to_string(&state.position))),
    ]);
    let tensors =
        arrays.iter().map(|(name, (shape, bytes))| (name.as_str(), shape.as_slice(), bytes.as_slice()));
    metadata.insert(DIGEST.to_string(), digest(&metadata, tensors));
    let views = arrays.iter().map(|(name, (shape, bytes))| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("bytes of the shape just written"))
    });
    let bytes =
        safetensors::serialize(views, Some(metadata)).map_err(|e| Error::invalid(path, e.to_string()))?;
    write_atomically(path, &bytes)
}

/// SHA-256 over metadata (the digest itself left out) and tensors of a checkpoint.
fn digest<'t>(
    metadata: &HashMap<String, String>,
    tensors: impl Iterator<Item = (&'t str, &'t [usize], &'t [u8])>,
) -> String {
    let mut digest = Sha256::new();
    let mut part = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    };
    for (key, value) in metadata.iter().filter(|(key, _)| *key != DIGEST).collect::<BTreeMap<_, _>>() {
        part(key.as_bytes());
        part(value.as_bytes());
    }
    let tensors: BTreeMap<_, _> = tensors.map(|(name, shape, bytes)| (name, (shape, bytes))).collect();
    for (name, (shape, bytes)) in tensors {
        part(name.as_bytes());
        part(format!("{shape:?}").as_bytes());
        part(bytes);
    }
    crate::text::hex(&digest.finalize())
}

/// Whether there is a checkpoint at `path`.
///
/// # Errors
/// [`Error::Invalid`] when something else lies there.
pub fn is_there(path: &Path) -> Result<bool> {
    let metadata = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        metadata => metadata.map_err(Error::io(path))?,
    };
    // The format stands in the header, which begins the file.
    let mut start = Vec::new();
    if metadata.is_file() {
        let file = fs::File::open(path).map_err(Error::io(path))?;
        file.take(HEADER_LIMIT_BYTES).read_to_end(&mut start).map_err(Error::io(path))?;
    }
    match start.windows(FAMILY.len()).any(|part| part == FAMILY.as_bytes()) {
        true => Ok(true),
        false => {
            let reason = "is there already and no checkpoint; choose another name, nothing was touched";
            Err(Error::invalid(path, reason))
        }
    }
}

/// Reads the state at `path`.
///
/// # Errors
/// [`Error::Io`] and [`Error::Invalid`]: there is none, it is damaged, or it is that of a run with other settings
/// or other reviews.
pub fn load(path: &Path, settings: &Settings, examples_sha256: &str) -> Result<State> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::invalid(path, "there is no checkpoint to resume from"));
        }
        Err(e) => return Err(Error::io(path)(e)),
    };
    let damaged =
        |reason: String| Error::invalid(path, format!("not a checkpoint of this version: {reason}"));
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(e.to_string()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let entry = |key: &str| metadata.get(key).ok_or_else(|| damaged(format!("no `{key}`")));
    if entry("format")? != FORMAT {
        return Err(damaged(format!("format `{}`", entry("format")?)));
    }
    let tensors: Vec<_> = file.iter().collect();
    let found = digest(&metadata, tensors.iter().map(|(name, view)| (*name, view.shape(), view.data())));
    if *entry(DIGEST)? != found {
        return Err(damaged("its digest is not that of what it holds".into()));
    }
    let saved: Settings = serde_json::from_str(entry("settings")?).map_err(|e| damaged(e.to_string()))?;
    if let Some(difference) = difference(&saved, settings) {
        return Err(Error::invalid(path, format!("the run was started with other settings: {difference}")));
    }
    if entry("examples_sha256")? != examples_sha256 {
        return Err(Error::invalid(path, "the run was started with other reviews or another vocabulary"));
    }
    let position: Position = serde_json::from_str(entry("position")?).map_err(|e| damaged(e.to_string()))?;
    let steps = entry("steps")?.parse().map_err(|_| damaged("`steps` is no number".into()))?;

    let mut groups: HashMap<&str, BTreeMap<String, Array>> = HashMap::new();
    for (full_name, view) in file.iter() {
        let (group, name) = full_name.split_once('/').ok_or_else(|| damaged(full_name.to_string()))?;
        let array = Array { shape: view.shape().to_vec(), data: f32_values(view.data()) };
        groups.entry(group).or_default().insert(name.to_string(), array);
    }
    let variables = Variables::from_arrays(&groups.remove("weights").unwrap_or_default())?;
    let expected = Variables::initial(&settings.config(), settings.seed)?;
    if variables.names() != expected.names() {
        return Err(damaged("its tensors are not those of the network".into()));
    }
    let mut optimizer = StatefulOptimizer::new(variables.vars(), OptimizerConfig::from(settings))?;
    let state = groups.remove("optimizer").unwrap_or_default();
    optimizer.restore(steps, &state.into_iter().map(|(name, array)| (name, array.data)).collect())?;
    Ok(State { variables, optimizer, position, best: groups.remove("best") })
}

/// The first setting in which two runs differ, in words.
fn difference(saved: &Settings, given: &Settings) -> Option<String> {
    let object = |settings: &Settings| match serde_json::to_value(settings) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let (saved, given) = (object(saved), object(given));
    let (name, value) = saved.iter().find(|(name, value)| given.get(*name) != Some(value))?;
    Some(format!("{name} was {value}, now it is {}", given.get(name).cloned().unwrap_or_default()))
}
