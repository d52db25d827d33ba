//! Commands on their way: they are carried out once, while they live, or not at all.

use super::home::{Home, Tv, title};
use omega_sync_core::codec::DecodeError;
use omega_sync_core::command::{
    Asked, COMMAND_DOUBT_MS, COMMAND_LIFE_MS, COMMAND_LIFE_MS_MAX, Command, CommandId,
    CommandStatus, Handoff, LEVEL_MAX, Order, Outcome, PRESENT_DEVICES_MAX, Presence, Reply,
    Request,
};
use omega_sync_core::household::Household;
use omega_sync_core::id::{DeviceId, ProfileId};
use omega_sync_core::message::{ClientFrame, ServerFrame};
use omega_sync_core::operation::{Capabilities, DeviceRecord, Intent};
use omega_sync_core::session::client::{
    COMMANDS_WAITING_MAX, Input, ORDERS_REMEMBERED_MAX, Output, Status,
};
use omega_sync_core::session::server::ConnectionId;
use omega_sync_core::session::server::relay::{COMMANDS_TRACKED_MAX, Parcel, Relay, RelayOutput};

const STANDBY_MS: i64 = 2 * 60 * 60 * 1_000;

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).expect("short text")
}

fn order(id: u64, ends_ms: u64) -> Vec<u8> {
    let (id, from) = (CommandId(id), device("phone"));
    ServerFrame::order(&Order { id, from, ends_ms, command: Command::Pause })
}

/// A TV that is up to date.
fn television(home: &mut Home) -> Tv {
    let mut tv = home.tv(1, 0);
    home.connect(&mut tv);
    assert_eq!(tv.client.status(), Status::Live);
    tv
}

/// How many commands the app gets of a frame.
fn carried_out(home: &Home, tv: &mut Tv, frame: &[u8]) -> usize {
    let outputs = tv.client.handle(home.now(tv), Input::Frame(frame));
    outputs.iter().filter(|output| matches!(output, Output::Order(_))).count()
}

/// What leaves of what a TV asks, and what the app hears of it.
fn ask(home: &Home, tv: &mut Tv, ticket: u64) -> (Vec<Asked>, Vec<(u64, CommandStatus)>) {
    let request = Request::Command(Command::Pause);
    said(&tv.client.ask(home.now(tv), ticket, device("tv-2"), request))
}

fn woke(home: &Home, tv: &mut Tv) -> (Vec<Asked>, Vec<(u64, CommandStatus)>) {
    said(&tv.client.handle(home.now(tv), Input::Woke))
}

fn said(outputs: &[Output]) -> (Vec<Asked>, Vec<(u64, CommandStatus)>) {
    let (mut asked, mut outcomes) = (Vec::new(), Vec::new());
    for output in outputs {
        match output {
            Output::Send(frame) => match ClientFrame::decode(frame) {
                Ok(ClientFrame::Command(command)) => asked.push(command),
                _ => continue,
            },
            Output::Outcome(ticket, outcome) => outcomes.push((*ticket, outcome.status)),
            _ => {}
        }
    }
    (asked, outcomes)
}

#[test]
fn an_order_is_carried_out_once_by_whichever_session_it_comes() {
    let mut home = Home::new();
    let mut tv = television(&mut home);
    assert_eq!(carried_out(&home, &mut tv, &order(7, COMMAND_LIFE_MS)), 1);
    assert_eq!(carried_out(&home, &mut tv, &order(7, COMMAND_LIFE_MS)), 0, "it came twice");
    home.time_ms += 1_000;
    home.connect(&mut tv);
    assert_eq!(carried_out(&home, &mut tv, &order(7, COMMAND_LIFE_MS)), 0, "by another session");
    assert_eq!(carried_out(&home, &mut tv, &order(8, COMMAND_LIFE_MS)), 1);
    // Its end may look later on the other session, by as long as a handshake can take.
    home.time_ms += COMMAND_LIFE_MS + COMMAND_DOUBT_MS - 1_001;
    assert_eq!(carried_out(&home, &mut tv, &order(7, 60_000)), 0);
}

