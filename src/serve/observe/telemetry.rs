//! What the service counts of itself.

use super::exposition::{Counter, CounterSet, Gauge, Histogram, metrics};
use crate::serve::named::named;

/// Bounds in seconds for latencies: a prediction takes microseconds, a deadline seconds.
pub const SECONDS: [f64; 14] =
    [2e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 2.5, 10.0];
/// Bounds in seconds for parts of a prediction.
const SHORT_SECONDS: [f64; 12] =
    [1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 5e-3, 2.5e-2, 0.1];
const REVIEWS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0];
const DIFFERENCE: [f64; 10] = [1e-4, 1e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0];

named! {
    /// Where a request was computed.
    pub enum Place {
        /// Where it was read.
        Inline = "inline",
        /// On the compute threads.
        Queue = "queue",
    }
}

named! {
    /// Why a request was given up.
    pub enum ShedReason {
        /// Too much was waiting.
        Overload = "overload",
        /// Its deadline passed.
        Deadline = "deadline",
        /// Its client had gone.
        ClientGone = "client_gone",
    }
}

named! {
    /// Extra work, by its kind.
    pub enum Detail {
        /// A window whose words were explained.
        Explanation = "explanation",
        /// A sentence judged by itself.
        Sentence = "sentence",
        /// A text judged up to a sentence's end.
        Point = "point",
    }
}

named! {
    /// Why the server closed a connection.
    pub enum CloseReason {
        /// It asked for nothing for too long.
        Idle = "idle",
        /// The header of its request did not arrive in time.
        SlowHeader = "slow_header",
        /// It took an answer too slowly, or not at all.
        Stalled = "stalled",
        /// Its place was given to a new connection.
        GaveWay = "gave_way",
        /// There was no place for it.
        Refused = "refused",
    }
}

metrics! {
    /// The figures of the whole service.
    pub struct Telemetry {
        /// From admission to a compute thread.
        queue_wait: Histogram = Histogram::new(&SECONDS) => "imdb_sentiment_queue_wait_seconds",
        /// Cutting a request's texts into ids.
        tokenize: Histogram = Histogram::new(&SHORT_SECONDS) => "imdb_sentiment_tokenize_seconds",
        /// Running a request's ids.
        inference: Histogram = Histogram::new(&SHORT_SECONDS) => "imdb_sentiment_inference_seconds",
        /// Reviews per request.
        request_reviews: Histogram = Histogram::new(&REVIEWS) => "imdb_sentiment_request_reviews",
        /// Reviews computed together.
        batch_reviews: Histogram = Histogram::new(&REVIEWS) => "imdb_sentiment_batch_reviews",
        /// Absolute difference between the shadow model's probability and the answer's.
        shadow_difference: Histogram = Histogram::new(&DIFFERENCE)
            => "imdb_sentiment_shadow_probability_difference",
        /// Requests not yet answered.
        in_flight: Gauge => "imdb_sentiment_requests_in_flight",
        /// Open connections.
        connections: Gauge => "imdb_sentiment_connections",
        /// Connections that the server closed, by reason.
        connections_closed: CounterSet<CloseReason> = CounterSet::new("reason")
            => "imdb_sentiment_connections_closed_total",
        /// Bytes held for clients: bodies, texts, ids, answers not yet taken.
        held_bytes: Gauge => "imdb_sentiment_held_bytes",
        /// Requests by the place that computed them.
        placed: CounterSet<Place> = CounterSet::new("place") => "imdb_sentiment_placed_total",
        /// Requests given up, by reason.
        shed: CounterSet<ShedReason> = CounterSet::new("reason") => "imdb_sentiment_shed_total",
        /// Parts of answers beyond verdicts, by kind.
        details: CounterSet<Detail> = CounterSet::new("detail") => "imdb_sentiment_details_total",
        /// Reviews that the shadow model scored.
        shadow_reviews: Counter => "imdb_sentiment_shadow_reviews_total",
        /// Reviews that it did not: busy.
        shadow_dropped: Counter => "imdb_sentiment_shadow_dropped_total",
        /// Reviews that it labelled otherwise.
        shadow_disagreements: Counter => "imdb_sentiment_shadow_disagreements_total",
        /// Keys or certificates refused on SIGHUP.
        config_reload_failures: Counter => "imdb_sentiment_config_reload_failures_total",
    }
}
