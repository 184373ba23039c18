//! The LSTM as an ordinary candle layer: the fused kernels behind a custom op with its own backward.
//!
//! ```text
//! i = sigmoid(W_ii x + b_ii + W_hi h + b_hi)      f = sigmoid(W_if x + b_if + W_hf h + b_hf)
//! g = tanh   (W_ig x + b_ig + W_hg h + b_hg)      o = sigmoid(W_io x + b_io + W_ho h + b_ho)
//! c' = f * c + i * g                              h' = o * tanh(c')
//! ```
//!
//! (PyTorch's `nn.LSTM`, with its weight names.) The input projection `W x + b` is one matrix product of candle's
//! over all rows at once; a batch whose positions share rows (words) projects each row once. The recurrence is the
//! op: projected rows and `W_h` in, hidden states out.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp3, Device, Layout, Shape, Tensor};
use candle_nn::VarBuilder;

use super::storage::{copied, values};
use crate::error::Result;
use crate::kernel::{BufferPool, Isa, Tape, TrainingInput};

/// Sequences of different lengths over the rows of one tensor.
#[derive(Clone, Debug)]
pub struct Ragged {
    /// For each sequence the rows that its positions read, first to last.
    pub sequences: Arc<Vec<Vec<u32>>>,
    /// A row that is read over and over before each sequence, and how often for each.
    pub prefix: Option<(u32, Arc<Vec<usize>>)>,
}

impl Ragged {
    /// Sequences that lie end to end in a tensor, as the hidden states of a layer do.
    pub fn end_to_end(lengths: impl IntoIterator<Item = usize>) -> Self {
        let mut next = 0;
        let sequences = lengths
            .into_iter()
            .map(|length| {
                let start = next;
                next += length as u32;
                (start..next).collect()
            })
            .collect();
        Self { sequences: Arc::new(sequences), prefix: None }
    }
}

/// One layer in one direction.
#[derive(Clone, Debug)]
pub struct LstmLayer {
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor,
    reverse: bool,
    threads: usize,
    pool: Arc<BufferPool>,
}

impl LstmLayer {
    /// Takes `weight_ih_l{layer}`, `weight_hh_l{layer}`, `bias_ih_l{layer}` and, where there is one,
    /// `bias_hh_l{layer}` from `weights`, with `_reverse` at their ends for a layer that reads backwards.
    ///
    /// # Errors
    /// When a tensor is missing or misshapen.
    pub fn new(
        input_size: usize,
        hidden_size: usize,
        layer: usize,
        reverse: bool,
        threads: usize,
        weights: VarBuilder,
    ) -> Result<Self> {
        let suffix = if reverse { "_reverse" } else { "" };
        let name = |part: &str| format!("{part}_l{layer}{suffix}");
        let gates = 4 * hidden_size;
        let mut bias = weights.get(gates, &name("bias_ih"))?;
        if weights.contains_tensor(&name("bias_hh")) {
            bias = (bias + weights.get(gates, &name("bias_hh"))?)?;
        }
        Ok(Self {
            weight_ih: weights.get((gates, input_size), &name("weight_ih"))?,
            weight_hh: weights.get((gates, hidden_size), &name("weight_hh"))?,
            bias,
            reverse,
            threads,
            pool: Arc::default(),
        })
    }

    /// The hidden states of `input` `[rows, input_size]` read as `ragged` says: the last of each sequence,
    /// `[sequences, hidden]`, or with `all` those after every position, end to end, `[positions, hidden]`.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn forward(&self, input: &Tensor, ragged: &Ragged, all: bool) -> Result<Tensor> {
        let projected = input.matmul(&self.weight_ih.t()?)?;
        let sequences = if self.reverse {
            Arc::new(ragged.sequences.iter().map(|rows| rows.iter().rev().copied().collect()).collect())
        } else {
            ragged.sequences.clone()
        };
        let op = Recurrence {
            sequences,
            prefix: ragged.prefix.clone(),
            all,
            reverse: self.reverse,
            threads: self.threads,
            pool: self.pool.clone(),
            tape: Mutex::new(None),
        };
        Ok(projected.apply_op3(&self.weight_hh, &self.bias, op)?)
    }
}

