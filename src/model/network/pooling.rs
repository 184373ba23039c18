//! Pooling as a candle op with its own backward.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor};

use super::super::pooling::max_mean;
use super::storage::{copied, values};
use crate::error::Result;

/// Maximum, then mean, over time of sequences that lie end to end: `[positions, D]` to `[sequences, 2 D]`.
///
/// # Errors
/// When a tensor operation fails.
pub fn max_mean_pool(states: &Tensor, lengths: &[usize]) -> Result<Tensor> {
    Ok(states.contiguous()?.apply_op1(MaxMean { lengths: lengths.to_vec(), winners: Mutex::default() })?)
}

#[derive(Debug)]
struct MaxMean {
    lengths: Vec<usize>,
    /// For each sequence and column the position that holds the maximum.
    winners: Mutex<Vec<u32>>,
}

impl CustomOp1 for MaxMean {
    fn name(&self) -> &'static str {
        "max-mean-pool"
    }

    fn cpu_fwd(&self, states: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (positions, width) = layout.shape().dims2()?;
        if self.lengths.iter().sum::<usize>() != positions || self.lengths.contains(&0) {
            candle_core::bail!("lengths that do not add up to {positions} positions, or an empty sequence")
        }
        let states = values(states, layout)?;
        let mut pooled = Vec::with_capacity(self.lengths.len() * 2 * width);
        let mut winners = Vec::with_capacity(self.lengths.len() * width);
        let mut start = 0;
        for &length in &self.lengths {
            let mut winner = vec![start as u32; width];
            pooled.extend(max_mean(&states[start * width..][..length * width], width, |column, position| {
                winner[column] = (start + position) as u32;
            }));
            winners.extend(winner);
            start += length;
        }
        *self.winners.lock().unwrap_or_else(|e| e.into_inner()) = winners;
        Ok((CpuStorage::F32(pooled), Shape::from((self.lengths.len(), 2 * width))))
    }

    fn bwd(
        &self,
        states: &Tensor,
        _pooled: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let (positions, width) = states.dims2()?;
        let gradient = copied(gradient)?;
        let winners = self.winners.lock().unwrap_or_else(|e| e.into_inner());
        let mut back = vec![0f32; positions * width];
        let mut start = 0;
        for (sequence, &length) in self.lengths.iter().enumerate() {
            let (of_max, of_mean) = gradient[sequence * 2 * width..][..2 * width].split_at(width);
            for row in back[start * width..(start + length) * width].chunks_exact_mut(width) {
                row.iter_mut().zip(of_mean).for_each(|(back, mean)| *back = mean / length as f32);
            }
            for (at, (&winner, max)) in winners[sequence * width..].iter().zip(of_max).enumerate() {
                back[winner as usize * width + at] += max;
            }
            start += length;
        }
        Ok(Some(Tensor::from_vec(back, states.shape(), &Device::Cpu)?))
    }
}
