//! The public keys of an identity provider (JWK set, RFC 7517), kept and kept up to date.
//!
//! Read anew every few minutes, and when a token names a key that is not here, but then at most
//! every [`JWKS_RETRY`]: tokens with made-up keys can't make us ask the provider more often. While it
//! can't be read the keys that are here go on, up to [`JWKS_STALE`]. Invariant: a key is for
//! verifying, public, and of one algorithm of the list; a set is taken or refused whole.

mod key;

use super::AuthError;
use crate::limits::{JWKS_FILE_EVERY, JWKS_RETRY, JWKS_STALE};
use jsonwebtoken::Algorithm;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::{Mutex, watch};
use tokio::time::{MissedTickBehavior, interval};

pub use self::key::{ALGORITHMS, JWKS_KEYS_MAX, KID_BYTES_MAX, Key, KeyError};

/// Largest key set that is read, in bytes.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;

/// Where the keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// At an address that answers GET.
    #[cfg(feature = "crypto")]
    Url(crate::fetch::Address),
}

/// Why keys could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file can't be read.
    #[error("can't read {path}: {source}")]
    File {
        /// The file's path.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It is larger than [`JWKS_BYTES_MAX`].
    #[error("the key set has more than {JWKS_BYTES_MAX} bytes")]
    TooLarge,
    /// They could not be fetched.
    #[cfg(feature = "crypto")]
    #[error(transparent)]
    Fetch(#[from] crate::fetch::FetchError),
    /// They are no keys.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// How often keys are read; a test lowers it, everyone else takes the default.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// [`JWKS_EVERY`](crate::limits::JWKS_EVERY), or [`JWKS_FILE_EVERY`] for a file.
    pub every: Duration,
    /// [`JWKS_RETRY`].
    pub retry: Duration,
    /// [`JWKS_STALE`].
    pub stale: Duration,
}

impl Patience {
    /// The usual one of a source.
    pub fn of(source: &Source) -> Self {
        let every = match source {
            Source::File(_) => JWKS_FILE_EVERY,
            #[cfg(feature = "crypto")]
            Source::Url(_) => crate::limits::JWKS_EVERY,
        };
        Self { every, retry: JWKS_RETRY, stale: JWKS_STALE }
    }
}

/// Which tokens of an identity provider are taken.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Issuer (`iss`) that they must have.
    pub issuer: String,
    /// Audience (`aud`) that they must have.
    pub audience: String,
    /// Algorithms that its keys may have, of [`ALGORITHMS`].
    pub algorithms: Vec<Algorithm>,
}

#[derive(Default)]
struct Held {
    keys: Vec<Arc<Key>>,
    /// What they were read from, to see whether it has changed.
    text: Vec<u8>,
    /// When that was read last.
    read_at: Option<Instant>,
    /// When it could not be read last, and why.
    failed: Option<(Instant, String)>,
}

/// How fresh the keys are, for the health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// How many there are.
    pub keys: usize,
    /// Whether they could be read the last time.
    pub is_read: bool,
    /// How long ago they were read.
    pub age: Option<Duration>,
    /// How long ago they could not be read for the last time, and why.
    pub failed: Option<(Duration, String)>,
}

/// The keys that are here.
pub struct Keys {
    source: Source,
    rules: Rules,
    patience: Patience,
    held: RwLock<Held>,
    /// When they were asked for last; held while they are being read.
    asked_at: Mutex<Option<Instant>>,
}

impl Keys {
    /// The keys of a source that was not read yet.
    pub fn new(source: Source, rules: Rules, patience: Patience) -> Self {
        let (held, asked_at) = (RwLock::default(), Mutex::default());
        Self { source, rules, patience, held, asked_at }
    }

