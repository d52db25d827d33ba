//! One request over HTTP/1.1 to a server that the operator named, for an identity provider's keys or
//! to a collector: bounded in time and bytes, and no redirects.

use crate::limits::JWKS_TIMEOUT;
use crate::tls::{self, TlsError};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Why an address can't be used.
#[derive(Debug, Error)]
pub enum AddressError {
    /// It is no address of this kind.
    #[error("{0} is no https address (http is for this machine only)")]
    Address(String),
    /// It is neither.
    #[error("{0} is no http or https address")]
    Scheme(String),
    /// The certificates of authorities can't be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why nothing was fetched.
#[derive(Debug, Error)]
pub enum FetchError {
    /// It took too long.
    #[error("{0} did not answer in time")]
    Timeout(String),
    /// There is no connection.
    #[error("can't reach {0}: {1}")]
    Connect(String, std::io::Error),
    /// The connection broke.
    #[error("{0} broke off: {1}")]
    Http(String, hyper::Error),
    /// The answer was another than 200.
    #[error("{0} answered {1}")]
    Status(String, StatusCode),
    /// The answer was too long.
    #[error("{0} answered more than {1} bytes")]
    TooLarge(String, usize),
}

/// An address that answers requests.
#[derive(Clone)]
pub struct Address {
    uri: Uri,
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

impl Address {
    /// Checks an address; `authorities` is a PEM file of certificates, else the system's.
    ///
    /// # Errors
    /// It is neither https nor http of this machine, or there are no certificates.
    pub fn new(text: &str, authorities: Option<&Path>) -> Result<Self, AddressError> {
        let address = Self::anywhere(text, authorities).map_err(|error| match error {
            AddressError::Scheme(text) => AddressError::Address(text),
            other => other,
        })?;
        let local = address.host == "localhost"
            || address.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        match address.tls.is_some() || local {
            true => Ok(address),
            false => Err(AddressError::Address(text.into())),
        }
    }

    /// The same where plain HTTP will do, whatever the host.
    ///
    /// # Errors
    /// It is neither https nor http, or there are no certificates.
    pub fn anywhere(text: &str, authorities: Option<&Path>) -> Result<Self, AddressError> {
        let wrong = || AddressError::Scheme(text.into());
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let host = uri.host().ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong());
        }
        let tls = match uri.scheme_str() {
            Some("https") => Some(tls::client(authorities)?),
            Some("http") => None,
            _ => return Err(wrong()),
        };
        let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        Ok(Self { uri, host, port, tls })
    }

    /// The body of its answer.
    pub(crate) async fn get(&self, bytes_max: usize) -> Result<Vec<u8>, FetchError> {
        let mut request = Request::new(Full::default());
        let accepted = HeaderValue::from_static("application/jwk-set+json, application/json");
        request.headers_mut().insert(ACCEPT, accepted);
        let response = self.send(request, JWKS_TIMEOUT, bytes_max).await?;
        match response.status() {
            StatusCode::OK => Ok(response.into_body()),
            status => Err(FetchError::Status(self.to_string(), status)),
        }
    }

    /// What it answers, with any status. The request's own address does not count.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        patience: Duration,
        bytes_max: usize,
    ) -> Result<Response<Vec<u8>>, FetchError> {
        let got = timeout(patience, self.connect(request, bytes_max)).await;
        got.unwrap_or_else(|_| Err(FetchError::Timeout(self.to_string())))
    }

    async fn connect(
        &self,
        request: Request<Full<Bytes>>,
        bytes_max: usize,
    ) -> Result<Response<Vec<u8>>, FetchError> {
        let failed = |error| FetchError::Connect(self.to_string(), error);
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(failed)?;
        let Some(config) = &self.tls else {
            return self.ask(stream, request, bytes_max).await;
        };
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|error| failed(std::io::Error::other(error)))?;
        let connector = TlsConnector::from(config.clone());
        let stream = connector.connect(name, stream).await.map_err(failed)?;
        self.ask(stream, request, bytes_max).await
    }

    async fn ask<S>(
        &self,
        stream: S,
        mut request: Request<Full<Bytes>>,
        bytes_max: usize,
    ) -> Result<Response<Vec<u8>>, FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broke = |error| FetchError::Http(self.to_string(), error);
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
        // Ends when the sender is dropped.
        tokio::spawn(connection);
        let wrong = |error: hyper::http::Error| {
            FetchError::Connect(self.to_string(), std::io::Error::other(error))
        };
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = Uri::try_from(path).map_err(|error| wrong(error.into()))?;
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let host = HeaderValue::try_from(authority).map_err(|error| wrong(error.into()))?;
        request.headers_mut().insert(HOST, host);
        let program = HeaderValue::from_static(concat!("omega-edge/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, program);
        let response = sender.send_request(request).await.map_err(broke)?;
        let (head, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(chunk) = frame.map_err(broke)?.into_data() else { continue };
            if bytes.len() + chunk.len() > bytes_max {
                return Err(FetchError::TooLarge(self.to_string(), bytes_max));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Response::from_parts(head, bytes))
    }
}

impl fmt::Display for Address {
    /// Without its query, which may hold a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.uri.path())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.uri == other.uri
    }
}

impl Eq for Address {}
