//! The network without the graph: ids in, logits out, as the server and every evaluation run it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::config::{Config, RecurrentPrecision};
use super::embedding::Embedding;
use super::float::FloatNetwork;
use super::int8::Int8Network;
use super::ngrams::{NgramTable, Scratch};
use super::weights::{Array, EMBEDDING, SUBJECTIVITY_BIAS, SUBJECTIVITY_WEIGHT};
use crate::kernel::{MAX_BATCH_ROWS, for_each_parallel};

/// What a thread's gate table may take for reviews that run together; a longer one runs alone. The table is kept, so
/// texts of rare words alone would leave every thread with as much as the whole model.
const TABLE_LIMIT_BYTES: usize = 4 << 20;

thread_local! {
    /// What the table of grams notes; kept, since clearing it would cost more than a short review.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A network ready to run, its weights packed for the processor it runs on.
#[derive(Debug)]
pub struct Engine {
    pub(super) config: Config,
    /// The vectors of the ids for which the network keeps no gates.
    pub(super) embedding: Embedding,
    network: Network,
    pub(super) classifier_weight: Vec<f32>,
    pub(super) classifier_bias: f32,
    /// Weight and bias of the logit that a text holds an opinion, from what the classifier reads.
    subjectivity: Option<(Vec<f32>, f32)>,
    pub(super) ngrams: Option<NgramTable>,
}

/// The layers, in the numbers that `config.json` names.
#[derive(Debug)]
enum Network {
    Float(FloatNetwork),
    Int8 {
        layers: Int8Network,
        /// What the network in 32 bits is made of when the first explanation asks for it; most servers never do.
        tensors: BTreeMap<String, Array>,
        float: OnceLock<FloatNetwork>,
    },
}

/// Bytes of the gate table of a network of this shape.
#[cfg(feature = "serve")]
pub fn gate_table_bytes(config: &Config) -> usize {
    match config.recurrent_precision {
        RecurrentPrecision::Int8 => Int8Network::table_bytes(config),
        RecurrentPrecision::F32 => FloatNetwork::table_bytes(config),
    }
}

impl Engine {
    /// Packs the tensors of [`super::layout`], whose shapes were checked when they were loaded. The score of `ngrams` is
    /// added to the logit before the temperature.
    ///
    /// # Panics
    /// When a required tensor is missing or misshapen.
    pub fn new(config: &Config, mut tensors: BTreeMap<String, Array>, ngrams: Option<NgramTable>) -> Self {
        // Taken, not copied: they are most of a large model's memory.
        let vectors = tensors.remove(EMBEDDING).expect("a required tensor").data;
        let embedding = Embedding::new(config.embedding_dim, vectors);
        Self::with_embedding(config, embedding, tensors).with_ngrams(ngrams)
    }

    /// As [`Engine::new`], with the embedding apart from the other tensors, before its n-grams are known.
    pub(crate) fn with_embedding(
        config: &Config,
        mut embedding: Embedding,
        mut tensors: BTreeMap<String, Array>,
    ) -> Self {
        let mut take = |name: &str| tensors.remove(name).expect("a required tensor").data;
        let classifier_weight = take("classifier.weight");
        let classifier_bias = take("classifier.bias")[0];
        // Without a bias it is 0, as the LSTM's.
        let bias = tensors.remove(SUBJECTIVITY_BIAS).map_or(0.0, |array| array.data[0]);
        let subjectivity = tensors.remove(SUBJECTIVITY_WEIGHT).map(|array| (array.data, bias));
        let network = match config.recurrent_precision {
            RecurrentPrecision::Int8 => {
                let layers = Int8Network::new(config, &tensors, &embedding);
                Network::Int8 { layers, tensors, float: OnceLock::new() }
            }
            RecurrentPrecision::F32 => {
                let network = FloatNetwork::new(config, &tensors, &embedding);
                embedding.keep_from(network.kept);
                Network::Float(network)
            }
        };
        Self {
            config: config.clone(),
            embedding,
            network,
            classifier_weight,
            classifier_bias,
            subjectivity,
            ngrams: None,
        }
    }

    /// With `ngrams`, whose score is added to the logit before the temperature.
    pub(crate) fn with_ngrams(self, ngrams: Option<NgramTable>) -> Self {
        Self { ngrams, ..self }
    }

    /// The row of the first layer's gates of `id` in direction `side`, in 16 bits, where the network keeps it so.
    pub(super) fn gate_words(&self, side: usize, id: u32) -> Option<&[i16]> {
        match &self.network {
            Network::Float(_) => None,
            Network::Int8 { layers, .. } => layers.kept_row(side, id),
        }
    }

    /// The network in 32 bits.
    pub(super) fn float(&self) -> &FloatNetwork {
        match &self.network {
            Network::Float(network) => network,
            Network::Int8 { tensors, float, .. } => {
                float.get_or_init(|| FloatNetwork::for_explanations(&self.config, tensors, &self.embedding))
            }
        }
    }

    /// Reviews that are worth running together: as many as the products of a step take at once.
    pub fn batch_rows(&self) -> usize {
        match &self.network {
            Network::Float(_) => MAX_BATCH_ROWS,
            Network::Int8 { layers, .. } => layers.batch_rows(),
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
            self.groups(&order, reviews).into_iter().map(|group| (group, Vec::new())).collect();
        for_each_parallel(threads, &mut groups, |(group, logits)| {
            let texts: Vec<&[u32]> = group.iter().map(|&review| reviews[review]).collect();
            logits.extend(self.features(&texts).iter().zip(texts).map(|(features, ids)| {
                let dot: f32 = self.classifier_weight.iter().zip(features).map(|(w, x)| w * x).sum();
                let logit = (dot + self.classifier_bias + self.wide(ids)) / self.config.temperature;
                let opinion = self.opinion(features);
                self.config.short_texts.apply(logit, ids.len(), opinion) + self.config.bias
            }));
        });
        let mut logits = vec![0.0; reviews.len()];
        for (group, values) in groups {
            group.iter().zip(values).for_each(|(&review, value)| logits[review] = value);
        }
        logits
    }

    /// The probability that a text holds an opinion, by what the classifier reads of it; 1 where the model does not tell, or
    /// nothing depends on it.
    fn opinion(&self, features: &[f32]) -> f32 {
        match &self.subjectivity {
            Some((weight, bias)) if !self.config.short_texts.is_nothing() => {
                let dot: f32 = weight.iter().zip(features).map(|(w, x)| w * x).sum();
                1.0 / (1.0 + (-dot - bias).exp())
            }
            _ => 1.0,
        }
    }

    /// As [`Engine::opinion`], of the text with these ids.
    pub(super) fn opinion_of(&self, ids: &[u32]) -> f32 {
        if self.subjectivity.is_none() { 1.0 } else { self.opinion(&self.features(&[ids])[0]) }
    }

    /// What the grams of a review add to its logit.
    fn wide(&self, ids: &[u32]) -> f32 {
        let score = |table: &NgramTable| {
            let score = SCRATCH.with_borrow_mut(|scratch| table.score(ids, scratch));
            score * self.config.ngram_share(ids.len())
        };
        self.ngrams.as_ref().map_or(0.0, score)
    }

    /// Cuts `order`, numbers of `reviews`, into groups that run together.
    fn groups<'o>(&self, order: &'o [usize], reviews: &[&[u32]]) -> Vec<&'o [usize]> {
        let rows = self.batch_rows();
        let (kept, row_bytes) = match &self.network {
            Network::Float(network) => (network.kept, network.fresh_row_bytes()),
            Network::Int8 { layers, .. } => (layers.kept(), layers.fresh_row_bytes()),
        };
        // A deeper layer has a row for every position.
        let kept = if self.config.num_layers > 1 { 0 } else { kept };
        let most = TABLE_LIMIT_BYTES / row_bytes;
        let mut groups = Vec::with_capacity(order.len().div_ceil(rows));
        let (mut start, mut fresh) = (0, 0);
        for (at, &review) in order.iter().enumerate() {
            let more = reviews[review].iter().filter(|id| **id as usize >= kept).count();
            if at - start == rows || (at > start && fresh + more > most) {
                groups.push(&order[start..at]);
                (start, fresh) = (at, 0);
            }
            fresh += more;
        }
        groups.extend(order.get(start..).filter(|rest| !rest.is_empty()));
        groups
    }

    /// What the classifier reads, for each review; no more of them than [`Engine::batch_rows`].
    pub(crate) fn features(&self, reviews: &[&[u32]]) -> Vec<Vec<f32>> {
        match &self.network {
            Network::Float(network) => network.features(&self.config, reviews, &self.embedding),
            Network::Int8 { layers, .. } => layers.features(&self.config, reviews, &self.embedding),
        }
    }
}
