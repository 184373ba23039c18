//! RMSprop and Adam as candle optimizers whose state can be saved, and the clipping of gradients.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, InplaceOp2, Layout, Var};
use candle_nn::Optimizer;

use crate::error::{Error, Result};
use crate::train::settings::{OptimizerKind, Settings};

/// How a gradient becomes a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// `v = rho v + (1 - rho) g^2;  w -= lr g / (sqrt(v) + epsilon)`, or `lr g / sqrt(v + epsilon)` with
    /// `epsilon_in_root`.
    ///
    /// Keras divided by the former until 2.10 (the published tutorial's time) and by the latter since. With
    /// epsilon 1e-7 they differ for gradients under 3e-4, which is nearly all of an embedding's.
    RmsProp {
        /// Decay of the mean square.
        rho: f64,
        /// What keeps the division harmless.
        epsilon: f64,
        /// Whether epsilon is added under the root.
        epsilon_in_root: bool,
    },
    /// `m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= lr m^ / (sqrt(v^) + epsilon)` with
    /// `m^ = m / (1 - b1^t)`, `v^ = v / (1 - b2^t)` (Kingma and Ba, arXiv 1412.6980).
    Adam {
        /// Decay of the mean.
        beta1: f64,
        /// Decay of the mean square.
        beta2: f64,
        /// What keeps the division harmless.
        epsilon: f64,
    },
}

/// What [`StatefulOptimizer::new`] needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerConfig {
    /// Size of a step.
    pub learning_rate: f64,
    /// How a gradient becomes a step.
    pub rule: Rule,
}

impl From<&Settings> for OptimizerConfig {
    fn from(settings: &Settings) -> Self {
        let rule = match settings.optimizer {
            OptimizerKind::RmsProp => Rule::RmsProp {
                rho: settings.rho,
                epsilon: settings.epsilon,
                epsilon_in_root: settings.epsilon_in_root,
            },
            OptimizerKind::Adam => {
                Rule::Adam { beta1: settings.beta1, beta2: settings.beta2, epsilon: settings.epsilon }
            }
        };
        Self { learning_rate: settings.learning_rate, rule }
    }
}

/// An optimizer whose state is plain vectors: one pass over each variable per step, nothing allocated, and a
/// checkpoint can hold all of it.
#[derive(Debug)]
pub struct StatefulOptimizer {
    vars: Vec<Var>,
    config: OptimizerConfig,
    /// Steps taken.
    steps: u64,
    /// Running mean of the gradients of each variable; empty for RMSprop.
    mean: Vec<Vec<f32>>,
    /// Running mean of their squares.
    square: Vec<Vec<f32>>,
}

impl StatefulOptimizer {
    /// Number of steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The state by name: `mean.N` and `square.N` for the N-th variable.
    pub fn state(&self) -> BTreeMap<String, &[f32]> {
        let mut state = BTreeMap::new();
        for (kind, list) in [("mean", &self.mean), ("square", &self.square)] {
            state.extend(list.iter().enumerate().map(|(at, v)| (format!("{kind}.{at}"), v.as_slice())));
        }
        state
    }

    /// Takes back a state that [`StatefulOptimizer::state`] gave.
    ///
    /// # Errors
    /// [`Error::Data`] when it is that of other variables or of another rule.
    pub fn restore(&mut self, steps: u64, state: &BTreeMap<String, Vec<f32>>) -> Result<()> {
        for (kind, list) in [("mean", &mut self.mean), ("square", &mut self.square)] {
            for (at, values) in list.iter_mut().enumerate() {
                let name = format!("{kind}.{at}");
                let saved = state.get(&name).filter(|saved| saved.len() == values.len());
                let saved =
                    saved.ok_or_else(|| Error::Data(format!("optimizer state `{name}` does not fit")))?;
                values.copy_from_slice(saved);
            }
        }
        self.steps = steps;
        Ok(())
    }
}

impl Optimizer for StatefulOptimizer {
    type Config = OptimizerConfig;

    fn new(vars: Vec<Var>, config: OptimizerConfig) -> candle_core::Result<Self> {
        let zeros = || vars.iter().map(|var| vec![0f32; var.elem_count()]).collect::<Vec<_>>();
        let mean = if matches!(config.rule, Rule::Adam { .. }) { zeros() } else { Vec::new() };
        Ok(Self { square: zeros(), mean, vars, config, steps: 0 })
    }

