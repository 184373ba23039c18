//! The models that are served: loading, self-test, and the swap in one step.

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwapOption;
use serde::Serialize;
use utoipa::ToSchema;

pub mod cost;
pub mod drift;
pub mod series;
pub mod tally;
pub mod verdict;

use self::cost::Cost;
use self::drift::Drift;
use self::series::{ModelSeries, ReloadOutcome};
use self::tally::Tally;
use crate::error::{Error, Result};
use crate::kernel::INT8_ARITHMETIC;
use crate::model::{
    BASELINE_FILE, Baseline, Fingerprint, GOLDEN_FILE, Golden, OpenDirectory, RecurrentPrecision,
    TRAINING_FILE, fingerprint,
};
use crate::predict::{Encoding, Predictor, Truncate};
use crate::serve::memory;
use crate::serve::problem::{Problem, ProblemKind};
use crate::serve::settings::{ModelSource, Settings, check_model_name};

/// How far a golden probability may lie from the recorded one where the recurrence computes in another precision, or another
/// arithmetic of 8 bits, than it was recorded in.
const OTHER_PRECISION_TOLERANCE: f32 = 0.03;

/// The version that any model has besides its own: clients of the Open Inference Protocol count versions.
pub const ANY_VERSION: &str = "1";

/// A text that every model must give a probability: what a swap is tried with where there are no golden reviews.
const PROBE: &str = "This film is a probe; it has words that any vocabulary may or may not know.";

/// One loaded state of a model directory; never changed, only replaced.
#[derive(Debug)]
pub struct LoadedModel {
    /// The name by which clients call the model.
    pub name: Arc<str>,
    /// The model itself.
    pub predictor: Predictor,
    /// The first 12 hex digits of the SHA-256 over the directory's files: another content, another version.
    pub version: String,
    /// What it costs on this machine.
    pub cost: Cost,
    /// How the golden reviews came out.
    pub self_test: SelfTest,
    /// Live traffic against the baseline.
    pub drift: Option<Drift>,
    /// The `training.json`, if there is one.
    pub training: Option<serde_json::Value>,
    /// When it was loaded.
    pub loaded_at: SystemTime,
    /// What the directory looked like then.
    pub fingerprint: Fingerprint,
}

/// Outcome of a model's golden reviews.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct SelfTest {
    /// Whether every review came out within the tolerance; true where there are none.
    pub passed: bool,
    /// Number of golden reviews; 0 when the directory has none.
    pub reviews: usize,
    /// Largest difference between a probability and the recorded one.
    pub max_difference: f32,
    /// Largest difference allowed.
    pub tolerance: f32,
}

/// The outcome of the latest attempt to take up a changed directory.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Reload {
    /// What became of it.
    #[schema(example = "swapped")]
    pub outcome: ReloadOutcome,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
    /// When, in seconds since 1970.
    pub at: u64,
}

/// A model's place: its name and directory stay, what is loaded may be swapped.
#[derive(Debug)]
pub struct ModelSlot {
    /// The name by which clients call the model.
    pub name: Arc<str>,
    /// Where it is loaded from.
    pub directory: PathBuf,
    /// Its metric series; they go on over swaps.
    pub series: ModelSeries,
    /// Requests about it that were answered.
    pub answered: Tally,
    /// Requests about it that were not.
    pub refused: Tally,
    /// None where it was unloaded.
    current: ArcSwapOption<LoadedModel>,
    last_reload: Mutex<Option<Reload>>,
    /// Held while the directory is read, so that SIGHUP and the watcher do not both do it.
    reading: Mutex<()>,
    drift_window: u64,
    /// In which the recurrence is to compute, where that is not the model's own.
    precision: Option<RecurrentPrecision>,
}

impl ModelSlot {
    fn load(source: &ModelSource, settings: &Settings) -> Result<Self> {
        let loaded = LoadedModel::load(
            &source.directory,
            source.name.as_deref(),
            settings.drift_window,
            settings.recurrent_precision,
        )?;
        Ok(Self {
            name: loaded.name.clone(),
            directory: source.directory.clone(),
            series: ModelSeries::default(),
            answered: Tally::default(),
            refused: Tally::default(),
            current: ArcSwapOption::from_pointee(loaded),
            last_reload: Mutex::new(None),
            reading: Mutex::new(()),
            drift_window: settings.drift_window,
            precision: settings.recurrent_precision,
        })
    }

