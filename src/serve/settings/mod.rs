//! The service's settings: one field gives flag, environment variable, help text and check.
//!
//! | file | what is in it |
//! |---|---|
//! | `values` | what a setting may be: durations, shares, keys, names of models |

mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::forwarded::TrustedProxy;
use crate::error::{Error, Result};
use crate::model::RecurrentPrecision;

pub use values::{ModelSource, Secret, check_model_name};
use values::{abstain, duration, duration_or_zero, port, positive, share, threads};

/// Where the shipped models are looked for when none is named, best first; relative to the working directory.
pub const DEFAULT_MODELS: [&str; 2] = ["models/imdb", "models/keras-imdb"];

/// Bytes in which what is held is counted.
pub const PERMIT_BYTES: usize = 1024;

/// The folder of the shipped models, which may itself be a model directory: in a container, one is mounted there.
const MOUNTED_MODEL: &str = "models";

/// Everything that can be set, with its default.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Address or host name to listen on
    #[arg(long, env = "IMDB_SENTIMENT_HOST", default_value = "127.0.0.1")]
    pub host: String,

    /// Port to listen on; 0 lets the system pick one, which is printed
    #[arg(long, env = "IMDB_SENTIMENT_PORT", default_value_t = 3000, value_parser = port)]
    pub port: u16,

    /// Unix socket to listen on in place of host and port; the file that a dead server left there is replaced, any other not
    #[arg(long, env = "IMDB_SENTIMENT_UDS", value_name = "PATH")]
    pub uds: Option<PathBuf>,

    /// Model directory, as DIR or NAME=DIR; may be given more than once (comma-separated in the environment), the
    /// first is the default. Without it: models/imdb if it exists, else models/keras-imdb, in the working directory
    #[arg(long = "model", env = "IMDB_SENTIMENT_MODEL", value_name = "[NAME=]DIR", value_delimiter = ',')]
    pub models: Vec<ModelSource>,

    /// Take up a changed model directory by itself (SIGHUP does so at any time)
    #[arg(long, env = "IMDB_SENTIMENT_WATCH")]
    pub watch: bool,

    /// How often --watch looks
    #[arg(long, env = "IMDB_SENTIMENT_WATCH_INTERVAL", default_value = "2s", value_parser = duration)]
    pub watch_interval: Duration,

    /// Name of a second loaded model that scores a share of the default model's traffic as well, for comparison only
    #[arg(long, env = "IMDB_SENTIMENT_SHADOW", value_name = "NAME")]
    pub shadow: Option<String>,

    /// Share of requests that the shadow model sees too, 0 to 1
    #[arg(long, env = "IMDB_SENTIMENT_SHADOW_SHARE", default_value_t = 0.1, value_parser = share)]
    pub shadow_share: f64,

    /// Numbers in which the recurrence of every model computes: `f32`, the exact path, or `int8`; as `config.json` says where none is named
    #[arg(long, env = "IMDB_SENTIMENT_RECURRENT_PRECISION", value_name = "PRECISION")]
    pub recurrent_precision: Option<RecurrentPrecision>,

    /// Answer `uncertain` where the score is below this (0.5 to 1) and the request says nothing of its own; not where
    /// Hugging Face's, vLLM's or text-embeddings-inference's clients ask, who know no such label
    #[arg(long, env = "IMDB_SENTIMENT_ABSTAIN", value_parser = abstain)]
    pub abstain: Option<f32>,

    /// Largest request body in bytes; 413 above
    #[arg(long, env = "IMDB_SENTIMENT_MAX_BODY_BYTES", default_value_t = 2 * 1024 * 1024, value_parser = positive)]
    pub max_body_bytes: usize,

    /// Most texts in one request; 413 above
    #[arg(long, env = "IMDB_SENTIMENT_MAX_TEXTS", default_value_t = 1024, value_parser = positive)]
    pub max_texts: usize,

    /// Most windows in which one text is read (`"truncate": "windows"`); 422 above
    #[arg(long, env = "IMDB_SENTIMENT_MAX_WINDOWS", default_value_t = 256, value_parser = positive)]
    pub max_windows: usize,

    /// Most reviews waiting for or in work on the compute threads; 503 above. At least --max-texts
    #[arg(long, env = "IMDB_SENTIMENT_MAX_PENDING_REVIEWS", default_value_t = 2048, value_parser = positive)]
    pub max_pending_reviews: usize,

    /// Most bytes held at once for all clients together: bodies, texts, ids, open requests, answers not yet taken; 503
    /// above. At least twice --max-body-bytes. Each connection may hold 16 KiB beside it
    #[arg(long, env = "IMDB_SENTIMENT_MAX_BUFFERED_BYTES", default_value_t = 48 * 1024 * 1024, value_parser = positive)]
    pub max_buffered_bytes: usize,

    /// Most open connections; for a further one the longest idle one is closed
    #[arg(long, env = "IMDB_SENTIMENT_MAX_CONNECTIONS", default_value_t = 1024, value_parser = positive)]
    pub max_connections: usize,

    /// Most open connections from one address; 0 sets no limit of its own (behind a proxy all have its address)
    #[arg(long, env = "IMDB_SENTIMENT_MAX_CONNECTIONS_PER_PEER", default_value_t = 0)]
    pub max_connections_per_peer: usize,

    /// Address and port of a second listener for health checks alone, with places of its own, such as 127.0.0.1:3001
    #[arg(long, env = "IMDB_SENTIMENT_HEALTH_ADDRESS", value_name = "HOST:PORT")]
    pub health_address: Option<String>,

    /// Address and port of a second listener for /metrics and health checks, with places of its own
    #[arg(long, env = "IMDB_SENTIMENT_METRICS_ADDRESS", value_name = "HOST:PORT")]
    pub metrics_address: Option<String>,

    /// Most requests in flight on one HTTP/2 connection
    #[arg(long, env = "IMDB_SENTIMENT_MAX_STREAMS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_streams: u32,

    /// Time for a request's header to arrive, and for a new connection to ask for something; closed after
    #[arg(long, env = "IMDB_SENTIMENT_HEADER_TIMEOUT", default_value = "30s", value_parser = duration)]
    pub header_timeout: Duration,

    /// Time from an answer to the next request, after which the connection is closed, and from one piece of a stream to the next; longer than the proxy's own in front, so that no request meets a closing connection
    #[arg(long, env = "IMDB_SENTIMENT_IDLE_TIMEOUT", default_value = "75s", value_parser = duration)]
    pub idle_timeout: Duration,

    /// Time for a request's body to arrive; 408 after
    #[arg(long, env = "IMDB_SENTIMENT_BODY_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub body_timeout: Duration,

    /// Time for a client to take a whole answer, after which its connection is closed
    #[arg(long, env = "IMDB_SENTIMENT_WRITE_TIMEOUT", default_value = "30s", value_parser = duration)]
    pub write_timeout: Duration,

    /// Time for a request to be answered once its body is there; 503 after
    #[arg(long, env = "IMDB_SENTIMENT_REQUEST_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub request_timeout: Duration,

    /// Seconds that an overloaded server asks clients to wait (`Retry-After`)
    #[arg(long, env = "IMDB_SENTIMENT_RETRY_AFTER_SECONDS", default_value_t = 1)]
    pub retry_after_seconds: u32,

    /// Threads that compute what costs more than --inline-budget; 0 takes one per core
    #[arg(long, env = "IMDB_SENTIMENT_COMPUTE_THREADS", default_value_t = 0, value_parser = threads)]
    pub compute_threads: usize,

    /// Threads that speak HTTP; 0 takes one per core
    #[arg(long, env = "IMDB_SENTIMENT_HTTP_THREADS", default_value_t = 0, value_parser = threads)]
    pub http_threads: usize,

    /// What a request may cost, by the model's measured speed, to be computed where it was read; above, it goes to
    /// the compute threads
    #[arg(long, env = "IMDB_SENTIMENT_INLINE_BUDGET", default_value = "100us", value_parser = duration_or_zero)]
    pub inline_budget: Duration,

    /// Reviews over which live traffic is compared with the model's baseline (the last one to two times as many)
    #[arg(long, env = "IMDB_SENTIMENT_DRIFT_WINDOW", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(10..))]
    pub drift_window: u64,

    /// Time after SIGTERM or Ctrl-C in which new connections are still served while readiness is off
    #[arg(long, env = "IMDB_SENTIMENT_SHUTDOWN_DELAY", default_value = "0s", value_parser = duration_or_zero)]
    pub shutdown_delay: Duration,

    /// Time in which accepted requests may finish at shutdown; a stream ends after half of it at most
    #[arg(long, env = "IMDB_SENTIMENT_SHUTDOWN_GRACE", default_value = "10s", value_parser = duration_or_zero)]
    pub shutdown_grace: Duration,

    /// API keys, comma-separated, one of which every request must bear but for health checks, the page and /docs (`Authorization: Bearer KEY`)
    #[arg(
        long = "api-key",
        env = "IMDB_SENTIMENT_API_KEYS",
        value_name = "KEY",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub api_keys: Vec<Secret>,

    /// File of further API keys, one a line, a line that starts with # is a comment; read again on SIGHUP
    #[arg(long, env = "IMDB_SENTIMENT_API_KEYS_FILE", value_name = "FILE")]
    pub api_keys_file: Option<PathBuf>,

    /// Proxies whose `X-Forwarded-For` is believed, as addresses, networks or `unix` (whoever asks through --uds), comma-separated; the log names the client behind them
    #[arg(
        long = "trusted-proxy",
        env = "IMDB_SENTIMENT_TRUSTED_PROXIES",
        value_name = "NETWORK",
        value_delimiter = ','
    )]
    pub trusted_proxies: Vec<TrustedProxy>,

    /// Let clients of the Open Inference Protocol load and unload models (/v2/repository) where there are no API keys;
    /// with keys, who has one may
    #[arg(long, env = "IMDB_SENTIMENT_REPOSITORY_CONTROL")]
    pub repository_control: bool,

    /// Web origin that may call from a browser, such as `https://example.org`; may be given more than once. None by default
    #[arg(
        long = "cors-origin",
        env = "IMDB_SENTIMENT_CORS_ORIGINS",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub cors_origins: Vec<String>,

    /// Certificate chain (PEM); with --tls-key it turns TLS on. Read again on SIGHUP
    #[arg(long, env = "IMDB_SENTIMENT_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Private key (PEM) of --tls-cert
    #[arg(long, env = "IMDB_SENTIMENT_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// What to log, such as `info` or `info,imdb_sentiment=debug`
    #[arg(long, env = "IMDB_SENTIMENT_LOG", default_value = "info")]
    pub log: String,

    /// Form of the log on standard error; `auto` is text on a terminal and JSON otherwise
    #[arg(long, env = "IMDB_SENTIMENT_LOG_FORMAT", default_value = "auto")]
    pub log_format: LogFormat,

    /// Serve no pages for people, neither `GET /` nor `GET /docs`
    #[arg(long, env = "IMDB_SENTIMENT_NO_PAGE")]
    pub no_page: bool,

    /// Log every request, not only those that failed on the server's side: method, path, client, status, bytes, texts, problem, time (it costs more than a prediction)
    #[arg(long, env = "IMDB_SENTIMENT_LOG_REQUESTS")]
    pub log_requests: bool,

    /// OpenTelemetry collector (OTLP over HTTP) that gets a span of every request, such as `http://127.0.0.1:4318`;
    /// `/v1/traces` is added. None by default
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// The same as a whole address, to which nothing is added; goes before --otlp-endpoint
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value_name = "URL")]
    pub otlp_traces_endpoint: Option<String>,

    /// Name under which the spans are sent, imdb-sentiment where nothing else says it
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "NAME")]
    pub otlp_service_name: Option<String>,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One human-readable line per event.
    Text,
    /// One JSON object per line.
    Json,
}

