//! The one core behind every protocol: texts in, predictions out, within the limits.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admission::Admission;
use super::details::{Details, EXPLANATION_REVIEWS, Plan, Wanted};
use super::pool::Pool;
use super::request::{ScoreRequest, ScoreResponse};
use super::shadow::Shadow;
use super::task::{ComputeError, Computed, Input, Job};
use crate::error::{Error, Result as CrateResult};
use crate::predict::{Encoding, MAX_POINTS, Truncate};
use crate::serve::models::cost::BYTES_PER_TOKEN;
use crate::serve::models::{LoadedModel, ModelSlot, Models};
use crate::serve::observe::access::note_texts;
use crate::serve::observe::telemetry::{Place, ShedReason, Telemetry};
use crate::serve::problem::{Problem, ProblemKind};
use crate::serve::settings::Settings;

/// Most that cutting texts into ids may take on an HTTP thread; beyond, the compute threads do it.
const ENCODING_BUDGET: Duration = Duration::from_micros(50);

/// Bytes of a prediction and of what else is kept for a text on its way.
const PREDICTION_BYTES: usize = 256;

/// Bytes of a word with its weight on the way into an answer.
const WORD_BYTES: usize = 128;

/// What one request may ask for, and how long it may take.
#[derive(Debug)]
struct Limits {
    max_texts: usize,
    max_windows: usize,
    request_timeout: Duration,
    inline_budget: Duration,
    abstain: Option<f32>,
}

/// Scores texts by any of the models that are served.
#[derive(Debug)]
pub struct Scorer {
    models: Models,
    pool: Pool,
    shadow: Shadow,
    telemetry: Arc<Telemetry>,
    limits: Limits,
}

impl Scorer {
    /// A scorer on `models`, with compute threads of its own.
    ///
    /// # Errors
    /// [`Error::Setting`] where the shadow is none of the other models, or the threads cannot be started.
    pub fn new(settings: &Settings, models: Models, telemetry: Arc<Telemetry>) -> CrateResult<Self> {
        if let Some(name) = &settings.shadow {
            let default = models.get(None).map(|slot| &*slot.name);
            if models.get(Some(name)).is_none() || default == Some(name) {
                let reason = format!("`{name}` is not one of the other models: {}", models.names());
                return Err(Error::setting("--shadow", reason));
            }
        }
        let threads = Settings::threads(settings.compute_threads);
        let longest = models
            .iter()
            .filter_map(|slot| Some(slot.current()?.predictor.config().max_length))
            .max()
            .unwrap_or(1);
        let pool = Pool::start(threads, settings.max_pending_reviews, longest, telemetry.clone())
            .map_err(|e| Error::setting("--compute-threads", e.to_string()))?;
        let limits = Limits {
            max_texts: settings.max_texts,
            max_windows: settings.max_windows,
            request_timeout: settings.request_timeout,
            inline_budget: settings.inline_budget,
            abstain: settings.abstain,
        };
        Ok(Self { models, pool, shadow: Shadow::new(settings), telemetry, limits })
    }

    /// The models.
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// The compute threads.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The model called `name`, or the default one.
    ///
    /// # Errors
    /// 404 where there is none.
    pub fn slot(&self, name: Option<&str>) -> Result<&ModelSlot, Problem> {
        self.models.get(name).ok_or_else(|| {
            // The name given is not repeated: it may be anything, and long.
            let detail = format!("no model of that name; there are: {}", self.models.names());
            Problem::new(ProblemKind::UnknownModel, detail)
        })
    }

    /// Scores the texts of `request`, all by one state of one model.
    ///
    /// # Errors
    /// The problem to answer with: unknown model, too many texts, a text that cannot be scored, overload, deadline.
    pub async fn score(&self, request: ScoreRequest<'_>) -> Result<ScoreResponse, Problem> {
        let start = Instant::now();
        let slot = self.slot(request.model.as_deref())?;
        let texts = request.texts.len();
        let outcome = self.score_by(slot, request, start).await;
        let tally = if outcome.is_ok() { &slot.answered } else { &slot.refused };
        tally.add(texts, start.elapsed());
        outcome
    }

