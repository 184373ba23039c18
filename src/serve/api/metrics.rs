//! `/metrics`: the figures of the service and of its models, for Prometheus.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::shared::KeyProblem;
use crate::model::{Baseline, Histogram};
use crate::serve::app::{App, AppState};
use crate::serve::http::SharedPage;
use crate::serve::models::series::ModelSeries;
use crate::serve::models::{LoadedModel, Models, unix_seconds};
use crate::serve::observe::exposition::Exposition;
use crate::serve::observe::telemetry::Telemetry;
use crate::serve::observe::{logging, process};

/// The route of this file.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Figures for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "Prometheus text format 0.0.4", body = String, content_type = "text/plain"),
        KeyProblem))]
async fn metrics(State(app): State<AppState>) -> Response {
    let page = app.metrics_page.get(|| page(&app).into());
    let mut response = Response::new(Body::from(page));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.extensions_mut().insert(SharedPage);
    response
}

fn page(app: &App) -> String {
    let mut text = Exposition::default();
    if let Some(served) = app.served.get() {
        served.routes.write(&mut text);
    }
    Telemetry::write_all(&mut text, std::iter::once((&[][..], &*app.telemetry)));
    write_models(&mut text, app.models());
    let g = "gauge";
    let pool = app.scorer.pool();
    text.single("imdb_sentiment_pending_reviews", g, "Reviews waiting and in work.", pool.pending());
    text.single("imdb_sentiment_queue_depth", g, "Requests waiting for a compute thread.", pool.depth());
    let ready = u8::from(app.readiness().is_ok());
    text.single("imdb_sentiment_ready", g, "1 when requests should be sent here.", ready);
    text.metric("imdb_sentiment_build_info", g, "The server's version; always 1.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.single(
        "imdb_sentiment_log_lines_lost_total",
        "counter",
        "Log lines that could not be written.",
        logging::lost_lines(),
    );
    process::write(&mut text);
    text.finish()
}

fn write_models(text: &mut Exposition, models: &Models) {
    let names: Vec<_> = models.iter().map(|slot| [("model", &*slot.name)]).collect();
    ModelSeries::write_all(
        text,
        names.iter().map(|labels| &labels[..]).zip(models.iter().map(|slot| &slot.series)),
    );
    let loaded: Vec<_> = models.iter().filter_map(|slot| slot.current()).collect();
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

fn write_drift(text: &mut Exposition, loaded: &[Arc<LoadedModel>]) {
    let drifts: Vec<_> = loaded
        .iter()
        .filter_map(|model| model.drift.as_ref().map(|drift| (&*model.name, drift, drift.distance())))
        .collect();
    let mut samples = text.metric(
        "imdb_sentiment_drift_stability_index",
        "gauge",
        "Population stability index of the latest reviews against the baseline, once --drift-window of them are there; over 0.25 \
         much has changed.",
    );
    for (model, _, distance) in drifts.iter().filter(|(_, _, distance)| distance.is_full) {
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
        if distance.is_full {
            samples.sample(&[("model", model), ("in", "latest")], distance.unknown_share);
        }
    }
    for (name, help, field) in [
        (
            "imdb_sentiment_baseline_probability_share",
            "Share of the baseline's reviews up to this probability.",
            (|baseline| &baseline.probability) as fn(&Baseline) -> &Histogram,
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
                samples.sample(&[("model", model), ("up_to", &bound)], sum as f64 / total);
            }
        }
    }
}
