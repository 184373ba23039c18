//! The HTTP service: axum in front of [`crate::predict`], within limits, with figures and without surprises.
//!
//! | file | what is in it |
//! |---|---|
//! | `settings`, `logging`, `throttle` | flags and environment; log lines, and fewer of them |
//! | `connection`, `untaken`, `tls`, `body` | from socket to bytes: limits of number, time and size |
//! | `middleware`, `access`, `trace`, `spans`, `problem` | around every request: keys, ids, counts, spans; errors |
//! | `predict`, `huggingface`, `v2`, `tensors`, `json` | the protocols |
//! | `score`, `pool`, `task`, `cost`, `shadow` | the one core behind them: where and when a text is computed |
//! | `models`, `reload`, `drift` | what is served, and how it is swapped and watched |
//! | `status`, `telemetry`, `metrics`, `process`, `openapi`, `healthcheck` | what the service says of itself |

mod access;
mod body;
mod connection;
mod cost;
mod drift;
mod healthcheck;
mod huggingface;
mod json;
mod logging;
mod metrics;
mod middleware;
mod models;
mod openapi;
mod pool;
mod predict;
mod problem;
mod process;
mod reload;
mod run;
mod score;
mod settings;
mod shadow;
#[cfg(feature = "otlp")]
mod spans;
mod status;
mod task;
mod telemetry;
mod tensors;
mod throttle;
mod tls;
mod trace;
mod untaken;
mod v2;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use axum::Router;
use axum::routing::{get, post};
use tokio::sync::Semaphore;
use tower_http::cors::CorsLayer;

pub use self::connection::serve;
pub use self::healthcheck::healthcheck;
pub use self::models::{Models, Reload, SelfTest, Slot};
pub use self::openapi::{Description, yaml as openapi_yaml};
pub use self::problem::PROBLEM_JSON;
pub use self::reload::reload_all;
pub use self::run::run;
pub use self::settings::{LogFormat, ModelSource, Secret, Settings};
pub use self::telemetry::ROUTES;

use self::access::Keys;
use self::pool::Pool;
use self::problem::{Kind, Problem};
use self::shadow::Shadow;
#[cfg(feature = "otlp")]
use self::spans::Spans;
use self::telemetry::Telemetry;
use self::throttle::Throttle;
use self::tls::Tls;
use crate::error::{Error, Result};

/// What every handler shares.
pub type AppState = Arc<App>;

/// The service's state: settings, models, compute threads, figures.
#[derive(Debug)]
pub struct App {
    settings: Settings,
    models: Models,
    pool: Pool,
    telemetry: Arc<Telemetry>,
    keys: Keys,
    cors: Option<CorsLayer>,
    tls: Option<Tls>,
    shadow: Shadow,
    #[cfg(feature = "otlp")]
    spans: Option<Spans>,
    /// Log lines of refused requests.
    refusals: Throttle,
    /// Room for bodies being read, in units of `body::PERMIT_BYTES`.
    buffered: Arc<Semaphore>,
    draining: AtomicBool,
    started: Instant,
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
            cors: access::cors(&settings)?,
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

    fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    fn is_ready(&self) -> bool {
        !self.is_draining() && self.models.passed()
    }

    /// The model called `name`, or the default one; 404 where there is none.
    fn slot(&self, name: Option<&str>) -> Result<&Slot, Problem> {
        self.models.get(name).ok_or_else(|| {
            // The name given is not repeated: it may be anything, and long.
            Problem::new(
                Kind::UnknownModel,
                format!("no model of that name; there are: {}", self.models.names()),
            )
        })
    }
}

/// The routes over `app`, with everything around them.
pub fn router(app: AppState) -> Router {
    let router = Router::new()
        .route("/predict", post(predict::predict))
        .route("/", post(huggingface::default_model))
        .route("/models/{model}", post(huggingface::named_model))
        .route("/health", get(status::health))
        .route("/health/live", get(status::live))
        .route("/health/ready", get(status::ready))
        .route("/info", get(status::info))
        .route("/metrics", get(status::metrics))
        .route("/openapi.yaml", get(status::openapi))
        .route("/v2", get(v2::server))
        .route("/v2/health/live", get(v2::live))
        .route("/v2/health/ready", get(v2::ready))
        .route("/v2/models/{model}", get(v2::model))
        .route("/v2/models/{model}/ready", get(v2::model_ready))
        .route("/v2/models/{model}/infer", post(v2::infer))
        .route("/v2/models/{model}/versions/{version}", get(v2::model_version))
        .route("/v2/models/{model}/versions/{version}/ready", get(v2::model_version_ready))
        .route("/v2/models/{model}/versions/{version}/infer", post(v2::infer_version))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(app.clone(), middleware::around));
    let router = match app.cors.clone() {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.with_state(app)
}

async fn not_found() -> Problem {
    Problem::new(Kind::NotFound, "no such path; /openapi.yaml describes those that there are")
}

async fn method_not_allowed() -> Problem {
    Problem::new(Kind::MethodNotAllowed, "this path has no such method; `Allow` names those that it has")
}
