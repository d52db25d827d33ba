//! Catching up by the whole state, because a setting of either end says so.

use crate::home::{Home, Tv, add};
use omega_sync_core::id::{EpochId, ProfileId};
use omega_sync_core::session::client::{Input, Status};
use omega_sync_core::session::server::{Room, RoomSettings};

const SNAPSHOT: u8 = 1;
const DIFFERENCE: u8 = 2;
/// The lower half of a frame's first byte.
const TAG_BITS: u8 = 15;

/// Comes back and says what it caught up by.
fn caught_up_by(home: &mut Home, tv: &mut Tv) -> u8 {
    let outputs = tv.client.handle(home.now(tv), Input::Online);
    home.carry_out(tv, outputs);
    let frames = tv.inbox.iter().map(|frame| frame.as_ref().expect("not closed")[0] & TAG_BITS);
    let tags: Vec<u8> = frames.collect();
    home.input(tv, Input::Woke);
    assert_eq!(tv.client.status(), Status::Live);
    assert_eq!(tags.len(), 2, "a welcome, and one frame to catch up");
    tags[1]
}

#[test]
fn each_end_can_ask_for_the_whole_state_and_get_the_same() {
    let mut home = Home::new();
    let (mut living, mut bedroom) = (home.tv(1, 0), home.tv(2, 0));
    assert_eq!(caught_up_by(&mut home, &mut living), SNAPSHOT, "it knew nothing");
    home.refresh(&mut bedroom);
    let mut shown = Vec::new();
    for (of_client, of_room, wanted) in [
        (true, true, DIFFERENCE),
        (false, true, SNAPSHOT),
        (true, false, SNAPSHOT),
        (false, false, SNAPSHOT),
        (true, true, DIFFERENCE),
    ] {
        home.operate(&mut bedroom, add(&format!("film {}", shown.len())));
        living.client.set_differences(of_client);
        home.room.set(RoomSettings { differences: of_room, ..RoomSettings::default() });
        assert_eq!(caught_up_by(&mut home, &mut living), wanted, "{of_client} {of_room}");
        let replica = living.client.replica();
        shown.push(replica.watchlist(ProfileId::DEFAULT).len());
        assert_eq!(replica.confirmed(), home.room.household());
        assert_eq!(replica.base_version(), Some(home.room.version()));
    }
    assert_eq!(shown, [1, 2, 3, 4, 5]);
}

#[test]
fn an_older_state_of_the_same_database_is_not_believed() {
    for differences in [true, false] {
        let mut home = Home::new();
        let (mut living, mut bedroom) = (home.tv(1, 0), home.tv(2, 0));
        home.refresh(&mut bedroom);
        home.operate(&mut bedroom, add("film"));
        home.refresh(&mut living);
        living.client.set_differences(differences);
        home.room = Room::create(home.room.id().clone(), EpochId(1));
        home.connect(&mut living);
        assert_ne!(living.client.status(), Status::Live);
        assert_eq!(living.client.replica().watchlist(ProfileId::DEFAULT).len(), 1);
        assert_eq!(living.client.replica().base_version(), Some(1));
    }
}
