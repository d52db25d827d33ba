//! Content ids through both of their encodings, and the range coder by itself.

use crate::household::comes_back;
use crate::input::{Script, parts};
use crate::living::START;
use omega_sync_core::clock::{Timestamp, UnixMillis};
use omega_sync_core::codec::Reader;
use omega_sync_core::delta::{Context, Delta};
use omega_sync_core::household::Household;
use omega_sync_core::id::{ContentId, ProfileId, ReplicaId};
use omega_sync_core::message::{ClientFrame, FrameNumber, read_delta};
use omega_sync_core::operation::{Change, Operation};
use omega_sync_core::rangecoder::{Bit, Coder, Number};

/// Texts as titles: each is split and joined on a connection and in a state.
pub fn titles(data: &[u8]) {
    let (mut up, mut down) = (Context::starting(START), Context::starting(START));
    let mut state = Household::default();
    let texts = parts(data).into_iter().filter_map(|part| core::str::from_utf8(part).ok());
    for (at, content) in texts.filter_map(|text| ContentId::new(text).ok()).enumerate() {
        let timestamp = Timestamp::new(UnixMillis(START.0 + at as u64), 0);
        let change = Change::Add(content, Vec::new());
        let operation = Operation { timestamp, profile: ProfileId::DEFAULT, change };
        let (replica, operations) = (ReplicaId(1), vec![operation]);
        let delta = Delta { replica, through: timestamp, operations };
        let frame = ClientFrame::delta(FrameNumber::FIRST, &delta, &mut up, &mut |_| None);
        let read = read_delta(&frame[1..], &mut down, replica, &|_, _, _| None);
        assert_eq!(read.as_ref(), Ok(&delta));
        if state.check(&delta.operations[0]).is_ok() {
            state.merge(&delta);
        }
    }
    comes_back(&state);
    let mut reader = Reader::new(data);
    let content = ContentId::decode(&mut reader);
    assert!(content.is_err() || ContentId::new(content.expect("one").as_str()).is_ok());
}

/// One decision of each kind; what is written comes in and what was read comes out.
struct Models {
    bit: Bit,
    numbers: [Number; 3],
    tree: Vec<Bit>,
}

impl Models {
    fn new(script: &mut Script) -> Self {
        let max = script.number().max(1);
        let bits = script.below(64) as u32;
        Self {
            bit: Bit::rare(script.byte() % 100),
            numbers: [
                Number::new(bits, true, max),
                Number::new(bits, false, max),
                Number::new(0, false, u64::MAX),
            ],
            tree: Vec::new(),
        }
    }

    fn code(&mut self, coder: &mut Coder, kind: u8, of: u64, value: u64) -> u64 {
        let total = of.max(1);
        match kind % 8 {
            0 => u64::from(coder.bit(&mut self.bit, value & 1 == 1)),
            1 => coder.symbol(&mut self.tree, (value % 300) as usize, 300) as u64,
            2 => coder.direct(64, value),
            3 => coder.small(value >> 32),
            4 => coder.uniform(value % total, total),
            5 => u64::from(coder.chosen(of as usize % 9, 9, value & 1 == 1)),
            6 => coder.number(&mut self.numbers[2], value),
            _ => coder.number(&mut self.numbers[of as usize % 2], value.min(1)),
        }
    }
}

/// A script of decisions: written, read back, and read from the bytes of the script themselves.
pub fn range_coder(data: &[u8]) {
    let decisions = |script: &mut Script| {
        let mut list = Vec::new();
        while !script.is_empty() {
            list.push((script.byte(), script.number(), script.number()));
        }
        list
    };
    let mut script = Script(data);
    let mut writing = Models::new(&mut script);
    let list = decisions(&mut script);
    let mut coder = Coder::writer();
    let written: Vec<u64> =
        list.iter().map(|&(kind, of, value)| writing.code(&mut coder, kind, of, value)).collect();
    let bytes = coder.finish().expect("nothing that is written fails");
    for (input, known) in [(&bytes[..], true), (data, false)] {
        let mut reading = Models::new(&mut Script(data));
        let mut coder = Coder::reader(input);
        for (&(kind, of, _), written) in list.iter().zip(&written) {
            let read = reading.code(&mut coder, kind, of, 0);
            assert!(!known || read == *written, "kind {kind}: {read} of {written}");
        }
        assert!(!known || coder.finish() == Ok(Vec::new()));
    }
}