    /// What is loaded now, if anything is; the answer to one request comes from one such state, whatever is swapped meanwhile.
    pub fn current(&self) -> Option<Arc<LoadedModel>> {
        self.current.load_full()
    }

    /// What is loaded now.
    ///
    /// # Errors
    /// 503 where it was unloaded.
    pub fn loaded(&self) -> Result<Arc<LoadedModel>, Problem> {
        self.current()
            .ok_or_else(|| Problem::new(ProblemKind::NotReady, format!("model `{}` is unloaded", self.name)))
    }

    /// Whether it has the version asked for, if one is; what is unloaded may have any.
    ///
    /// # Errors
    /// As [`LoadedModel::check_version`].
    pub fn check_version(&self, version: Option<&str>) -> Result<(), Problem> {
        self.current().map_or(Ok(()), |loaded| loaded.check_version(version))
    }

    /// Whether it may answer.
    ///
    /// # Errors
    /// 503 where it was unloaded or failed its self-test.
    pub fn check_ready(&self) -> Result<(), Problem> {
        self.loaded()?.check_ready()
    }

    /// Gives its memory back, once those who are being answered have their answers; not, and false, while it is being loaded.
    pub fn unload(&self) -> bool {
        // A load that is under way would bring it back.
        let Ok(_reading) = self.reading.try_lock() else { return false };
        if self.current.swap(None).is_some() {
            tracing::info!(model = &*self.name, "model unloaded");
        }
        true
    }

    /// Loads it where it is unloaded; else as [`ModelSlot::reload`].
    pub fn load_or_reload(&self) -> Reload {
        self.take_up(true)
    }

    /// The latest attempt to take up a changed directory, if there was one.
    pub fn last_reload(&self) -> Option<Reload> {
        self.last_reload.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Loads the directory beside what is served, tries it, and swaps it in; keeps the old one where the new one
    /// cannot be loaded or fails its self-test, and one that is unloaded as it is. Blocks while it reads.
    pub fn reload(&self) {
        if self.current().is_some() {
            self.take_up(false);
        }
    }

    /// Takes up what lies in the directory; where it is unloaded, only with `unloaded` as well.
    fn take_up(&self, unloaded: bool) -> Reload {
        let (start, old) = (Instant::now(), self.current());
        let (outcome, reason) = match self.load_changed(unloaded) {
            Err(reason) => (ReloadOutcome::Refused, Some(reason)),
            Ok(None) => (ReloadOutcome::Unchanged, None),
            Ok(Some(new)) => {
                tracing::info!(
                    model = &*self.name,
                    from = old.as_ref().map(|old| &*old.version),
                    to = new.version,
                    elapsed_ms = start.elapsed().as_millis() as u64,
                    "model swapped"
                );
                (ReloadOutcome::Swapped, None)
            }
        };
        match &reason {
            Some(reason) => {
                tracing::error!(model = &*self.name, reason, "changed model refused, what was there stays")
            }
            None if outcome == ReloadOutcome::Unchanged => {
                tracing::info!(model = &*self.name, "model unchanged")
            }
            None => {}
        }
        self.series.reloads.inc(outcome);
        // Clients are told by the model's name: where it lies is the host's own affair.
        let directory = self.directory.display().to_string();
        let reason = reason.map(|reason| reason.replace(&directory, &self.name));
        let reload = Reload { outcome, reason, at: unix_seconds(SystemTime::now()) };
        *self.last_reload.lock().unwrap_or_else(PoisonError::into_inner) = Some(reload.clone());
        reload
    }

    /// Swaps the directory's model in, where it is another one than what is loaded, or anything with `unloaded`; the reason
    /// where it cannot be served.
    fn load_changed(&self, unloaded: bool) -> Result<Option<Arc<LoadedModel>>, String> {
        // A file system that does not answer holds a reload for ever; the next one must not wait behind it.
        let Ok(_reading) = self.reading.try_lock() else {
            return Err(format!("{}: an earlier reload is still reading it", self.directory.display()));
        };
        let old = self.current();
        if old.is_none() && !unloaded {
            return Ok(None);
        }
        // A fault in the loader must cost the reload, never the server.
        let load = || -> Result<Option<LoadedModel>> {
            // Read once without keeping it: what is served already need not lie in memory twice.
            if let Some(old) = &old
                && version(&OpenDirectory::open(&self.directory)?)? == old.version
            {
                return Ok(None);
            }
            memory::check_room(&self.directory)?;
            LoadedModel::load(&self.directory, Some(&self.name), self.drift_window, self.precision).map(Some)
        };
        let loaded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(load))
            .unwrap_or_else(|_| Err(Error::invalid(&self.directory, "loading it panicked")));
        match loaded.map_err(|error| error.to_string())? {
            Some(new) if !new.self_test.passed => Err(new.self_test.reason(&self.directory)),
            Some(new) if old.is_some_and(|old| new.version == old.version) => Ok(None),
            Some(new) => {
                let new = Arc::new(new);
                self.current.store(Some(new.clone()));
                Ok(Some(new))
            }
            None => Ok(None),
        }
    }

