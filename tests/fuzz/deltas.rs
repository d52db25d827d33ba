//! Bodies of deltas and updates, one after the other on a connection: each end remembers what passed.

use crate::input::parts;
use crate::living::{START, dots, replica, take};
use omega_sync_core::codec::{DecodeError, Reader, Writer};
use omega_sync_core::delta::{Context, Delta};
use omega_sync_core::household::Household;
use omega_sync_core::id::{ContentId, ReplicaId};
use omega_sync_core::message::{ClientFrame, FrameNumber, ServerFrame, read_delta, read_update};
use omega_sync_core::operation::Operation;

/// Whose deltas a client sends.
pub fn author() -> ReplicaId {
    replica(1)
}

/// What came is written again by an honest end, on a connection of its own, and read by another one.
struct Honest {
    up: Context,
    down: Context,
    number: FrameNumber,
}

impl Honest {
    fn new() -> Self {
        let context = || Context::starting(START);
        Self { up: context(), down: context(), number: FrameNumber::FIRST }
    }

    fn update(&mut self, delta: &Delta) {
        let frame = ServerFrame::update(self.number.advance(), delta, &mut self.up, &mut |_| None);
        assert!(frame.len() <= delta.bytes_bound(), "{} bytes", frame.len());
        let Ok(ServerFrame::Update(_, body)) = ServerFrame::decode(&frame) else {
            panic!("an update was written");
        };
        let read = read_update(body.0, &mut self.down, &|_, _, _| None);
        assert_eq!(read.as_ref(), Ok(delta));
    }

    fn delta(&mut self, delta: &Delta) {
        let frame = ClientFrame::delta(self.number.advance(), delta, &mut self.up, &mut |_| None);
        let Ok(ClientFrame::Delta(_, body)) = ClientFrame::decode(&frame) else {
            panic!("a delta was written");
        };
        let read = read_delta(body.0, &mut self.down, delta.replica, &|_, _, _| None);
        assert_eq!(read.as_ref(), Ok(delta));
    }
}

/// A delta is the same after it was stored, and so is each of its operations.
fn is_stored(delta: &Delta) {
    let mut writer = Writer::new();
    delta.store(&mut writer);
    assert!(writer.as_slice().len() <= delta.bytes_bound());
    assert_eq!(Delta::load(&mut Reader::new(writer.as_slice())).as_ref(), Ok(delta));
    for operation in &delta.operations {
        let mut writer = Writer::new();
        operation.encode(&mut writer);
        let mut reader = Reader::new(writer.as_slice());
        assert_eq!(Operation::decode(&mut reader).as_ref(), Ok(operation));
        assert_eq!(reader.finish(), Ok(()));
    }
}

type Read<'a> = dyn FnMut(&[u8], &Household) -> Result<Delta, DecodeError> + 'a;

fn bodies(data: &[u8], read: &mut Read, honest: &mut dyn FnMut(&Delta)) {
    let mut state = Household::default();
    for part in parts(data) {
        let Ok(delta) = read(part, &state) else { return };
        honest(&delta);
        is_stored(&delta);
        take(&mut state, &delta);
    }
}

/// What a client sends.
pub fn client_deltas(data: &[u8]) {
    let mut context = Context::starting(START);
    let mut read = |part: &[u8], state: &Household| {
        let live = |profile, content: &ContentId, version: u64| {
            (version < 8).then(|| dots(state, profile, content))
        };
        read_delta(part, &mut context, author(), &live)
    };
    let mut honest = Honest::new();
    bodies(data, &mut read, &mut |delta| honest.delta(delta));
}

/// What a server sends.
pub fn server_updates(data: &[u8]) {
    let mut context = Context::starting(START);
    let mut read = |part: &[u8], state: &Household| {
        let live = |profile, content: &ContentId, _| Some(dots(state, profile, content));
        read_update(part, &mut context, &live)
    };
    let mut honest = Honest::new();
    bodies(data, &mut read, &mut |delta| honest.update(delta));
}
