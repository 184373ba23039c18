//! What ties one request's log lines, answer and caller together: `x-request-id` and W3C `traceparent`.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::text::GOLDEN_RATIO;

/// The header that carries the request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header that carries the W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Longest request id taken over from a client: it stands in every log line.
const MAX_ID: usize = 128;

/// The id that the client gave, where it can stand in a log line; else one of ours.
pub fn request_id(headers: &HeaderMap) -> HeaderValue {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    match headers.get(REQUEST_ID) {
        Some(id) if !id.is_empty() && id.len() <= MAX_ID && id.as_bytes().iter().all(plain) => id.clone(),
        _ => HeaderValue::from_bytes(&hex(unique())).expect("hex digits make a header"),
    }
}

/// A trace context: the trace that the caller began, and our own span in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits: the caller's span; empty where the trace begins here.
    pub parent_id: String,
    /// 16 hex digits: ours.
    pub span_id: String,
    /// Whether the caller records the trace, and other flags.
    flags: String,
}

impl TraceContext {
    /// Reads `traceparent` (W3C Trace Context, versions 00 and later); `None` where it is absent or malformed.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(TRACEPARENT)?.to_str().ok()?;
        let mut parts = value.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let zero = |text: &str| text.bytes().all(|byte| byte == b'0');
        let well_formed = hex(version, 2) && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
        // Version 00 ends here; later ones may go on, ff is forbidden.
        let known = version != "ff" && (version != "00" || parts.next().is_none());
        if !well_formed || !known || zero(trace) || zero(parent) {
            return None;
        }
        Some(Self { trace_id: trace.into(), parent_id: parent.into(), span_id: id(), flags: flags.into() })
    }

    /// A trace that begins with this request, to be recorded.
    #[cfg(feature = "otlp")]
    pub fn root() -> Self {
        Self { trace_id: id() + &id(), parent_id: String::new(), span_id: id(), flags: "01".into() }
    }

    /// Whether the trace is recorded.
    #[cfg(feature = "otlp")]
    pub fn is_sampled(&self) -> bool {
        u8::from_str_radix(&self.flags, 16).is_ok_and(|flags| flags & 1 == 1)
    }

    /// Notes whether the trace is recorded from here on.
    #[cfg(feature = "otlp")]
    pub fn set_sampled(&mut self, sampled: bool) {
        let flags = u8::from_str_radix(&self.flags, 16).unwrap_or_default() & !1;
        self.flags = format!("{:02x}", flags | u8::from(sampled));
    }

    /// The `traceparent` that names our span, for the answer.
    pub fn header(&self) -> HeaderValue {
        let text = format!("00-{}-{}-{}", self.trace_id, self.span_id, self.flags);
        HeaderValue::from_str(&text).expect("hex digits make a header")
    }
}

/// 16 hex digits of our own.
fn id() -> String {
    String::from_utf8(hex(unique()).to_vec()).expect("hex digits are text")
}

/// A number that no other request of this process has and other processes hardly have.
fn unique() -> u64 {
    // The standard library asks the system by itself; the `rand` crate, in a static binary, wants /dev/urandom, which
    // an empty root need not have.
    static START: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    static COUNT: AtomicU64 = AtomicU64::new(0);
    // The finish of SplitMix64 is a bijection: different counts, different ids; and never 0 twice.
    let mut z = START.wrapping_add(COUNT.fetch_add(1, Relaxed).wrapping_mul(GOLDEN_RATIO));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).max(1)
}

fn hex(value: u64) -> [u8; 16] {
    std::array::from_fn(|at| b"0123456789abcdef"[(value >> (60 - 4 * at)) as usize & 15])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_plain_request_id_is_kept_and_others_replaced() {
        assert_eq!(request_id(&headers(REQUEST_ID, "abc-123")), "abc-123");
        for odd in ["", "a b", "{\"x\"}", &"a".repeat(129)] {
            let id = request_id(&headers(REQUEST_ID, odd));
            assert!(id.len() == 16 && id != odd, "{odd}");
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
        assert_eq!(&hex(0x0123_4567_89ab_cdef), b"0123456789abcdef");
    }

    #[test]
    fn the_trace_goes_on_with_a_span_of_ours() {
        let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = TraceContext::from_headers(&headers(TRACEPARENT, given)).unwrap();
        let answer = context.header();
        let answer = answer.to_str().unwrap();
        assert!(answer.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && answer.ends_with("-01"));
        assert_ne!(answer, given);
        for bad in [
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "hello",
        ] {
            assert_eq!(TraceContext::from_headers(&headers(TRACEPARENT, bad)), None, "{bad}");
        }
    }
}