    /// What the directory looks like from outside, without reading the files.
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.directory)
    }
}

impl LoadedModel {
    /// Cuts `text` into ids, in at most `max_windows` windows.
    ///
    /// # Errors
    /// As [`Predictor::encode`]; [`Error::TooLong`] also where there would be more windows.
    pub fn encode(&self, text: &str, truncate: Truncate, max_windows: usize) -> Result<Encoding> {
        let encoding = self.predictor.encode(text, truncate)?;
        if encoding.windows.len() > max_windows {
            // Windows overlap by half, and each has a start token of its own.
            let stride = (self.predictor.config().max_length.saturating_sub(1) / 2).max(1);
            return Err(Error::TooLong { tokens: encoding.tokens, max_length: (max_windows + 1) * stride });
        }
        Ok(encoding)
    }

    /// Whether this is the version asked for, if one is.
    ///
    /// # Errors
    /// 404, naming the version that is there.
    pub fn check_version(&self, version: Option<&str>) -> Result<(), Problem> {
        match version {
            Some(other) if other != self.version && other != ANY_VERSION => {
                let detail = format!("model `{}` has version `{}` now, no other", self.name, self.version);
                Err(Problem::new(ProblemKind::UnknownModel, detail))
            }
            _ => Ok(()),
        }
    }

    /// Whether it may answer.
    ///
    /// # Errors
    /// 503 where it failed its self-test.
    pub fn check_ready(&self) -> Result<(), Problem> {
        if self.self_test.passed {
            return Ok(());
        }
        let detail = format!("model `{}` failed its self-test; see /info", self.name);
        Err(Problem::new(ProblemKind::NotReady, detail))
    }

    /// Loads `directory`, from files that lay there together.
    fn load(
        directory: &Path,
        name: Option<&str>,
        drift_window: u64,
        precision: Option<RecurrentPrecision>,
    ) -> Result<Self> {
        let load = || {
            OpenDirectory::read_whole(directory, |opened| {
                Self::load_opened(opened, name, drift_window, precision)
            })
        };
        // On a thread of its own: what a thread has allocated the allocator gives back when others free it after its end, and
        // the threads of a pool do not end.
        std::thread::scope(|scope| scope.spawn(load).join().unwrap_or_else(|panic| resume_unwind(panic)))
    }