#[test]
fn an_order_counts_until_its_end_and_not_after() {
    let mut home = Home::new();
    let mut tv = television(&mut home);
    home.time_ms += 20_000;
    assert_eq!(carried_out(&home, &mut tv, &order(1, 20_001)), 1);
    assert_eq!(carried_out(&home, &mut tv, &order(2, 20_000)), 0);
    assert_eq!(tv.client.status(), Status::Live, "it is no mistake of anybody's");
}

#[test]
fn an_order_that_lay_in_a_buffer_during_standby_is_not_carried_out() {
    let mut home = Home::new();
    let mut tv = television(&mut home);
    // The steady clock has stood still; another frame comes first.
    tv.skew_ms += STANDBY_MS;
    assert_eq!(carried_out(&home, &mut tv, &ServerFrame::pong()), 0);
    assert_eq!(carried_out(&home, &mut tv, &order(1, COMMAND_LIFE_MS)), 0);
    assert_eq!(tv.client.status(), Status::Connecting, "a new handshake tells the time");
    home.retry(&mut tv);
    home.input(&mut tv, Input::Woke);
    assert_eq!(tv.client.status(), Status::Live);
    assert_eq!(carried_out(&home, &mut tv, &order(2, COMMAND_LIFE_MS)), 1);
}

#[test]
fn a_wrong_clock_neither_shortens_nor_lengthens_a_command() {
    let mut home = Home::new();
    for years in [-40, 0, 40] {
        let mut tv = home.tv(2, years * 365 * 24 * 60 * 60 * 1_000);
        home.connect(&mut tv);
        let (asked, _) = ask(&home, &mut tv, 1);
        assert_eq!(asked[0].ends_ms, COMMAND_LIFE_MS, "{years}");
        assert_eq!(carried_out(&home, &mut tv, &order(1, 1)), 1, "{years}");
        assert_eq!(carried_out(&home, &mut tv, &order(2, 0)), 0, "{years}");
    }
}

#[test]
fn a_command_made_offline_waits_as_long_as_it_lives() {
    let mut home = Home::new();
    let mut tv = television(&mut home);
    home.input(&mut tv, Input::Offline);
    assert_eq!(ask(&home, &mut tv, 1), (vec![], vec![]));
    home.time_ms += 3_000;
    tv.held = Some(Vec::new());
    let outputs = tv.client.handle(home.now(&tv), Input::Online);
    tv.held = None;
    home.carry_out(&mut tv, outputs);
    let mut left = Vec::new();
    while let Some(Ok(frame)) = tv.inbox.pop_front() {
        left.extend(said(&tv.client.handle(home.now(&tv), Input::Frame(&frame))).0);
    }
    let [asked] = &left[..] else { panic!("{left:?}") };
    assert_eq!((asked.ends_ms, asked.again), (COMMAND_LIFE_MS - 3_000, false));
    // On the next connection it may have left before.
    home.time_ms += 1_000;
    let outputs = tv.client.handle(home.now(&tv), Input::Online);
    home.carry_out(&mut tv, outputs);
    let mut left = Vec::new();
    while let Some(Ok(frame)) = tv.inbox.pop_front() {
        left.extend(said(&tv.client.handle(home.now(&tv), Input::Frame(&frame))).0);
    }
    assert_eq!((left[0].ends_ms, left[0].again), (COMMAND_LIFE_MS - 4_000, true));
    assert_eq!(left[0].id, asked.id, "it is the same");
}

#[test]
fn a_command_made_offline_is_not_sent_hours_later() {
    let mut home = Home::new();
    let mut tv = television(&mut home);
    home.input(&mut tv, Input::Offline);
    ask(&home, &mut tv, 1);
    home.time_ms += COMMAND_LIFE_MS - 1;
    assert_eq!(woke(&home, &mut tv), (vec![], vec![]));
    home.time_ms += 1;
    assert_eq!(woke(&home, &mut tv), (vec![], vec![(1, CommandStatus::Expired)]));
    // In standby the steady clock may stand still.
    ask(&home, &mut tv, 2);
    tv.skew_ms += STANDBY_MS;
    let (left, outcomes) = said(&tv.client.handle(home.now(&tv), Input::Online));
    assert_eq!((left.len(), outcomes), (0, vec![(2, CommandStatus::Expired)]));
    // Or be the only one that goes on.
    ask(&home, &mut tv, 3);
    (home.time_ms, tv.skew_ms) = (home.time_ms + COMMAND_LIFE_MS, tv.skew_ms - STANDBY_MS);
    assert_eq!(woke(&home, &mut tv), (vec![], vec![(3, CommandStatus::Expired)]));
    let outputs = tv.client.handle(home.now(&tv), Input::Online);
    home.carry_out(&mut tv, outputs);
    while let Some(Ok(frame)) = tv.inbox.pop_front() {
        let (left, outcomes) = said(&tv.client.handle(home.now(&tv), Input::Frame(&frame)));
        assert_eq!((left.len(), outcomes.len()), (0, 0), "nothing is left of any");
    }
    assert_eq!(tv.client.status(), Status::Live);
}

