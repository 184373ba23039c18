//! Values in and out of candle's tensors.

use candle_core::{CpuStorage, DType, Layout, Tensor};

/// The values of a contiguous CPU tensor.
pub(super) fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("the fused LSTM reads contiguous tensors")
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// The values of a tensor, copied.
pub(super) fn copied(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}
