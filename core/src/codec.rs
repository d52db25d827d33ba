//! Bounded reading and writing of bytes; knows no type of ours, each type encodes itself.
//!
//! Invariant: a [`Reader`] never panics and never allocates by the word of its input; every count is
//! checked against a limit that the caller names. Each value has one encoding only (a varint with
//! superfluous bytes is refused), so equal values have equal bytes.
//!
//! Varints are LEB128 and signed values are zigzag coded, as in Protocol Buffers.

use core::fmt;
use thiserror::Error;

/// Why bytes from outside were refused. Nothing is applied from bytes that do not decode whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The input ends inside a value.
    #[error("the bytes end too early")]
    Truncated,
    /// Bytes are left after the last value.
    #[error("there are bytes after the end")]
    Trailing,
    /// A count or length is above its limit; the name is the limit's.
    #[error("over the limit {0}")]
    Limit(Detail<&'static str>),
    /// A value that has no meaning here; the name says which.
    #[error("{0} is not valid")]
    Invalid(Detail<&'static str>),
    /// Written by another version of this format.
    #[error("version {0} is not supported")]
    Version(Detail<u8>),
    /// The checksum does not match.
    #[error("the checksum does not match")]
    Checksum,
}

impl DecodeError {
    /// [`DecodeError::Limit`] with the limit's name.
    pub const fn limit(name: &'static str) -> Self {
        Self::Limit(Detail::new(name))
    }

    /// [`DecodeError::Invalid`] with the value's name.
    pub const fn invalid(name: &'static str) -> Self {
        Self::Invalid(Detail::new(name))
    }

    /// [`DecodeError::Version`] with the version that was found.
    pub const fn version(found: u8) -> Self {
        Self::Version(Detail::new(found))
    }
}

/// What an error is about, for who looks for its cause. WebAssembly does without: on a TV nobody reads it,
/// and an error of one byte is returned as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detail<T> {
    #[cfg(not(target_family = "wasm"))]
    value: T,
    #[cfg(target_family = "wasm")]
    value: core::marker::PhantomData<T>,
}

impl<T: Copy> Detail<T> {
    #[cfg(not(target_family = "wasm"))]
    const fn new(value: T) -> Self {
        Self { value }
    }

    #[cfg(target_family = "wasm")]
    const fn new(_: T) -> Self {
        Self { value: core::marker::PhantomData }
    }
}

impl<T: fmt::Display> fmt::Display for Detail<T> {
    #[cfg(not(target_family = "wasm"))]
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        self.value.fmt(formatter)
    }

    #[cfg(target_family = "wasm")]
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("something")
    }
}

/// Most records and frames are shorter: room from the start saves growing.
const USUAL_BYTES: usize = 64;

/// Appends values to a byte vector.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self(Vec::with_capacity(USUAL_BYTES))
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// 32 bits, little endian.
    pub fn fixed32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// 64 bits, little endian: for random ids, where a varint would be longer.
    pub fn fixed64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A varint of 1 to 10 bytes.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A signed varint, zigzag coded.
    pub fn signed(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)) as u64);
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A length and that many bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.raw(bytes);
    }

    /// Writes a byte anew.
    pub fn replace(&mut self, at: usize, value: u8) {
        self.0[at] = value;
    }

    /// What was written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// All that was written.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Bytes as text, if they are UTF-8. Texts are short: what the language has for it reads long ones
/// quicker, and is twice as much code.
pub fn text(bytes: &[u8]) -> Option<&str> {
    match bytes.utf8_chunks().next() {
        Some(chunk) if chunk.invalid().is_empty() => Some(chunk.valid()),
        Some(_) => None,
        None => Some(""),
    }
}

/// Takes values off a byte slice.
#[derive(Debug, Clone)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Reads one byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        let (&first, rest) = self.0.split_first().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(first)
    }

    /// 32 bits, little endian.
    pub fn fixed32(&mut self) -> Result<u32, DecodeError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*bytes))
    }

    /// 64 bits, little endian.
    pub fn fixed64(&mut self) -> Result<u64, DecodeError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// A varint in its shortest form.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::invalid("varint"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let padded = byte == 0 && shift > 0;
                return if padded { Err(DecodeError::invalid("varint")) } else { Ok(value) };
            }
        }
        Err(DecodeError::invalid("varint"))
    }

    /// A signed varint.
    pub fn signed(&mut self) -> Result<i64, DecodeError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A varint that fits 32 bits; `name` is for the error.
    pub fn u32(&mut self, name: &'static str) -> Result<u32, DecodeError> {
        u32::try_from(self.varint()?).map_err(|_| DecodeError::invalid(name))
    }

    /// A count of at most `max` things; `limit` is the name of that limit.
    pub fn count(&mut self, max: usize, limit: &'static str) -> Result<usize, DecodeError> {
        let count = self.varint()?;
        if count > max as u64 { Err(DecodeError::limit(limit)) } else { Ok(count as usize) }
    }

    /// `length` bytes as they are.
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        if length > self.0.len() {
            return Err(DecodeError::Truncated);
        }
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(bytes)
    }

    /// A length of at most `max` and that many bytes.
    pub fn bytes(&mut self, max: usize, limit: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = self.count(max, limit)?;
        self.raw(length)
    }

    /// A length of at most `max` and that many bytes of UTF-8.
    pub fn string(&mut self, max: usize, limit: &'static str) -> Result<&'a str, DecodeError> {
        let bytes = self.bytes(max, limit)?;
        text(bytes).ok_or(DecodeError::invalid("UTF-8 text"))
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An error unless everything was read.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}

/// FNV-1a, 32 bits (Fowler, Noll, Vo; draft-eastlake-fnv): finds damage and tells operations apart.
/// It is no protection against somebody who wants two texts to collide.
pub fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(a: u64, b: i64, c: u32, d: Vec<u8>) {
            let mut writer = Writer::new();
            writer.varint(a);
            writer.signed(b);
            writer.fixed32(c);
            writer.fixed64(a);
            writer.bytes(&d);
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint(), Ok(a));
            prop_assert_eq!(reader.signed(), Ok(b));
            prop_assert_eq!(reader.fixed32(), Ok(c));
            prop_assert_eq!(reader.fixed64(), Ok(a));
            prop_assert_eq!(reader.bytes(usize::MAX, "bytes"), Ok(&d[..]));
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn a_varint_that_reads_has_one_encoding(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = reader.varint() {
                let mut writer = Writer::new();
                writer.varint(value);
                prop_assert_eq!(writer.as_slice(), &bytes[..bytes.len() - reader.rest().len()]);
            }
        }
    }

    #[test]
    fn a_length_beyond_the_input_or_the_limit_is_refused() {
        assert_eq!(Reader::new(&[5, 1, 2]).bytes(9, "x"), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(&[5, 1, 2]).bytes(4, "x"), Err(DecodeError::limit("x")));
        assert_eq!(Reader::new(&[0x80, 0]).varint(), Err(DecodeError::invalid("varint")));
        assert_eq!(Reader::new(&[0]).finish(), Err(DecodeError::Trailing));
    }
}
