//! The network in 8 bits: as [`super::Engine`] runs it where `config.json` says so.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::config::{Config, Padding};
use super::pooling::Pooling;
use super::weights::Array;
use crate::kernel::{
    AlignedWords, GateWords, Int8Projection, Int8Recurrent, Int8Sequence, Int8State, Isa, Output,
};
use crate::text::PADDING_ID;

/// What is kept of the gate table: rows of the most frequent words; the others are computed for each text. Of 270 words
/// of a review some 14 are not among the 8,192 that this is for a network of twice 128 units.
const KEPT_BYTES: usize = 16 << 20;

thread_local! {
    /// A thread's gate table, kept from text to text.
    static TABLE: Cell<AlignedWords> = const { Cell::new(AlignedWords::new()) };
}

/// Layers with recurrent weights and hidden states of 8 bits. A model gives the same bits on every processor.
#[derive(Debug)]
pub(super) struct Int8Network {
    /// For each layer its directions.
    layers: Vec<Vec<Direction>>,
    /// Rows for the ids under `kept`, for each direction. Ids go by frequency.
    tables: Vec<AlignedWords>,
    kept: usize,
    /// The state after k steps over padding, for every k; one, of zeros, where there is no padding.
    starts: Vec<Int8State>,
}

#[derive(Debug)]
struct Direction {
    projection: Int8Projection,
    recurrent: Int8Recurrent,
}

/// Rows of the gate table that are computed once, each of `row_bytes`: at least the special ids.
fn kept_rows(vocab_size: usize, row_bytes: usize) -> usize {
    (KEPT_BYTES / row_bytes).clamp(1, vocab_size)
}

impl Int8Network {
    /// Rounds and packs the tensors of [`super::layout`]; `embedding` is `[vocab_size, embedding_dim]`.
    pub fn new(config: &Config, tensors: &BTreeMap<String, Array>, embedding: &[f32]) -> Self {
        let (isa, hidden) = (Isa::current(), config.hidden_size);
        let tensor = |name: &str| tensors[name].data.as_slice();
        let layers: Vec<Vec<Direction>> = (0..config.num_layers)
            .map(|layer| {
                let inputs = if layer == 0 { config.embedding_dim } else { config.directions() * hidden };
                ["", "_reverse"][..config.directions()]
                    .iter()
                    .map(|suffix| {
                        let name = |part: &str| format!("lstm.{part}_l{layer}{suffix}");
                        let mut bias = tensor(&name("bias_ih")).to_vec();
                        if let Some(second) = tensors.get(&name("bias_hh")) {
                            bias.iter_mut().zip(&second.data).for_each(|(bias, second)| *bias += second);
                        }
                        let weight_ih = tensor(&name("weight_ih"));
                        Direction {
                            projection: Int8Projection::new(isa, hidden, inputs, weight_ih, &bias),
                            recurrent: Int8Recurrent::new(isa, hidden, tensor(&name("weight_hh"))),
                        }
                    })
                    .collect()
            })
            .collect();
        let row_bytes: usize = layers[0].iter().map(|direction| direction.projection.row_width() * 2).sum();
        let kept = kept_rows(config.vocab_size, row_bytes);
        let first = &embedding[..kept * config.embedding_dim];
        let fold = |direction: &Direction| {
            let mut table = AlignedWords::zeros(kept * direction.projection.row_width());
            direction.projection.run(first.chunks_exact(config.embedding_dim), &mut table);
            table
        };
        let tables = layers[0].iter().map(fold).collect();
        let starts = vec![layers[0][0].recurrent.zero_state()];
        let mut network = Self { layers, tables, kept, starts };
        if config.padding == Padding::Pre {
            network.run_padding(config.max_length);
        }
        network
    }

    /// Fills in the states after 1, 2, ... steps over padding.
    fn run_padding(&mut self, steps: usize) {
        let table = GateWords { kept: &self.tables[0], fresh: &[] };
        for step in 1..=steps {
            let state = self.starts[step - 1].clone();
            let mut sequences = [Int8Sequence { rows: &[PADDING_ID], state, pool: None, output: None }];
            self.layers[0][0].recurrent.run(table, &mut sequences, false);
            let [sequence] = sequences;
            self.starts.push(sequence.state);
        }
    }

