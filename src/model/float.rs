//! The network in 32 bits, and what explains it. A model of 8 bits needs it for explanations alone.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::config::{Config, Padding};
use super::direction::for_each_direction;
use super::embedding::Embedding;
use super::explainer::Explainer;
use super::pages::in_huge_pages;
use super::pooling::{Pooling, max_mean};
use super::weights::Array;
use crate::kernel::{AlignedVec, GateTable, Isa, Output, Projection, Recurrent, Sequence, State};
use crate::text::PADDING_ID;

/// Gate tables up to this size are computed once for the whole vocabulary. 64 MiB keeps the reference model (5 MiB) and
/// small models folded, and a process within what a small container grants.
const FOLD_LIMIT_BYTES: usize = 64 << 20;

/// What a larger table keeps of its most frequent words; the others are computed for each text. Of 270 words of a
/// review some 25 are not among the 4,096 that this is for a network of twice 128 units.
const KEPT_BYTES: usize = 16 << 20;

thread_local! {
    /// A thread's gate table, kept from text to text: fresh zeroed memory for each would cost a tenth of its time.
    static TABLE: Cell<AlignedVec> = const { Cell::new(AlignedVec::new()) };
}

/// Layers whose states are numbers of 32 bits.
#[derive(Debug)]
pub(super) struct FloatNetwork {
    /// For each layer its directions.
    pub(super) layers: Vec<Vec<Direction>>,
    /// What the first layer's gate table is made of for the ids under `kept`, for each direction: `W_ih e(word) + b`. Ids
    /// go by frequency.
    pub(super) tables: Vec<AlignedVec>,
    pub(super) kept: usize,
    /// The state after k steps over padding, for every k; one, of zeros, where there is no padding.
    pub(super) starts: Vec<State>,
    pub(super) explainer: Explainer,
}

#[derive(Debug)]
pub(super) struct Direction {
    pub(super) projection: Projection,
    pub(super) recurrent: Recurrent,
}

/// Rows of the gate table that are computed once, each of `row_bytes`.
fn kept_rows(vocab_size: usize, row_bytes: usize) -> usize {
    match vocab_size.saturating_mul(row_bytes) <= FOLD_LIMIT_BYTES {
        true => vocab_size,
        // At least the special ids.
        false => (KEPT_BYTES / row_bytes).clamp(1, vocab_size),
    }
}

impl FloatNetwork {
    /// Packs the tensors of [`super::layout`]; `embedding` has the vectors of all ids.
    pub fn new(config: &Config, tensors: &BTreeMap<String, Array>, embedding: &Embedding) -> Self {
        Self::keeping(|row_bytes| kept_rows(config.vocab_size, row_bytes), config, tensors, embedding)
    }

    /// As [`FloatNetwork::new`], for explanations alone: without a table of frequent words.
    pub fn for_explanations(
        config: &Config,
        tensors: &BTreeMap<String, Array>,
        embedding: &Embedding,
    ) -> Self {
        Self::keeping(|_| 1, config, tensors, embedding)
    }

    fn keeping(
        kept: impl FnOnce(usize) -> usize,
        config: &Config,
        tensors: &BTreeMap<String, Array>,
        embedding: &Embedding,
    ) -> Self {
        let (isa, hidden) = (Isa::current(), config.hidden_size);
        let layers = for_each_direction(config, tensors, |tensors| Direction {
            projection: Projection::new(isa, hidden, tensors.inputs, tensors.weight_ih, &tensors.bias),
            recurrent: Recurrent::new(isa, hidden, tensors.weight_hh),
        });
        let kept = kept(layers[0].iter().map(|direction| direction.projection.gate_width() * 4).sum());
        let first = embedding.vectors(0..kept as u32);
        let fold = |direction: &Direction| {
            let mut table = in_huge_pages(|| AlignedVec::zeros(kept * direction.projection.gate_width()));
            direction.projection.run(first.chunks_exact(config.embedding_dim), &mut table);
            table
        };
        let mut network = Self {
            tables: layers[0].iter().map(fold).collect(),
            kept,
            starts: vec![layers[0][0].recurrent.zero_state()],
            layers,
            explainer: Explainer::new(isa, config, embedding, tensors),
        };
        if config.padding == Padding::Pre {
            network.run_padding(config.max_length);
        }
        network
    }

    /// Fills in the states after 1, 2, ... steps over padding.
    fn run_padding(&mut self, steps: usize) {
        let direction = &self.layers[0][0];
        let table = GateTable { kept: &self.tables[0], fresh: &[] };
        for step in 1..=steps {
            let state = self.starts[step - 1].clone();
            let mut sequences = [Sequence { rows: &[PADDING_ID], state, output: None }];
            direction.recurrent.run(table, &mut sequences, false);
            let [sequence] = sequences;
            self.starts.push(sequence.state);
        }
    }