/// The recurrence as a candle op: `[rows, 4 hidden]`, `[4 hidden, hidden]` and a bias `[4 hidden]` in, hidden states
/// out. The bias is added here because candle sums the gradient of a broadcast slowly.
#[derive(Debug)]
struct Recurrence {
    /// Rows in the order in which the layer reads them.
    sequences: Arc<Vec<Vec<u32>>>,
    prefix: Option<(u32, Arc<Vec<usize>>)>,
    all: bool,
    reverse: bool,
    threads: usize,
    pool: Arc<BufferPool>,
    /// What the forward run kept; taken by the way back.
    tape: Mutex<Option<Tape>>,
}

impl CustomOp3 for Recurrence {
    fn name(&self) -> &'static str {
        "fused-lstm"
    }

    fn cpu_fwd(
        &self,
        table: &CpuStorage,
        table_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (gates, hidden) = weight_layout.shape().dims2()?;
        if table_layout.shape().dims2()?.1 != gates || gates != 4 * hidden {
            candle_core::bail!("shapes {:?} and {:?}", table_layout.shape(), weight_layout.shape())
        }
        let input = TrainingInput {
            hidden,
            weight_hh: values(weight, weight_layout)?,
            table: values(table, table_layout)?,
            bias: values(bias, bias_layout)?,
            sequences: &self.sequences,
            prefix: self.prefix.as_ref().map(|(row, lengths)| (*row, lengths.as_slice())),
            threads: self.threads,
        };
        let tape = Tape::forward(Isa::current(), input, &self.pool);
        let states = if self.all { tape.all_states(self.reverse) } else { tape.last_states() };
        let shape = Shape::from((states.len() / hidden, hidden));
        *self.tape.lock().unwrap_or_else(|e| e.into_inner()) = Some(tape);
        Ok((CpuStorage::F32(states), shape))
    }

    fn bwd(
        &self,
        table: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _states: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(tape) = self.tape.lock().unwrap_or_else(|e| e.into_inner()).take() else {
            candle_core::bail!("the fused LSTM goes back once per forward run")
        };
        let gradient = copied(gradient)?;
        let gradients = if self.all {
            tape.backward_all(&gradient, self.reverse, &self.pool)
        } else {
            tape.backward_last(&gradient, &self.pool)
        };
        let table = Tensor::from_vec(gradients.table, table.shape(), &Device::Cpu)?;
        let weight = Tensor::from_vec(gradients.weight_hh, weight.shape(), &Device::Cpu)?;
        let bias = Tensor::from_vec(gradients.bias, bias.shape(), &Device::Cpu)?;
        Ok((Some(table), Some(weight), Some(bias)))
    }
}

