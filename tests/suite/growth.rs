//! A state is as large as what lives in it, however often that was written.

use omega_sync_core::causal::Dot;
use omega_sync_core::clock::{Timestamp, UnixMillis};
use omega_sync_core::codec::Writer;
use omega_sync_core::delta::Delta;
use omega_sync_core::household::Household;
use omega_sync_core::id::{ContentId, ProfileId, ReplicaId};
use omega_sync_core::operation::{Change, Operation, PlayState, Progress};
use std::collections::BTreeMap;

const OVERWRITES: u64 = 1_000_000;
const REPLICAS: u64 = 8;
const TITLES: u64 = 100;
/// Operations that a replica makes in a row.
const RUN: u64 = 10;
/// Every so many operations one is an add.
const ADD_EVERY: u64 = 16;
/// What overwriting may leave behind, in bytes of a snapshot for each replica.
const LEFT_PER_REPLICA: usize = 4;

fn bytes(household: &Household) -> usize {
    let mut writer = Writer::new();
    household.encode(&mut writer);
    writer.as_slice().len()
}

/// Progress of the title, or an add in place of its last one.
fn change(
    number: u64,
    content: &ContentId,
    live: &mut BTreeMap<ContentId, Dot>,
    dot: Dot,
) -> Change {
    if number.is_multiple_of(ADD_EVERY) {
        let observed = live.insert(content.clone(), dot);
        return Change::Add(content.clone(), observed.into_iter().collect());
    }
    let position_s = (number % 5_000) as u32;
    let progress = Progress { position_s, duration_s: 6_000, state: PlayState::Paused };
    Change::Progress(content.clone(), Some(progress))
}

#[test]
fn a_million_overwrites_leave_no_more_than_a_few_bytes_for_each_replica() {
    let titles: Vec<ContentId> =
        (0..TITLES).filter_map(|n| ContentId::new(&format!("tmdb:{n}")).ok()).collect();
    let mut household = Household::default();
    let mut adds = BTreeMap::new();
    let mut last: BTreeMap<(bool, ContentId), (ReplicaId, Operation)> = BTreeMap::new();
    for first in (0..OVERWRITES).step_by(RUN as usize) {
        let replica = ReplicaId((first / RUN % REPLICAS + 1) * 0x1e37_79b9_7f4a_7c15);
        let mut operations = Vec::with_capacity(RUN as usize);
        for number in first..first + RUN {
            let timestamp = Timestamp::new(UnixMillis(1_800_000_000_000 + number * 10_007), 0);
            // All titles before one comes again.
            let content = &titles[(number * 61 % TITLES) as usize];
            let change = change(number, content, &mut adds, Dot { timestamp, replica });
            operations.push(Operation { timestamp, profile: ProfileId::DEFAULT, change });
        }
        let through = operations[RUN as usize - 1].timestamp;
        let delta = Delta { replica, through, operations };
        household.merge(&delta);
        // By then every title has its last progress and its last add still to come.
        if first + 2 * TITLES * ADD_EVERY > OVERWRITES {
            for operation in delta.operations {
                let is_add = matches!(operation.change, Change::Add(..));
                let content = operation.change.content().expect("about a title").clone();
                last.insert((is_add, content), (replica, operation));
            }
        }
    }
    let mut once = Household::default();
    let mut written: Vec<(ReplicaId, Operation)> = last.into_values().collect();
    written.sort_by_key(|(_, operation)| operation.timestamp);
    for (replica, mut operation) in written {
        if let Change::Add(_, observed) = &mut operation.change {
            observed.clear();
        }
        let through = operation.timestamp;
        once.merge(&Delta { replica, through, operations: vec![operation] });
    }
    assert_eq!(household.entries(), once.entries(), "the same lives in both");
    let (overwritten, written_once) = (bytes(&household), bytes(&once));
    println!("{overwritten} bytes, of what lives in it {written_once}");
    let replicas = household.seen().len();
    assert_eq!(replicas, REPLICAS as usize);
    assert!(overwritten <= written_once + LEFT_PER_REPLICA * replicas);
}
