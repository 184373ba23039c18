//! The wide part of a model: a linear term over the runs of one to three ids that a review holds.

mod contributions;
mod index;
pub(super) mod key;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use half::f16;
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, SafeTensors};

use super::read::not_safetensors;
use super::weights::{FORMAT, LARGEST_VALUE, f32_bytes, f32_values, safetensors_bytes};
use crate::error::{Error, ModelFault, Result};

use index::Entry;
pub(crate) use index::NgramIndex;
pub use index::Scratch;
#[cfg(feature = "train")]
pub(crate) use index::each_gram;
#[cfg(feature = "train")]
pub(crate) use key::parts;
pub use key::{LONGEST_NGRAM, NGRAM_ID_LIMIT, pack_ngram, unpack_ngram};

/// Name of the table's file in a model directory.
pub const NGRAMS_FILE: &str = "ngrams.safetensors";

/// A gram with its two values, which a table rounds to 16 bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ngram {
    /// The gram as [`pack_ngram`] packs it.
    pub key: u64,
    /// Log-count ratio r: how much likelier the gram is in a positive review than in a negative one.
    pub ratio: f32,
    /// Learnt weight w.
    pub weight: f32,
}

/// A linear term over the distinct grams G of the table that a review holds:
///
/// `bias + sum(w_g r_g, g in G) / sqrt(sum(r_g^2, g in G))`, and `bias` alone where the root is 0.
///
/// The ids of a gram stand side by side in the review; special ids are in no gram and part the words on their two sides.
/// That is a linear model over binary features scaled by their log-count ratios (Wang and Manning 2012, "Baselines and
/// Bigrams"), each review's features brought to length 1.
#[derive(Clone, Debug)]
pub struct NgramTable {
    /// Ratio and weight of each gram, keys ascending, as on disk.
    values: Vec<[f16; 2]>,
    bias: f32,
    index: NgramIndex,
}

/// Equal tables have equal files.
impl PartialEq for NgramTable {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values && self.bias == other.bias && self.index.keys().eq(other.index.keys())
    }
}

impl NgramTable {
    /// A table of `grams`, in any order.
    ///
    /// # Errors
    /// The reason in words: a key that is no gram or stands twice, a value that 16 bits cannot hold, a bias that is
    /// not finite.
    pub fn new(grams: &[Ngram], bias: f32) -> Result<Self, String> {
        let mut grams = grams.to_vec();
        grams.sort_by_key(|gram| gram.key);
        let keys: Vec<u64> = grams.iter().map(|gram| gram.key).collect();
        let values = grams.iter().map(|gram| [f16::from_f32(gram.ratio), f16::from_f32(gram.weight)]);
        Self::checked(&keys, values.collect(), bias)
    }

    fn checked(keys: &[u64], values: Vec<[f16; 2]>, bias: f32) -> Result<Self, String> {
        if let Some(at) = keys.iter().position(|&key| unpack_ngram(key).is_empty()) {
            return Err(format!("key {at} is {}, which is no gram", keys[at] as i64));
        }
        if let Some(at) = keys.windows(2).position(|pair| pair[0] >= pair[1]) {
            return Err(format!("keys {at} and {} do not ascend", at + 1));
        }
        if let Some(at) = values.iter().position(|pair| !pair.iter().all(|value| value.is_finite())) {
            return Err(format!("value {at} is [{}, {}]", values[at][0], values[at][1]));
        }
        // A value that is not a number lies in no range.
        if !(-LARGEST_VALUE..=LARGEST_VALUE).contains(&bias) {
            return Err(format!("bias is {bias}"));
        }
        let entries = keys.iter().zip(&values).map(|(&key, value)| {
            let [ratio, weight] = value.map(f16::to_f32);
            Entry { key, product: weight * ratio, square: ratio * ratio }
        });
        Ok(Self { index: NgramIndex::of(entries.collect()), values, bias })
    }

    /// Number of grams.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no gram.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// What is added whatever the review holds.
    pub fn bias(&self) -> f32 {
        self.bias
    }

