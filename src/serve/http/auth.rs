//! Who may ask: API keys, browsers' origins.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::read_small;
use crate::error::{Error, Result};
use crate::serve::settings::{Secret, Settings};

/// The API keys, of which only digests are kept.
#[derive(Debug)]
pub struct ApiKeys {
    given: Vec<Secret>,
    file: Option<PathBuf>,
    digests: ArcSwap<Vec<[u8; 32]>>,
}

impl ApiKeys {
    /// The keys that `settings` name, those of the file included.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Invalid`] for a file that cannot be read or holds no key.
    pub fn load(settings: &Settings) -> Result<Self> {
        let keys = Self {
            given: settings.api_keys.clone(),
            file: settings.api_keys_file.clone(),
            digests: ArcSwap::default(),
        };
        keys.reload()?;
        Ok(keys)
    }

    /// Reads the file again; the old keys stay where it is unusable.
    ///
    /// # Errors
    /// As [`ApiKeys::load`].
    pub fn reload(&self) -> Result<()> {
        let mut digests: Vec<[u8; 32]> =
            self.given.iter().map(|key| digest(key.expose().as_bytes())).collect();
        if let Some(path) = &self.file {
            let text = String::from_utf8(read_small(path)?);
            let text = text.map_err(|_| Error::invalid(path, "it is not text"))?;
            let before = digests.len();
            for (number, line) in text.lines().enumerate() {
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let Ok(key) = line.parse::<Secret>();
                key.check().map_err(|e| Error::invalid(path, format!("line {}: {e}", number + 1)))?;
                digests.push(digest(key.expose().as_bytes()));
            }
            if digests.len() == before {
                // An emptied file must not open the door.
                return Err(Error::invalid(path, "it holds no key"));
            }
        }
        self.digests.store(Arc::new(digests));
        Ok(())
    }

    /// Whether there are keys.
    pub fn are_asked_for(&self) -> bool {
        !self.digests.load().is_empty()
    }

    /// Whether a request with `headers` may pass: it bears one of the keys, or there are none.
    pub fn admit(&self, headers: &HeaderMap) -> bool {
        let digests = self.digests.load();
        if digests.is_empty() {
            return true;
        }
        let Some(given) = headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()))
        else {
            return false;
        };
        // Digests are of one length and every one is compared, so the time tells nothing about any key.
        let given = digest(given);
        digests.iter().fold(Choice::from(0), |found, key| found | key.ct_eq(&given)).into()
    }
}

/// The key of an `Authorization: Bearer …` header.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| key.trim_ascii())
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The CORS answers for the origins named in the settings; `None` where there are none.
///
/// # Errors
/// [`Error::Setting`] for a value that is no origin.
pub fn cors(settings: &Settings) -> Result<Option<CorsLayer>> {
    if settings.cors_origins.is_empty() {
        return Ok(None);
    }
    let mut origins = Vec::new();
    for origin in &settings.cors_origins {
        let origin = origin.trim();
        let fault = |reason: &str| Error::setting("--cors-origin", format!("`{origin}`: {reason}"));
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if host.is_none_or(|host| host.is_empty() || host.contains(['/', '*', ' '])) {
            return Err(fault("write scheme and host, without a path, such as https://example.org"));
        }
        origins.push(HeaderValue::from_str(origin).map_err(|_| fault("not a header value"))?);
    }
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("x-request-id"),
            HeaderName::from_static("traceparent"),
        ])
        .expose_headers([HeaderName::from_static("x-request-id"), header::RETRY_AFTER]);
    Ok(Some(layer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn any_of_the_keys_opens_and_nothing_else() {
        let mut settings = Settings::defaults();
        assert!(ApiKeys::load(&settings).unwrap().admit(&HeaderMap::new()));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# ours\n\nthird\n").unwrap();
        settings.api_keys = vec!["first".parse().unwrap(), "second".parse().unwrap()];
        settings.api_keys_file = Some(file.path().into());
        let keys = ApiKeys::load(&settings).unwrap();
        for key in ["first", "second", "third"] {
            assert!(keys.admit(&with(&format!("Bearer {key}"))));
            assert!(keys.admit(&with(&format!("bearer {key}"))));
        }
        for value in ["Bearer fourth", "Bearer ", "Bearer", "first", "Basic first", "Bearer first second"] {
            assert!(!keys.admit(&with(value)), "{value}");
        }
        assert!(!keys.admit(&HeaderMap::new()));
        std::fs::write(file.path(), "# none left\n").unwrap();
        assert!(keys.reload().unwrap_err().to_string().contains("no key"));
        assert!(keys.admit(&with("Bearer third")), "the old ones stay");
    }

    #[test]
    fn an_origin_is_scheme_and_host() {
        let mut settings = Settings::defaults();
        assert!(cors(&settings).unwrap().is_none());
        for (origin, fits) in [("https://a.example", true), ("*", false), ("https://a.example/x", false)] {
            settings.cors_origins = vec![origin.into()];
            assert_eq!(cors(&settings).is_ok(), fits, "{origin}");
        }
    }
}
