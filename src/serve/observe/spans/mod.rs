//! Spans of requests for an OpenTelemetry collector: sent with the feature `otlp`, and nothing without it.

#[cfg(feature = "otlp")]
mod choices;
// With the feature, for its tests alone.
#[cfg(any(test, not(feature = "otlp")))]
#[cfg_attr(feature = "otlp", allow(dead_code))]
mod disabled;
#[cfg(feature = "otlp")]
mod enabled;

#[cfg(not(feature = "otlp"))]
pub use self::disabled::Spans;
#[cfg(feature = "otlp")]
pub use self::enabled::Spans;
