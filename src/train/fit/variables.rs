//! The trained tensors: candle variables in a sorted map, so that every walk over them has one order.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarBuilder;
use rand::Rng;

use crate::error::{Error, Result};
use crate::model::{Array, Config, TensorSpec, layout};
use crate::train::random::{Stream, stream_rng};

/// Bound of the uniform distribution that an embedding starts from, as in Keras.
const EMBEDDING_BOUND: f32 = 0.05;

/// The tensors of a network in training, by name.
#[derive(Clone, Debug)]
pub struct Variables {
    map: BTreeMap<String, Var>,
}

impl Variables {
    /// The initial weights under `seed`, as Keras has them: embedding uniform in ±0.05, input weights and classifier
    /// Glorot uniform, recurrent weights orthogonal, biases 0 but the forget gate's 1. There is one bias per
    /// direction: a second one would learn twice as fast as the published model's.
    ///
    /// # Errors
    /// When candle refuses a shape.
    pub fn initial(config: &Config, seed: u64) -> Result<Self> {
        let specs = layout(config);
        let arrays = specs.iter().enumerate().filter(|(_, spec)| !spec.optional).map(|(index, spec)| {
            let mut rng = stream_rng(seed, Stream::Weights, index as u64);
            (spec.name.clone(), Array { shape: spec.shape.clone(), data: initial(spec, &mut rng) })
        });
        Self::from_arrays(&arrays.collect())
    }

    /// Variables that hold these values.
    ///
    /// # Errors
    /// When a shape and its values do not fit.
    pub fn from_arrays(arrays: &BTreeMap<String, Array>) -> Result<Self> {
        let var = |(name, array): (&String, &Array)| -> Result<(String, Var)> {
            let tensor = Tensor::from_slice(&array.data, array.shape.as_slice(), &Device::Cpu)?;
            Ok((name.clone(), Var::from_tensor(&tensor)?))
        };
        Ok(Self { map: arrays.iter().map(var).collect::<Result<_>>()? })
    }

    /// Puts `values` into the variable `name`.
    ///
    /// # Errors
    /// When there is no such variable or `values` has another length.
    pub fn set(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let var = self.map.get(name).ok_or_else(|| Error::Data(format!("no variable `{name}`")))?;
        Ok(var.set(&Tensor::from_slice(values, var.shape(), &Device::Cpu)?)?)
    }

    /// A copy of the values.
    ///
    /// # Errors
    /// [`Error::Data`] when a value is not finite: training has run away.
    pub fn to_arrays(&self) -> Result<BTreeMap<String, Array>> {
        let array = |(name, var): (&String, &Var)| -> Result<(String, Array)> {
            let data = var.flatten_all()?.to_vec1::<f32>()?;
            if data.iter().any(|value| !value.is_finite()) {
                let reason = format!("training diverged: `{name}` holds a value that is not finite");
                return Err(Error::Data(format!("{reason}; try a lower learning_rate or a clip_norm")));
            }
            Ok((name.clone(), Array { shape: var.dims().to_vec(), data }))
        };
        self.map.iter().map(array).collect()
    }

    /// A builder over the variables themselves, for a network that learns.
    pub fn builder(&self) -> VarBuilder<'static> {
        let tensors: HashMap<String, Tensor> =
            self.map.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
    }

    /// The variables in order of name.
    pub fn vars(&self) -> Vec<Var> {
        self.map.values().cloned().collect()
    }

    /// The names in the order of [`Variables::vars`].
    pub fn names(&self) -> Vec<String> {
        self.map.keys().cloned().collect()
    }
}

fn initial(spec: &TensorSpec, rng: &mut impl Rng) -> Vec<f32> {
    let count = spec.shape.iter().product();
    let mut uniform = |bound: f32| (0..count).map(|_| rng.random_range(-bound..bound)).collect::<Vec<f32>>();
    // Glorot's bound; it is symmetric in fan-in and fan-out, so PyTorch's [out, in] needs no turning.
    let glorot = |rows: usize, columns: usize| (6.0 / (rows + columns) as f32).sqrt();
    match spec.shape.as_slice() {
        [_, _] if spec.name == "embedding.weight" => uniform(EMBEDDING_BOUND),
        [rows, columns] if spec.name.starts_with("lstm.weight_hh") => orthogonal(*rows, *columns, rng),
        [rows, columns] => uniform(glorot(*rows, *columns)),
        [gates] if spec.name.starts_with("lstm.bias") => {
            let hidden = gates / 4;
            (0..*gates).map(|row| if (hidden..2 * hidden).contains(&row) { 1.0 } else { 0.0 }).collect()
        }
        _ => vec![0.0; count],
    }
}

