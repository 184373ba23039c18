//! The network without the graph: ids in, logits out, as the server and every evaluation run it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::config::{Config, Padding, RecurrentPrecision};
use super::explainer::Explainer;
use super::int8::Int8Network;
use super::ngrams::{NgramTable, Scratch};
use super::pooling::{Pooling, max_mean};
use super::weights::Array;
use crate::kernel::{
    AlignedVec, GateTable, Isa, MAX_BATCH_ROWS, Output, Projection, Recurrent, Sequence, State,
    for_each_parallel,
};
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

/// A network ready to run, its weights packed for the processor it runs on.
#[derive(Debug)]
pub struct Engine {
    pub(super) config: Config,
    pub(super) input: Input,
    /// For each layer its directions.
    pub(super) layers: Vec<Vec<Direction>>,
    /// What runs in their place where the model is one of 8 bits.
    int8: Option<Int8Network>,
    /// The state after k steps over padding, for every k; one, of zeros, where there is no padding.
    pub(super) starts: Vec<State>,
    pub(super) classifier_weight: Vec<f32>,
    pub(super) classifier_bias: f32,
    pub(super) ngrams: Option<NgramTable>,
    pub(super) explainer: Explainer,
}

thread_local! {
    /// What the table of grams notes; kept, since clearing it would cost more than a short review.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[derive(Debug)]
pub(super) struct Direction {
    pub(super) projection: Projection,
    pub(super) recurrent: Recurrent,
}

/// What the first layer's gate table is made of.
#[derive(Debug)]
pub(super) struct Input {
    /// Rows for the ids under `kept`, for each direction: `W_ih e(word) + b`. Ids go by frequency.
    pub(super) tables: Vec<AlignedVec>,
    pub(super) kept: usize,
    /// The vectors of the other ids.
    pub(super) embedding: Vec<f32>,
}

/// Rows of the gate table that are computed once, each of `row_bytes`.
fn kept_rows(vocab_size: usize, row_bytes: usize) -> usize {
    match vocab_size.saturating_mul(row_bytes) <= FOLD_LIMIT_BYTES {
        true => vocab_size,
        // At least the special ids.
        false => (KEPT_BYTES / row_bytes).clamp(1, vocab_size),
    }
}

/// Bytes of the gate table of a network of this shape.
#[cfg(feature = "serve")]
pub fn gate_table_bytes(config: &Config) -> usize {
    if config.recurrent_precision == RecurrentPrecision::Int8 {
        return Int8Network::table_bytes(config);
    }
    let row_bytes = (config.directions() * 4 * config.hidden_size * size_of::<f32>()).max(1);
    row_bytes.saturating_mul(kept_rows(config.vocab_size, row_bytes))
}

impl Engine {
    /// Packs the tensors of [`super::layout`], whose shapes were checked when they were loaded. The score of `ngrams` is
    /// added to the logit before the temperature.
    ///
    /// # Panics
    /// When a required tensor is missing or misshapen.
    pub fn new(config: &Config, mut tensors: BTreeMap<String, Array>, ngrams: Option<NgramTable>) -> Self {
        let (isa, hidden) = (Isa::current(), config.hidden_size);
        // Taken, not copied: it is most of a large model's memory.
        let mut embedding = tensors.remove("embedding.weight").expect("an embedding").data;
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
                            projection: Projection::new(isa, hidden, inputs, weight_ih, &bias),
                            recurrent: Recurrent::new(isa, hidden, tensor(&name("weight_hh"))),
                        }
                    })
                    .collect()
            })
            .collect();

        let row_bytes: usize = layers[0].iter().map(|direction| direction.projection.gate_width() * 4).sum();
        let int8 = (config.recurrent_precision == RecurrentPrecision::Int8)
            .then(|| Int8Network::new(config, &tensors, &embedding));
        // A network of 8 bits has a table of its own.
        let kept = if int8.is_some() { 1 } else { kept_rows(config.vocab_size, row_bytes) };
        let explainer = Explainer::new(isa, config, &embedding, &tensors);
        let first = &embedding[..kept * config.embedding_dim];
        let fold = |direction: &Direction| {
            let mut table = AlignedVec::zeros(kept * direction.projection.gate_width());
            direction.projection.run(first.chunks_exact(config.embedding_dim), &mut table);
            table
        };
        let tables = layers[0].iter().map(fold).collect();
        embedding.drain(..kept * config.embedding_dim);
        if kept == config.vocab_size {
            embedding = Vec::new();
        }
        let input = Input { tables, kept, embedding };
        let mut engine = Self {
            config: config.clone(),
            input,
            starts: vec![layers[0][0].recurrent.zero_state()],
            layers,
            int8,
            classifier_weight: tensor("classifier.weight").to_vec(),
            classifier_bias: tensor("classifier.bias")[0],
            ngrams,
            explainer,
        };
        if config.padding == Padding::Pre {
            engine.run_padding();
        }
        engine
    }

    /// Fills in the states after 1, 2, ... steps over padding.
    fn run_padding(&mut self) {
        let direction = &self.layers[0][0];
        let table = GateTable { kept: &self.input.tables[0], fresh: &[] };
        for step in 1..=self.config.max_length {
            let state = self.starts[step - 1].clone();
            let mut sequences = [Sequence { rows: &[PADDING_ID], state, output: None }];
            direction.recurrent.run(table, &mut sequences, false);
            let [sequence] = sequences;
            self.starts.push(sequence.state);
        }
    }

    /// The logit of each review, after the temperature, on the calling thread. Reviews are ids, start id first, not
    /// padded, at least one and at most `max_length` long, each under `vocab_size`.
    ///
    /// Which reviews run together changes no bit of any result.
    ///
    /// # Panics
    /// When a review is empty, too long or holds an id that is too high.
    pub fn logits(&self, reviews: &[&[u32]]) -> Vec<f32> {
        self.logits_on(reviews, 1)
    }

    /// As [`Engine::logits`], on `threads` threads, with the same bits.
    ///
    /// # Panics
    /// As [`Engine::logits`].
    pub fn logits_on(&self, reviews: &[&[u32]], threads: usize) -> Vec<f32> {
        let longest = self.config.max_length;
        assert!(reviews.iter().all(|ids| (1..=longest).contains(&ids.len())), "length of a review");
        // Reviews of like length run together, the long ones first so that threads end together; few enough in a
        // group that their gate tables stay in the cache.
        let mut order: Vec<usize> = (0..reviews.len()).collect();
        order.sort_by_key(|&review| std::cmp::Reverse(reviews[review].len()));
        let mut groups: Vec<(&[usize], Vec<f32>)> =
            order.chunks(self.batch_rows()).map(|group| (group, Vec::new())).collect();
        for_each_parallel(threads, &mut groups, |(group, logits)| {
            let texts: Vec<&[u32]> = group.iter().map(|&review| reviews[review]).collect();
            logits.extend(self.features(&texts).iter().zip(texts).map(|(features, ids)| {
                let dot: f32 = self.classifier_weight.iter().zip(features).map(|(w, x)| w * x).sum();
                (dot + self.classifier_bias + self.wide(ids)) / self.config.temperature + self.config.bias
            }));
        });
        let mut logits = vec![0.0; reviews.len()];
        for (group, values) in groups {
            group.iter().zip(values).for_each(|(&review, value)| logits[review] = value);
        }
        logits
    }

    /// What the grams of a review add to its logit.
    fn wide(&self, ids: &[u32]) -> f32 {
        let score = |table: &NgramTable| SCRATCH.with_borrow_mut(|scratch| table.score(ids, scratch));
        self.ngrams.as_ref().map_or(0.0, score)
    }

    /// Reviews that are worth running together.
    fn batch_rows(&self) -> usize {
        self.int8.as_ref().map_or(MAX_BATCH_ROWS, Int8Network::batch_rows)
    }

    /// What the classifier reads, for each review.
    fn features(&self, reviews: &[&[u32]]) -> Vec<Vec<f32>> {
        if let Some(network) = &self.int8 {
            let size = self.config.embedding_dim;
            let vector = |id: u32| &self.input.embedding[(id as usize - self.input.kept) * size..][..size];
            return network.features(&self.config, reviews, vector);
        }
        let (hidden, directions) = (self.config.hidden_size, self.config.directions());
        let width = directions * hidden;
        let positions: usize = reviews.iter().map(|ids| ids.len()).sum();
        // Rows of the first layer's table, and the words that it lacks; the ids themselves where it lacks none.
        let folded = self.input.kept == self.config.vocab_size;
        let mut rows: Vec<u32> = Vec::with_capacity(if folded { 0 } else { positions });
        let mut fresh: Vec<&[f32]> = Vec::new();
        if !folded {
            for &id in reviews.iter().copied().flatten() {
                rows.push(match (id as usize).checked_sub(self.input.kept) {
                    None => id,
                    Some(other) => {
                        let size = self.config.embedding_dim;
                        fresh.push(&self.input.embedding[other * size..][..size]);
                        (self.input.kept + fresh.len() - 1) as u32
                    }
                });
            }
        }
        let mut input: Vec<f32> = Vec::new();
        let mut last: Vec<Vec<f32>> = Vec::new();
        for (depth, layer) in self.layers.iter().enumerate() {
            let keep_all = depth + 1 < self.layers.len() || self.config.pooling != Pooling::Last;
            let mut output = vec![0.0; if keep_all { positions * width } else { 0 }];
            last = vec![Vec::with_capacity(width); reviews.len()];
            for (side, direction) in layer.iter().enumerate() {
                let mut table = TABLE.take();
                let gates = direction.projection.gate_width();
                let kept: &[f32] = if depth == 0 {
                    table.resize(fresh.len() * gates);
                    direction.projection.run(fresh.iter().copied(), &mut table);
                    &self.input.tables[side]
                } else {
                    table.resize(positions * gates);
                    direction.projection.run(input.chunks_exact(width), &mut table);
                    &[]
                };
                let mut rest = output.as_mut_slice();
                let mut at = 0;
                let mut sequences = Vec::with_capacity(reviews.len());
                for ids in reviews {
                    let start = match self.config.padding {
                        Padding::Pre => self.config.max_length - ids.len(),
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
        match self.config.pooling {
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
