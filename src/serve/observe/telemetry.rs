//! What the service counts of itself.

use std::time::Duration;

use super::exposition::{Counter, Exposition, Gauge, Histogram};
use crate::predict::Prediction;
use crate::serve::models::{Models, unix_seconds};

/// The paths that the router knows, as metrics name them; the last stands for every other one.
pub const ROUTES: [&str; 19] = [
    "/predict",
    "/",
    "/models/{model}",
    "/health",
    "/health/live",
    "/health/ready",
    "/info",
    "/metrics",
    "/openapi.yaml",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/{model}",
    "/v2/models/{model}/ready",
    "/v2/models/{model}/infer",
    "/v2/models/{model}/versions/{version}",
    "/v2/models/{model}/versions/{version}/ready",
    "/v2/models/{model}/versions/{version}/infer",
    "other",
];

/// The statuses that the service gives, as metrics name them; `499` is a client that left before its answer.
const STATUSES: [u16; 14] = [200, 400, 401, 404, 405, 408, 413, 415, 422, 499, 500, 503, 204, 0];

/// Bounds in seconds for latencies: a prediction takes microseconds, a deadline seconds.
const SECONDS: [f64; 14] =
    [2e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 2.5, 10.0];
/// Bounds in seconds for parts of a prediction.
const SHORT_SECONDS: [f64; 12] =
    [1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 5e-3, 2.5e-2, 0.1];
const REVIEWS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0];
const TOKENS: [f64; 10] = crate::model::TOKEN_BOUNDS;
const PROBABILITY: [f64; 9] = crate::model::PROBABILITY_BOUNDS;
const DIFFERENCE: [f64; 10] = [1e-4, 1e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0];

/// Labels of predictions.
pub const LABELS: [&str; 3] = ["negative", "positive", "uncertain"];
const RELOAD_OUTCOMES: [&str; 3] = ["swapped", "unchanged", "refused"];

/// The figures of the whole service.
#[derive(Debug)]
pub struct Telemetry {
    requests: [[Counter; STATUSES.len()]; ROUTES.len()],
    duration: [Histogram; ROUTES.len()],
    /// Requests being read, computed or answered.
    pub in_flight: Gauge,
    /// Open connections.
    pub connections: Gauge,
    /// From admission to the first compute thread.
    pub queue_wait: Histogram,
    /// Cutting one request's or slice's texts into ids.
    pub tokenize: Histogram,
    /// Running one request's or slice's ids.
    pub inference: Histogram,
    /// Reviews per request.
    pub request_reviews: Histogram,
    /// Reviews that one compute thread ran together.
    pub batch_reviews: Histogram,
    /// Requests computed where they were read.
    pub placed_inline: Counter,
    /// Requests computed on the compute threads.
    pub placed_queue: Counter,
    /// Turned away because too much was waiting.
    pub shed_overload: Counter,
    /// Given up at their deadline.
    pub shed_deadline: Counter,
    /// Dropped because their client had gone.
    pub shed_client_gone: Counter,
    /// Reviews that the shadow model scored.
    pub shadow_reviews: Counter,
    /// Reviews for the shadow model dropped because the compute threads were busy.
    pub shadow_dropped: Counter,
    /// Reviews whose label the shadow model saw differently.
    pub shadow_disagreements: Counter,
    /// Absolute difference between the two models' probabilities.
    pub shadow_difference: Histogram,
    /// Calls of the settings' reload (SIGHUP): keys and certificate.
    pub config_reload_failures: Counter,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            requests: std::array::from_fn(|_| std::array::from_fn(|_| Counter::default())),
            duration: std::array::from_fn(|_| Histogram::new(&SECONDS)),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            queue_wait: Histogram::new(&SECONDS),
            tokenize: Histogram::new(&SHORT_SECONDS),
            inference: Histogram::new(&SHORT_SECONDS),
            request_reviews: Histogram::new(&REVIEWS),
            batch_reviews: Histogram::new(&REVIEWS),
            placed_inline: Counter::default(),
            placed_queue: Counter::default(),
            shed_overload: Counter::default(),
            shed_deadline: Counter::default(),
            shed_client_gone: Counter::default(),
            shadow_reviews: Counter::default(),
            shadow_dropped: Counter::default(),
            shadow_disagreements: Counter::default(),
            shadow_difference: Histogram::new(&DIFFERENCE),
            config_reload_failures: Counter::default(),
        }
    }
}

/// The figures of one model; they go on over swaps.
#[derive(Debug)]
pub struct ModelSeries {
    labels: [Counter; LABELS.len()],
    probability: Histogram,
    tokens: Histogram,
    words: Counter,
    unknown_words: Counter,
    truncated: Counter,
    dropped_tokens: Counter,
    reloads: [Counter; RELOAD_OUTCOMES.len()],
}

