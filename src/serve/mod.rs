//! The HTTP service: axum in front of [`crate::predict`], within limits, with figures and without surprises.
//!
//! | room or file | what is in it |
//! |---|---|
//! | `run`, `settings`, `healthcheck` | from the command line to a running server; asking one whether it is well |
//! | `environment`, `memory` | what platforms leave in the environment; the memory that the system grants |
//! | `connection`, `slots` | sockets and their time-outs; places for them |
//! | `router`, `middleware` | the routes; what happens around every request |
//! | `budget` | one budget for all that is held for clients |
//! | `app`, `reload` | the state that they share, and taking up what changed on disk |
//! | `problem`, `named` | every error as an RFC 9457 answer; closed sets, the text of each member written once |
//! | `api/` | one file or folder for each protocol; health, figures, description |
//! | `compute/` | where and when a text is computed: the one core behind every protocol |
//! | `models/` | what is served: loading, self-test, swap, cost, drift |
//! | `http/` | parts of HTTP: bodies, JSON, keys, TLS, trace ids |
//! | `observe/` | what the service counts and logs: metrics, spans, log lines |
//!
//! `api` uses all other rooms; `compute` uses `models`, `observe` and `problem`; nothing in a room names `App` but `api`.

mod api;
mod app;
mod budget;
mod compute;
mod connection;
pub mod environment;
mod healthcheck;
mod http;
mod memory;
mod middleware;
mod models;
mod named;
mod observe;
mod problem;
mod reload;
mod router;
mod run;
mod settings;
mod slots;

pub use self::api::{description, openapi_yaml};
pub use self::app::{App, AppState};
pub use self::connection::serve;
pub use self::healthcheck::{Target, healthcheck};
pub use self::problem::PROBLEM_JSON;
pub use self::router::router;
pub use self::run::run;
pub use self::settings::{ModelSource, Settings};
