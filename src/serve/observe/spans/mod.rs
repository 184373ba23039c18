//! Spans of requests for an OpenTelemetry collector: sent with the feature `otlp`, and nothing without it.

#[cfg(feature = "otlp")]
mod choices;
#[cfg(not(feature = "otlp"))]
mod disabled;
#[cfg(feature = "otlp")]
mod enabled;

#[cfg(not(feature = "otlp"))]
pub use self::disabled::Spans;
#[cfg(feature = "otlp")]
pub use self::enabled::Spans;
