//! A model between its training and its directory: n-grams are weighed beside the network, a temperature is fitted, and
//! every figure comes from as few readings of the held-out reviews as there are.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::model::{Array, Config, NgramTable, Precision};
use crate::predict::Predictor;
use crate::text::Vocabulary;
use crate::train::data::example::Example;
use crate::train::metrics::{Metrics, fit_temperature};
use crate::train::ngrams::logistic::platt;
use crate::train::ngrams::stack::{self, Stack};
use crate::train::score::{logits_of, predictor, targets_of};

/// The parts of a trained model; its tensors hold what will be stored, so that what is measured is what is served.
pub struct TrainedModel<'m> {
    /// Configuration, which grows with n-grams and temperature.
    pub config: Config,
    /// The network's weights.
    pub tensors: BTreeMap<String, Array>,
    /// The table beside the network.
    pub ngrams: Option<NgramTable>,
    vocabulary: &'m Vocabulary,
    precision: Precision,
    held_out: &'m [Example],
    /// The logits of the held-out reviews by the model as it is.
    logits: Vec<f32>,
}

impl<'m> TrainedModel<'m> {
    /// The network alone, whose `tensors` are rounded to `precision`.
    pub fn new(
        config: Config,
        tensors: BTreeMap<String, Array>,
        vocabulary: &'m Vocabulary,
        precision: Precision,
        held_out: &'m [Example],
    ) -> Self {
        let logits = Vec::new();
        let mut model = Self { config, tensors, ngrams: None, vocabulary, precision, held_out, logits };
        model.settle();
        model
    }

    /// Rounds the weights to what is stored, and reads the held-out reviews.
    fn settle(&mut self) {
        for value in self.tensors.values_mut().flat_map(|array| &mut array.data) {
            *value = self.precision.round(*value);
        }
        self.logits = logits_of(&self.predictor(), self.held_out);
    }

    /// Puts `table` beside the network, weighed on the held-out reviews (with `share`, at that share of the network's
    /// factor); returns the weights.
    ///
    /// # Errors
    /// As [`stack::stack`].
    pub fn add_ngrams(&mut self, table: &NgramTable, share: Option<f32>) -> Result<Stack> {
        let (table, weights) =
            stack::stack(&self.logits, table, self.held_out, share, &self.config, &mut self.tensors)?;
        self.config.ngrams = true;
        self.ngrams = Some(table);
        self.settle();
        Ok(weights)
    }

    /// Divides the logits by the temperature that fits the held-out reviews best.
    pub fn calibrate(&mut self) {
        (self.config.temperature, self.logits) = self.calibrated();
    }

    /// Fits temperature and bias to held-out rows that are as often positive as the texts to come; films need not be.
    ///
    /// Rows of a few groups are as often positive as those groups are: with `share`, that of positives among all rows, the
    /// bias is moved to it by the difference of the log odds (King and Zeng 2001, prior correction).
    pub fn calibrate_with_bias(&mut self, share: Option<f64>) {
        if self.held_out.is_empty() {
            return;
        }
        let targets = targets_of(self.held_out);
        let (factor, mut bias) = platt(&self.logits, &targets);
        if let Some(share) = share {
            let held_out = share_of_positives(&targets);
            bias += (log_odds(share) - log_odds(held_out)) as f32;
        }
        if factor.is_finite() && factor > 1e-3 && bias.abs() < 100.0 {
            (self.config.temperature, self.config.bias) = ((1.0 / factor).clamp(1e-3, 1e3), bias);
            self.settle();
        }
    }

    /// Figures on the held-out reviews; `None` where there is none.
    pub fn metrics(&self) -> Option<Metrics> {
        self.metrics_of(&self.logits)
    }

    /// The figures that [`calibrate`](Self::calibrate) would lead to.
    pub fn calibrated_metrics(&self) -> Option<Metrics> {
        self.metrics_of(&self.calibrated().1)
    }

    /// The logits of the held-out reviews, in order.
    pub fn held_out_logits(&self) -> &[f32] {
        &self.logits
    }

    /// The model as it answers now.
    pub fn predictor(&self) -> Predictor {
        predictor(&self.config, self.vocabulary, self.tensors.clone(), self.ngrams.clone())
    }

    /// The temperature that fits best, and the logits under it. The predictor divides by it last: where it was 1, dividing
    /// its logits gives the same bits.
    fn calibrated(&self) -> (f32, Vec<f32>) {
        if self.held_out.is_empty() {
            return (self.config.temperature, Vec::new());
        }
        let more = fit_temperature(&self.logits, &targets_of(self.held_out));
        (self.config.temperature * more, self.logits.iter().map(|logit| logit / more).collect())
    }

    fn metrics_of(&self, logits: &[f32]) -> Option<Metrics> {
        (!self.held_out.is_empty()).then(|| Metrics::of(logits, &targets_of(self.held_out)))
    }
}

/// The share of positives among rows of which some have either label.
pub fn share_of_positives(targets: &[f32]) -> f64 {
    let positives = targets.iter().filter(|target| **target >= 0.5).count();
    (positives as f64 + 0.5) / (targets.len() as f64 + 1.0)
}

fn log_odds(share: f64) -> f64 {
    (share / (1.0 - share)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_odds_of_a_share_are_finite_whatever_the_rows() {
        assert_eq!(log_odds(share_of_positives(&[1.0, 0.0])), 0.0);
        assert!((log_odds(share_of_positives(&[1.0, 1.0, 1.0, 0.0])) - (3.5f64 / 1.5).ln()).abs() < 1e-12);
        assert!(log_odds(share_of_positives(&[1.0; 9])).is_finite());
    }
}