    /// Bytes of the gate table of a network of this shape.
    #[cfg(feature = "serve")]
    pub fn table_bytes(config: &Config) -> usize {
        let row_bytes = (config.directions() * 4 * config.hidden_size * size_of::<f32>()).max(1);
        row_bytes.saturating_mul(kept_rows(config.vocab_size, row_bytes))
    }

    /// Bytes that a thread's gate table grows by for one more of the words that are computed for each text.
    pub fn fresh_row_bytes(&self) -> usize {
        self.layers[0][0].projection.gate_width() * size_of::<f32>()
    }

    /// What the classifier reads, for each review; `embedding` has the vectors of the ids that are not kept.
    pub fn features(&self, config: &Config, reviews: &[&[u32]], embedding: &Embedding) -> Vec<Vec<f32>> {
        let (hidden, directions) = (config.hidden_size, config.directions());
        let width = directions * hidden;
        let positions: usize = reviews.iter().map(|ids| ids.len()).sum();
        // Rows of the first layer's table, and the words that it lacks; the ids themselves where it lacks none.
        let folded = self.kept == config.vocab_size;
        let (mut rows, fresh) = if folded { Default::default() } else { fresh_rows(reviews, self.kept) };
        let fresh = embedding.vectors(fresh.into_iter());
        let mut input: Vec<f32> = Vec::new();
        let mut last: Vec<Vec<f32>> = Vec::new();
        for (depth, layer) in self.layers.iter().enumerate() {
            let keep_all = depth + 1 < self.layers.len() || config.pooling != Pooling::Last;
            let mut output = vec![0.0; if keep_all { positions * width } else { 0 }];
            last = vec![Vec::with_capacity(width); reviews.len()];
            for (side, direction) in layer.iter().enumerate() {
                let mut table = TABLE.take();
                let gates = direction.projection.gate_width();
                let kept: &[f32] = if depth == 0 {
                    table.resize(fresh.len() / config.embedding_dim * gates);
                    direction.projection.run(fresh.chunks_exact(config.embedding_dim), &mut table);
                    &self.tables[side]
                } else {
                    table.resize(positions * gates);
                    direction.projection.run(input.chunks_exact(width), &mut table);
                    &[]
                };
                let mut rest = output.as_mut_slice();
                let mut at = 0;
                let mut sequences = Vec::with_capacity(reviews.len());
                for ids in reviews {
                    let start = match config.padding {
                        Padding::Pre => config.max_length - ids.len(),
                        Padding::None => 0,
                    };
                    let data = rest.split_off_mut(..if keep_all { ids.len() * width } else { 0 });
                    let data =
                        data.map_or(&mut [][..], |data| &mut data[keep_all as usize * side * hidden..]);
                    sequences.push(Sequence {
                        rows: if depth == 0 && folded { ids } else { &rows[at..at + ids.len()] },
                        state: self.starts[start].clone(),
                        output: keep_all.then_some(Output { data, stride: width }),
                    });
                    at += ids.len();
                }
                direction.recurrent.run(GateTable { kept, fresh: &table }, &mut sequences, side == 1);
                TABLE.set(table);
                for (last, sequence) in last.iter_mut().zip(&sequences) {
                    last.extend_from_slice(sequence.state.hidden());
                }
            }
            input = output;
            if depth == 0 && self.layers.len() > 1 {
                rows = (0..positions as u32).collect();
            }
        }
        match config.pooling {
            Pooling::Last => last,
            Pooling::MaxMean => {
                let mut rest = input.as_slice();
                let lengths = reviews.iter().map(|ids| ids.len());
                lengths
                    .map(|length| {
                        max_mean(rest.split_off(..length * width).unwrap_or_default(), width, |_, _| {})
                    })
                    .collect()
            }
        }
    }
}

/// For each position of `reviews` its row of a gate table that keeps the ids under `kept`, and the ids whose rows come
/// behind those, ascending, each once: names come again and again.
pub(super) fn fresh_rows(reviews: &[&[u32]], kept: usize) -> (Vec<u32>, Vec<u32>) {
    let ids = || reviews.iter().copied().flatten().copied();
    let is_fresh = |id: &u32| *id as usize >= kept;
    let mut fresh: Vec<u32> = ids().filter(is_fresh).collect();
    fresh.sort_unstable();
    fresh.dedup();
    let row = |id| match is_fresh(&id) {
        true => (kept + fresh.partition_point(|other| *other < id)) as u32,
        false => id,
    };
    let mut rows = Vec::with_capacity(reviews.iter().map(|ids| ids.len()).sum());
    rows.extend(ids().map(row));
    (rows, fresh)
}
