//! A whole session in one request: see [`crate::message::Exchange`].

use super::{ConnectionId, Room, RoomInput, RoomOutput};
use crate::clock::{Timestamp, UnixMillis};
use crate::delta::{Context, DELTA_BYTES_MAX};
use crate::message::{ClientFrame, CloseCode, Exchange, Hello, read_delta};

impl Room {
    /// Opens a session, takes what comes with its hello, and ends it. What is sent to `connection`,
    /// which must be new, is the answer.
    pub fn exchange(
        &mut self,
        now: UnixMillis,
        connection: ConnectionId,
        exchange: Exchange,
        may_write: bool,
    ) -> Vec<RoomOutput> {
        let Exchange { hello, acked, frames } = exchange;
        let agreed = self.agrees(&hello, acked);
        let mut outputs = self.handle(now, RoomInput::Hello { connection, hello, may_write });
        if agreed && let Some(opened) = self.connections.get_mut(&connection) {
            opened.up = Context::default();
            for frame in frames {
                if let Err(code) = self.blind_frame(now, connection, frame, &mut outputs) {
                    outputs.push(RoomOutput::Close(connection, code));
                    break;
                }
            }
        }
        self.connections.remove(&connection);
        outputs
    }

    /// Whether the welcome would tell a replica nothing that changes what it sends: what it takes for
    /// acknowledged is what was taken. A digest that one side does not know can't disagree.
    fn agrees(&self, hello: &Hello, acked: Timestamp) -> bool {
        let taken = self.household.seen().of(hello.replica);
        let known = self.rows.get(&hello.replica).map_or(0, |row| row.digest);
        let same = hello.acked.is_none_or(|digest| digest == 0 || known == 0 || digest == known);
        hello.epoch == Some(self.epoch.mark()) && acked == taken && same
    }

    /// Takes a frame of somebody who does not know the server's clock or version: it says all that
    /// it observed.
    fn blind_frame(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        bytes: &[u8],
        outputs: &mut Vec<RoomOutput>,
    ) -> Result<(), CloseCode> {
        let ClientFrame::Delta(number, body) = ClientFrame::decode(bytes)? else {
            return self.frame(now, id, bytes, outputs);
        };
        let connection = self.expect(id, number)?;
        let replica = connection.replica;
        let delta = read_delta(body.0, &mut connection.up, replica, &|_, _, _| None)?;
        if delta.bytes_bound() > DELTA_BYTES_MAX {
            return Err(CloseCode::TooLarge);
        }
        self.delta(now, id, delta, outputs)
    }
}