    async fn score_by(
        &self,
        slot: &ModelSlot,
        mut request: ScoreRequest<'_>,
        start: Instant,
    ) -> Result<ScoreResponse, Problem> {
        let loaded = slot.loaded()?;
        loaded.check_version(request.version.as_deref())?;
        loaded.check_ready()?;
        let count = request.texts.len();
        note_texts(count);
        if count == 0 {
            return Err(Problem::new(ProblemKind::InvalidFields, "there is no text: give at least one"));
        }
        if count > self.limits.max_texts {
            let detail = format!("{count} texts, at most {} are taken at once", self.limits.max_texts);
            return Err(Problem::new(ProblemKind::TooLarge, detail));
        }
        let patient = request.patient;
        let memory = self.memory(&loaded, &request);
        if let Some(charge) = request.charge.as_mut().filter(|_| !patient) {
            charge.add(memory)?;
        }
        let abstain = request.abstain.or(self.limits.abstain);
        let list = request.list;
        let shadowed = self
            .shadow
            .sample(slot, &self.models)
            .then(|| request.texts.iter().map(|t| t.to_string()).collect());
        let (truncate, wanted) = (request.truncate, request.wanted);
        // The details are worked out after the predictions, out of copies of the texts.
        let detailed = match &request.charge {
            Some(charge) if wanted.any() => Some(charge.another(self.details_memory(&loaded, &request))?),
            _ => None,
        };
        let client = request.charge.as_ref().map_or(0, |charge| charge.client().id);
        let texts: Vec<String> = match wanted.any() {
            true => request.texts.iter().map(|text| text.to_string()).collect(),
            false => Vec::new(),
        };
        let Computed { predictions, faults } =
            self.execute(&loaded, request, start).await.map_err(|fault| self.problem(fault, count, list))?;
        let texts = scored_ones(texts, &faults);
        let details = match texts.is_empty() {
            true => Vec::new(),
            false => {
                self.details(&loaded, texts, wanted, truncate, abstain, list, start, client, patient).await?
            }
        };
        drop(detailed);
        let scored = ScoreResponse { loaded, predictions, faults, details, abstain };
        self.count(slot, &scored);
        if let Some(texts) = shadowed {
            self.shadow.submit(
                &self.models,
                &self.pool,
                &self.telemetry,
                scored_ones(texts, &scored.faults),
                truncate,
                &scored.predictions,
            );
        }
        Ok(scored)
    }

    /// What is wanted of `texts`, which were scored, besides their verdicts.
    #[expect(clippy::too_many_arguments, reason = "what a request is about, for this one caller")]
    async fn details(
        &self,
        loaded: &Arc<LoadedModel>,
        texts: Vec<String>,
        wanted: Wanted,
        truncate: Truncate,
        abstain: Option<f32>,
        list: Option<&'static str>,
        start: Instant,
        client: u64,
        patient: bool,
    ) -> Result<Vec<Details>, Problem> {
        let (count, texts) = (texts.len(), Arc::new(texts));
        let work = async {
            let (model, given) = (loaded.clone(), texts.clone());
            let plan = self.pool.spawn(move || Plan::new(&model, &given, wanted, truncate)).await??;
            let reviews = plan.reviews();
            if reviews > self.pool.capacity() {
                return Ok(Err(reviews));
            }
            let tokens = plan.tokens(loaded.predictor.config().max_length);
            let permit = self.admit(client, reviews, tokens, patient).await?;
            for (detail, count) in plan.counts() {
                self.telemetry.details.add(detail, count as u64);
            }
            let start = if patient { Instant::now() } else { start };
            let deadline = start + self.limits.request_timeout;
            let done = plan.run(&self.pool, loaded.clone(), permit, deadline).await?;
            let given = texts.clone();
            self.pool.spawn(move || done.details(&given, wanted, abstain)).await.map(Ok)
        };
        match work.await.map_err(|fault| self.problem(fault, count, list))? {
            Ok(details) => Ok(details),
            Err(reviews) => {
                let detail = format!(
                    "what is asked for counts as {reviews} reviews, at most {} are taken at once: each sentence and each \
                     point of a trajectory is one, each window to explain {EXPLANATION_REVIEWS}; send fewer or shorter texts",
                    self.pool.capacity()
                );
                Err(Problem::new(ProblemKind::TooLarge, detail))
            }
        }
    }

