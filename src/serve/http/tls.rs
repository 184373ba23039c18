//! TLS by rustls: a certificate that can be replaced while connections are served.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::{ServerConfig, crypto::ring, version};
use webpki::{EndEntityCert, KeyUsage};

use super::read_small;
use crate::error::{Error, Result};
use crate::serve::settings::Settings;

/// Certificate and key, and where they were read.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    loaded: ArcSwap<Loaded>,
}

/// What was read.
struct Loaded {
    config: Arc<ServerConfig>,
    /// The server's own certificate, the first of the chain.
    certificate: CertificateDer<'static>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Tls").field("cert", &self.cert).finish_non_exhaustive()
    }
}

impl Tls {
    /// What `settings` name; `None` where they name nothing.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Invalid`] for files that cannot be read or do not belong together.
    pub fn load(settings: &Settings) -> Result<Option<Self>> {
        let (Some(cert), Some(key)) = (&settings.tls_cert, &settings.tls_key) else { return Ok(None) };
        let tls =
            Self { cert: cert.clone(), key: key.clone(), loaded: ArcSwap::from_pointee(read(cert, key)?) };
        tls.tell_expiry();
        Ok(Some(tls))
    }

    /// Reads both files again; connections that are open keep what they have.
    ///
    /// # Errors
    /// As [`Tls::load`], and [`Error::Invalid`] for a certificate out of its dates where the one in use is within its own;
    /// the old ones stay.
    pub fn reload(&self) -> Result<()> {
        let (new, now) = (read(&self.cert, &self.key)?, UnixTime::now());
        if let Some(fault) = validity_fault(&new.certificate, now)
            && validity_fault(&self.loaded.load().certificate, now).is_none()
        {
            return Err(Error::invalid(&self.cert, format!("{fault}, and the one in use is valid")));
        }
        self.loaded.store(Arc::new(new));
        self.tell_expiry();
        Ok(())
    }

    /// What a new connection is accepted with.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.loaded.load().config.clone())
    }

    /// Says so where the certificate has expired, is not valid yet, or soon expires.
    pub fn tell_expiry(&self) {
        let loaded = self.loaded.load();
        let now = UnixTime::now();
        let file = self.cert.display();
        if let Some(fault) = validity_fault(&loaded.certificate, now) {
            tracing::error!("{file}: {fault}: clients will refuse it");
        } else if validity_fault(&loaded.certificate, later(now, SOON)).is_some() {
            tracing::warn!("{file}: the certificate expires within {} days", SOON.as_secs() / 86_400);
        }
    }
}

/// How long before its end a certificate is said to expire.
const SOON: Duration = Duration::from_secs(14 * 86_400);

fn later(time: UnixTime, by: Duration) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(time.as_secs()) + by)
}

/// Why `certificate` is not valid at `time`, as far as its own dates tell; `None` where it is, or cannot be read.
fn validity_fault(certificate: &CertificateDer, time: UnixTime) -> Option<&'static str> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    // No authority is trusted here, so that this fails in any case: at the dates, which are looked at first, or later.
    let checked = parsed.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None);
    match checked.err()? {
        webpki::Error::CertExpired { .. } => Some("the certificate has expired"),
        webpki::Error::CertNotValidYet { .. } => Some("the certificate is not valid yet"),
        _ => None,
    }
}

/// What rustls says against a certificate, the usual case by its name.
fn in_words(said: &str) -> String {
    match said.contains("UnsupportedCertVersion") {
        true => "the certificate is of X.509 version 1, which clients refuse: make one of version 3, with a subjectAltName".into(),
        false => said.into(),
    }
}

/// What is wrong with a file in PEM form.
fn pem_fault(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "there is none in it".into(),
        pem::Error::MissingSectionEnd { .. } => "it ends in the middle".into(),
        pem::Error::IllegalSectionStart { .. } => "its first line is damaged".into(),
        pem::Error::Base64Decode(_) => "its lines are damaged".into(),
        other => other.to_string(),
    }
}

fn read(cert: &Path, key: &Path) -> Result<Loaded> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read_small(cert)?)
        .collect::<Result<_, _>>()
        .map_err(|e| Error::invalid(cert, format!("not a PEM certificate chain: {}", pem_fault(&e))))?;
    let Some(certificate) = chain.first().cloned() else {
        return Err(Error::invalid(cert, "it holds no certificate"));
    };
    let bytes = read_small(key)?;
    let private = PrivateKeyDer::from_pem_slice(&bytes).map_err(|e| {
        let encrypted = bytes.windows(9).any(|word| word == b"ENCRYPTED");
        let reason = match encrypted {
            true => "it is encrypted; write a plain one, readable by this user alone: openssl pkey -in KEY -out PLAIN".into(),
            false => format!("not a PEM private key: {}", pem_fault(&e)),
        };
        Error::invalid(key, reason)
    })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|e| Error::invalid(cert, in_words(&e.to_string())))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Loaded { config: Arc::new(config), certificate })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_out_of_its_time_is_seen() {
        let names = vec!["localhost".to_string()];
        let certificate = rcgen::generate_simple_self_signed(names).unwrap().cert.der().clone();
        let at = |seconds: u64| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        // rcgen's own dates: 1975 to 4096.
        assert_eq!(validity_fault(&certificate, UnixTime::now()), None);
        assert_eq!(validity_fault(&certificate, at(1)), Some("the certificate is not valid yet"));
        assert_eq!(validity_fault(&certificate, at(70_000_000_000)), Some("the certificate has expired"));
    }
}
