//! Flags of `serve` that say whose tokens it takes, and how it is reached.

use crate::address::Proxies;
use crate::auth::jwks::{ALGORITHMS, Keys, Patience, Rules, Source};
use crate::auth::{Authority, Secret};
use crate::config::ServeArgs;
use crate::error::ProcessError;
use crate::limits::Limits;
use crate::listen::Tls;
use clap::Args;
use jsonwebtoken::Algorithm;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What an address of keys starts with; anything else is a file.
#[cfg(feature = "crypto")]
const SCHEMES: [&str; 2] = ["https://", "http://"];

/// Flags of `serve` about an identity provider and TLS. Both need the feature `crypto`.
#[derive(Debug, Clone, Default, Args)]
pub struct AccessArgs {
    /// Public keys of an identity provider whose tokens are taken too: a file, or an https address
    #[arg(long, value_name = "FILE|URL")]
    pub jwks: Option<String>,
    /// Issuer (`iss`) of its tokens [default: that of --jwt-issuer]
    #[arg(long, value_name = "NAME", requires = "jwks")]
    pub jwks_issuer: Option<String>,
    /// Algorithms that its keys may have: words of "RS256 ES256 EdDSA" [default: all of them]
    #[arg(long, value_name = "WORDS", requires = "jwks", value_parser = algorithms)]
    pub jwks_algorithms: Option<Algorithms>,
    /// Authorities that may vouch for its address, a PEM file [default: the system's]
    #[arg(long, value_name = "FILE", requires = "jwks")]
    pub jwks_ca: Option<PathBuf>,
    /// Certificate chain for TLS, a PEM file; read anew when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Where phones find this server, such as `https://sync.example.org`: turns on the pairing of devices
    #[arg(long, value_name = "URL", value_parser = base_url, requires = "jwt_secret_file")]
    pub pair_url: Option<String>,
    /// Reverse proxies, addresses or networks between spaces, whose X-Forwarded-For is believed
    #[arg(long, value_name = "NETWORKS", value_parser = proxies)]
    pub trusted_proxies: Option<Proxies>,
}

/// Algorithms that an identity provider's keys may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Algorithms(pub Vec<Algorithm>);

fn proxies(text: &str) -> Result<Proxies, String> {
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    words.map(str::parse).collect::<Result<_, _>>().map(Proxies)
}

/// An address that paths can be added to.
fn base_url(text: &str) -> Result<String, String> {
    let url: axum::http::Uri = text.parse().map_err(|_| "use an https address".to_owned())?;
    let known = matches!(url.scheme_str(), Some("https" | "http")) && url.host().is_some();
    if !known || url.query().is_some() {
        return Err("use an https address such as https://sync.example.org".into());
    }
    Ok(text.trim_end_matches('/').into())
}

fn algorithms(text: &str) -> Result<Algorithms, String> {
    let named = |word: &str| ALGORITHMS.into_iter().find(|known| format!("{known:?}") == word);
    let words = text.split(' ').filter(|word| !word.is_empty());
    let found: Option<Vec<Algorithm>> = words.map(named).collect();
    match found {
        Some(found) if !found.is_empty() => Ok(Algorithms(found)),
        _ => Err("use one or more of the words \"RS256 ES256 EdDSA\"".into()),
    }
}

impl ServeArgs {
    /// Whose tokens are taken.
    ///
    /// # Errors
    /// The secret or the keys can't be used.
    pub async fn authority(
        &self,
        limits: &Limits,
    ) -> Result<(Authority, Option<Arc<Keys>>), ProcessError> {
        let keys = self.keys(limits).await?;
        let own = self.jwt_secret_file.as_deref();
        let own = own.map(|file| self.own(file)).transpose()?;
        let authority = match (own, keys.clone()) {
            (Some(own), Some(keys)) => own.with_provider(keys),
            (Some(own), None) => own,
            (None, Some(keys)) => Authority::of_provider(keys),
            (None, None) => {
                let usage = "tokens of whom? Give --jwt-secret-file, --jwks or both";
                return Err(ProcessError::Usage(usage.into()));
            }
        };
        Ok((authority, keys))
    }

    fn own(&self, file: &Path) -> Result<Authority, ProcessError> {
        let secret = if self.dev { Secret::read_or_create(file) } else { Secret::read(file) }?;
        Ok(Authority::new(&secret, &self.claims.jwt_issuer, &self.claims.jwt_audience))
    }

    /// The identity provider's keys. A file must be readable now; an address may answer later, so
    /// that this server does not need the other one to start.
    async fn keys(&self, limits: &Limits) -> Result<Option<Arc<Keys>>, ProcessError> {
        let Some(jwks) = &self.access.jwks else { return Ok(None) };
        let source = source(jwks, self.access.jwks_ca.as_deref())?;
        let algorithms = self.access.jwks_algorithms.as_ref();
        let rules = Rules {
            issuer: self.access.jwks_issuer.as_ref().unwrap_or(&self.claims.jwt_issuer).clone(),
            audience: self.claims.jwt_audience.clone(),
            algorithms: algorithms.map_or_else(|| ALGORITHMS.to_vec(), |given| given.0.clone()),
        };
        let file = matches!(source, Source::File(_));
        let patience = limits.jwks.unwrap_or(Patience::of(&source));
        let keys = Arc::new(Keys::new(source, rules, patience));
        match keys.read().await {
            Err(error) if file => return Err(ProcessError::Keys(error)),
            Err(error) => {
                tracing::error!(%error, "no token of the identity provider is taken until it answers");
            }
            Ok(_) => {}
        }
        Ok(Some(keys))
    }
}

impl AccessArgs {
    /// Proxies that are believed.
    pub(crate) fn proxies(&self) -> Proxies {
        self.trusted_proxies.clone().unwrap_or_default()
    }

    /// The certificate to serve with, if there is one.
    ///
    /// # Errors
    /// It can't be used.
    pub(crate) fn tls(&self) -> Result<Tls, ProcessError> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        #[cfg(feature = "crypto")]
        {
            let files = crate::tls::Files { certificate: certificate.clone(), key: key.clone() };
            Ok(Some(Arc::new(crate::tls::ServerTls::open(files)?)))
        }
        #[cfg(not(feature = "crypto"))]
        {
            let _ = (certificate, key);
            Err(ProcessError::without_crypto("--tls-cert"))
        }
    }
}

/// What this build can't do is said at the start.
#[cfg(not(feature = "crypto"))]
fn source(_: &str, _: Option<&Path>) -> Result<Source, ProcessError> {
    Err(ProcessError::without_crypto("--jwks"))
}

#[cfg(feature = "crypto")]
fn source(text: &str, authorities: Option<&Path>) -> Result<Source, ProcessError> {
    if SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
        let address = crate::fetch::Address::new(text, authorities);
        return Ok(Source::Url(address.map_err(|error| ProcessError::Usage(error.to_string()))?));
    }
    Ok(Source::File(text.into()))
}
