//! How a target's input is cut: a list of parts, or a script that is read byte by byte.

/// The parts of an input: each two bytes of length, little endian, and so many bytes, or what is left.
pub fn parts(mut data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk() {
        let (part, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        parts.push(part);
        data = rest;
    }
    parts
}

/// An input of these parts; a part that is too long is cut.
pub fn joined<P: AsRef<[u8]>>(parts: &[P]) -> Vec<u8> {
    let mut data = Vec::new();
    for part in parts {
        let part = part.as_ref();
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        data.extend(length.to_le_bytes());
        data.extend(&part[..usize::from(length)]);
    }
    data
}

/// Bytes that say what to do; zeros follow the last one.
pub struct Script<'a>(pub &'a [u8]);

impl Script<'_> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    /// A number below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    /// A number of any length.
    pub fn number(&mut self) -> u64 {
        let bytes = self.below(9);
        (0..bytes).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }
}
