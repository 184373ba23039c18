//! What OpenTelemetry's own variables choose: whether spans are sent, how, and of which requests.

use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};

use crate::error::{Error, Result};
use crate::serve::http::trace::TraceContext;

/// Longest value of a variable that is shown.
const MAX_SHOWN: usize = 32;

/// What is chosen.
#[derive(Debug, Default)]
pub struct Choices {
    /// Whether no spans are sent at all.
    pub off: bool,
    /// Which requests have a span.
    pub sampling: Sampling,
    /// What is to be said of values that change nothing.
    pub notes: Vec<String>,
}

/// Which requests have a span.
#[derive(Debug)]
pub struct Sampling {
    /// Whether the caller's decision goes first.
    follows_caller: bool,
    sampler: Sampler,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { follows_caller: true, sampler: Sampler::AlwaysOn }
    }
}

impl Sampling {
    /// Whether the request of `context` has a span.
    pub fn takes(&self, context: &TraceContext) -> bool {
        if self.follows_caller && !context.parent_id.is_empty() {
            return context.is_sampled();
        }
        let trace = TraceId::from_hex(&context.trace_id).unwrap_or(TraceId::INVALID);
        let result = self.sampler.should_sample(None, trace, "", &SpanKind::Server, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }
}

impl Choices {
    /// Reads the variables by `get`. One that names what OpenTelemetry does not know is passed over with a note, as its
    /// specification asks; only a protocol that we do not speak is refused, where spans would be sent by it.
    ///
    /// # Errors
    /// [`Error::Setting`] for that protocol.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let get =
            |name: &str| get(name).map(|value| value.trim().to_string()).filter(|value| !value.is_empty());
        let mut choices = Self::default();
        if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            choices.off = true;
            return Ok(choices);
        }
        if let Some(exporters) = get("OTEL_TRACES_EXPORTER") {
            let mut named = exporters.split(',').map(str::trim);
            choices.off = !named.clone().any(|name| name == "otlp");
            if let Some(other) = named.find(|name| !["otlp", "none"].contains(name)) {
                let spans = if choices.off { "no spans are sent" } else { "it is passed over" };
                choices.notes.push(format!(
                    "OTEL_TRACES_EXPORTER: there is no exporter `{}` here, only otlp: {spans}",
                    shown(other)
                ));
            }
        }
        if choices.off {
            return Ok(choices);
        }
        for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
            match get(name).as_deref() {
                None => continue,
                Some("http/protobuf") => break,
                Some(other) => {
                    let reason = format!(
                        "`{}` is not spoken here; use http/protobuf, for which collectors listen on port 4318",
                        shown(other)
                    );
                    return Err(Error::setting(name, reason));
                }
            }
        }
        let Some(name) = get("OTEL_TRACES_SAMPLER") else { return Ok(choices) };
        let (follows_caller, kind) = match name.strip_prefix("parentbased_") {
            Some(kind) => (true, kind),
            None => (false, &*name),
        };
        let sampler = match kind {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(choices.ratio(get("OTEL_TRACES_SAMPLER_ARG"))),
            _ => {
                let text = format!(
                    "OTEL_TRACES_SAMPLER: there is no sampler `{}` here, it is passed over",
                    shown(&name)
                );
                choices.notes.push(text);
                return Ok(choices);
            }
        };
        choices.sampling = Sampling { follows_caller, sampler };
        Ok(choices)
    }

    fn ratio(&mut self, given: Option<String>) -> f64 {
        let Some(text) = given else { return 1.0 };
        match text.parse() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            _ => {
                let text = shown(&text);
                self.notes.push(format!(
                    "OTEL_TRACES_SAMPLER_ARG: `{text}` is no number from 0 to 1; all are sampled"
                ));
                1.0
            }
        }
    }
}

fn shown(value: &str) -> String {
    value.chars().take(MAX_SHOWN).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Choices> {
        Choices::read(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
        })
    }

    fn called(flags: &str) -> TraceContext {
        let header = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        let headers = [("traceparent".parse().unwrap(), header.parse().unwrap())];
        TraceContext::from_headers(&headers.into_iter().collect()).unwrap()
    }

    #[test]
    fn spans_can_be_turned_off() {
        for (name, value, off) in [
            ("OTEL_SDK_DISABLED", "TRUE", true),
            ("OTEL_SDK_DISABLED", "1", false),
            ("OTEL_TRACES_EXPORTER", "none", true),
            ("OTEL_TRACES_EXPORTER", "otlp, console", false),
            ("OTEL_TRACES_EXPORTER", "zipkin", true),
            ("OTEL_TRACES_EXPORTER", "", false),
        ] {
            let choices = read(&[(name, value)]).unwrap();
            assert_eq!(choices.off, off, "{name}={value}");
            assert_eq!(
                choices.notes.len(),
                usize::from(["otlp, console", "zipkin"].contains(&value)),
                "{value}"
            );
        }
    }

    #[test]
    fn a_protocol_that_is_not_spoken_is_refused_where_it_would_be_used() {
        let (general, own) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL");
        assert!(read(&[(general, "http/protobuf")]).is_ok());
        assert!(read(&[(general, "grpc"), (own, "http/protobuf")]).is_ok());
        assert!(read(&[(general, "grpc"), ("OTEL_SDK_DISABLED", "true")]).is_ok());
        for (name, value) in [(general, "grpc"), (own, "http/json")] {
            let message = read(&[(name, value)]).unwrap_err().to_string();
            assert!(
                message.contains(name) && message.contains(value) && message.contains("4318"),
                "{message}"
            );
        }
    }

    #[test]
    fn samplers_do_what_they_are_called() {
        let sampling = |name: &str, arg: &str| {
            read(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", arg)]).unwrap()
        };
        // Of a trace of our own, of one that its caller records, of one that it does not.
        for (name, arg, expected) in [
            ("always_on", "", [true, true, true]),
            ("always_off", "", [false, false, false]),
            ("traceidratio", "0", [false, false, false]),
            ("traceidratio", "1", [true, true, true]),
            ("parentbased_always_on", "", [true, true, false]),
            ("parentbased_always_off", "", [false, true, false]),
            ("parentbased_traceidratio", "0", [false, true, false]),
            ("jaeger_remote", "", [true, true, false]),
        ] {
            let choices = sampling(name, arg);
            let found = [TraceContext::root(), called("01"), called("00")]
                .map(|context| choices.sampling.takes(&context));
            assert_eq!(found, expected, "{name} {arg}");
            assert_eq!(choices.notes.len(), usize::from(name == "jaeger_remote"));
        }
        let half = sampling("traceidratio", "0.5").sampling;
        let taken = (0..4000).filter(|_| half.takes(&TraceContext::root())).count();
        assert!((1800..2200).contains(&taken), "{taken} of 4000");
        assert_eq!(sampling("traceidratio", "most").notes.len(), 1);
    }
}
