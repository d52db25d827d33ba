//! What both ends know before the first byte: a data file, named by its id.

use crate::codec::{DecodeError, Reader, checksum};

/// First bytes of a file of tables.
const MAGIC: &[u8; 4] = b"OPT0";

/// Tables that patterns are coded with.
#[derive(Debug, Clone)]
pub struct Tables {
    id: u32,
}

impl Tables {
    /// Reads a file of tables whole.
    pub fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.raw(MAGIC.len())? != MAGIC {
            return Err(DecodeError::Invalid("tables"));
        }
        reader.finish()?;
        Ok(Self { id: checksum(bytes) })
    }

    /// Names these tables in messages.
    pub fn id(&self) -> u32 {
        self.id
    }
}
