//! A second model that scores a share of the traffic for comparison only, off the client's path.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::pool::Pool;
use crate::predict::{Prediction, Truncate};
use crate::serve::models::{ModelSlot, Models};
use crate::serve::observe::telemetry::Telemetry;
use crate::serve::settings::Settings;

/// Longest text that is shadowed: what waits is bounded in number, so its size must be, too, and a thread that is at it
/// can do nothing else.
const MAX_BYTES: usize = 16 * 1024;

/// Which model shadows the default one, and how much of its traffic.
#[derive(Debug)]
pub struct Shadow {
    name: Option<String>,
    share: f64,
    max_windows: usize,
    seen: AtomicU64,
}

impl Shadow {
    /// The shadow that `settings` name, if any.
    pub fn new(settings: &Settings) -> Self {
        Self {
            name: settings.shadow.clone(),
            share: settings.shadow_share,
            max_windows: settings.max_windows,
            seen: AtomicU64::new(0),
        }
    }

    /// Whether this request to `slot` is one of the share: every so many-th, so that the share is kept exactly.
    pub fn sample(&self, slot: &ModelSlot, models: &Models) -> bool {
        if self.name.is_none() || models.get(None).is_none_or(|default| default.name != slot.name) {
            return false;
        }
        let before = self.seen.fetch_add(1, Relaxed) as f64;
        ((before + 1.0) * self.share).floor() > (before * self.share).floor()
    }

    /// Has the shadow model score `texts` when the compute threads have nothing else to do, and counts how it
    /// differs from `answers`.
    pub fn submit(
        &self,
        models: &Models,
        pool: &Pool,
        telemetry: &Arc<Telemetry>,
        texts: Vec<String>,
        truncate: Truncate,
        answers: &[Prediction],
    ) {
        let Some(slot) = models.get(self.name.as_deref()) else { return };
        let max_windows = self.max_windows;
        for (text, prediction) in texts.into_iter().zip(answers) {
            if text.len() > MAX_BYTES {
                telemetry.shadow_dropped.inc();
                continue;
            }
            let Some(shadow) = slot.current() else { return };
            let (counted, answer) = (telemetry.clone(), prediction.probability);
            let compare = move || {
                let Ok(encoding) = shadow.encode(&text, truncate, max_windows) else { return };
                for prediction in shadow.predictor.run(std::slice::from_ref(&encoding)) {
                    counted.shadow_reviews.inc();
                    counted.shadow_difference.observe((prediction.probability - answer).abs() as f64);
                    if (prediction.probability >= 0.5) != (answer >= 0.5) {
                        counted.shadow_disagreements.inc();
                    }
                }
            };
            if !pool.background(compare) {
                telemetry.shadow_dropped.inc();
            }
        }
    }
}