impl Settings {
    /// The settings that the empty command line gives, the environment left aside.
    pub fn defaults() -> Self {
        use clap::{Args, FromArgMatches};
        let command = Self::augment_args(clap::Command::new("server")).mut_args(|arg| arg.env(None));
        let matches = command.get_matches_from(["server"]);
        Self::from_arg_matches(&matches).expect("every setting has a default")
    }

    /// Checks what only several settings together can get wrong.
    ///
    /// # Errors
    /// [`Error::Setting`] with the reason.
    pub fn check(&self) -> Result<()> {
        if self.max_pending_reviews < self.max_texts {
            let reason = format!("{} is less than --max-texts {}", self.max_pending_reviews, self.max_texts);
            return Err(Error::setting("--max-pending-reviews", reason));
        }
        for key in &self.api_keys {
            key.check().map_err(|reason| Error::setting("--api-key", reason))?;
        }
        // The texts of a large body are held beside it.
        if self.max_buffered_bytes / 2 < self.max_body_bytes {
            let reason = format!(
                "{} is less than twice --max-body-bytes {}",
                self.max_buffered_bytes, self.max_body_bytes
            );
            return Err(Error::setting("--max-buffered-bytes", reason));
        }
        for (name, value) in [
            ("--max-pending-reviews", self.max_pending_reviews),
            ("--max-connections", self.max_connections),
            ("--max-body-bytes", self.max_body_bytes),
            ("--max-buffered-bytes", self.max_buffered_bytes / PERMIT_BYTES),
        ] {
            // What a semaphore can count in one step.
            if value > u32::MAX as usize >> 3 {
                return Err(Error::setting(name, format!("{value} is more than can be counted")));
            }
        }
        Ok(())
    }

