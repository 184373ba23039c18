//! The loops over steps and rows, generic over [`super::simd::Simd`]; the entry points in `dispatch` compile them.
//!
//! | room | what lives there |
//! |---|---|
//! | `tile` | the matrix tile, and the choice of its number of rows |
//! | `infer` | forward for inference, weights as floats |
//! | `int16` | forward for inference, weights in 16 bits |
//! | `int8` | forward for inference, weights and states in 8 bits |
//! | `train` | forward and backward pass of training |
//! | `skipgram` | a window of skip-gram |

pub(super) mod infer;
pub(super) mod int16;
pub(super) mod int8;
pub(super) mod skipgram;
pub(super) mod tile;
pub(super) mod train;
