//! What the service counts of each route.

use std::time::Duration;

use axum::http::Method;

use super::exposition::{Counter, Exposition, Histogram};
use super::telemetry::SECONDS;

/// The statuses that the service gives; all others are counted together.
const STATUSES: [u16; 15] =
    [200, 204, 400, 401, 403, 404, 405, 406, 408, 413, 415, 422, CLIENT_GONE, 500, 503];
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

/// A route as its description tells of it.
#[derive(Debug)]
pub struct DescribedRoute {
    /// The path's template.
    pub path: String,
    /// What of it is answered without a key.
    pub open: Open,
    /// The statuses that it may give.
    pub statuses: Vec<u16>,
}

/// The figures of one route.
#[derive(Debug)]
pub struct RouteSeries {
    /// The path's template.
    pub path: String,
    open: Open,
    /// Statuses whose series stand there from the start, so that their first one is seen as an increase; others come up
    /// when they happen.
    expected: Vec<u16>,
    requests: [Counter; STATUSES.len() + 1],
    duration: Histogram,
}

impl RouteSeries {
    fn new(route: DescribedRoute) -> Self {
        let DescribedRoute { path, open, statuses } = route;
        Self {
            path,
            open,
            expected: statuses,
            requests: Default::default(),
            duration: Histogram::new(&SECONDS),
        }
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
    /// These routes; with `keys` a key is asked for.
    pub fn new(routes: impl IntoIterator<Item = DescribedRoute>, keys: bool) -> Self {
        const UNAUTHORIZED: u16 = 401;
        let series = |mut route: DescribedRoute| {
            // What rates and alerts are made of; faults of clients come up when they happen.
            route.statuses.retain(|status| match *status {
                UNAUTHORIZED => keys,
                status => !(300..500).contains(&status),
            });
            RouteSeries::new(route)
        };
        let other = DescribedRoute { path: OTHER.into(), open: Open::default(), statuses: vec![404] };
        Self { known: routes.into_iter().map(series).collect(), other: RouteSeries::new(other) }
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
        let statuses = STATUSES.iter().map(|status| Some(*status)).chain([None]);
        for route in all() {
            for (status, counter) in statuses.clone().zip(&route.requests) {
                if counter.get() > 0 || status.is_some_and(|status| route.expected.contains(&status)) {
                    let status = status.map_or(OTHER.to_string(), |status| status.to_string());
                    samples.sample(&[("route", &route.path), ("status", &status)], counter.get());
                }
            }
        }
        let mut samples = text.metric(
            "imdb_sentiment_http_request_duration_seconds",
            "histogram",
            "From a request's header to its answer.",
        );
        for route in all().filter(|route| route.duration.count() > 0) {
            samples.histogram(&[("route", &route.path)], &route.duration);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(keys: bool, asked: &[(&str, u16)]) -> String {
        let route = |path: &str, statuses: &[u16]| DescribedRoute {
            path: path.into(),
            open: Open::default(),
            statuses: statuses.into(),
        };
        let routes = Routes::new([route("/predict", &[200, 401, 503]), route("/health", &[200, 503])], keys);
        for (path, status) in asked {
            routes.get(Some(path)).count(*status, Duration::from_millis(1));
        }
        let mut text = Exposition::default();
        routes.write(&mut text);
        text.finish()
    }

    #[test]
    fn series_stand_there_as_they_can_happen() {
        let count = |text: &str, what: &str| text.lines().filter(|line| line.starts_with(what)).count();
        let (requests, duration) =
            ("imdb_sentiment_http_requests_total{", "imdb_sentiment_http_request_duration");
        let quiet = page(false, &[]);
        assert_eq!((count(&quiet, requests), count(&quiet, duration)), (5, 0), "{quiet}");
        assert_eq!(count(&page(true, &[]), requests), 6);
        let asked = page(false, &[("/predict", 422), ("/predict", 777), ("/nowhere", 405)]);
        for line in [
            r#"imdb_sentiment_http_requests_total{route="/predict",status="422"} 1"#,
            r#"imdb_sentiment_http_requests_total{route="/predict",status="other"} 1"#,
            r#"imdb_sentiment_http_requests_total{route="other",status="405"} 1"#,
            r#"imdb_sentiment_http_request_duration_seconds_count{route="/predict"} 2"#,
        ] {
            assert!(asked.lines().any(|found| found == line), "{line}: {asked}");
        }
        assert_eq!(count(&asked, requests), 8);
    }
}
