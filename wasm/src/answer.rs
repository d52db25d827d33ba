//! What a call leaves in memory for JavaScript to read.
//!
//! The length in bytes of what follows (32 bits), then values without tags; both sides know their order.
//! A number is a 64-bit float; a text is its length in bytes (32 bits) and UTF-8; bytes are the same.
//! Everything is little endian, nothing is aligned. A length of [`REFUSED`] means that the call changed
//! nothing: a text with the error's code follows.
//!
//! Invariant: an address is good until the next call into the module.

use omega_sync_core::id::ProfileId;

/// Stands in place of the length when the call was refused.
pub const REFUSED: u32 = u32::MAX;
/// Bytes of the length before an answer.
const HEAD_BYTES: usize = 4;
/// Hexadecimal digits of an id.
const ID_DIGITS: u32 = 16;

/// Where an answer lies in the module's memory.
pub type Address = *const u8;

/// The buffer of a replica's answers, used again by each call.
#[derive(Debug, Default)]
pub struct Answer(Vec<u8>);

impl Answer {
    /// Starts a new answer in place of the last one.
    pub fn clear(&mut self) -> &mut Self {
        self.0.clear();
        self.0.extend_from_slice(&[0; HEAD_BYTES]);
        self
    }

    /// Says that the call was refused.
    pub fn refuse(&mut self, code: &str) -> Address {
        self.clear().text(code);
        self.finish(REFUSED)
    }

    /// The answer is complete.
    pub fn end(&mut self) -> Address {
        self.finish((self.0.len() - HEAD_BYTES) as u32)
    }

    fn finish(&mut self, length: u32) -> Address {
        self.0[..HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
        self.0.as_ptr()
    }

    /// One byte.
    pub fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    /// A number.
    pub fn number(&mut self, value: f64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.0.extend_from_slice(bytes);
    }

    /// An id of 64 bits as a text of 16 hexadecimal digits.
    pub fn id(&mut self, id: u64) {
        self.0.extend_from_slice(&ID_DIGITS.to_le_bytes());
        for place in (0..ID_DIGITS).rev() {
            self.byte(b"0123456789abcdef"[(id >> (4 * place) & 15) as usize]);
        }
    }

    /// A profile id as a text, empty for the default profile.
    pub fn profile(&mut self, id: ProfileId) {
        if id == ProfileId::DEFAULT { self.text("") } else { self.id(id.0) }
    }
}