    fn step(&mut self, grads: &GradStore) -> candle_core::Result<()> {
        self.steps += 1;
        for (at, var) in self.vars.iter().enumerate() {
            let Some(gradient) = grads.get(var) else { continue };
            let gradient = gradient.contiguous()?;
            let mean = self.mean.get_mut(at).map(Vec::as_mut_slice).unwrap_or_default();
            let state = RefCell::new((mean, self.square[at].as_mut_slice()));
            let update = Update { config: self.config, step: self.steps, state };
            var.inplace_op2(&gradient, &update)?;
        }
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        self.config.learning_rate
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.config.learning_rate = learning_rate;
    }
}

/// One step of one variable, in place.
struct Update<'s> {
    config: OptimizerConfig,
    step: u64,
    /// Mean (empty for RMSprop) and mean square of the variable's gradients.
    state: RefCell<(&'s mut [f32], &'s mut [f32])>,
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "optimizer-step"
    }

    fn cpu_fwd(
        &self,
        weights: &mut CpuStorage,
        weights_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (Some((from, to)), Some((g_from, g_to))) =
            (weights_layout.contiguous_offsets(), gradient_layout.contiguous_offsets())
        else {
            candle_core::bail!("a step needs contiguous tensors")
        };
        let CpuStorage::F32(weights) = weights else { candle_core::bail!("a step needs 32-bit weights") };
        let (weights, gradient) = (&mut weights[from..to], &gradient.as_slice::<f32>()?[g_from..g_to]);
        let (mean, square) = &mut *self.state.borrow_mut();
        let rate = self.config.learning_rate as f32;
        match self.config.rule {
            Rule::RmsProp { rho, epsilon, epsilon_in_root } => {
                let (rho, fresh) = (rho as f32, (1.0 - rho) as f32);
                let (inside, outside) =
                    if epsilon_in_root { (epsilon as f32, 0.0) } else { (0.0, epsilon as f32) };
                for ((w, &g), v) in weights.iter_mut().zip(gradient).zip(square.iter_mut()) {
                    *v = rho * *v + fresh * g * g;
                    *w -= rate * g / ((*v + inside).sqrt() + outside);
                }
            }
            Rule::Adam { beta1, beta2, epsilon } => {
                let correct = |beta: f64| 1.0 - beta.powf(self.step as f64);
                // Both corrections folded into the rate and epsilon: the same quotient.
                let root = correct(beta2).sqrt();
                let rate = (self.config.learning_rate * root / correct(beta1)) as f32;
                let epsilon = (epsilon * root) as f32;
                let (b1, fresh1, b2, fresh2) =
                    (beta1 as f32, (1.0 - beta1) as f32, beta2 as f32, (1.0 - beta2) as f32);
                let state = mean.iter_mut().zip(square.iter_mut());
                for ((w, &g), (m, v)) in weights.iter_mut().zip(gradient).zip(state) {
                    *m = b1 * *m + fresh1 * g;
                    *v = b2 * *v + fresh2 * g * g;
                    *w -= rate * *m / (v.sqrt() + epsilon);
                }
            }
        }
        Ok(())
    }
}

