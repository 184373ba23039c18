//! Fused LSTM arithmetic on slices: forward for inference, forward and back for training.
//!
//! ```text
//! i = sigmoid(W_i x + U_i h + b_i)    f = sigmoid(W_f x + U_f h + b_f)
//! g = tanh   (W_g x + U_g h + b_g)    o = sigmoid(W_o x + U_o h + b_o)
//! c' = f * c + i * g                  h' = o * tanh(c')
//! ```
//!
//! `W x + b` comes as a table of rows: one per word where the vocabulary is small ([`Projection`] over the whole
//! embedding, once), one per position otherwise. What is left per step, `U h` and the activations, happens in
//! registers. Kernels are written once over a small set of vector operations and compiled for AVX-512, AVX2 with
//! FMA, and whatever the target offers; [`Isa::current`] chooses at run time. Where AVX-512 VNNI is at hand, inference
//! multiplies in 16 bits (`loops/int16`).
//!
//! | room | what lives there |
//! |---|---|
//! | `isa`, `amx` | the instruction sets, detected and chosen; whether tiles may be used |
//! | `layout` | aligned memory; gates in panels, weights packed |
//! | `inference`, `quantized` | the safe interface: layers at inference, in floats or 16 bits, and in 8 bits |
//! | `gradient` | the same: the way back to a layer's input |
//! | `tape`, `skipgram` | the same: a training pass, word vectors |
//! | `buffers`, `parallel` | memory and threads of a training pass |
//! | `bytes` | what the bytes of a text are, for the tokenizer |
//! | `dispatch` | every loop compiled for every instruction set |
//! | `loops/` | the loops over steps and rows |
//! | `simd/` | registers, one file for each instruction set; activations |
//!
//! This is the only room with `unsafe`, behind an interface that checks lengths and rows. A new instruction set is a file
//! in `simd/`, a row of `Set` in `isa` and an arm of the macro in `dispatch`.

#![allow(unsafe_code)]
// Loops over indices of register arrays unroll; iterators over them leave the arrays in memory.
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "x86_64")]
mod amx;
mod buffers;
mod bytes;
mod dispatch;
mod gradient;
mod inference;
mod isa;
mod layout;
mod loops;
mod parallel;
mod quantized;
mod simd;
mod skipgram;
mod tape;

#[cfg(test)]
mod quantized_tests;
#[cfg(test)]
mod tests;

pub use buffers::BufferPool;
pub use bytes::{BYTE_BLOCK, ByteClasses, ByteClassifier, ByteWork, with_byte_classes};
pub use dispatch::{map_sigmoid, map_tanh};
pub use gradient::{InputGradient, InputPass};
pub use inference::{GateTable, Output, Projection, Recurrent, Sequence, State};
pub use isa::{Isa, KERNEL_VARIABLE, UnknownIsa};
pub use layout::{Aligned, AlignedVec, AlignedWords};
pub use parallel::for_each_parallel;
pub use quantized::{
    GateWords, INT8_ARITHMETIC, Int8Input, Int8Projection, Int8Recurrent, Int8Sequence, Int8State,
    MAX_INT8_STEPS, PooledStates,
};
pub use skipgram::{MAX_CONTEXTS, MAX_TARGETS, SkipGram};
pub use tape::{Gradients, Tape, TrainingInput};

/// Sequences that are worth running together: what the widest matrix tile takes at once.
pub const MAX_BATCH_ROWS: usize = loops::tile::MAX_TILE_ROWS;
