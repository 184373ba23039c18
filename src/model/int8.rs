//! The network in 8 bits: as [`super::Engine`] runs it where `config.json` says so.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::config::{Config, Padding};
use super::direction::for_each_direction;
use super::embedding::Embedding;
use super::float::fresh_rows;
use super::pages::in_huge_pages;
use super::pooling::Pooling;
use super::weights::Array;
use crate::kernel::{
    AlignedWords, GateWords, Int8Input, Int8Projection, Int8Recurrent, Int8Sequence, Int8State, Isa, Output,
};
use crate::text::PADDING_ID;

/// What is kept of the gate table: rows of the most frequent words; the others are computed for each text. Of 270 words
/// of a review some 14 are not among the 8,192 that this is for a network of twice 128 units.
const KEPT_BYTES: usize = 16 << 20;

/// Rows of the table that are computed at once.
const FOLD_ROWS: usize = 512;

thread_local! {
    /// Kept from text to text: memory that is new each time has to be cleared each time.
    static BUFFERS: Cell<Buffers> = Cell::default();
}

/// What a thread works with.
#[derive(Debug, Default)]
struct Buffers {
    input: Int8Input,
    table: AlignedWords,
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
    /// Rounds and packs the tensors of [`super::layout`]; `embedding` has the vectors of all ids.
    pub fn new(config: &Config, tensors: &BTreeMap<String, Array>, embedding: &Embedding) -> Self {
        let (isa, hidden) = (Isa::current(), config.hidden_size);
        let layers = for_each_direction(config, tensors, |tensors| Direction {
            projection: Int8Projection::new(isa, hidden, tensors.inputs, tensors.weight_ih, &tensors.bias),
            recurrent: Int8Recurrent::new(isa, hidden, tensors.weight_hh),
        });
        let row_bytes: usize = layers[0].iter().map(|direction| direction.projection.row_width() * 2).sum();
        let kept = kept_rows(config.vocab_size, row_bytes);
        let fold = |direction: &Direction| {
            let width = direction.projection.row_width();
            let mut table = in_huge_pages(|| AlignedWords::zeros(kept * width));
            let mut input = Int8Input::default();
            // Some at a time: what is computed from them meanwhile takes as much memory again.
            for (part, table) in table.chunks_mut(FOLD_ROWS * width).enumerate() {
                let first = part * FOLD_ROWS;
                let ids = first as u32..(first + table.len() / width) as u32;
                input.restart(config.embedding_dim);
                embedding.push(ids, &mut input);
                direction.projection.run(&input, table);
            }
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

    /// Bytes that a thread's gate table grows by for one more of the words that are computed for each text.
    pub fn fresh_row_bytes(&self) -> usize {
        self.layers[0][0].projection.row_width() * size_of::<i16>()
    }

    /// Ids whose rows are computed once: those under it.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// The first layer's row of the gate table for `id` in direction `side`, where it is kept.
    pub fn kept_row(&self, side: usize, id: u32) -> Option<&[i16]> {
        let width = self.layers[0][side].projection.row_width();
        ((id as usize) < self.kept).then(|| &self.tables[side][id as usize * width..][..width])
    }

    /// What the classifier reads, for each review; `embedding` has the vectors of all ids.
    pub fn features(&self, config: &Config, reviews: &[&[u32]], embedding: &Embedding) -> Vec<Vec<f32>> {
        let (hidden, width) = (config.hidden_size, config.directions() * config.hidden_size);
        let positions: usize = reviews.iter().map(|ids| ids.len()).sum();
        // Rows of the first layer's table, and the words that it lacks; the ids themselves where it lacks none.
        let whole = self.kept == config.vocab_size;
        let (mut rows, fresh) = if whole { Default::default() } else { fresh_rows(reviews, self.kept) };
        let Buffers { input: mut read, mut table } = BUFFERS.take();
        read.restart(config.embedding_dim);
        embedding.push(fresh.into_iter(), &mut read);
        // For each direction of the last layer what it makes of each review: its last states, or maximum and mean.
        let mut made: Vec<Vec<(Vec<f32>, Vec<f32>)>> = Vec::new();
        for (depth, layer) in self.layers.iter().enumerate() {
            let last_layer = depth + 1 == self.layers.len();
            let pools = last_layer && config.pooling == Pooling::MaxMean;
            let mut output = vec![0.0; if last_layer { 0 } else { positions * width }];
            for (side, direction) in layer.iter().enumerate() {
                table.resize(read.len() * direction.projection.row_width());
                direction.projection.run(&read, &mut table);
                let kept: &[i16] = if depth == 0 { &self.tables[side] } else { &[] };
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
                if last_layer {
                    let of_sequence = |sequence: &Int8Sequence| match &sequence.pool {
                        Some(pool) => direction.recurrent.max_and_mean(pool),
                        None => (sequence.state.hidden(hidden).collect(), Vec::new()),
                    };
                    made.push(sequences.iter().map(of_sequence).collect());
                }
            }
            if !last_layer {
                read.restart(width);
                output.chunks_exact(width).for_each(|row| read.push(row));
                rows = (0..positions as u32).collect();
            }
        }
        BUFFERS.set(Buffers { input: read, table });
        // The first of all directions, then the second.
        (0..reviews.len())
            .map(|review| {
                let firsts = made.iter().flat_map(|side| &side[review].0);
                firsts.chain(made.iter().flat_map(|side| &side[review].1)).copied().collect()
            })
            .collect()
    }
}