    fn load_opened(
        opened: &OpenDirectory,
        name: Option<&str>,
        drift_window: u64,
        precision: Option<RecurrentPrecision>,
    ) -> Result<Self> {
        let directory = opened.path();
        // The digest of all files takes a tenth as long as everything else here, and needs no memory.
        let (tried, version) = std::thread::scope(|scope| {
            let version = scope.spawn(|| version(opened));
            let tried = Self::load_and_try(opened, precision);
            (tried, version.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        let (predictor, self_test) = tried?;
        let name = name.unwrap_or(predictor.name());
        check_model_name(name)
            .map_err(|reason| Error::setting("--model", reason + "; give it one: NAME=DIR"))?;
        let baseline: Option<Baseline> = opened.companion(BASELINE_FILE)?;
        let drift = baseline.map(|baseline| Drift::new(baseline, drift_window)).transpose();
        let drift = drift.map_err(|reason| Error::invalid(directory.join(BASELINE_FILE), reason))?;
        Ok(Self {
            name: name.into(),
            version: version?,
            cost: Cost::measure(&predictor),
            self_test,
            drift,
            training: opened.companion(TRAINING_FILE)?,
            loaded_at: SystemTime::now(),
            fingerprint: opened.fingerprint().clone(),
            predictor,
        })
    }

    /// The model in the directory `opened`, and how its golden reviews come out.
    fn load_and_try(
        opened: &OpenDirectory,
        precision: Option<RecurrentPrecision>,
    ) -> Result<(Predictor, SelfTest)> {
        let predictor = Predictor::load_opened(opened, precision)?;
        let mut golden: Option<Golden> = opened.companion(GOLDEN_FILE)?;
        let int8 = predictor.config().recurrent_precision == RecurrentPrecision::Int8;
        let other_arithmetic = |golden: &Golden| int8 && golden.arithmetic.unwrap_or(1) != INT8_ARITHMETIC;
        if let Some(golden) = golden.as_mut().filter(|golden| precision.is_some() || other_arithmetic(golden))
        {
            // What is on record was answered in the model's own precision, by the server of its day.
            golden.tolerance = golden.tolerance.max(OTHER_PRECISION_TOLERANCE);
        }
        let self_test = SelfTest::run(&predictor, golden.as_ref(), opened.path())?;
        Ok((predictor, self_test))
    }
}

impl SelfTest {
    /// Scores the golden reviews, or the probe where there are none.
    fn run(predictor: &Predictor, golden: Option<&Golden>, directory: &Path) -> Result<Self> {
        let path = directory.join(GOLDEN_FILE);
        let Some(golden) = golden else {
            let probability = predictor.predict(PROBE)?.probability;
            return Ok(Self { passed: (0.0..=1.0).contains(&probability), ..Self::default() });
        };
        let mut test = Self {
            passed: true,
            reviews: golden.reviews.len(),
            max_difference: 0.0,
            tolerance: golden.tolerance,
        };
        for (index, review) in golden.reviews.iter().enumerate() {
            let prediction = predictor
                .predict(&review.text)
                .map_err(|error| Error::invalid(&path, format!("reviews[{index}]: {error}")))?;
            let difference = (prediction.probability - review.probability).abs();
            // Written so that a difference that is not a number fails.
            test.passed &= difference <= golden.tolerance;
            test.max_difference = test.max_difference.max(difference);
        }
        Ok(test)
    }

    /// Why it failed, in words.
    pub fn reason(&self, directory: &Path) -> String {
        format!(
            "{}: self-test failed: a golden review differs by {}, allowed is {}",
            directory.display(),
            self.max_difference,
            self.tolerance
        )
    }
}

/// The served models; the first is the default.
#[derive(Debug)]
pub struct Models {
    slots: Vec<ModelSlot>,
}

impl Models {
    /// Loads every model that `settings` name.
    ///
    /// # Errors
    /// As [`Predictor::load`], for a companion file that cannot be read, or where two models have one name.
    pub fn load(settings: &Settings) -> Result<Self> {
        let mut slots: Vec<ModelSlot> = Vec::new();
        for source in settings.model_sources()? {
            let slot = ModelSlot::load(&source, settings)?;
            if slots.iter().any(|other| other.name == slot.name) {
                let reason = format!("two models are called `{}`; name them apart: NAME=DIR", slot.name);
                return Err(Error::setting("--model", reason));
            }
            slots.push(slot);
        }
        Ok(Self { slots })
    }

    /// The model called `name`, or the default where no name is given.
    pub fn get(&self, name: Option<&str>) -> Option<&ModelSlot> {
        match name {
            None => self.slots.first(),
            Some(name) => self.slots.iter().find(|slot| &*slot.name == name),
        }
    }

    /// All of them, the default first.
    pub fn iter(&self) -> std::slice::Iter<'_, ModelSlot> {
        self.slots.iter()
    }

    /// The names, for a message.
    pub fn names(&self) -> String {
        self.slots.iter().map(|slot| &*slot.name).collect::<Vec<_>>().join(", ")
    }
}

/// Seconds since 1970.
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The first 12 hex digits of the digest over a directory's files.
fn version(opened: &OpenDirectory) -> Result<String> {
    let mut version = opened.sha256()?;
    version.truncate(12);
    Ok(version)
}
