//! One frame, without the connection it belongs to.

use crate::household::comes_back;
use crate::living::START;
use omega_sync_core::delta::Context;
use omega_sync_core::id::{ContentId, ReplicaId};
use omega_sync_core::message::{
    ClientFrame, FRAME_BYTES_MAX, ServerFrame, read_delta, read_offer, read_update,
};

/// What a client sends.
pub fn client_frame(data: &[u8]) {
    match ClientFrame::decode(data) {
        Ok(ClientFrame::Hello(hello)) => {
            let encoded = hello.encode();
            assert_eq!(ClientFrame::decode(&encoded), Ok(ClientFrame::Hello(hello)));
        }
        Ok(ClientFrame::Offer(number, body)) => {
            let Ok(states) = read_offer(&body) else { return };
            states.iter().for_each(comes_back);
            // The last one goes first.
            let last_first: Vec<_> = states.iter().rev().cloned().collect();
            let encoded = ClientFrame::offer(number, &last_first);
            assert!(encoded.len() <= FRAME_BYTES_MAX);
            let Ok(ClientFrame::Offer(again, body)) = ClientFrame::decode(&encoded) else {
                panic!("an offer does not come back");
            };
            assert_eq!((again, read_offer(&body)), (number, Ok(states)));
        }
        Ok(ClientFrame::Delta(_, body)) => {
            let live = |_, _: &ContentId, _| Some(Vec::new());
            let _ = read_delta(body.0, &mut Context::starting(START), ReplicaId(1), &live);
        }
        Ok(ClientFrame::Ping) => assert_eq!(data, ClientFrame::ping()),
        Ok(ClientFrame::Command(asked)) => assert_eq!(data, ClientFrame::command(&asked)),
        Ok(ClientFrame::Reply(id, reply)) => assert_eq!(data, ClientFrame::reply(id, reply)),
        Ok(ClientFrame::Watch) => assert_eq!(data, ClientFrame::watch()),
        Err(_) => {}
    }
}

/// What a server sends.
pub fn server_frame(data: &[u8]) {
    match ServerFrame::decode(data) {
        Ok(ServerFrame::Welcome(welcome)) => {
            let encoded = welcome.encode();
            assert_eq!(ServerFrame::decode(&encoded), Ok(ServerFrame::Welcome(welcome)));
        }
        Ok(ServerFrame::Snapshot(number, version, state)) => {
            comes_back(&state);
            let encoded = ServerFrame::snapshot(number, version, &state);
            let again = ServerFrame::decode(&encoded);
            assert_eq!(again, Ok(ServerFrame::Snapshot(number, version, state)));
        }
        Ok(ServerFrame::Update(_, body)) => {
            let live = |_, _: &ContentId, _| Some(Vec::new());
            let _ = read_update(body.0, &mut Context::starting(START), &live);
        }
        Ok(ServerFrame::Ack(number, ack)) => {
            let encoded = ServerFrame::ack(number, &ack);
            assert_eq!(ServerFrame::decode(&encoded), Ok(ServerFrame::Ack(number, ack)));
        }
        Ok(ServerFrame::Pong) => assert_eq!(data, ServerFrame::pong()),
        Ok(ServerFrame::Offered) => assert_eq!(data, ServerFrame::offered()),
        Ok(ServerFrame::Order(order)) => assert_eq!(data, ServerFrame::order(&order)),
        Ok(ServerFrame::Status(id, outcome)) => assert_eq!(data, ServerFrame::status(id, outcome)),
        Ok(ServerFrame::Presence(presence)) => assert_eq!(data, ServerFrame::presence(&presence)),
        Ok(ServerFrame::Difference(..)) | Err(_) => {}
    }
}