/// Scales the gradients of `vars` down so that all of them together have at most the norm `limit`; returns the norm
/// before.
///
/// # Errors
/// When a tensor operation fails.
pub fn clip_global_norm(vars: &[Var], grads: &mut GradStore, limit: f64) -> Result<f64> {
    let mut sum = 0f64;
    for gradient in vars.iter().filter_map(|var| grads.get(var)) {
        sum += gradient.flatten_all()?.to_vec1::<f32>()?.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
    }
    let norm = sum.sqrt();
    if norm > limit {
        for var in vars {
            if let Some(gradient) = grads.remove(var) {
                grads.insert(var, (gradient * (limit / norm))?);
            }
        }
    }
    Ok(norm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    fn var(values: &[f32]) -> Var {
        Var::from_slice(values, values.len(), &Device::Cpu).unwrap()
    }

    /// The gradient of `sum(w * slope)` is `slope`.
    fn step(optimizer: &mut StatefulOptimizer, var: &Var, slope: &[f32]) {
        let slope = Tensor::from_slice(slope, slope.len(), &Device::Cpu).unwrap();
        optimizer.backward_step(&(var.as_tensor() * slope).unwrap().sum_all().unwrap()).unwrap();
    }

    #[test]
    fn rms_prop_follows_its_equation_with_epsilon_outside_and_inside() {
        for epsilon_in_root in [false, true] {
            let (w, g) = (var(&[1.0, -2.0]), [0.5f32, 1e-4]);
            let rule = Rule::RmsProp { rho: 0.9, epsilon: 1e-7, epsilon_in_root };
            let mut optimizer =
                StatefulOptimizer::new(vec![w.clone()], OptimizerConfig { learning_rate: 0.01, rule })
                    .unwrap();
            let (mut expected, mut v) = ([1.0f64, -2.0], [0f64; 2]);
            for _ in 0..3 {
                step(&mut optimizer, &w, &g);
                for at in 0..2 {
                    let g = f64::from(g[at]);
                    v[at] = 0.9 * v[at] + 0.1 * g * g;
                    let root = if epsilon_in_root { (v[at] + 1e-7).sqrt() } else { v[at].sqrt() + 1e-7 };
                    expected[at] -= 0.01 * g / root;
                }
            }
            for (got, expected) in w.to_vec1::<f32>().unwrap().iter().zip(expected) {
                assert!((f64::from(*got) - expected).abs() < 1e-6, "{got} {expected}");
            }
        }
    }

    #[test]
    fn adam_follows_its_equation() {
        let (w, g) = (var(&[1.0, -2.0]), [0.5f32, -1e-3]);
        let rule = Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-7 };
        let mut optimizer =
            StatefulOptimizer::new(vec![w.clone()], OptimizerConfig { learning_rate: 0.01, rule }).unwrap();
        let (mut expected, mut m, mut v) = ([1.0f64, -2.0], [0f64; 2], [0f64; 2]);
        for t in 1..=4 {
            step(&mut optimizer, &w, &g);
            for at in 0..2 {
                let g = f64::from(g[at]);
                m[at] = 0.9 * m[at] + 0.1 * g;
                v[at] = 0.999 * v[at] + 0.001 * g * g;
                let (m, v) = (m[at] / (1.0 - 0.9f64.powi(t)), v[at] / (1.0 - 0.999f64.powi(t)));
                expected[at] -= 0.01 * m / (v.sqrt() + 1e-7);
            }
        }
        for (got, expected) in w.to_vec1::<f32>().unwrap().iter().zip(expected) {
            assert!((f64::from(*got) - expected).abs() < 1e-6, "{got} {expected}");
        }
    }

    #[test]
    fn a_restored_optimizer_goes_on_as_the_first() {
        let rule = Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-7 };
        let config = OptimizerConfig { learning_rate: 0.1, rule };
        let w = var(&[1.0, 2.0]);
        let mut first = StatefulOptimizer::new(vec![w.clone()], config).unwrap();
        step(&mut first, &w, &[0.3, -0.2]);
        let copy = var(&w.to_vec1::<f32>().unwrap());
        let mut second = StatefulOptimizer::new(vec![copy.clone()], config).unwrap();
        let state = first.state().into_iter().map(|(name, values)| (name, values.to_vec())).collect();
        second.restore(first.steps(), &state).unwrap();
        step(&mut first, &w, &[0.1, 0.4]);
        step(&mut second, &copy, &[0.1, 0.4]);
        assert_eq!(w.to_vec1::<f32>().unwrap(), copy.to_vec1::<f32>().unwrap());
        assert!(second.restore(1, &BTreeMap::new()).is_err());
    }

    #[test]
    fn clipping_scales_all_gradients_by_one_factor() {
        let (a, b) = (var(&[1.0]), var(&[1.0]));
        let loss =
            ((a.as_tensor() * 3.0).unwrap() + (b.as_tensor() * 4.0).unwrap()).unwrap().sum_all().unwrap();
        let vars = [a.clone(), b.clone()];
        let mut grads = loss.backward().unwrap();
        assert_eq!(clip_global_norm(&vars, &mut grads, 10.0).unwrap(), 5.0);
        assert_eq!(clip_global_norm(&vars, &mut grads, 1.0).unwrap(), 5.0);
        let clipped = |var: &Var| grads.get(var).unwrap().to_vec1::<f32>().unwrap()[0];
        assert!((clipped(&a) - 0.6).abs() < 1e-6 && (clipped(&b) - 0.8).abs() < 1e-6);
    }
}