impl Default for ModelSeries {
    fn default() -> Self {
        Self {
            labels: Default::default(),
            probability: Histogram::new(&PROBABILITY),
            tokens: Histogram::new(&TOKENS),
            words: Counter::default(),
            unknown_words: Counter::default(),
            truncated: Counter::default(),
            dropped_tokens: Counter::default(),
            reloads: Default::default(),
        }
    }
}

impl ModelSeries {
    /// Counts one prediction, whose label has this place in [`LABELS`].
    pub fn count(&self, prediction: &Prediction, label: usize) {
        let tokens = prediction.tokens + prediction.dropped_tokens;
        self.labels[label].inc();
        self.probability.observe(prediction.probability as f64);
        self.tokens.observe(tokens as f64);
        // The start token is no word.
        self.words.add(tokens.saturating_sub(1) as u64);
        if prediction.unknown_tokens > 0 {
            self.unknown_words.add(prediction.unknown_tokens as u64);
        }
        if prediction.dropped_tokens > 0 {
            self.truncated.inc();
            self.dropped_tokens.add(prediction.dropped_tokens as u64);
        }
    }

    /// Counts an attempt to take up a changed directory.
    pub fn count_reload(&self, outcome: &str) {
        if let Some(at) = RELOAD_OUTCOMES.iter().position(|known| *known == outcome) {
            self.reloads[at].inc();
        }
    }
}

impl Telemetry {
    /// Counts one request on a path of the router (or none), answered with `status` after `duration`.
    pub fn request(&self, route: Option<&str>, status: u16, duration: Duration) {
        let last = ROUTES.len() - 1;
        let route = route.and_then(|path| ROUTES.iter().position(|known| *known == path)).unwrap_or(last);
        let status = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        self.requests[route][status].inc();
        self.duration[route].observe_duration(duration);
    }

    /// Writes everything that the service and its models count.
    pub fn write(&self, text: &mut Exposition, models: &Models) {
        let mut samples =
            text.metric("imdb_sentiment_http_requests_total", "counter", "Requests by route and status.");
        for (route, counters) in ROUTES.iter().zip(&self.requests) {
            for (status, counter) in STATUSES.iter().zip(counters) {
                let status = if *status == 0 { "other".to_string() } else { status.to_string() };
                samples.sample(&[("route", route), ("status", &status)], counter.get());
            }
        }
        let mut samples = text.metric(
            "imdb_sentiment_http_request_duration_seconds",
            "histogram",
            "From a request's header to its answer.",
        );
        for (route, histogram) in ROUTES.iter().zip(&self.duration) {
            samples.histogram(&[("route", route)], histogram);
        }
        for (name, help, histogram) in [
            ("imdb_sentiment_queue_wait_seconds", "From admission to a compute thread.", &self.queue_wait),
            ("imdb_sentiment_tokenize_seconds", "Cutting a request's texts into ids.", &self.tokenize),
            ("imdb_sentiment_inference_seconds", "Running a request's ids.", &self.inference),
            ("imdb_sentiment_request_reviews", "Reviews per request.", &self.request_reviews),
            ("imdb_sentiment_batch_reviews", "Reviews computed together.", &self.batch_reviews),
            (
                "imdb_sentiment_shadow_probability_difference",
                "Absolute difference between the shadow model's probability and the answer's.",
                &self.shadow_difference,
            ),
        ] {
            text.metric(name, "histogram", help).histogram(&[], histogram);
        }
        let g = "gauge";
        text.single(
            "imdb_sentiment_requests_in_flight",
            g,
            "Requests not yet answered.",
            self.in_flight.get(),
        );
        text.single("imdb_sentiment_connections", g, "Open connections.", self.connections.get());
        text.metric("imdb_sentiment_placed_total", "counter", "Requests by the place that computed them.")
            .sample(&[("place", "inline")], self.placed_inline.get())
            .sample(&[("place", "queue")], self.placed_queue.get());
        text.metric("imdb_sentiment_shed_total", "counter", "Requests given up, by reason.")
            .sample(&[("reason", "overload")], self.shed_overload.get())
            .sample(&[("reason", "deadline")], self.shed_deadline.get())
            .sample(&[("reason", "client_gone")], self.shed_client_gone.get());
        for (name, help, counter) in [
            (
                "imdb_sentiment_shadow_reviews_total",
                "Reviews that the shadow model scored.",
                &self.shadow_reviews,
            ),
            ("imdb_sentiment_shadow_dropped_total", "Reviews that it did not: busy.", &self.shadow_dropped),
            (
                "imdb_sentiment_shadow_disagreements_total",
                "Reviews that it labelled otherwise.",
                &self.shadow_disagreements,
            ),
            (
                "imdb_sentiment_config_reload_failures_total",
                "Keys or certificates refused on SIGHUP.",
                &self.config_reload_failures,
            ),
        ] {
            text.single(name, "counter", help, counter.get());
        }
        write_models(text, models);
    }
}

