//! A second model that scores a share of the traffic for comparison only, off the client's path.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::score::Scored;
use crate::predict::Truncate;
use crate::serve::App;
use crate::serve::models::{Models, Slot};

/// Longest text that is shadowed: what waits is bounded in number, so its size must be, too, and a thread that is at it
/// can do nothing else.
const MAX_BYTES: usize = 16 * 1024;

/// Which model shadows the default one, and how much of its traffic.
#[derive(Debug, Default)]
pub struct Shadow {
    name: Option<String>,
    share: f64,
    seen: AtomicU64,
}

impl Shadow {
    /// The model `name`, if any, for `share` (0 to 1) of the requests.
    pub fn new(name: Option<String>, share: f64) -> Self {
        Self { name, share, seen: AtomicU64::new(0) }
    }

    /// Whether this request to `slot` is one of the share: every so many-th, so that the share is kept exactly.
    pub fn sample(&self, slot: &Slot, models: &Models) -> bool {
        if self.name.is_none() || models.get(None).is_none_or(|default| default.name != slot.name) {
            return false;
        }
        let before = self.seen.fetch_add(1, Relaxed) as f64;
        ((before + 1.0) * self.share).floor() > (before * self.share).floor()
    }

    /// Has the shadow model score `texts` when the compute threads have nothing else to do, and counts how it
    /// differs from `scored`.
    pub fn submit(&self, app: &App, texts: Vec<String>, truncate: Truncate, scored: &Scored) {
        let Some(slot) = app.models.get(self.name.as_deref()) else { return };
        let max_windows = app.settings.max_windows;
        for (text, prediction) in texts.into_iter().zip(&scored.predictions) {
            if text.len() > MAX_BYTES {
                app.telemetry.shadow_dropped.inc();
                continue;
            }
            let (shadow, telemetry, answer) = (slot.current(), app.telemetry.clone(), prediction.probability);
            let compare = move || {
                let Ok(encoding) = shadow.encode(&text, truncate, max_windows) else { return };
                for prediction in shadow.predictor.run(std::slice::from_ref(&encoding)) {
                    telemetry.shadow_reviews.inc();
                    telemetry.shadow_difference.observe((prediction.probability - answer).abs() as f64);
                    if (prediction.probability >= 0.5) != (answer >= 0.5) {
                        telemetry.shadow_disagreements.inc();
                    }
                }
            };
            if !app.pool.background(compare) {
                app.telemetry.shadow_dropped.inc();
            }
        }
    }
}
