//! What the service counts of each route.

use std::time::Duration;

use axum::http::Method;

use super::exposition::{Counter, Exposition, Histogram};
use super::telemetry::SECONDS;

/// The statuses that the service gives; all others are counted together.
const STATUSES: [u16; 13] = [200, 204, 400, 401, 404, 405, 408, 413, 415, 422, CLIENT_GONE, 500, 503];
/// What is counted for a client that left before its answer.
pub const CLIENT_GONE: u16 = 499;
/// What stands for every path, and every status, that is not ours.
const OTHER: &str = "other";

/// What of a path is answered without a key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open {
    /// To GET and HEAD.
    pub get: bool,
    /// To other methods.
    pub others: bool,
}

/// The figures of one route.
#[derive(Debug)]
pub struct RouteSeries {
    /// The path's template.
    pub path: String,
    open: Open,
    requests: [Counter; STATUSES.len() + 1],
    duration: Histogram,
}

impl RouteSeries {
    fn new(path: String, open: Open) -> Self {
        Self { path, open, requests: Default::default(), duration: Histogram::new(&SECONDS) }
    }

    /// Whether a request by `method` is answered without a key.
    pub fn is_open(&self, method: &Method) -> bool {
        if method == Method::GET || method == Method::HEAD { self.open.get } else { self.open.others }
    }

    /// Counts one request, answered with `status` after `duration`.
    pub fn count(&self, status: u16, duration: Duration) {
        let at = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len());
        self.requests[at].inc();
        self.duration.observe_duration(duration);
    }
}

/// Every route of the router, and one that stands for all other paths.
#[derive(Debug)]
pub struct Routes {
    known: Vec<RouteSeries>,
    other: RouteSeries,
}

impl Routes {
    /// The routes with these path templates, each with what of it is answered without a key.
    pub fn new(paths: impl IntoIterator<Item = (String, Open)>) -> Self {
        let known = paths.into_iter().map(|(path, open)| RouteSeries::new(path, open)).collect();
        Self { known, other: RouteSeries::new(OTHER.into(), Open::default()) }
    }

    /// The route whose template is `path`; where there is none, the one that stands for all others.
    pub fn get(&self, path: Option<&str>) -> &RouteSeries {
        path.and_then(|path| self.known.iter().find(|route| route.path == path)).unwrap_or(&self.other)
    }

    /// Writes everything that is counted of the routes.
    pub fn write(&self, text: &mut Exposition) {
        let all = || self.known.iter().chain([&self.other]);
        let mut samples =
            text.metric("imdb_sentiment_http_requests_total", "counter", "Requests by route and status.");
        let statuses: Vec<String> = STATUSES.iter().map(u16::to_string).chain([OTHER.to_string()]).collect();
        for route in all() {
            for (status, counter) in statuses.iter().zip(&route.requests) {
                samples.sample(&[("route", &route.path), ("status", status)], counter.get());
            }
        }
        let mut samples = text.metric(
            "imdb_sentiment_http_request_duration_seconds",
            "histogram",
            "From a request's header to its answer.",
        );
        for route in all() {
            samples.histogram(&[("route", &route.path)], &route.duration);
        }
    }
}
