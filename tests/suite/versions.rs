//! Ends of different versions: a clear answer, and nothing is lost.

use crate::home::{Home, add};
use omega_sync_core::codec::Writer;
use omega_sync_core::household::{Household, STATE_VERSION};
use omega_sync_core::id::ProfileId;
use omega_sync_core::message::{CloseCode, PROTOCOL_VERSION};
use omega_sync_core::session::client::{Input, Output, Status};

/// The number of a frame is in the upper half of its first byte.
const NUMBER_SHIFT: u32 = 4;

#[test]
fn a_server_of_another_version_stops_the_client_which_keeps_its_data() {
    for version in [PROTOCOL_VERSION - 1, PROTOCOL_VERSION + 1] {
        let mut home = Home::new();
        let mut tv = home.tv(1, 0);
        home.operate(&mut tv, add("film"));
        tv.held = Some(Vec::new());
        home.connect(&mut tv);
        let welcome = [version << NUMBER_SHIFT, 0, 0, 0];
        let outputs = tv.client.handle(home.now(&tv), Input::Frame(&welcome));
        assert!(outputs.contains(&Output::Disconnect), "{outputs:?}");
        assert!(!outputs.iter().any(|output| matches!(output, Output::Wake(_))), "it waits");
        assert_eq!(tv.client.status(), Status::Stopped);
        assert_eq!(tv.client.close_code(), Some(CloseCode::VersionUnsupported));
        assert_eq!(tv.client.replica().watchlist(ProfileId::DEFAULT).len(), 1);

        // The server was brought to the same version: the next time the TV wakes, all is well.
        tv.held = None;
        home.refresh(&mut tv);
        assert_eq!(tv.client.close_code(), None);
        assert!(home.listed("film"));
    }
}

#[test]
fn a_state_of_a_newer_version_stops_the_client_as_well() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    let outputs = tv.client.handle(home.now(&tv), Input::Online);
    home.carry_out(&mut tv, outputs);
    let mut snapshot = tv.inbox.pop_back().expect("a snapshot").expect("not closed");
    let mut state = Writer::new();
    Household::default().encode(&mut state);
    let at = snapshot.len() - state.as_slice().len();
    assert_eq!(snapshot[at], STATE_VERSION);
    snapshot[at] = STATE_VERSION + 1;
    tv.inbox.push_back(Ok(snapshot));
    home.input(&mut tv, Input::Woke);
    assert_eq!(tv.client.status(), Status::Stopped);
    assert_eq!(tv.client.close_code(), Some(CloseCode::VersionUnsupported));
}