    /// Computes on the spot what costs little, on the compute threads what costs more.
    async fn execute(
        &self,
        loaded: &Arc<LoadedModel>,
        request: ScoreRequest<'_>,
        start: Instant,
    ) -> Result<Computed, ComputeError> {
        let limits = &self.limits;
        let (truncate, budget) = (request.truncate, limits.inline_budget);
        let client = request.charge.as_ref().map_or(0, |charge| charge.client().id);
        let tokens = request.texts.iter().map(|text| self.tokens(loaded, text.len(), truncate)).sum();
        let count = request.texts.len();
        let bytes: usize = request.texts.iter().map(|text| text.len()).sum();
        let estimate: Duration =
            request.texts.iter().map(|text| loaded.cost.of_text(text.len(), truncate)).sum();
        // Where even half the estimate is too much, admission comes first: who is turned away must cost nothing.
        let mut permit = None;
        if estimate / 2 > budget {
            permit = Some(self.admit(client, count, tokens, request.patient).await?);
        }
        // Who waited for room has all the time that others have once they are admitted.
        let start = if request.patient { Instant::now() } else { start };
        let items = if loaded.cost.encoding(bytes) <= ENCODING_BUDGET {
            let encode = || -> Result<Vec<_>, (usize, Error)> {
                let encode = |(index, text): (usize, &Cow<str>)| match loaded.encode(
                    text,
                    truncate,
                    limits.max_windows,
                ) {
                    Ok(encoding) => Ok(Input::Encoded(encoding)),
                    Err(error) if request.report => Ok(Input::Fault(error)),
                    Err(error) => Err((index, error)),
                };
                request.texts.iter().enumerate().map(encode).collect()
            };
            let inputs = catch_panic(encode)?.map_err(|(index, error)| ComputeError::Text(index, error))?;
            let encoded = Instant::now();
            self.telemetry.tokenize.observe_duration(encoded - start);
            let cost = |input: &Input| match input {
                Input::Encoded(encoding) => loaded.cost.running(encoding),
                _ => Duration::ZERO,
            };
            if inputs.iter().map(cost).sum::<Duration>() <= budget {
                let (encodings, faults) = divided(inputs);
                let predictions = catch_panic(|| loaded.predictor.run(&encodings))?;
                self.telemetry.inference.observe_duration(encoded.elapsed());
                self.telemetry.placed.inc(Place::Inline);
                return Ok(Computed { predictions, faults });
            }
            inputs
        } else {
            request.texts.into_iter().map(|text| Input::Text(text.into_owned())).collect::<Vec<_>>()
        };
        let permit = match permit {
            Some(permit) => permit,
            None => self.admit(client, count, tokens, request.patient).await?,
        };
        self.telemetry.placed.inc(Place::Queue);
        let deadline = start + limits.request_timeout;
        let (max_windows, report, charge) = (limits.max_windows, request.report, request.charge);
        self.pool
            .run(Job {
                loaded: loaded.clone(),
                items,
                truncate,
                max_windows,
                report,
                deadline,
                permit: Arc::new(permit),
                charge,
            })
            .await
    }

    /// Room on the compute threads, at once or, for who is `patient`, when there is some.
    async fn admit(
        &self,
        client: u64,
        count: usize,
        tokens: usize,
        patient: bool,
    ) -> Result<Admission, ComputeError> {
        let admission = match patient {
            true => self.pool.admit_in_turn(client, count, tokens).await,
            false => self.pool.admit(client, count, tokens),
        };
        admission.ok_or(ComputeError::Overload)
    }

