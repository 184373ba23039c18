//! The loss that training lowers.

use candle_core::Tensor;

use crate::error::Result;

/// The weighted mean binary cross-entropy of `logits`, shape `[B]`, against `targets` in 0 to 1; a scalar.
///
/// `max(z, 0) - z t + ln(1 + exp(-|z|))`, which stays finite for any logit; |z| is written `2 max(z, 0) - z`, whose
/// derivative at 0 makes the whole one right there too.
///
/// # Errors
/// When a tensor operation fails.
pub fn binary_cross_entropy(logits: &Tensor, targets: &[f32], weights: &[f32]) -> Result<Tensor> {
    let tensor = |values: &[f32]| Tensor::from_slice(values, values.len(), logits.device());
    let total: f32 = weights.iter().sum();
    let positive = logits.relu()?;
    let size = ((&positive * 2.0)? - logits)?;
    let tail = (size.neg()?.exp()? + 1.0)?.log()?;
    let losses = ((positive - (logits * tensor(targets)?)?)? + tail)?;
    Ok(((losses * tensor(weights)?)?.sum_all()? / f64::from(total))?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::train::metrics::{cross_entropy, sigmoid};

    fn var(values: &[f32]) -> Var {
        Var::from_slice(values, values.len(), &Device::Cpu).unwrap()
    }

    #[test]
    fn cross_entropy_is_finite_and_its_gradient_is_the_error() {
        let logits = var(&[0.0, 2.0, -3.0, 200.0, -200.0]);
        let (targets, weights) = ([1.0, 0.0, 0.3, 0.0, 1.0], [1.0, 1.0, 2.0, 1.0, 1.0]);
        let loss = binary_cross_entropy(&logits, &targets, &weights).unwrap();
        let grads = loss.backward().unwrap();
        let gradient = grads.get(&logits).unwrap().to_vec1::<f32>().unwrap();
        let logits = logits.to_vec1::<f32>().unwrap();
        let mut expected = 0.0;
        for at in 0..5 {
            let (z, t, w) = (f64::from(logits[at]), f64::from(targets[at]), f64::from(weights[at]) / 6.0);
            expected += w * cross_entropy(z, t);
            let error = w * (sigmoid(z) - t);
            assert!((f64::from(gradient[at]) - error).abs() < 1e-6, "{at}: {} {error}", gradient[at]);
        }
        assert!((f64::from(loss.to_scalar::<f32>().unwrap()) - expected).abs() < 1e-4);
    }
}