#[test]
fn an_app_is_told_to_come_back_at_the_end_of_a_command() {
    let mut home = Home::new();
    let mut tv = television(&mut home);
    home.input(&mut tv, Input::Offline);
    let request = Request::Command(Command::Play);
    let outputs = tv.client.ask(home.now(&tv), 1, device("tv-2"), request);
    assert_eq!(outputs, [Output::Wake(COMMAND_LIFE_MS)]);
}

#[test]
fn a_device_has_so_many_commands_on_their_way() {
    let mut home = Home::new();
    let mut tv = television(&mut home);
    let mut ids = Vec::new();
    for ticket in 0..COMMANDS_WAITING_MAX as u64 {
        let (asked, outcomes) = ask(&home, &mut tv, ticket);
        assert_eq!(outcomes, []);
        ids.extend(asked.iter().map(|asked| asked.id));
    }
    let limit = CommandStatus::RateLimited;
    assert_eq!(ask(&home, &mut tv, 99), (vec![], vec![(99, limit)]));
    let status = ServerFrame::status(ids[0], CommandStatus::Delivered.into());
    let (_, outcomes) = said(&tv.client.handle(home.now(&tv), Input::Frame(&status)));
    assert_eq!(outcomes, [(0, CommandStatus::Delivered)]);
    let (_, outcomes) = said(&tv.client.handle(home.now(&tv), Input::Frame(&status)));
    assert_eq!(outcomes, [], "each has one outcome");
    assert_eq!(ask(&home, &mut tv, 100).0.len(), 1);
}

#[test]
fn a_device_takes_no_more_than_it_can_remember() {
    let mut home = Home::new();
    let mut tv = television(&mut home);
    for id in 0..ORDERS_REMEMBERED_MAX as u64 {
        assert_eq!(carried_out(&home, &mut tv, &order(id, u64::MAX)), 1);
    }
    assert_eq!(carried_out(&home, &mut tv, &order(999, u64::MAX)), 0);
    home.time_ms += COMMAND_LIFE_MS_MAX + COMMAND_DOUBT_MS - 1;
    assert_eq!(carried_out(&home, &mut tv, &order(999, u64::MAX)), 0);
    home.time_ms += 1;
    assert_eq!(carried_out(&home, &mut tv, &order(999, u64::MAX)), 1);
}

#[test]
fn limits_of_frames_are_at_their_edge() {
    let order = |level| {
        let (id, from) = (CommandId(1), device("phone"));
        ServerFrame::order(&Order { id, from, ends_ms: 1, command: Command::VolumeSet(level) })
    };
    assert!(ServerFrame::decode(&order(LEVEL_MAX)).is_ok());
    let limit = Err(DecodeError::limit("LEVEL_MAX"));
    assert_eq!(ServerFrame::decode(&order(LEVEL_MAX + 1)), limit);
    let presence = |count: usize| {
        let devices = (0..count).map(|number| (device(&number.to_string()), None)).collect();
        ServerFrame::presence(&Presence { all: true, devices })
    };
    assert!(ServerFrame::decode(&presence(PRESENT_DEVICES_MAX)).is_ok());
    let limit = Err(DecodeError::limit("PRESENT_DEVICES_MAX"));
    assert_eq!(ServerFrame::decode(&presence(PRESENT_DEVICES_MAX + 1)), limit);
    let parts = |kind, number, text| Request::from_parts(kind, ProfileId::DEFAULT, number, text);
    assert!(parts(4, Some(100), "").is_some() && parts(4, Some(101), "").is_none());
    assert!(parts(3, None, "").is_none() && parts(7, None, "").is_none());
    assert!(parts(8, None, "").is_none() && parts(10, None, "").is_none());
    let pause = Request::Command(Command::Pause);
    assert_eq!(parts(1, Some(5), "x"), Some(pause), "what it has no use for is left out");
}