impl Drop for Recurrence {
    fn drop(&mut self) {
        if let Some(tape) = self.tape.lock().unwrap_or_else(|e| e.into_inner()).take() {
            tape.recycle(&self.pool);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::{DType, IndexOp, Var};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::max_mean_pool;
    use super::*;

    fn random(rng: &mut ChaCha8Rng, shape: (usize, usize), scale: f32) -> Var {
        let data: Vec<f32> = (0..shape.0 * shape.1).map(|_| rng.random_range(-scale..scale)).collect();
        Var::from_vec(data, shape, &Device::Cpu).unwrap()
    }

    /// One sequence through a cell written in candle's own ops; every hidden state, `[steps, hidden]`.
    fn by_candle(layer: &LstmLayer, input: &Tensor, rows: &[u32], hidden: usize) -> Tensor {
        let mut h = Tensor::zeros((1, hidden), DType::F32, &Device::Cpu).unwrap();
        let mut c = h.clone();
        let mut states = Vec::new();
        let order: Vec<u32> =
            if layer.reverse { rows.iter().rev().copied().collect() } else { rows.to_vec() };
        for row in order {
            let x = input.i(row as usize..row as usize + 1).unwrap();
            let x = x.matmul(&layer.weight_ih.t().unwrap()).unwrap();
            let z = (x + h.matmul(&layer.weight_hh.t().unwrap()).unwrap()).unwrap();
            let z = z.broadcast_add(&layer.bias).unwrap();
            let gate = |n: usize| z.narrow(1, n * hidden, hidden).unwrap();
            let sigmoid = |n: usize| candle_nn::ops::sigmoid(&gate(n)).unwrap();
            c = ((sigmoid(1) * &c).unwrap() + (sigmoid(0) * gate(2).tanh().unwrap()).unwrap()).unwrap();
            h = (sigmoid(3) * c.tanh().unwrap()).unwrap();
            states.push(h.clone());
        }
        if layer.reverse {
            states.reverse();
        }
        Tensor::cat(&states, 0).unwrap()
    }

    fn gap(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
    }

    /// The op's states, pooled states and all gradients against candle's own autograd over the plain cell.
    #[test]
    fn agrees_with_candles_autograd() {
        for (hidden, reverse, pooled) in
            [(5, false, false), (32, false, true), (20, true, true), (17, true, false)]
        {
            let mut rng = ChaCha8Rng::seed_from_u64(hidden as u64);
            let (rows, input_size) = (9, 6);
            let input = random(&mut rng, (rows, input_size), 1.0);
            let suffix = if reverse { "_reverse" } else { "" };
            let vars: HashMap<String, Var> = [
                ("weight_ih_l0", (4 * hidden, input_size)),
                ("weight_hh_l0", (4 * hidden, hidden)),
                ("bias_ih_l0", (1, 4 * hidden)),
                ("bias_hh_l0", (1, 4 * hidden)),
            ]
            .map(|(name, shape)| {
                let var = random(&mut rng, shape, 0.5);
                let var =
                    if shape.0 == 1 { Var::from_tensor(&var.squeeze(0).unwrap()).unwrap() } else { var };
                (format!("{name}{suffix}"), var)
            })
            .into();
            let tensors = vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
            let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
            let layer = LstmLayer::new(input_size, hidden, 0, reverse, 2, weights).unwrap();
            let sequences: Vec<Vec<u32>> = [4usize, 1, 7]
                .iter()
                .map(|&n| (0..n).map(|_| rng.random_range(0..rows as u32)).collect())
                .collect();
            let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
            let ragged = Ragged { sequences: Arc::new(sequences.clone()), prefix: None };

            let fused = layer.forward(&input, &ragged, true).unwrap();
            let plain: Vec<Tensor> =
                sequences.iter().map(|rows| by_candle(&layer, &input, rows, hidden)).collect();
            let (fused, plain) = if pooled {
                let by_hand: Vec<Tensor> = plain
                    .iter()
                    .map(|states| Tensor::cat(&[states.max(0).unwrap(), states.mean(0).unwrap()], 0).unwrap())
                    .collect();
                (max_mean_pool(&fused, &lengths).unwrap(), Tensor::stack(&by_hand, 0).unwrap())
            } else {
                (fused, Tensor::cat(&plain, 0).unwrap())
            };
            assert!(gap(&fused, &plain) < 2e-6);

            let outward = random(&mut rng, fused.dims2().unwrap(), 1.0);
            let gradients = |states: &Tensor| {
                (states * outward.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap()
            };
            let (ours, theirs) = (gradients(&fused), gradients(&plain));
            for (name, var) in vars.iter().map(|(name, var)| (name.as_str(), var)).chain([("input", &input)])
            {
                let (a, b) = (ours.get(var).unwrap(), theirs.get(var).unwrap());
                let scale = b.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
                assert!(gap(a, b) < 1e-5 * (1.0 + scale), "hidden {hidden} {name}: {}", gap(a, b));
            }
        }
    }

    #[test]
    fn a_second_way_back_is_refused() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (table, weight) = (random(&mut rng, (3, 8), 1.0), random(&mut rng, (8, 2), 1.0));
        let bias = Tensor::zeros(8, DType::F32, &Device::Cpu).unwrap();
        let op = Recurrence {
            sequences: Arc::new(vec![vec![0, 2]]),
            prefix: None,
            all: false,
            reverse: false,
            threads: 1,
            pool: Arc::default(),
            tape: Mutex::new(None),
        };
        let states = table.apply_op3(&weight, &bias, op).unwrap();
        assert!(states.sum_all().unwrap().backward().is_ok());
        assert!(states.sum_all().unwrap().backward().is_err());
    }
}
