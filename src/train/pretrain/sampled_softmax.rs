//! Cross-entropy of the right word among drawn ones, as a candle op with its gradient.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Shape, Tensor};
use rayon::prelude::*;

use crate::error::Result;

/// Which words the logits belong to.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The right word of each position, `[P]`.
    pub targets: Vec<u32>,
    /// The drawn words, `[K]`; one that is right at a position does not count there.
    pub candidates: Vec<u32>,
}

/// The mean over positions of `ln(exp(right) + sum(exp(wrong))) - right`, from the logits `wrong` `[P, K]` of the drawn
/// words and `right` `[P]` of the right one.
///
/// # Errors
/// When shapes do not fit.
pub fn sampled_softmax(wrong: &Tensor, right: &Tensor, rows: Rows) -> Result<Tensor> {
    Ok(wrong
        .contiguous()?
        .apply_op2(&right.contiguous()?, SampledSoftmax { rows, gradient: Mutex::default() })?)
}

#[derive(Debug)]
struct SampledSoftmax {
    rows: Rows,
    /// For each position K derivatives of its loss and that of the right logit, kept for the way back.
    gradient: Mutex<(Vec<f32>, Vec<f32>)>,
}

impl CustomOp2 for SampledSoftmax {
    fn name(&self) -> &'static str {
        "sampled-softmax"
    }

    fn cpu_fwd(
        &self,
        wrong: &CpuStorage,
        wrong_layout: &Layout,
        right: &CpuStorage,
        right_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (positions, width) = wrong_layout.shape().dims2()?;
        let Rows { targets, candidates } = &self.rows;
        if right_layout.shape().dims1()? != positions
            || targets.len() != positions
            || candidates.len() != width
        {
            candle_core::bail!("logits of {positions} positions and {width} words do not fit theirs")
        }
        let (Some((from, to)), Some((right_from, right_to))) =
            (wrong_layout.contiguous_offsets(), right_layout.contiguous_offsets())
        else {
            candle_core::bail!("sampled softmax reads contiguous tensors")
        };
        let right = &right.as_slice::<f32>()?[right_from..right_to];
        let mut shares = wrong.as_slice::<f32>()?[from..to].to_vec();
        let scale = 1.0 / positions as f32;
        let of_position = |((row, &right), &target): ((&mut [f32], &f32), &u32)| -> (f64, f32) {
            let highest = row.iter().fold(right, |most, &value| most.max(value));
            let own = (right - highest).exp();
            let mut sum = own;
            for (value, &candidate) in row.iter_mut().zip(candidates) {
                let share = if candidate == target { 0.0 } else { exp(*value - highest) };
                *value = share;
                sum += share;
            }
            row.iter_mut().for_each(|value| *value *= scale / sum);
            (f64::from(sum.ln() + highest - right), (own / sum - 1.0) * scale)
        };
        let told: Vec<(f64, f32)> =
            shares.par_chunks_mut(width).zip(right).zip(targets).with_min_len(64).map(of_position).collect();
        let loss = told.iter().map(|(loss, _)| loss).sum::<f64>() / positions as f64;
        let of_right = told.iter().map(|(_, slope)| *slope).collect();
        *self.gradient.lock().unwrap_or_else(|e| e.into_inner()) = (shares, of_right);
        Ok((CpuStorage::F32(vec![loss as f32]), Shape::from(())))
    }

    fn bwd(
        &self,
        wrong: &Tensor,
        right: &Tensor,
        _loss: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_wrong, of_right) =
            std::mem::take(&mut *self.gradient.lock().unwrap_or_else(|e| e.into_inner()));
        let factor = f64::from(gradient.to_scalar::<f32>()?);
        let tensor =
            |values: Vec<f32>, like: &Tensor| Tensor::from_vec(values, like.shape(), &Device::Cpu)? * factor;
        Ok((Some(tensor(of_wrong, wrong)?), Some(tensor(of_right, right)?)))
    }
}

/// e^x for x <= 0, to 1e-6 of its value above the smallest normal number, in a form that compilers vectorise: 2^n times a
/// polynomial. Not the kernel's: that one multiplies and adds at once where the processor can, so that a language model
/// would depend on the processor that trained it.
fn exp(x: f32) -> f32 {
    // Rounds to the nearest whole number: at this size a float's last bit is worth 1.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts: products of the first with a whole number to 126 are exact.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    let x = x.max(-87.0);
    let whole = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let t = (x - whole * LN_2.0) - whole * LN_2.1;
    let series = 1.0 / 120.0 + t * (1.0 / 720.0);
    let series = 1.0 + t * (1.0 + t * (0.5 + t * (1.0 / 6.0 + t * (1.0 / 24.0 + t * series))));
    series * f32::from_bits(((whole as i32 + 127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;

    #[test]
    fn exp_is_right_below_zero() {
        for n in 0..8000 {
            let x = -0.01 * n as f32;
            let (ours, theirs) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours - theirs).abs() <= 1e-6 * theirs, "{x}: {ours} {theirs}");
        }
        assert!(exp(-1e9) < 1e-37);
    }

    /// Value and gradient against candle's own log-softmax over right and wrong logits.
    #[test]
    fn agrees_with_candle() {
        let wrong = Var::from_slice(&[0.5f32, -1.0, 2.0, 0.3, 4.0, -2.0], (2, 3), &Device::Cpu).unwrap();
        let right = Var::from_slice(&[1.0f32, -0.5], 2, &Device::Cpu).unwrap();
        // Word 7 is drawn and right at the second position.
        let rows = Rows { targets: vec![9, 7], candidates: vec![4, 7, 5] };
        let loss = sampled_softmax(&wrong, &right, rows).unwrap();
        let grads = loss.backward().unwrap();

        let mask = Tensor::from_slice(&[0f32, 0.0, 0.0, 0.0, -1e9, 0.0], (2, 3), &Device::Cpu).unwrap();
        let all =
            Tensor::cat(&[right.unsqueeze(1).unwrap(), (wrong.as_tensor() + mask).unwrap()], 1).unwrap();
        let plain = candle_nn::ops::log_softmax(&all, 1).unwrap().narrow(1, 0, 1).unwrap();
        let plain = (plain.sum_all().unwrap() / -2.0).unwrap();
        let expected = plain.backward().unwrap();
        let value = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!((value(&loss)[0] - value(&plain)[0]).abs() < 1e-6);
        for var in [&wrong, &right] {
            let (ours, theirs) = (value(grads.get(var).unwrap()), value(expected.get(var).unwrap()));
            assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-6), "{ours:?} {theirs:?}");
        }
    }
}