/// A household whose TVs take commands; `quiet` takes none.
fn household_of_tvs() -> Household {
    let mut home = Home::new();
    let mut tv = television(&mut home);
    for name in ["tv-1", "tv-2", "quiet"] {
        let remote_controllable = name != "quiet";
        let capabilities = Capabilities { remote_controllable, ..Capabilities::default() };
        let record = DeviceRecord { capabilities, ..DeviceRecord::default() };
        home.operate(&mut tv, Intent::DescribeDevice(device(name), Some(record)));
    }
    home.room.household().clone()
}

const FIRST: ConnectionId = ConnectionId(1);
const SECOND: ConnectionId = ConnectionId(2);

/// A relay with a session of `tv-1` and one of `tv-2`, long enough to know what it forgot.
fn relay() -> Relay {
    let mut relay = Relay::new(0, COMMAND_LIFE_MS);
    relay.join(100_000, FIRST, device("tv-1"), true);
    relay.join(100_000, SECOND, device("tv-2"), true);
    relay
}

fn parcel(id: u64) -> Parcel {
    Parcel {
        from: device("tv-1"),
        sender: Some(FIRST),
        id: CommandId(id),
        again: false,
        target: device("tv-2"),
        left_ms: COMMAND_LIFE_MS,
        request: Request::Command(Command::Pause),
    }
}

fn pass(relay: &mut Relay, now_ms: u64, parcel: Parcel) -> Vec<RelayOutput> {
    relay.pass(now_ms, parcel, &household_of_tvs(), &|_| false)
}

/// How many orders, and what the senders hear.
fn told(outputs: &[RelayOutput]) -> (usize, Vec<CommandStatus>) {
    let orders = outputs.iter().filter(|output| matches!(output, RelayOutput::Order { .. }));
    let outcomes = outputs.iter().filter_map(|output| match output {
        RelayOutput::Outcome { outcome, .. } => Some(outcome.status),
        RelayOutput::Order { .. } => None,
    });
    (orders.count(), outcomes.collect())
}

#[test]
fn a_relay_passes_a_command_on_once_and_remembers_it_long_enough() {
    let mut relay = relay();
    assert_eq!(told(&pass(&mut relay, 100_000, parcel(1))), (1, vec![]));
    let again = Parcel { again: true, ..parcel(1) };
    assert_eq!(told(&pass(&mut relay, 101_000, again.clone())), (0, vec![]));
    let replied = relay.replied(102_000, SECOND, CommandId(1), Reply::Done);
    assert_eq!(told(&replied), (0, vec![CommandStatus::Delivered]));
    let replied = relay.replied(102_000, SECOND, CommandId(1), Reply::Invalid);
    assert_eq!(told(&replied), (0, vec![]), "one outcome");
    let last = 100_000 + COMMAND_LIFE_MS + COMMAND_DOUBT_MS - 1;
    let outputs = pass(&mut relay, last, again.clone());
    assert_eq!(told(&outputs), (0, vec![CommandStatus::Delivered]));
    // After that nobody sends it: its end is past for everybody.
    let ended = Parcel { left_ms: 0, ..again };
    assert_eq!(told(&pass(&mut relay, last + 1, ended)), (0, vec![CommandStatus::Expired]));
}

#[test]
fn an_answer_counts_from_the_session_that_got_the_order_and_until_its_end() {
    let mut relay = relay();
    pass(&mut relay, 100_000, parcel(1));
    assert_eq!(relay.next_due_ms(), Some(100_000 + COMMAND_LIFE_MS));
    assert_eq!(relay.replied(101_000, FIRST, CommandId(1), Reply::Done), []);
    assert_eq!(relay.due(100_000 + COMMAND_LIFE_MS - 1), []);
    let late = relay.replied(100_000 + COMMAND_LIFE_MS, SECOND, CommandId(1), Reply::Done);
    assert_eq!(told(&late), (0, vec![CommandStatus::Expired]));
    assert_eq!(relay.next_due_ms(), None);
}

