//! A household that was erased: no device brings back what it knows, each forgets it.

use crate::home::{Home, Tv, add, household, title};
use omega_sync_core::id::{EpochId, ProfileId};
use omega_sync_core::message::CloseCode;
use omega_sync_core::operation::Part;
use omega_sync_core::session::client::{Client, Input, Output, Status};
use omega_sync_core::session::server::Room;

fn shows(tv: &Tv, name: &str) -> bool {
    tv.client.replica().is_listed(ProfileId::DEFAULT, &title(name))
}

/// The server after the erasure, in a new life that had these lives before it since then.
fn erase(home: &mut Home, epoch: u64, lives: &[u64]) {
    home.room = Room::create(household(), EpochId(epoch));
    let lives: Vec<EpochId> = lives.iter().map(|life| EpochId(*life)).collect();
    home.room.remember_erasure(&lives);
}

/// A TV with a confirmed title and one that waits.
fn away(home: &mut Home, seed: u8) -> Tv {
    let mut tv = home.tv(seed, 0);
    home.refresh(&mut tv);
    home.operate(&mut tv, add("confirmed"));
    home.input(&mut tv, Input::Offline);
    home.operate(&mut tv, add("waits"));
    tv
}

#[test]
fn a_device_that_was_away_forgets_all_it_knows() {
    let mut home = Home::new();
    let mut tv = away(&mut home, 1);
    let before = tv.client.replica().id();
    erase(&mut home, 2, &[]);
    home.connect(&mut tv);
    assert_eq!(tv.client.status(), Status::Stopped, "until the app begins anew");
    assert_eq!(tv.client.close_code(), Some(CloseCode::Erased));
    assert!(!shows(&tv, "confirmed") && !shows(&tv, "waits"));
    assert_ne!(tv.client.replica().id(), before, "a new replica");
    assert!(!home.listed("confirmed"));

    // So does its storage, and what is loaded from it is welcome.
    let bytes: Vec<u8> = tv.disk.concat();
    for word in ["confirmed", "waits"] {
        assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
    }
    let mut again = home.tv_from(tv.disk, 9, 0);
    home.refresh(&mut again);
    assert!(!shows(&again, "confirmed"));
    home.operate(&mut again, add("new"));
    assert!(home.listed("new") && !home.listed("confirmed"));
}

#[test]
fn a_connection_that_is_closed_by_the_erasure_forgets_and_tells_the_screen() {
    let mut home = Home::new();
    let mut tv = home.tv(1, 0);
    home.refresh(&mut tv);
    home.operate(&mut tv, add("film"));
    let outputs = tv.client.handle(home.now(&tv), Input::Closed(CloseCode::Erased.code()));
    let stored = outputs.iter().position(|output| matches!(output, Output::Replace(_)));
    let list = Part::Watchlist(ProfileId::DEFAULT);
    let told = outputs
        .iter()
        .position(|output| matches!(output, Output::Changed(parts) if parts.contains(&list)));
    assert!(stored < told && stored.is_some(), "durable before it is shown: {outputs:?}");
    assert!(outputs.contains(&Output::Status(Status::Stopped)));
    assert!(!shows(&tv, "film"));
}

#[test]
fn a_device_that_forgot_stays_stopped_until_the_app_begins_anew() {
    let mut home = Home::new();
    let mut tv = away(&mut home, 1);
    erase(&mut home, 2, &[]);
    home.connect(&mut tv);
    home.operate(&mut tv, add("afterwards"));
    for input in [Input::Online, Input::Offline, Input::Online, Input::Hiding(String::new())] {
        let outputs = tv.client.handle(home.now(&tv), input);
        assert_eq!(outputs, [], "it woke, or was switched off and on, or hides");
        assert_eq!(tv.client.status(), Status::Stopped);
        assert_eq!(tv.client.close_code(), Some(CloseCode::Erased));
    }
    assert!(!home.listed("afterwards"));
}

#[test]
fn a_life_after_the_erasure_that_was_put_back_is_owed_its_offers() {
    let mut home = Home::new();
    erase(&mut home, 2, &[]);
    let mut tv = away(&mut home, 1);
    erase(&mut home, 3, &[2]);
    home.refresh(&mut tv);
    assert!(home.listed("confirmed") && home.listed("waits") && shows(&tv, "confirmed"));
}

#[test]
fn who_knows_nothing_is_no_one_to_forget() {
    let mut home = Home::new();
    erase(&mut home, 2, &[]);
    let mut tv = home.tv(1, 0);
    home.operate(&mut tv, add("first"));
    home.refresh(&mut tv);
    assert!(home.listed("first"));
    // Nothing was erased here: another life is owed an offer, as ever.
    home.room = Room::create(household(), EpochId(5));
    home.refresh(&mut tv);
    assert!(home.listed("first"));
    assert!(Client::load(&tv.disk, None, [3; 16]).is_ok());
}