fn write_models(text: &mut Exposition, models: &Models) {
    let all = || models.iter().map(|slot| (&*slot.name, &slot.series));
    let mut samples = text.metric("imdb_sentiment_predictions_total", "counter", "Predictions by label.");
    for (model, series) in all() {
        for (label, counter) in LABELS.iter().zip(&series.labels) {
            samples.sample(&[("model", model), ("label", label)], counter.get());
        }
    }
    let mut samples =
        text.metric("imdb_sentiment_probability", "histogram", "Probability that a review is positive.");
    all().for_each(|(model, series)| {
        samples.histogram(&[("model", model)], &series.probability);
    });
    let mut samples =
        text.metric("imdb_sentiment_review_tokens", "histogram", "Tokens per review, dropped ones included.");
    all().for_each(|(model, series)| {
        samples.histogram(&[("model", model)], &series.tokens);
    });
    type Field = fn(&ModelSeries) -> &Counter;
    let counters: [(&str, &str, Field); 4] = [
        ("imdb_sentiment_words_total", "Words read.", |series| &series.words),
        ("imdb_sentiment_unknown_words_total", "Words not in the vocabulary.", |series| {
            &series.unknown_words
        }),
        ("imdb_sentiment_truncated_reviews_total", "Reviews longer than read.", |series| &series.truncated),
        ("imdb_sentiment_dropped_tokens_total", "Tokens not read.", |series| &series.dropped_tokens),
    ];
    for (name, help, field) in counters {
        let mut samples = text.metric(name, "counter", help);
        all().for_each(|(model, series)| {
            samples.sample(&[("model", model)], field(series).get());
        });
    }
    let mut samples = text.metric(
        "imdb_sentiment_model_reloads_total",
        "counter",
        "Attempts to take up a changed directory.",
    );
    for (model, series) in all() {
        for (outcome, counter) in RELOAD_OUTCOMES.iter().zip(&series.reloads) {
            samples.sample(&[("model", model), ("outcome", outcome)], counter.get());
        }
    }
    let loaded: Vec<_> = models.iter().map(|slot| slot.current()).collect();
    let mut samples = text.metric("imdb_sentiment_model_info", "gauge", "The loaded version; always 1.");
    for model in &loaded {
        samples.sample(&[("model", &model.name), ("version", &model.version)], 1);
    }
    let mut samples =
        text.metric("imdb_sentiment_model_loaded_timestamp_seconds", "gauge", "When it was loaded.");
    for model in &loaded {
        samples.sample(&[("model", &model.name)], unix_seconds(model.loaded_at));
    }
    let mut samples = text.metric("imdb_sentiment_model_self_test_passed", "gauge", "1 if it passed.");
    for model in &loaded {
        samples.sample(&[("model", &model.name)], u8::from(model.self_test.passed));
    }
    write_drift(text, &loaded);
}

fn write_drift(text: &mut Exposition, loaded: &[std::sync::Arc<crate::serve::models::Loaded>]) {
    let drifts: Vec<_> = loaded
        .iter()
        .filter_map(|model| model.drift.as_ref().map(|drift| (&*model.name, drift, drift.distance())))
        .collect();
    let mut samples = text.metric(
        "imdb_sentiment_drift_stability_index",
        "gauge",
        "Population stability index of the latest reviews against the baseline; over 0.25 much has changed.",
    );
    for (model, _, distance) in &drifts {
        samples.sample(&[("model", model), ("of", "probability")], distance.probability);
        samples.sample(&[("model", model), ("of", "tokens")], distance.tokens);
    }
    let mut samples =
        text.metric("imdb_sentiment_drift_reviews", "gauge", "Reviews that the index rests on.");
    for (model, _, distance) in &drifts {
        samples.sample(&[("model", model)], distance.reviews);
    }
    let mut samples = text.metric("imdb_sentiment_unknown_share", "gauge", "Unknown words divided by words.");
    for (model, drift, distance) in &drifts {
        samples.sample(&[("model", model), ("in", "baseline")], drift.baseline().unknown_share);
        samples.sample(&[("model", model), ("in", "latest")], distance.unknown_share);
    }
    for (name, help, field) in [
        (
            "imdb_sentiment_baseline_probability_share",
            "Share of the baseline's reviews up to this probability.",
            (|baseline| &baseline.probability) as fn(&crate::model::Baseline) -> &crate::model::Histogram,
        ),
        (
            "imdb_sentiment_baseline_tokens_share",
            "Share of the baseline's reviews up to this many tokens.",
            |baseline| &baseline.tokens,
        ),
    ] {
        let mut samples = text.metric(name, "gauge", help);
        for (model, drift, _) in &drifts {
            let histogram = field(drift.baseline());
            let total = histogram.counts.iter().sum::<u64>().max(1) as f64;
            let mut sum = 0;
            for (bin, count) in histogram.counts.iter().enumerate() {
                sum += count;
                let bound = histogram.bounds.get(bin).map_or("+Inf".into(), f64::to_string);
                samples.sample(&[("model", model), ("le", &bound)], sum as f64 / total);
            }
        }
    }
}
