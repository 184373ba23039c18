//! The vectors of the words, in as many bits as they need.

use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;
use safetensors::tensor::{Dtype, TensorView};

use super::weights::{TensorSpec, check_shape, read_tensor};
use crate::error::ModelFault;
use crate::kernel::Int8Input;

/// Numbers that are converted side by side, while they are in a near cache.
const TOGETHER: usize = 4096;

/// Vectors of words, `[words, size]`, by their ids from `first` on.
#[derive(Debug)]
pub(crate) struct Embedding {
    size: usize,
    first: usize,
    values: Values,
}

#[derive(Debug)]
enum Values {
    F32(Vec<f32>),
    /// Where no value needs more, as in a model stored in 16 bits: half the memory, the same numbers.
    F16(Vec<f16>),
}

impl Embedding {
    /// The vectors `values`, each of `size` numbers, of the ids from 0 on.
    pub fn new(size: usize, values: Vec<f32>) -> Self {
        let values = match halves(&values) {
            Some(halves) => Values::F16(halves),
            None => Values::F32(values),
        };
        Self { size, first: 0, values }
    }

    /// Checks the tensor of the words' vectors, `[words, size]`, and takes it in the bits in which it is stored.
    pub fn from_tensor(view: &TensorView, spec: &TensorSpec) -> Result<Self, ModelFault> {
        let size = spec.shape[1];
        if view.dtype() != Dtype::F16 {
            return Ok(Self::new(size, read_tensor(view, spec)?.data));
        }
        check_shape(view, spec)?;
        let halves: Vec<f16> =
            view.data().as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes)).collect();
        // All but infinities and what is no number lie within [`super::weights::LARGEST_VALUE`]; those have every bit of the
        // exponent.
        let lies_out = |half: &f16| half.to_bits() & 0x7c00 == 0x7c00;
        // Many at once without a way out in their middle.
        let any_out = |block: &[f16]| block.iter().fold(false, |out, half| out | lies_out(half));
        let block = halves.chunks(TOGETHER).position(any_out).map(|block| block * TOGETHER);
        match block.and_then(|start| Some(start + halves[start..].iter().position(lies_out)?)) {
            Some(index) => {
                let (tensor, value) = (spec.name.clone(), halves[index].to_f32());
                Err(ModelFault::Value { tensor, index, value })
            }
            None => Ok(Self { size, first: 0, values: Values::F16(halves) }),
        }
    }

    /// Gives up the vectors of the ids under `first`.
    pub fn keep_from(&mut self, first: usize) {
        let gone = (first - self.first) * self.size;
        match &mut self.values {
            Values::F32(values) => *values = values.split_off(gone),
            Values::F16(values) => *values = values.split_off(gone),
        }
        self.first = first;
    }

    /// The vectors of `ids`, one after the other, each of which it must still have.
    pub fn vectors(&self, ids: impl ExactSizeIterator<Item = u32>) -> Vec<f32> {
        let mut vectors = vec![0.0; ids.len() * self.size];
        // Vectors of no numbers are none to cut into.
        ids.zip(vectors.chunks_exact_mut(self.size.max(1)))
            .for_each(|(id, vector)| self.read(id as usize, vector));
        vectors
    }

    /// Adds the vectors of `ids`, each of which it must still have, to `input`, which awaits rows of their size.
    pub fn push(&self, ids: impl Iterator<Item = u32>, input: &mut Int8Input) {
        for id in ids {
            let place = self.place(id as usize);
            match &self.values {
                Values::F32(values) => input.push(&values[place]),
                Values::F16(values) => input.push_halves(&values[place]),
            }
        }
    }

    /// Writes the vector of `id` into `vector`.
    fn read(&self, id: usize, vector: &mut [f32]) {
        let place = self.place(id);
        match &self.values {
            Values::F32(values) => vector.copy_from_slice(&values[place]),
            Values::F16(values) => values[place].convert_to_f32_slice(vector),
        }
    }

    /// Where the vector of `id` stands.
    fn place(&self, id: usize) -> Range<usize> {
        let from = (id - self.first) * self.size;
        from..from + self.size
    }

    /// The mean of the vectors of the ids from `first` on, each weighed with `weight` of its number among them.
    pub fn weighted_mean(&self, first: usize, weight: impl Fn(usize) -> f64) -> Vec<f32> {
        let (mut mean, mut weights) = (vec![0.0f64; self.size], 0.0);
        let mut vector = vec![0.0; self.size];
        let words = match &self.values {
            Values::F32(values) => values.len(),
            Values::F16(values) => values.len(),
        } / self.size.max(1);
        for (number, id) in (first..self.first + words).enumerate() {
            let weight = weight(number);
            weights += weight;
            self.read(id, &mut vector);
            mean.iter_mut().zip(&vector).for_each(|(mean, value)| *mean += weight * f64::from(*value));
        }
        mean.into_iter().map(|sum| if weights > 0.0 { (sum / weights) as f32 } else { 0.0 }).collect()
    }
}

/// `values` in 16 bits, where each of them comes back as it was.
fn halves(values: &[f32]) -> Option<Vec<f16>> {
    let mut halves = vec![f16::ZERO; values.len()];
    let mut back = [0.0; TOGETHER];
    for (from, to) in values.chunks(TOGETHER).zip(halves.chunks_mut(TOGETHER)) {
        to.convert_from_f32_slice(from);
        let back = &mut back[..from.len()];
        to.convert_to_f32_slice(back);
        if from.iter().zip(back).any(|(from, back)| from.to_bits() != back.to_bits()) {
            return None;
        }
    }
    Some(halves)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_come_back_bit_by_bit_whatever_they_are_kept_in() {
        let halves: Vec<f32> =
            (0..30_000u32).map(|bits| f16::from_bits(bits as u16 | 0x8000).to_f32()).collect();
        let wide: Vec<f32> = halves.iter().map(|value| value * 1.001).collect();
        for (values, in_16_bits) in [(halves, true), (wide, false), (vec![-0.0, 0.0, 65_504.0], true)] {
            let mut embedding = Embedding::new(3, values.clone());
            assert_eq!(matches!(embedding.values, Values::F16(_)), in_16_bits);
            let words = values.len() / 3;
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(
                bits(&embedding.vectors((0..words as u32).collect::<Vec<_>>().into_iter())),
                bits(&values)
            );
            embedding.keep_from(words - 1);
            assert_eq!(
                bits(&embedding.vectors([words as u32 - 1].into_iter())),
                bits(&values[3 * (words - 1)..])
            );
        }
    }
}
