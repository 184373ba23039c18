//! The service's state: everything that handlers, connections and signals share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use tokio::sync::Semaphore;
use tower_http::cors::CorsLayer;

use super::compute::pool::Pool;
use super::compute::shadow::Shadow;
use super::http::auth::{self, Keys};
use super::http::body;
use super::http::tls::Tls;
use super::models::{Models, Slot};
#[cfg(feature = "otlp")]
use super::observe::spans::Spans;
use super::observe::telemetry::Telemetry;
use super::observe::throttle::Throttle;
use super::problem::{Kind, Problem};
use super::settings::Settings;
use crate::error::{Error, Result};

/// What every handler shares.
pub type AppState = Arc<App>;

/// The service's state: settings, models, compute threads, figures.
#[derive(Debug)]
pub struct App {
    pub(super) settings: Settings,
    pub(super) models: Models,
    pub(super) pool: Pool,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) keys: Keys,
    pub(super) cors: Option<CorsLayer>,
    pub(super) tls: Option<Tls>,
    pub(super) shadow: Shadow,
    #[cfg(feature = "otlp")]
    pub(super) spans: Option<Spans>,
    /// Log lines of refused requests.
    pub(super) refusals: Throttle,
    /// Room for bodies being read, in units of `body::PERMIT_BYTES`.
    pub(super) buffered: Arc<Semaphore>,
    pub(super) draining: AtomicBool,
    pub(super) started: Instant,
}

impl App {
    /// Loads the models and everything else that `settings` name, and starts the compute threads.
    ///
    /// # Errors
    /// [`Error::Setting`] for settings that do not fit; otherwise as [`Models::load`].
    pub fn new(settings: Settings) -> Result<AppState> {
        settings.check()?;
        let telemetry = Arc::new(Telemetry::default());
        let keys = Keys::load(&settings)?;
        let models = Models::load(&settings)?;
        if let Some(name) = &settings.shadow {
            let default = models.get(None).map(|slot| &*slot.name);
            if models.get(Some(name)).is_none() || default == Some(name) {
                let reason = format!("`{name}` is not one of the other models: {}", models.names());
                return Err(Error::setting("--shadow", reason));
            }
        }
        let threads = Settings::threads(settings.compute_threads);
        let pool = Pool::start(threads, settings.max_pending_reviews, telemetry.clone())
            .map_err(|e| Error::setting("--compute-threads", e.to_string()))?;
        Ok(Arc::new(Self {
            models,
            pool,
            telemetry,
            keys,
            cors: auth::cors(&settings)?,
            tls: Tls::load(&settings)?,
            shadow: Shadow::new(settings.shadow.clone(), settings.shadow_share),
            #[cfg(feature = "otlp")]
            spans: Spans::start(&settings)?,
            refusals: Throttle::default(),
            buffered: Arc::new(Semaphore::new(settings.max_buffered_bytes / body::PERMIT_BYTES)),
            draining: AtomicBool::new(false),
            started: Instant::now(),
            settings,
        }))
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The models.
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// Turns readiness off for good: the server is about to stop.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    pub(super) fn is_ready(&self) -> bool {
        !self.is_draining() && self.models.passed()
    }

    /// The model called `name`, or the default one; 404 where there is none.
    pub(super) fn slot(&self, name: Option<&str>) -> Result<&Slot, Problem> {
        self.models.get(name).ok_or_else(|| {
            // The name given is not repeated: it may be anything, and long.
            Problem::new(
                Kind::UnknownModel,
                format!("no model of that name; there are: {}", self.models.names()),
            )
        })
    }
}
