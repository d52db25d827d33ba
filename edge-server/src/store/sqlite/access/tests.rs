//! The store's promises about pairings and revocations, on a real file.

use super::*;
use crate::store::OpenError;
use tempfile::TempDir;

const NOW: u64 = 1_700_000_000_000;
const LATER: u64 = NOW + 1_000_000;

fn run<T>(answer: Answer<T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(answer).unwrap()
}

fn paired(answer: Answer<Paired>) -> bool {
    run(answer) == Paired::Done
}

fn open(folder: &TempDir) -> SqliteStore {
    SqliteStore::open(folder.path()).unwrap()
}

fn pairing(number: u16, household: &str, device: &str) -> Pairing {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&number.to_be_bytes());
    Pairing {
        id,
        household: HouseholdId::new(household).unwrap(),
        device: DeviceId::new(device).unwrap(),
        scope: "read write".into(),
        region: Some(Region::new("DE-BY").unwrap()),
        allowed_s: NOW / 1000,
        current: [1; 32],
        ends: LATER,
    }
}

fn rotation(pairing: &Pairing, used: u8, next: u8) -> Rotation {
    Rotation { id: pairing.id, used: [used; 32], next: [next; 32], now: NOW, ends: LATER }
}

fn done(store: &SqliteStore, pairing: &Pairing, used: u8, next: u8) -> bool {
    matches!(run(store.rotate(rotation(pairing, used, next))), Rotated::Done { .. })
}

#[test]
fn a_refresh_token_is_used_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let tv = pairing(1, "home", "tv");
    assert!(paired(store.pair(tv.clone(), NOW)));
    assert!(done(&store, &tv, 1, 2) && done(&store, &tv, 2, 3));
    drop(store);
    let store = reopened(&folder);
    assert!(done(&store, &tv, 3, 4));
    let reused = run(store.rotate(rotation(&tv, 2, 9)));
    let (household, device) = (tv.household.clone(), tv.device.clone());
    assert_eq!(reused, Rotated::Reused { household: household.clone(), device: device.clone() });
    assert_eq!(run(store.rotate(rotation(&tv, 4, 5))), Rotated::Unknown, "all of it ends");
    let before = Revocation::Before { household, device: Some(device), at: NOW / 1000 };
    assert_eq!(run(store.revocations()), [before.mark()]);
}

/// The lock goes with the last thread.
fn reopened(folder: &TempDir) -> SqliteStore {
    loop {
        match SqliteStore::open(folder.path()) {
            Ok(store) => return store,
            Err(OpenError::Locked(_)) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn an_answer_may_be_lost_but_two_holders_are_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let tv = pairing(1, "home", "tv");
    assert!(paired(store.pair(tv.clone(), NOW)));
    // The TV never learned of 2, 3 and 4.
    assert!(done(&store, &tv, 1, 2) && done(&store, &tv, 1, 3) && done(&store, &tv, 1, 4));
    assert!(done(&store, &tv, 1, 5) && done(&store, &tv, 5, 6));
    // From here on 1 is over. A thief has 5 and is quicker than the TV, whose 6 is not the last now.
    assert!(done(&store, &tv, 5, 7));
    assert!(matches!(run(store.rotate(rotation(&tv, 6, 8))), Rotated::Reused { .. }));
    assert_eq!(run(store.rotate(rotation(&tv, 7, 9))), Rotated::Unknown, "the thief's, too");
}

#[test]
fn a_device_has_one_pairing_and_a_household_many() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (first, again) = (pairing(1, "home", "tv"), pairing(2, "home", "tv"));
    assert!(paired(store.pair(first.clone(), NOW)) && paired(store.pair(again.clone(), NOW)));
    assert_eq!(run(store.rotate(rotation(&first, 1, 2))), Rotated::Unknown);
    assert!(done(&store, &again, 1, 2));
    for number in 1..PAIRINGS_MAX as u16 {
        let device = format!("tv-{number}");
        assert!(paired(store.pair(pairing(number + 2, "home", &device), NOW)), "{number}");
    }
    assert_eq!(run(store.pair(pairing(999, "home", "one-more"), NOW)), Paired::Full);
    assert!(paired(store.pair(pairing(998, "home", "tv"), NOW)), "again is no more");
    assert!(paired(store.pair(pairing(997, "other", "one-more"), NOW)), "elsewhere");
    assert!(paired(store.pair(pairing(996, "home", "one-more"), LATER)), "when others have ended");
}

#[test]
fn a_pairing_ends_when_it_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let tv = pairing(1, "home", "tv");
    assert!(paired(store.pair(tv.clone(), NOW)));
    let used = |used, next, now| {
        run(store.rotate(Rotation { now, ends: now + 10, ..rotation(&tv, used, next) }))
    };
    assert!(matches!(used(1, 2, LATER - 1), Rotated::Done { .. }), "the last moment");
    assert!(matches!(used(2, 3, LATER + 8), Rotated::Done { .. }), "put off");
    assert_eq!(used(3, 4, LATER + 18), Rotated::Unknown);
}

