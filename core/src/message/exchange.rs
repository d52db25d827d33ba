//! A whole session in one request and its answer, for where there is no WebSocket, or no time to open
//! one, as when a page is closed.
//!
//! The request is the hello, what it builds on, and the frames that would follow. They leave before the
//! welcome is known, so the server takes them only when the welcome would have said nothing new; and
//! they are written with an empty context. Invariant: whatever the server does with them, sending
//! them again in another session is right.

use super::{ClientFrame, CloseCode, FRAME_BYTES_MAX, Hello};
use crate::clock::Timestamp;
use crate::codec::{DecodeError, Reader, Writer};

/// Frames after the hello in one request.
pub const EXCHANGE_FRAMES_MAX: usize = 16;
/// Frames in the answer: welcome and catch-up, and for each frame of the request two at most.
pub const EXCHANGED_FRAMES_MAX: usize = 2 + 2 * EXCHANGE_FRAMES_MAX;
/// Bytes of one request: enough for an offer and some deltas.
pub const EXCHANGE_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange<'a> {
    /// Opens the session.
    pub hello: Hello,
    /// The last own operation that the replica knows to be taken, [`Timestamp::ZERO`] for none: what
    /// the hello's digest is of.
    pub acked: Timestamp,
    /// What follows.
    pub frames: Vec<&'a [u8]>,
}

impl<'a> Exchange<'a> {
    /// The request's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.bytes(&self.hello.encode());
        writer.varint(self.acked.0);
        self.frames.iter().for_each(|frame| writer.bytes(frame));
        writer.finish()
    }

    /// Reads what [`Exchange::encode`] wrote.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > EXCHANGE_BYTES_MAX {
            return Err(DecodeError::limit("EXCHANGE_BYTES_MAX"));
        }
        let mut reader = Reader::new(bytes);
        let hello = match ClientFrame::decode(frame(&mut reader)?)? {
            ClientFrame::Hello(hello) => hello,
            _ => return Err(DecodeError::invalid("first frame")),
        };
        let acked = Timestamp(reader.varint()?);
        let mut frames = Vec::new();
        while !reader.is_empty() {
            if frames.len() >= EXCHANGE_FRAMES_MAX {
                return Err(DecodeError::limit("EXCHANGE_FRAMES_MAX"));
            }
            frames.push(frame(&mut reader)?);
        }
        Ok(Self { hello, acked, frames })
    }
}

fn frame<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    reader.bytes(FRAME_BYTES_MAX, "FRAME_BYTES_MAX")
}

/// The answer to an [`Exchange`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchanged<'a> {
    /// The server's frames.
    pub frames: Vec<&'a [u8]>,
    /// What the session was closed with, if it did not come to its end.
    pub close: Option<u16>,
}

impl<'a> Exchanged<'a> {
    /// An answer's bytes. No frame is empty, so an empty one marks the close code.
    pub fn encode(frames: &[Vec<u8>], close: Option<CloseCode>) -> Vec<u8> {
        let mut writer = Writer::new();
        frames.iter().for_each(|frame| writer.bytes(frame));
        if let Some(close) = close {
            writer.bytes(&[]);
            writer.varint(close.code().into());
        }
        writer.finish()
    }

    /// Reads what [`Exchanged::encode`] wrote.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut frames = Vec::new();
        let mut close = None;
        while !reader.is_empty() {
            let frame = frame(&mut reader)?;
            if frame.is_empty() {
                let code = u16::try_from(reader.varint()?);
                close = Some(code.map_err(|_| DecodeError::invalid("close code"))?);
                break;
            }
            if frames.len() >= EXCHANGED_FRAMES_MAX {
                return Err(DecodeError::limit("EXCHANGED_FRAMES_MAX"));
            }
            frames.push(frame);
        }
        reader.finish()?;
        Ok(Self { frames, close })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ReplicaId;
    use crate::message::Session;

    fn hello() -> Hello {
        Hello {
            token: "token".into(),
            household: None,
            replica: ReplicaId(7),
            session: Session { number: 1, nonce: 2 },
            acked: Some(3),
            epoch: Some(4),
            cursor: Some(5),
            owes_offer: false,
        }
    }

    #[test]
    fn a_request_comes_back_and_every_part_of_it_is_refused() {
        let ping = ClientFrame::ping();
        let frames = vec![&ping[..]; EXCHANGE_FRAMES_MAX];
        let exchange = Exchange { hello: hello(), acked: Timestamp(u64::MAX), frames };
        let bytes = exchange.encode();
        assert_eq!(Exchange::decode(&bytes), Ok(exchange.clone()));
        let parts = (0..bytes.len()).filter(|length| Exchange::decode(&bytes[..*length]).is_ok());
        assert_eq!(parts.count(), EXCHANGE_FRAMES_MAX, "it may end after each frame");
        let mut more = exchange;
        more.frames.push(&ping);
        let limit = Err(DecodeError::limit("EXCHANGE_FRAMES_MAX"));
        assert_eq!(Exchange::decode(&more.encode()), limit);
        let long = vec![0; EXCHANGE_BYTES_MAX + 1];
        assert_eq!(Exchange::decode(&long), Err(DecodeError::limit("EXCHANGE_BYTES_MAX")));
        let mut writer = Writer::new();
        writer.bytes(&ping);
        let first = Err(DecodeError::invalid("first frame"));
        assert_eq!(Exchange::decode(writer.as_slice()), first);
    }

    #[test]
    fn an_answer_comes_back() {
        let frames = vec![vec![1], vec![2, 3]];
        for close in [None, Some(CloseCode::Drift)] {
            let bytes = Exchanged::encode(&frames, close);
            let read = Exchanged::decode(&bytes).expect("readable");
            assert_eq!(read.frames, [&[1][..], &[2, 3]]);
            assert_eq!(read.close, close.map(CloseCode::code));
        }
        for bad in [&[0][..], &[0, 1, 1], &[2, 1]] {
            assert!(Exchanged::decode(bad).is_err(), "{bad:?}");
        }
        let full = vec![vec![1]; EXCHANGED_FRAMES_MAX];
        assert!(Exchanged::decode(&Exchanged::encode(&full, None)).is_ok());
        let more = vec![vec![1]; full.len() + 1];
        let limit = Err(DecodeError::limit("EXCHANGED_FRAMES_MAX"));
        assert_eq!(Exchanged::decode(&Exchanged::encode(&more, None)), limit);
    }
}
