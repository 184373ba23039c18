//! The one core behind every protocol: texts in, predictions out, within the limits.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::task::{Fault, Item, Job};
use crate::predict::{Prediction, Truncate};
use crate::serve::App;
use crate::serve::models::{Loaded, Slot};
use crate::serve::observe::telemetry::LABELS;
use crate::serve::problem::{Kind, Problem};

/// Most that cutting texts into ids may take on an HTTP thread; beyond, the compute threads do it.
const ENCODING_BUDGET: Duration = Duration::from_micros(50);

/// What a request asks for, whatever protocol it came by.
#[derive(Debug, Default)]
pub struct Question<'a> {
    /// The model's name; the default model where there is none.
    pub model: Option<Cow<'a, str>>,
    /// The version that the model must have; any where there is none.
    pub version: Option<Cow<'a, str>>,
    /// The texts.
    pub texts: Vec<Cow<'a, str>>,
    /// Whether there is one text by itself, which a fault need not name by number.
    pub single: bool,
    /// What to do with long texts.
    pub truncate: Truncate,
    /// The score below which the label is `uncertain`.
    pub abstain: Option<f32>,
}

/// The score below which the label is `uncertain`, as a request gives it.
///
/// # Errors
/// 422 where it is no score of a label. It is compared before it is rounded to 32 bits: 1.00000001 is above 1.
pub fn check_abstain(given: Option<f64>) -> Result<Option<f32>, Problem> {
    match given {
        Some(least) if !(0.5..=1.0).contains(&least) => {
            Err(Problem::new(Kind::InvalidFields, "`abstain` must lie between 0.5 and 1"))
        }
        _ => Ok(given.map(|least| least as f32)),
    }
}

/// The predictions for a [`Question`], in order.
#[derive(Debug)]
pub struct Scored {
    /// The model that made them, all of them.
    pub loaded: Arc<Loaded>,
    /// One per text.
    pub predictions: Vec<Prediction>,
    abstain: Option<f32>,
}

/// What is said of one text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Place of the label in [`LABELS`].
    pub label: usize,
    /// Probability of the more probable side.
    pub score: f32,
    /// Probability that the text is negative.
    pub negative: f32,
    /// Probability that the text is positive.
    pub positive: f32,
}

impl Verdict {
    fn of(probability: f32, abstain: Option<f32>) -> Self {
        let (positive, negative) = (probability, 1.0 - probability);
        let (side, score) = if positive >= 0.5 { (1, positive) } else { (0, negative) };
        let label = if abstain.is_some_and(|least| score < least) { 2 } else { side };
        Self { label, score, negative, positive }
    }

    /// The label's name.
    pub fn label_name(&self) -> &'static str {
        LABELS[self.label]
    }
}

impl Scored {
    /// What is said of the text that `prediction` is about.
    pub fn verdict(&self, prediction: &Prediction) -> Verdict {
        Verdict::of(prediction.probability, self.abstain)
    }
}

/// Scores the texts of `question`, all by one state of one model.
///
/// # Errors
/// The problem to answer with: unknown model, too many texts, a text that cannot be scored, overload, deadline.
pub async fn score(app: &App, question: Question<'_>) -> Result<Scored, Problem> {
    let start = Instant::now();
    let slot = app.slot(question.model.as_deref())?;
    let loaded = slot.current();
    loaded.check_version(question.version.as_deref())?;
    if !loaded.self_test.passed {
        let detail = format!("model `{}` failed its self-test; see /info", loaded.name);
        return Err(Problem::new(Kind::NotReady, detail).retry_after(app.settings.retry_after_seconds));
    }
    let count = question.texts.len();
    if count == 0 {
        return Err(Problem::new(Kind::InvalidFields, "there is no text: give at least one"));
    }
    if count > app.settings.max_texts {
        let detail = format!("{count} texts, at most {} are taken at once", app.settings.max_texts);
        return Err(Problem::new(Kind::TooLarge, detail));
    }
    let abstain = question.abstain.or(app.settings.abstain);
    let single = question.single;
    let shadowed =
        app.shadow.sample(slot, &app.models).then(|| question.texts.iter().map(|t| t.to_string()).collect());
    let truncate = question.truncate;
    let predictions = place(app, &loaded, question, start).await.map_err(|fault| match fault {
        Refusal::Overload => {
            app.telemetry.shed_overload.inc();
            let detail = format!(
                "{} reviews are waiting, {count} more do not fit; come back later",
                app.pool.pending()
            );
            Problem::new(Kind::Overloaded, detail).retry_after(app.settings.retry_after_seconds)
        }
        Refusal::Fault(Fault::Text(index, error)) => Problem::of_text(&error, index, single),
        Refusal::Fault(Fault::Deadline) => {
            app.telemetry.shed_deadline.inc();
            let detail = format!("not answered within {:?}", app.settings.request_timeout);
            Problem::new(Kind::DeadlineExceeded, detail).retry_after(app.settings.retry_after_seconds)
        }
        Refusal::Fault(Fault::Panicked) => {
            Problem::new(Kind::Internal, "the computation failed; it was logged")
        }
    })?;
    let scored = Scored { loaded, predictions, abstain };
    count_answers(app, slot, &scored);
    if let Some(texts) = shadowed {
        app.shadow.submit(app, texts, truncate, &scored);
    }
    Ok(scored)
}