/// A `[rows, columns]` matrix, rows >= columns, whose columns are orthonormal: normal numbers, orthogonalised by
/// Gram and Schmidt in f64, twice over each column because once is not enough in floating point.
///
/// That is Keras's `[H, 4H]` kernel with orthonormal rows, turned, from the same (Haar) distribution: a triangular
/// factor with a positive diagonal is what Gram-Schmidt leaves.
fn orthogonal(rows: usize, columns: usize, rng: &mut impl Rng) -> Vec<f32> {
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(columns);
    while basis.len() < columns {
        let mut column: Vec<f64> = (0..rows).map(|_| normal(rng)).collect();
        for _ in 0..2 {
            for other in &basis {
                let along: f64 = column.iter().zip(other).map(|(a, b)| a * b).sum();
                column.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
            }
        }
        let norm = column.iter().map(|a| a * a).sum::<f64>().sqrt();
        column.iter_mut().for_each(|a| *a /= norm);
        basis.push(column);
    }
    (0..rows * columns).map(|at| basis[at % columns][at / columns] as f32).collect()
}

/// A normal number by Box and Muller's method.
fn normal(rng: &mut impl Rng) -> f64 {
    // 1 - u lies in (0, 1], where the logarithm is finite.
    let (radius, angle): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Config {
        Config { vocab_size: 50, embedding_dim: 6, hidden_size: 8, ..Config::keras_imdb() }
    }

    #[test]
    fn the_reference_model_has_its_published_number_of_parameters() {
        let arrays = Variables::initial(&Config::keras_imdb(), 1).unwrap().to_arrays().unwrap();
        assert_eq!(arrays.values().map(|array| array.data.len()).sum::<usize>(), 328_353);
    }

    #[test]
    fn initial_weights_are_those_of_keras() {
        let arrays = Variables::initial(&small(), 3).unwrap().to_arrays().unwrap();
        let largest = |name: &str| arrays[name].data.iter().fold(0f32, |most, value| most.max(value.abs()));
        assert!((0.045..=0.05).contains(&largest("embedding.weight")));
        let bound = (6f32 / (6 + 32) as f32).sqrt();
        assert!((0.9 * bound..=bound).contains(&largest("lstm.weight_ih_l0")));
        assert!(largest("classifier.weight") <= (6f32 / 9.0).sqrt());
        assert_eq!(arrays["classifier.bias"].data, [0.0]);
        let bias = &arrays["lstm.bias_ih_l0"].data;
        assert_eq!(bias.iter().sum::<f32>(), 8.0);
        assert!(bias[8..16].iter().all(|value| *value == 1.0));
    }

    #[test]
    fn recurrent_weights_are_orthogonal() {
        let arrays = Variables::initial(&small(), 3).unwrap().to_arrays().unwrap();
        let weights = &arrays["lstm.weight_hh_l0"].data;
        for a in 0..8 {
            for b in 0..8 {
                let dot: f32 = (0..32).map(|row| weights[row * 8 + a] * weights[row * 8 + b]).sum();
                assert!((dot - if a == b { 1.0 } else { 0.0 }).abs() < 1e-5, "{a} {b} {dot}");
            }
        }
    }

    #[test]
    fn one_seed_gives_one_set_of_weights() {
        let weights = |seed| Variables::initial(&small(), seed).unwrap().to_arrays().unwrap();
        assert_eq!(weights(1), weights(1));
        assert_ne!(weights(1), weights(2));
    }

    #[test]
    fn values_that_are_not_finite_are_refused() {
        let mut arrays = Variables::initial(&small(), 1).unwrap().to_arrays().unwrap();
        arrays.get_mut("classifier.bias").unwrap().data[0] = f32::NAN;
        let fault = Variables::from_arrays(&arrays).unwrap().to_arrays().unwrap_err();
        assert!(fault.to_string().contains("classifier.bias"));
    }
}