    /// The grams, keys ascending, with their values as rounded.
    pub fn iter(&self) -> impl Iterator<Item = Ngram> + '_ {
        self.index.keys().zip(&self.values).map(|(key, [ratio, weight])| Ngram {
            key,
            ratio: ratio.to_f32(),
            weight: weight.to_f32(),
        })
    }

    /// The highest id in any gram; 0 for an empty table.
    pub fn highest_id(&self) -> u32 {
        self.index.keys().flat_map(unpack_ngram).max().unwrap_or(0)
    }

    /// The term for one review; any ids, none included. Nothing is allocated once `scratch` has served this table.
    pub fn score(&self, ids: &[u32], scratch: &mut Scratch) -> f32 {
        let (mut products, mut squares) = (0.0f64, 0.0f64);
        self.index.each_distinct(ids, scratch, |_, entry| {
            products += f64::from(entry.product);
            squares += f64::from(entry.square);
        });
        if squares > 0.0 { self.bias + (products / squares.sqrt()) as f32 } else { self.bias }
    }

    /// The table whose score is `factor` times this one's, but for the weights' rounding.
    ///
    /// # Errors
    /// The reason in words where a weight or the bias leaves its range.
    pub fn scaled(&self, factor: f32) -> Result<Self, String> {
        let scale = |&[ratio, weight]: &[f16; 2]| [ratio, f16::from_f32(weight.to_f32() * factor)];
        let keys: Vec<u64> = self.index.keys().collect();
        Self::checked(&keys, self.values.iter().map(scale).collect(), self.bias * factor)
    }

    /// The bytes of `ngrams.safetensors`: `key` I64 \[N\] ascending, `bias` F32 \[1\], `value` F16 \[N, 2\] (ratio,
    /// weight). Equal tables give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let metadata = BTreeMap::from([
            ("format".to_string(), FORMAT.to_string()),
            ("count".to_string(), self.len().to_string()),
            ("version".to_string(), env!("CARGO_PKG_VERSION").to_string()),
        ]);
        let keys: Vec<u8> = self.index.keys().flat_map(u64::to_le_bytes).collect();
        let values: Vec<u8> = self.values.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
        // The widest first, so that each tensor is aligned for its type.
        let tensors = [
            ("key", "I64", vec![self.len()], keys),
            ("bias", "F32", vec![1], f32_bytes(&[self.bias])),
            ("value", "F16", vec![self.len(), 2], values),
        ];
        safetensors_bytes(&metadata, tensors)
    }

    /// Reads and checks `path`, an `ngrams.safetensors`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, else as [`NgramTable::from_bytes`].
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_bytes(path, &std::fs::read(path).map_err(Error::io(path))?)
    }

    /// Reads and checks the bytes of `path`, an `ngrams.safetensors`.
    ///
    /// # Errors
    /// [`Error::Model`]: bytes of another format or cut
    /// short, a tensor that is missing, unknown, misshapen or of another type, keys that are no grams or do not
    /// ascend, a value that is not finite.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self> {
        Self::read(bytes).map_err(Error::model(path))
    }

    fn read(bytes: &[u8]) -> Result<Self, ModelFault> {
        let unreadable = |e: SafeTensorError| not_safetensors(bytes, e);
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
        let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
        if let Some(name) = file.names().into_iter().find(|name| !["key", "value", "bias"].contains(name)) {
            return Err(ModelFault::UnknownTensor { tensor: name.to_string() });
        }
        let read = |name: &str, dtype: Dtype, expected_type: &'static str, shape: &[usize]| {
            let tensor = name.to_string();
            match file.tensor(name) {
                Err(_) => Err(ModelFault::MissingTensor { tensor }),
                Ok(view) if view.dtype() != dtype => {
                    let found = format!("{:?}", view.dtype());
                    Err(ModelFault::Type { tensor, found, expected: expected_type })
                }
                Ok(view) if view.shape() != shape => {
                    let (found, expected) = (view.shape().to_vec(), shape.to_vec());
                    Err(ModelFault::Shape { tensor, found, expected })
                }
                Ok(view) => Ok(view.data()),
            }
        };
        let count = file.tensor("key").ok().and_then(|view| view.shape().first().copied()).unwrap_or(0);
        let key = read("key", Dtype::I64, "I64", &[count])?;
        let value = read("value", Dtype::F16, "F16", &[count, 2])?;
        let bias = read("bias", Dtype::F32, "F32", &[1])?;
        let stated = header.metadata().as_ref().and_then(|metadata| metadata.get("count"));
        if let Some(stated) = stated.filter(|stated| **stated != count.to_string()) {
            return Err(ModelFault::Ngrams { reason: format!("{count} n-grams, the header says {stated}") });
        }

        let keys: Vec<u64> = key.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let halves = |&[a, b, c, d]: &[u8; 4]| [f16::from_le_bytes([a, b]), f16::from_le_bytes([c, d])];
        let values = value.as_chunks().0.iter().map(halves).collect();
        let bias = f32_values(bias)[0];
        Self::checked(&keys, values, bias).map_err(|reason| ModelFault::Ngrams { reason })
    }
}
