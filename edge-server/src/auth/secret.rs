//! The secret with which this server signs tokens.

use std::fmt;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use thiserror::Error;

/// Shortest secret in bytes: the output length of SHA-256 (RFC 7518, section 3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// Longest secret in bytes.
pub const SECRET_BYTES_MAX: usize = 4 * 1024;

/// Why a secret can't be used.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file can't be read.
    #[error(
        "can't read the secret file {path}: {source}; put {SECRET_BYTES_MIN} random bytes there"
    )]
    Read {
        /// The file's path.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file can't be created.
    #[error("can't create the secret file {path}: {source}; choose a path that can be written")]
    Create {
        /// The file's path.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The secret is too short or too long.
    #[error("the secret has {0} bytes; use {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} random bytes")]
    Length(usize),
}

/// The key that signs and verifies tokens.
pub struct Secret(pub(super) Vec<u8>);

impl Secret {
    /// Checks the length; white space at the end, as editors leave it, does not count.
    pub fn new(bytes: &[u8]) -> Result<Self, SecretError> {
        let bytes = bytes.trim_ascii_end();
        if (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()) {
            Ok(Self(bytes.to_vec()))
        } else {
            Err(SecretError::Length(bytes.len()))
        }
    }

    /// Reads it from a file.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::Read { path: path.display().to_string(), source };
        let length = fs::metadata(path).map_err(failed)?.len();
        if length > 2 * SECRET_BYTES_MAX as u64 {
            return Err(SecretError::Length(usize::try_from(length).unwrap_or(usize::MAX)));
        }
        Self::new(&fs::read(path).map_err(failed)?)
    }

    /// Reads it, or creates a random one that only this user can read.
    pub fn read_or_create(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::Create { path: path.display().to_string(), source };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(mut file) => {
                let mut random = [0; SECRET_BYTES_MIN];
                getrandom::fill(&mut random).map_err(|error| failed(error.into()))?;
                let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
                file.write_all(text.as_bytes()).map_err(failed)?;
                file.sync_all().map_err(failed)?;
                Self::new(text.as_bytes())
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Self::read(path),
            Err(error) => Err(failed(error)),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