#[test]
fn revoking_ends_pairings() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let all = [pairing(1, "home", "tv"), pairing(2, "home", "phone"), pairing(3, "other", "tv")];
    let pair = || all.iter().for_each(|one| assert!(paired(store.pair(one.clone(), NOW))));
    let left =
        || all.each_ref().map(|one| run(store.rotate(rotation(one, 1, 1))) != Rotated::Unknown);
    let household = all[0].household.clone();
    let before = |device| Revocation::Before { household: household.clone(), device, at: 7 };
    pair();
    run(store.revoke(before(Some(all[0].device.clone())), 0));
    assert_eq!(left(), [false, true, true]);
    pair();
    run(store.revoke(before(None), 0));
    assert_eq!(left(), [false, false, true]);
    pair();
    assert_eq!(run(store.unpair(all[0].id, [9; 32])), None, "not with another token");
    let owner = (household.clone(), all[0].device.clone());
    assert_eq!(run(store.unpair(all[0].id, [1; 32])), Some(owner));
    assert_eq!(left(), [false, true, true]);
}

#[test]
fn what_was_allowed_before_a_revocation_is_not_paired() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let tv = pairing(1, "home", "tv");
    let (household, device) = (tv.household.clone(), Some(tv.device.clone()));
    for device in [device, None] {
        let revoked = Revocation::Before { household: household.clone(), device, at: NOW / 1000 };
        run(store.revoke(revoked.clone(), 0));
        assert_eq!(run(store.pair(tv.clone(), NOW)), Paired::Revoked, "in the same second");
        assert!(paired(store.pair(pairing(2, "other", "tv"), NOW)));
        let later = Pairing { allowed_s: NOW / 1000 + 1, ..tv.clone() };
        assert!(paired(store.pair(later, NOW)));
        run(store.unrevoke(revoked.mark().name));
        assert_eq!(run(store.revocations()), []);
        assert!(paired(store.pair(tv.clone(), NOW)), "taken back");
    }
}

#[test]
fn revoked_tokens_are_kept_until_they_have_ended() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let token = |id: &str, ends| Revocation::Token { id: id.into(), ends };
    run(store.revoke(token("a", 10), 0));
    run(store.revoke(token("a", 5), 0));
    run(store.revoke(token("b", 20), 10));
    assert_eq!(run(store.revocations()), [token("a", 10).mark(), token("b", 20).mark()]);
    run(store.revoke(token("c", 20), 11));
    assert_eq!(run(store.revocations()), [token("b", 20).mark(), token("c", 20).mark()]);
    run(store.unrevoke(Name::Token("b".into())));
    assert_eq!(run(store.revocations()), [token("c", 20).mark()]);
}

#[test]
fn a_household_has_one_pairing_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let home = HouseholdId::new("home").unwrap();
    assert_eq!(run(store.pairing_key(home.clone())), None);
    let region = Some(Region::new("FR").unwrap());
    for key in [KnownKey { digest: [1; 32], region }, KnownKey { digest: [2; 32], region: None }] {
        run(store.set_pairing_key(home.clone(), key.clone()));
        assert_eq!(run(store.pairing_key(home.clone())), Some(key));
    }
    assert_eq!(run(store.pairing_key(HouseholdId::new("other").unwrap())), None);
}