#[test]
fn a_relay_gives_no_command_more_than_its_life() {
    let mut relay = Relay::new(0, u64::MAX);
    relay.join(100_000, SECOND, device("tv-2"), true);
    let long = Parcel { left_ms: u64::MAX, ..parcel(1) };
    let outputs = pass(&mut relay, 100_500, long);
    let [RelayOutput::Order { to, order, left_ms }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!((*to, *left_ms), (SECOND, COMMAND_LIFE_MS_MAX));
    assert_eq!(order.ends_ms, 500 + COMMAND_LIFE_MS_MAX, "from the receiver's hello");
}

#[test]
fn a_young_relay_passes_on_nothing_that_may_have_left_before() {
    let mut relay = Relay::new(100_000, COMMAND_LIFE_MS);
    relay.join(100_000, SECOND, device("tv-2"), true);
    let again = |id| Parcel { again: true, ..parcel(id) };
    let old_enough = 100_000 + COMMAND_LIFE_MS + COMMAND_DOUBT_MS;
    let outputs = pass(&mut relay, old_enough - 1, again(1));
    assert_eq!(told(&outputs), (0, vec![CommandStatus::Expired]));
    assert_eq!(told(&pass(&mut relay, old_enough, again(2))), (1, vec![]));
}

#[test]
fn a_relay_says_why_it_passes_a_command_not_on() {
    let mut relay = relay();
    let to = |name: &str| Parcel { target: device(name), ..parcel(1) };
    let mut refused = |parcel| told(&pass(&mut relay, 100_000, parcel)).1;
    assert_eq!(refused(to("nobody")), [CommandStatus::DeviceUnknown]);
    assert_eq!(refused(to("quiet")), [CommandStatus::Offline]);
    assert_eq!(refused(Parcel { left_ms: 0, ..parcel(1) }), [CommandStatus::Expired]);
    let cast = Request::Command(Command::CastTo(device("tv-1")));
    assert_eq!(refused(Parcel { request: cast, ..parcel(1) }), [CommandStatus::NotSupported]);
    relay.join(100_000, ConnectionId(3), device("quiet"), true);
    assert_eq!(told(&pass(&mut relay, 100_000, to("quiet"))).1, [CommandStatus::NotSupported]);
    let mut forbidden = Relay::new(0, COMMAND_LIFE_MS);
    forbidden.join(0, FIRST, device("tv-1"), false);
    let Parcel { id, again, target, request, .. } = parcel(1);
    let asked = Asked { id, again, target, ends_ms: COMMAND_LIFE_MS, request };
    let outputs = forbidden.asked(0, FIRST, asked, &household_of_tvs(), &|_| false);
    assert_eq!(told(&outputs).1, [CommandStatus::Forbidden]);
}

#[test]
fn a_household_has_so_many_commands_in_memory() {
    let mut relay = relay();
    for id in 0..COMMANDS_TRACKED_MAX as u64 {
        assert_eq!(told(&pass(&mut relay, 100_000, parcel(id))), (1, vec![]));
    }
    let limit = vec![CommandStatus::RateLimited];
    assert_eq!(told(&pass(&mut relay, 100_000, parcel(999))), (0, limit));
    let later = 100_000 + COMMAND_LIFE_MS + COMMAND_DOUBT_MS;
    assert_eq!(told(&pass(&mut relay, later, parcel(999))).0, 1);
}

#[test]
fn the_source_of_a_handoff_is_paused_once_the_target_has_it() {
    let mut relay = relay();
    let (profile, content) = (ProfileId::DEFAULT, title("tmdb:550"));
    let handoff = Handoff { profile, content: content.clone(), position_s: Some(90) };
    let wanted = Parcel { request: Request::Handoff(handoff), ..parcel(1) };
    let outputs = pass(&mut relay, 100_000, wanted);
    let [RelayOutput::Order { order, .. }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(order.command, Command::LoadContent(content, Some(90)));
    let outputs = relay.replied(100_100, SECOND, CommandId(1), Reply::Done);
    let [RelayOutput::Outcome { outcome, .. }, RelayOutput::Order { to, order, .. }] = &outputs[..]
    else {
        panic!("{outputs:?}")
    };
    let expected = Outcome { status: CommandStatus::Delivered, position_s: Some(90) };
    assert_eq!((*outcome, *to, &order.command), (expected, FIRST, &Command::Pause));
}