enum Refusal {
    Overload,
    Fault(Fault),
}

/// Computes on the spot what costs little, on the compute threads what costs more.
async fn place(
    app: &App,
    loaded: &Arc<Loaded>,
    question: Question<'_>,
    start: Instant,
) -> Result<Vec<Prediction>, Refusal> {
    let settings = &app.settings;
    let (truncate, budget) = (question.truncate, settings.inline_budget);
    let bytes: usize = question.texts.iter().map(|text| text.len()).sum();
    let estimate: Duration =
        question.texts.iter().map(|text| loaded.cost.of_text(text.len(), truncate)).sum();
    // Where even half the estimate is too much, admission comes first: who is turned away must cost nothing.
    let mut permit = None;
    if estimate / 2 > budget {
        permit = Some(app.pool.admit(question.texts.len()).ok_or(Refusal::Overload)?);
    }
    let items = if loaded.cost.encoding(bytes) <= ENCODING_BUDGET {
        let encode = || -> Result<Vec<_>, (usize, crate::Error)> {
            let encode = |(index, text): (usize, &Cow<str>)| {
                loaded.encode(text, truncate, settings.max_windows).map_err(|error| (index, error))
            };
            question.texts.iter().enumerate().map(encode).collect()
        };
        let encodings =
            guarded(encode)?.map_err(|(index, error)| Refusal::Fault(Fault::Text(index, error)))?;
        let encoded = Instant::now();
        app.telemetry.tokenize.observe_duration(encoded - start);
        let cost: Duration = encodings.iter().map(|encoding| loaded.cost.running(encoding)).sum();
        if cost <= budget {
            let predictions = guarded(|| loaded.predictor.run(&encodings))?;
            app.telemetry.inference.observe_duration(encoded.elapsed());
            app.telemetry.placed_inline.inc();
            return Ok(predictions);
        }
        encodings.into_iter().map(Item::Encoded).collect()
    } else {
        question.texts.into_iter().map(|text| Item::Text(text.into_owned())).collect::<Vec<_>>()
    };
    let permit = match permit {
        Some(permit) => permit,
        None => app.pool.admit(items.len()).ok_or(Refusal::Overload)?,
    };
    app.telemetry.placed_queue.inc();
    let deadline = start + settings.request_timeout;
    let job =
        Job { loaded: loaded.clone(), items, truncate, max_windows: settings.max_windows, deadline, permit };
    app.pool.run(job).await.map_err(Refusal::Fault)
}

/// Runs `work` so that a panic becomes an answer; the panic itself is logged by the hook.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Refusal::Fault(Fault::Panicked))
}

fn count_answers(app: &App, slot: &Slot, scored: &Scored) {
    app.telemetry.request_reviews.observe(scored.predictions.len() as f64);
    for prediction in &scored.predictions {
        slot.series.count(prediction, scored.verdict(prediction).label);
    }
    if let Some(drift) = &scored.loaded.drift {
        drift.observe(&scored.predictions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abstain_is_compared_before_it_is_rounded() {
        assert_eq!(check_abstain(Some(1.0)).unwrap(), Some(1.0));
        assert_eq!(check_abstain(None).unwrap(), None);
        for outside in [1.000_000_01, 0.499_999_999_99, f64::NAN] {
            assert_eq!(check_abstain(Some(outside)).unwrap_err().kind(), Kind::InvalidFields);
        }
    }

    #[test]
    fn the_score_is_the_labels_and_a_low_one_is_uncertain() {
        let verdict = Verdict::of(0.25, None);
        assert_eq!((verdict.label_name(), verdict.score, verdict.negative), ("negative", 0.75, 0.75));
        assert_eq!(Verdict::of(0.5, None).label_name(), "positive");
        assert_eq!(Verdict::of(0.55, Some(0.6)).label_name(), "uncertain");
        assert_eq!(Verdict::of(0.35, Some(0.6)).label_name(), "negative");
    }
}