    /// The model directories to load: those named, or `models` where it is one, or the first shipped one that exists.
    ///
    /// # Errors
    /// [`Error::Setting`] where none is named and none is here.
    pub fn model_sources(&self) -> Result<Vec<ModelSource>> {
        if !self.models.is_empty() {
            return Ok(self.models.clone());
        }
        // A model of one's own, mounted over the shipped ones.
        if Path::new(MOUNTED_MODEL).join("config.json").is_file() {
            return Ok(vec![ModelSource::directory(MOUNTED_MODEL)]);
        }
        match DEFAULT_MODELS.iter().find(|directory| Path::new(directory).is_dir()) {
            Some(found) => Ok(vec![ModelSource::directory(found)]),
            None => {
                let here = std::env::current_dir().unwrap_or_default();
                let reason = format!(
                    "no model is named, and {} has neither {}; name a model directory: --model DIR or \
                     IMDB_SENTIMENT_MODEL=DIR",
                    here.display(),
                    DEFAULT_MODELS.join(" nor "),
                );
                Err(Error::setting("--model", reason))
            }
        }
    }

    /// `configured` threads, or one per core where that is 0.
    pub fn threads(configured: usize) -> usize {
        if configured > 0 {
            return configured;
        }
        std::thread::available_parallelism().map_or(1, |cores| cores.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_hold_together_and_secrets_stay_secret() {
        let mut settings = Settings::defaults();
        settings.check().unwrap();
        settings.api_keys = vec!["hush".parse().unwrap()];
        assert!(!format!("{settings:?}").contains("hush"));
        settings.max_texts = settings.max_pending_reviews + 1;
        assert!(settings.check().unwrap_err().to_string().contains("--max-texts"));
    }

    /// The README's table, made of what `--help` is made of.
    #[test]
    fn the_readme_lists_every_setting_as_the_help_does() {
        use clap::Args;
        let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
        let head = "| flag | environment | default | meaning |\n|---|---|---|---|\n";
        let table = readme.split_once(head).expect("the table of settings").1;
        let table: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
        let command = Settings::augment_args(clap::Command::new("server"));
        let rows: Vec<String> = command
            .get_arguments()
            .filter_map(|arg| {
                let name = arg.get_long().filter(|name| *name != "help")?;
                let variable = arg.get_env().map_or(String::new(), |name| name.to_string_lossy().into());
                let default: Vec<_> =
                    arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
                let default = match &default[..] {
                    [] => String::new(),
                    [value] if value == "false" => String::new(),
                    values => format!("`{}`", values.join(",")),
                };
                let help = arg.get_help().map_or(String::new(), ToString::to_string);
                Some(format!("| `--{name}` | `{variable}` | {default} | {help} |"))
            })
            .collect();
        assert!(table == rows, "the README's table should be:\n{head}{}\n", rows.join("\n"));
    }
}
