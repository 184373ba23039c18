//! TLS by rustls: a certificate that can be replaced while connections are served.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto::ring, version};

use crate::error::{Error, Result};
use crate::serve::settings::Settings;

/// Certificate and key, and where they were read.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    config: ArcSwap<ServerConfig>,
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
    /// [`Error::Invalid`] for files that cannot be read or do not belong together.
    pub fn load(settings: &Settings) -> Result<Option<Self>> {
        let (Some(cert), Some(key)) = (&settings.tls_cert, &settings.tls_key) else { return Ok(None) };
        let config = ArcSwap::from_pointee(read(cert, key)?);
        Ok(Some(Self { cert: cert.clone(), key: key.clone(), config }))
    }

    /// Reads both files again; connections that are open keep what they have.
    ///
    /// # Errors
    /// As [`Tls::load`]; the old ones stay.
    pub fn reload(&self) -> Result<()> {
        self.config.store(Arc::new(read(&self.cert, &self.key)?));
        Ok(())
    }

    /// What a new connection is accepted with.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }
}

fn read(cert: &PathBuf, key: &PathBuf) -> Result<ServerConfig> {
    let chain: Vec<CertificateDer> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|e| unreadable(cert, "certificate chain", e))?;
    if chain.is_empty() {
        return Err(Error::invalid(cert, "it holds no certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, "private key", e))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|e| Error::invalid(cert, e.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A file that the system does not give, or one that holds something else than `what`.
fn unreadable(path: &PathBuf, what: &str, fault: pem::Error) -> Error {
    match fault {
        pem::Error::Io(source) => Error::io(path)(source),
        fault => Error::invalid(path, format!("not a PEM {what}: {fault}")),
    }
}
