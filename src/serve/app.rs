//! The service's state: everything that handlers, connections and signals share.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Instant;

use axum::body::Bytes;
use tokio::sync::watch;
use tower_http::cors::CorsLayer;

use super::budget::Budget;
use super::compute::score::Scorer;
use super::http::auth::{self, ApiKeys};
use super::http::body::BodyReader;
use super::http::tls::Tls;
use super::models::Models;
use super::observe::page::CachedPage;
use super::observe::routes::Routes;
use super::observe::spans::Spans;
use super::observe::telemetry::Telemetry;
use super::observe::throttle::LogThrottle;
use super::problem::{Problem, ProblemKind};
use super::settings::Settings;
use crate::error::Result;

/// What every handler shares.
pub type AppState = Arc<App>;

/// The service's state: settings, the scorer on its models, figures.
#[derive(Debug)]
pub struct App {
    pub(super) settings: Settings,
    pub(super) scorer: Scorer,
    pub(super) bodies: BodyReader,
    /// Room for all that is held for clients.
    pub(super) budget: Arc<Budget>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) keys: ApiKeys,
    pub(super) cors: Option<CorsLayer>,
    pub(super) tls: Option<Tls>,
    pub(super) spans: Spans,
    /// Log lines of refused requests.
    pub(super) refusals: LogThrottle,
    /// What the router tells of itself, once there is one.
    pub(super) served: OnceLock<Served>,
    pub(super) metrics_page: CachedPage,
    pub(super) info_page: CachedPage,
    draining: AtomicBool,
    /// When streams have to be over, once the server stops.
    streams_end: watch::Sender<Option<tokio::time::Instant>>,
    pub(super) started: Instant,
}

/// What the router tells of itself.
#[derive(Debug)]
pub struct Served {
    /// Its routes and their figures.
    pub routes: Routes,
    /// The text of `openapi.yaml`, once it was asked for: writing it takes a tenth as long as starting.
    pub description: LazyText,
    /// The text of `openapi.json`, likewise.
    pub description_json: LazyText,
}

/// A text that is written when it is first asked for.
pub type LazyText = LazyLock<Bytes, Box<dyn FnOnce() -> Bytes + Send>>;

impl App {
    /// Loads the models and everything else that `settings` name, and starts the compute threads.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for settings that do not fit; otherwise as [`crate::predict::Predictor::load`].
    pub fn new(settings: Settings) -> Result<AppState> {
        settings.check()?;
        let telemetry = Arc::new(Telemetry::default());
        let budget = Arc::new(Budget::new(settings.max_buffered_bytes, telemetry.clone()));
        let keys = ApiKeys::load(&settings)?;
        let models = Models::load(&settings)?;
        Ok(Arc::new(Self {
            scorer: Scorer::new(&settings, models, telemetry.clone())?,
            bodies: BodyReader::new(&settings, budget.clone()),
            budget,
            telemetry,
            keys,
            cors: auth::cors(&settings)?,
            tls: Tls::load(&settings)?,
            spans: Spans::start(&settings)?,
            refusals: LogThrottle::default(),
            served: OnceLock::new(),
            metrics_page: CachedPage::default(),
            info_page: CachedPage::default(),
            draining: AtomicBool::new(false),
            streams_end: watch::Sender::new(None),
            started: Instant::now(),
            settings,
        }))
    }

    /// The models.
    pub(super) fn models(&self) -> &Models {
        self.scorer.models()
    }

    /// Turns readiness off for good: the server is about to stop.
    pub(super) fn drain(&self) {
        self.draining.store(true, Relaxed);
        // The second half of the grace is for the answers to what was read in the first.
        let Settings { shutdown_delay, shutdown_grace, .. } = self.settings;
        self.streams_end
            .send_replace(Some(tokio::time::Instant::now() + shutdown_delay + shutdown_grace / 2));
    }

    /// When streams have to be over: none until the server stops.
    pub(super) fn streams_end(&self) -> watch::Receiver<Option<tokio::time::Instant>> {
        self.streams_end.subscribe()
    }

    /// Whether the server is about to stop.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Whether requests should be sent here.
    ///
    /// # Errors
    /// 503 while the server shuts down, and where a model failed its self-test.
    pub(super) fn readiness(&self) -> Result<(), Problem> {
        self.check_serving()?;
        self.models().iter().filter_map(|slot| slot.current()).try_for_each(|loaded| loaded.check_ready())
    }

    /// Whether the server goes on.
    ///
    /// # Errors
    /// 503 while it shuts down.
    pub(super) fn check_serving(&self) -> Result<(), Problem> {
        if self.is_draining() {
            return Err(Problem::new(ProblemKind::NotReady, "the server is shutting down"));
        }
        Ok(())
    }
}