    /// Bytes of the gate table of a network of this shape.
    #[cfg(feature = "serve")]
    pub fn table_bytes(config: &Config) -> usize {
        let row_bytes = (config.directions() * 4 * config.hidden_size * size_of::<i16>()).max(1);
        row_bytes.saturating_mul(kept_rows(config.vocab_size, row_bytes))
    }

    /// Reviews that are worth running together.
    pub fn batch_rows(&self) -> usize {
        self.layers[0][0].recurrent.batch_rows()
    }

    /// What the classifier reads, for each review; `vector` gives the embedding of an id.
    pub fn features<'a>(
        &self,
        config: &Config,
        reviews: &[&[u32]],
        vector: impl Fn(u32) -> &'a [f32],
    ) -> Vec<Vec<f32>> {
        let (hidden, width) = (config.hidden_size, config.directions() * config.hidden_size);
        let positions: usize = reviews.iter().map(|ids| ids.len()).sum();
        // Rows of the first layer's table, and the words that it lacks; the ids themselves where it lacks none.
        let whole = self.kept == config.vocab_size;
        let mut rows: Vec<u32> = Vec::with_capacity(if whole { 0 } else { positions });
        let mut fresh: Vec<u32> = Vec::new();
        if !whole {
            for &id in reviews.iter().copied().flatten() {
                rows.push(if (id as usize) < self.kept {
                    id
                } else {
                    fresh.push(id);
                    (self.kept + fresh.len() - 1) as u32
                });
            }
        }
        let mut input: Vec<f32> = Vec::new();
        // For each direction of the last layer what it makes of each review: its last states, or maximum and mean.
        let mut made: Vec<Vec<(Vec<f32>, Vec<f32>)>> = Vec::new();
        for (depth, layer) in self.layers.iter().enumerate() {
            let last_layer = depth + 1 == self.layers.len();
            let pools = last_layer && config.pooling == Pooling::MaxMean;
            let mut output = vec![0.0; if last_layer { 0 } else { positions * width }];
            for (side, direction) in layer.iter().enumerate() {
                let mut table = TABLE.take();
                let words = direction.projection.row_width();
                let kept: &[i16] = if depth == 0 {
                    table.resize(fresh.len() * words);
                    direction.projection.run(fresh.iter().map(|&id| vector(id)), &mut table);
                    &self.tables[side]
                } else {
                    table.resize(positions * words);
                    direction.projection.run(input.chunks_exact(width), &mut table);
                    &[]
                };
                let (mut rest, mut at) = (output.as_mut_slice(), 0);
                let mut sequences = Vec::with_capacity(reviews.len());
                for ids in reviews {
                    let start = match config.padding {
                        Padding::Pre => config.max_length - ids.len(),
                        Padding::None => 0,
                    };
                    let data = rest.split_off_mut(..if last_layer { 0 } else { ids.len() * width });
                    let data = data.filter(|data| !data.is_empty()).map(|data| &mut data[side * hidden..]);
                    sequences.push(Int8Sequence {
                        rows: if depth == 0 && whole { ids } else { &rows[at..at + ids.len()] },
                        state: self.starts[start].clone(),
                        pool: pools.then(|| direction.recurrent.empty_pool()),
                        output: data.map(|data| Output { data, stride: width }),
                    });
                    at += ids.len();
                }
                direction.recurrent.run(GateWords { kept, fresh: &table }, &mut sequences, side == 1);
                TABLE.set(table);
                if last_layer {
                    let of_sequence = |sequence: &Int8Sequence| match &sequence.pool {
                        Some(pool) => direction.recurrent.max_and_mean(pool),
                        None => (sequence.state.hidden(hidden).collect(), Vec::new()),
                    };
                    made.push(sequences.iter().map(of_sequence).collect());
                }
            }
            input = output;
            if depth == 0 && self.layers.len() > 1 {
                rows = (0..positions as u32).collect();
            }
        }
        // The first of all directions, then the second.
        (0..reviews.len())
            .map(|review| {
                let firsts = made.iter().flat_map(|side| &side[review].0);
                firsts.chain(made.iter().flat_map(|side| &side[review].1)).copied().collect()
            })
            .collect()
    }
}