    /// The key that a token names. A token that names none is by the only key of its algorithm.
    pub(super) fn find(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
    ) -> Result<Arc<Key>, AuthError> {
        if !self.rules.algorithms.contains(&algorithm) {
            return Err(AuthError::Algorithm);
        }
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let fitting = |key: &&Arc<Key>| key.algorithm == algorithm;
        let Some(kid) = kid else {
            let mut fitting = held.keys.iter().filter(fitting);
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => Ok(key.clone()),
                _ => Err(AuthError::Key),
            };
        };
        if kid.len() > KID_BYTES_MAX {
            return Err(AuthError::Malformed);
        }
        let named = held.keys.iter().filter(|key| key.kid.as_deref() == Some(kid));
        let (mut named, mut any) = (named, false);
        let found = named.find(|key| {
            any = true;
            fitting(key)
        });
        match found {
            Some(key) => Ok(key.clone()),
            None if any => Err(AuthError::Algorithm),
            None => Err(AuthError::Key),
        }
    }

    /// Reads them, whether or not it was done lately. Whether other ones are here now.
    ///
    /// # Errors
    /// They can't be read, or are not fit; those that are here stay.
    pub async fn read(&self) -> Result<bool, ReadError> {
        let mut asked_at = self.asked_at.lock().await;
        *asked_at = Some(Instant::now());
        self.read_now().await
    }

    /// How fresh the keys are.
    pub fn state(&self) -> State {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let failed_at = held.failed.as_ref().map(|(at, _)| *at);
        State {
            keys: held.keys.len(),
            is_read: held.read_at > failed_at,
            age: held.read_at.map(|at| at.elapsed()),
            failed: held.failed.as_ref().map(|(at, why)| (at.elapsed(), why.clone())),
        }
    }

    /// Reads them for a token whose key is not here. Whether other ones are here now.
    pub(super) async fn look_again(&self) -> bool {
        let before = self.read_at();
        let mut asked_at = self.asked_at.lock().await;
        if self.read_at() != before {
            // Somebody else's question was answered meanwhile.
            return true;
        }
        if asked_at.is_some_and(|at| at.elapsed() < self.patience.retry) {
            return false;
        }
        *asked_at = Some(Instant::now());
        match self.read_now().await {
            Ok(changed) => changed,
            Err(error) => {
                tracing::warn!(%error, "can't read the identity provider's keys");
                false
            }
        }
    }

    /// Keeps them up to date until the server stops.
    pub async fn run(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut due = interval(self.patience.every);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        due.tick().await;
        loop {
            tokio::select! {
                _ = due.tick() => {}
                () = crate::listen::stopped(&mut stopping) => return,
            }
            if let Err(error) = self.read().await {
                tracing::warn!(%error, "can't read the identity provider's keys");
                self.drop_stale();
            }
        }
    }

    fn drop_stale(&self) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let stale = held.read_at.is_some_and(|at| at.elapsed() > self.patience.stale);
        if stale && !held.keys.is_empty() {
            tracing::error!("the identity provider's keys are too old: its tokens are refused");
            *held = Held { failed: held.failed.take(), ..Held::default() };
        }
    }

    fn read_at(&self) -> Option<Instant> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).read_at
    }

    async fn read_now(&self) -> Result<bool, ReadError> {
        let read = self.try_read().await;
        if let Err(error) = &read {
            let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
            held.failed = Some((Instant::now(), error.to_string()));
        }
        read
    }

    async fn try_read(&self) -> Result<bool, ReadError> {
        let text = match &self.source {
            Source::File(path) => read_file(path.clone()).await?,
            #[cfg(feature = "crypto")]
            Source::Url(address) => address.get(JWKS_BYTES_MAX).await?,
        };
        {
            let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
            if held.text == text {
                held.read_at = Some(Instant::now());
                return Ok(false);
            }
        }
        let keys = key::parse(&text, &self.rules)?;
        tracing::info!(keys = keys.len(), "read the identity provider's keys");
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let failed = held.failed.take();
        *held = Held { keys, text, read_at: Some(Instant::now()), failed };
        Ok(true)
    }
}

async fn read_file(path: PathBuf) -> Result<Vec<u8>, ReadError> {
    let name = path.display().to_string();
    let read = move || {
        use std::io::Read;
        let mut text = Vec::new();
        let bytes_max = JWKS_BYTES_MAX as u64 + 1;
        std::fs::File::open(&path)?.take(bytes_max).read_to_end(&mut text)?;
        Ok(text)
    };
    let read = tokio::task::spawn_blocking(read).await;
    let read = read.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    let text = read.map_err(|source| ReadError::File { path: name, source })?;
    if text.len() > JWKS_BYTES_MAX { Err(ReadError::TooLarge) } else { Ok(text) }
}
