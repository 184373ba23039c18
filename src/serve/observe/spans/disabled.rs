//! What stands in for spans where the program is built without them.

use axum::http::{HeaderValue, Request};

use crate::error::Result;
use crate::serve::http::trace::TraceContext;
use crate::serve::settings::Settings;

/// No spans.
#[derive(Debug)]
pub struct Spans;

/// No span.
#[derive(Debug)]
pub enum OpenSpan {}

impl Spans {
    /// Starts nothing, and says so where `settings` name a collector.
    ///
    /// # Errors
    /// None; as with the feature.
    pub fn start(settings: &Settings) -> Result<Self> {
        if let Some(name) = collector(settings) {
            tracing::warn!(
                "{name} changes nothing: this server was built without spans (cargo's --features otlp)"
            );
        }
        Ok(Self)
    }

    /// Begins nothing.
    pub fn open<B>(&self, _: &Request<B>, _: &HeaderValue, _: &mut Option<TraceContext>) -> Option<OpenSpan> {
        None
    }

    /// Nothing is left.
    pub fn stop(&self) {}
}

impl OpenSpan {
    /// Cannot be.
    pub fn answered(&mut self, _: u16) {
        match *self {}
    }
}

/// The setting that names a collector.
fn collector(settings: &Settings) -> Option<&'static str> {
    let given = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.is_empty());
    let whole = given(&settings.otlp_traces_endpoint).then_some("--otlp-traces-endpoint");
    whole.or(given(&settings.otlp_endpoint).then_some("--otlp-endpoint"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_that_gets_nothing_is_told_of() {
        let url = |text: &str| Some(text.to_string());
        let mut settings = Settings::defaults();
        assert_eq!(collector(&settings), None);
        settings.otlp_service_name = url("reviews");
        settings.otlp_endpoint = url("");
        assert_eq!(collector(&settings), None);
        settings.otlp_endpoint = url("http://127.0.0.1:4318");
        assert_eq!(collector(&settings), Some("--otlp-endpoint"));
        settings.otlp_traces_endpoint = url("http://127.0.0.1:4318/v1/traces");
        assert_eq!(collector(&settings), Some("--otlp-traces-endpoint"));
    }
}
