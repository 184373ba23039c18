//! The HTTP service: axum in front of [`crate::predict`], within limits, with figures and without surprises.
//!
//! | room or file | what is in it |
//! |---|---|
//! | `run`, `settings`, `healthcheck` | from the command line to a running server; asking one whether it is well |
//! | `environment`, `memory` | what platforms leave in the environment; the memory that the system grants |
//! | `listener`, `socket_file` | where it listens: a TCP port, or a Unix socket and its file |
//! | `connection`, `activity`, `slots`, `streams` | sockets and their time-outs; what they ask for; places for them; where streams run |
//! | `forwarded` | the client's address where proxies stand in front |
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

mod activity;
mod api;
mod app;
mod budget;
mod compute;
mod connection;
pub mod environment;
mod forwarded;
mod healthcheck;
mod http;
mod listener;
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
#[cfg(unix)]
mod socket_file;
mod streams;

pub use self::api::{description, openapi_yaml};
pub use self::app::{App, AppState};
pub use self::connection::serve;
pub use self::forwarded::TrustedProxy;
pub use self::healthcheck::{Target, healthcheck};
pub use self::listener::Listener;
pub use self::observe::logging::fatal;
pub use self::problem::PROBLEM_JSON;
pub use self::router::router;
pub use self::run::run;
pub use self::settings::{LogFormat, ModelSource, Settings};
