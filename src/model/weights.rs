//! The format of the weights: one table of tensor names and shapes, and the bytes of a safetensors file.

use std::collections::BTreeMap;
use std::path::Path;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView};

use super::config::Config;
use crate::error::{Error, ModelFault, Result};

/// What `__metadata__.format` of a weights file of ours says.
pub const FORMAT: &str = "imdb-sentiment/1";

/// The name of the tensor of the words' vectors.
pub(super) const EMBEDDING: &str = "embedding.weight";

/// The names of the tensors that tell how probable it is that a text holds an opinion.
pub(crate) const SUBJECTIVITY_WEIGHT: &str = "subjectivity.weight";
pub(crate) const SUBJECTIVITY_BIAS: &str = "subjectivity.bias";

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
    /// Whether it may be absent; an absent one of the LSTM counts as zeros.
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

/// The tensors of a model: names as in PyTorch, gate rows in the order input, forget, cell, output.
pub fn layout(config: &Config) -> Vec<TensorSpec> {
    let mut specs = Vec::new();
    let mut add = |name: String, shape: &[usize], optional: bool| {
        specs.push(TensorSpec { name, shape: shape.to_vec(), optional });
    };
    let (embedding, hidden, gates) = (config.embedding_dim, config.hidden_size, 4 * config.hidden_size);
    add(EMBEDDING.into(), &[config.vocab_size, embedding], false);
    for layer in 0..config.num_layers {
        let input = if layer == 0 { embedding } else { config.directions() * hidden };
        for suffix in config.direction_suffixes() {
            add(format!("lstm.weight_ih_l{layer}{suffix}"), &[gates, input], false);
            add(format!("lstm.weight_hh_l{layer}{suffix}"), &[gates, hidden], false);
            add(format!("lstm.bias_ih_l{layer}{suffix}"), &[gates], false);
            add(format!("lstm.bias_hh_l{layer}{suffix}"), &[gates], true);
        }
    }
    add("classifier.weight".into(), &[1, config.feature_dim()], false);
    add("classifier.bias".into(), &[1], false);
    add(SUBJECTIVITY_WEIGHT.into(), &[1, config.feature_dim()], true);
    add(SUBJECTIVITY_BIAS.into(), &[1], true);
    specs
}

/// 32-bit floats as they lie in a file.
pub(crate) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The floats of [`f32_bytes`]; a rest of fewer than four bytes is left out.
pub(crate) fn f32_values(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Checks one tensor's shape, type and values and widens them to 32 bits.
pub(super) fn read_tensor(view: &TensorView, spec: &TensorSpec) -> Result<Array, ModelFault> {
    check_shape(view, spec)?;
    let tensor = spec.name.clone();
    let data: Vec<f32> = match view.dtype() {
        Dtype::F32 => f32_values(view.data()),
        Dtype::F16 => widen(view.data(), f16::from_le_bytes),
        Dtype::BF16 => widen(view.data(), bf16::from_le_bytes),
        other => {
            let found = format!("{other:?}");
            return Err(ModelFault::Type { tensor, found, expected: "F32, F16 or BF16" });
        }
    };
    // A value that is not a number lies in no range.
    match data.iter().position(|value| !(-LARGEST_VALUE..=LARGEST_VALUE).contains(value)) {
        Some(index) => Err(ModelFault::Value { tensor, index, value: data[index] }),
        None => Ok(Array { shape: spec.shape.clone(), data }),
    }
}

/// Checks that a tensor has the shape that the configuration describes.
pub(super) fn check_shape(view: &TensorView, spec: &TensorSpec) -> Result<(), ModelFault> {
    if view.shape() == spec.shape {
        return Ok(());
    }
    let (found, expected) = (view.shape().to_vec(), spec.shape.clone());
    Err(ModelFault::Shape { tensor: spec.name.clone(), found, expected })
}

/// The numbers of 16 bits in `bytes`, in 32. Many are converted at once: of a large model one by one takes longer than
/// reading the file.
fn widen<H: Copy + Default>(bytes: &[u8], half: impl Fn([u8; 2]) -> H) -> Vec<f32>
where
    [H]: HalfFloatSliceExt,
{
    let halves = bytes.as_chunks().0;
    let mut values = vec![0.0; halves.len()];
    let mut block = [H::default(); 1024];
    for (bytes, values) in halves.chunks(block.len()).zip(values.chunks_mut(block.len())) {
        let block = &mut block[..bytes.len()];
        block.iter_mut().zip(bytes).for_each(|(to, bytes)| *to = half(*bytes));
        block.convert_to_f32_slice(values);
    }
    values
}

/// The bytes of the weights file.
pub(super) fn encode(
    path: &Path,
    config: &Config,
    tensors: &BTreeMap<String, Array>,
    metadata: &Metadata,
    precision: Precision,
) -> Result<Vec<u8>> {
    let specs = layout(config);
    let mut parts = Vec::with_capacity(specs.len());
    for spec in &specs {
        let (fault, tensor) = (Error::model(path), spec.name.clone());
        let Some(array) = tensors.get(&spec.name) else {
            if spec.optional {
                continue;
            }
            return Err(fault(ModelFault::MissingTensor { tensor }));
        };
        if array.shape != spec.shape || array.data.len() != spec.shape.iter().product::<usize>() {
            let (found, expected) = (array.shape.clone(), spec.shape.clone());
            return Err(fault(ModelFault::Shape { tensor, found, expected }));
        }
        // What would not load again must not take the place of what does.
        let stored = |value: f32| (-LARGEST_VALUE..=LARGEST_VALUE).contains(&precision.round(value));
        if let Some(index) = array.data.iter().position(|&value| !stored(value)) {
            return Err(fault(ModelFault::Diverged { tensor, index, value: array.data[index] }));
        }
        let bytes = match precision {
            Precision::F32 => f32_bytes(&array.data),
            Precision::F16 => {
                array.data.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()
            }
        };
        parts.push((spec.name.as_str(), precision.name(), spec.shape.clone(), bytes));
    }
    Ok(safetensors_bytes(metadata, parts))
}

/// The bytes of a safetensors file of `tensors` (name, type, shape, bytes), stored in their order; the header has its
/// keys sorted, so that equal tensors give equal bytes: the safetensors crate keeps `__metadata__` in a hash map, whose
/// order differs from run to run.
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
