//! TLS 1.2 and 1.3 by rustls, with ring as the only provider of cryptography: the server's end, whose
//! certificate is read anew when its files change, and a client's.
//!
//! Invariant: a certificate is taken into use only together with the key that fits it; until then,
//! and while the files can't be read, connections get the one before.

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Duration, MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;

/// Old TVs have nothing above 1.2, and nothing has less.
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
/// Where systems keep the certificates of authorities: Debian and Alpine, Fedora, openSUSE.
const AUTHORITIES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];
/// What a PEM file may have; a certificate has a few thousand bytes, a system's list 220,000.
const PEM_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why TLS can't be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("can't read {path}: {reason}")]
    File {
        /// The file's path.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The certificate or its key can't be used.
    #[error("the certificate in {path} can't be used with its key: {source}")]
    Certificate {
        /// The file's path.
        path: String,
        /// What rustls said of the pair.
        source: rustls::Error,
    },
    /// There are no certificates of authorities.
    #[error("no certificates of authorities are in {0}: name a PEM file with --jwks-ca")]
    Authorities(String),
}

/// The server's certificate chain and private key, as PEM files.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Files {
    fn load(&self) -> Result<Loaded, TlsError> {
        let (certificate, key) = (read(&self.certificate)?, read(&self.key)?);
        let config = configure(&self.certificate, &certificate, &self.key, &key)?;
        Ok(Loaded { certificate, key, config: Arc::new(config) })
    }
}

/// What the files held, and what was made of it.
struct Loaded {
    certificate: Vec<u8>,
    key: Vec<u8>,
    config: Arc<ServerConfig>,
}

/// The server's end of TLS.
pub(crate) struct ServerTls {
    files: Files,
    now: watch::Sender<Loaded>,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// They can't be read or do not fit each other.
    pub(crate) fn open(files: Files) -> Result<Self, TlsError> {
        let now = watch::Sender::new(files.load()?);
        Ok(Self { files, now })
    }

    /// What a new connection is accepted with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.now.borrow().config.clone())
    }

    /// Reads the files again and again until the server stops. They are small, and comparing what is
    /// in them sees every change, whatever it did to their times.
    pub(crate) async fn run(self: Arc<Self>, every: Duration, mut stopping: watch::Receiver<bool>) {
        let mut due = interval(every);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failed = String::new();
        loop {
            tokio::select! {
                _ = due.tick() => {}
                () = crate::listen::stopped(&mut stopping) => return,
            }
            let this = self.clone();
            let read = tokio::task::spawn_blocking(move || this.reload()).await;
            // The same trouble is told once.
            match read {
                Ok(Ok(())) => failed.clear(),
                Ok(Err(error)) if error.to_string() == failed => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, "the certificate before stays in use");
                    failed = error.to_string();
                }
                Err(error) => tracing::error!(%error, "reading the certificate failed"),
            }
        }
    }

    fn reload(&self) -> Result<(), TlsError> {
        let (certificate, key) = (read(&self.files.certificate)?, read(&self.files.key)?);
        let same = {
            let now = self.now.borrow();
            now.certificate == certificate && now.key == key
        };
        if !same {
            self.now.send_replace(self.files.load()?);
            tracing::info!("a new certificate is in use");
        }
        Ok(())
    }
}

/// A client that trusts the authorities of a PEM file, or the system's.
pub(crate) fn client(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    client_of(authorities, &VERSIONS)
}

/// The same, of these versions of TLS.
pub(crate) fn client_of(
    authorities: Option<&Path>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<Arc<ClientConfig>, TlsError> {
    let named = authorities.map(Path::to_owned);
    let set = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let known = || AUTHORITIES.map(PathBuf::from).into_iter().find(|path| path.exists());
    let path = named.or(set).or_else(known);
    let path = path.ok_or_else(|| TlsError::Authorities(AUTHORITIES.join(", ")))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&read(&path)?).flatten() {
        // A system's list may have some that rustls can't read.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(TlsError::Authorities(path.display().to_string()));
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(|source| TlsError::Certificate { path: path.display().to_string(), source })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn configure(
    certificate_path: &Path,
    certificate: &[u8],
    key_path: &Path,
    key: &[u8],
) -> Result<ServerConfig, TlsError> {
    let file =
        |path: &Path, reason: String| TlsError::File { path: path.display().to_string(), reason };
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| file(certificate_path, error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(key);
    let key = key.map_err(|error| file(key_path, error.to_string()))?;
    let unfit =
        |source| TlsError::Certificate { path: certificate_path.display().to_string(), source };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .map_err(unfit)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unfit)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |reason: String| TlsError::File { path: path.display().to_string(), reason };
    let length = fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if length > PEM_BYTES_MAX {
        return Err(failed(format!("it has more than {PEM_BYTES_MAX} bytes")));
    }
    fs::read(path).map_err(|error| failed(error.to_string()))
}