    /// Tokens that a text of `bytes` is taken to have, as often as they are run.
    fn tokens(&self, loaded: &LoadedModel, bytes: usize, truncate: Truncate) -> usize {
        let longest = loaded.predictor.config().max_length;
        let tokens = bytes / BYTES_PER_TOKEN + 1;
        match truncate {
            // Windows overlap by half.
            Truncate::Windows => (2 * tokens).min(self.limits.max_windows.saturating_mul(longest)),
            _ => tokens.min(longest),
        }
    }

    /// Bytes that the ids and predictions of `request` take at most: a text has at most a token for each byte.
    fn memory(&self, loaded: &LoadedModel, request: &ScoreRequest) -> usize {
        let ids = |text: &Cow<str>| {
            PREDICTION_BYTES + 4 * self.tokens(loaded, text.len() * BYTES_PER_TOKEN, request.truncate)
        };
        request.texts.iter().map(ids).sum()
    }

    /// Bytes that what is wanted besides the verdicts takes: texts, words with their weights, ids of the parts.
    fn details_memory(&self, loaded: &LoadedModel, request: &ScoreRequest) -> usize {
        let text = |text: &Cow<str>| {
            let read = self.tokens(loaded, text.len() * BYTES_PER_TOKEN, request.truncate);
            let words = if request.wanted.words { WORD_BYTES * read } else { 0 };
            let sentences = if request.wanted.sentences { 4 * text.len() } else { 0 };
            let longest = loaded.predictor.config().max_length.min(text.len());
            let points = if request.wanted.trajectory { 4 * MAX_POINTS * longest } else { 0 };
            text.len() + words + sentences + points
        };
        request.texts.iter().map(text).sum()
    }

    /// What is answered where there are no predictions for `count` texts, which stand in the field `list`.
    fn problem(&self, fault: ComputeError, count: usize, list: Option<&str>) -> Problem {
        match fault {
            ComputeError::Overload => {
                self.telemetry.shed.inc(ShedReason::Overload);
                let detail = format!(
                    "{} reviews are waiting, {count} more do not fit; come back later",
                    self.pool.pending()
                );
                Problem::new(ProblemKind::Overloaded, detail)
            }
            ComputeError::Text(index, error) => Problem::of_text(&error, index, list),
            ComputeError::Deadline => {
                self.telemetry.shed.inc(ShedReason::Deadline);
                let detail = format!("not answered within {:?}", self.limits.request_timeout);
                Problem::new(ProblemKind::DeadlineExceeded, detail)
            }
            ComputeError::Panicked => {
                Problem::new(ProblemKind::Internal, "the computation failed; it was logged")
            }
        }
    }

    fn count(&self, slot: &ModelSlot, scored: &ScoreResponse) {
        self.telemetry.request_reviews.observe(scored.predictions.len() as f64);
        for prediction in &scored.predictions {
            slot.series.count(prediction, scored.verdict(prediction).label);
        }
        if let Some(drift) = &scored.loaded.drift {
            drift.observe(&scored.predictions);
        }
    }
}

/// The ids of the texts that have some, and why the others have none.
fn divided(inputs: Vec<Input>) -> (Vec<Encoding>, Vec<(usize, Error)>) {
    let (mut encodings, mut faults) = (Vec::with_capacity(inputs.len()), Vec::new());
    for (index, input) in inputs.into_iter().enumerate() {
        match input {
            Input::Encoded(encoding) => encodings.push(encoding),
            Input::Fault(error) => faults.push((index, error)),
            Input::Text(_) => unreachable!("all are cut"),
        }
    }
    (encodings, faults)
}

/// Those of `texts` that were scored.
fn scored_ones(texts: Vec<String>, faults: &[(usize, Error)]) -> Vec<String> {
    if faults.is_empty() {
        return texts;
    }
    let scored = |index: &usize| faults.binary_search_by_key(index, |(at, _)| *at).is_err();
    texts.into_iter().enumerate().filter(|(index, _)| scored(index)).map(|(_, text)| text).collect()
}

/// Runs `work` so that a panic becomes an answer; the panic itself is logged by the hook.
fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, ComputeError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| ComputeError::Panicked)
}
