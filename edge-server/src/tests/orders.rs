//! Commands, handoff and presence over the binary protocol, and between it and JSON.

use super::commands::{described, record, speaker};
use super::*;
use omega_sync_core::command::{
    Asked, COMMAND_LIFE_MS, Command, CommandId, CommandStatus, Handoff, Order, Outcome, Presence,
    Reply, Request,
};
use omega_sync_core::operation::{PlayState, Progress};
use serde_json::json;

const TV_COMMAND: &str = "POST /api/v1/devices/tv-2/commands";

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

/// A session of a device that may do all, and is described as one that takes commands.
async fn television(home: &Home, replica: u64, name: &str) -> Socket {
    let mut tv = session(home, replica, name, "read write control").await;
    tv.operate(replica, ProfileId::DEFAULT, Change::Device(device(name), Some(record(true, true))))
        .await;
    assert!(matches!(ServerFrame::decode(&tv.frame().await), Ok(ServerFrame::Ack(..))));
    tv
}

async fn session(home: &Home, replica: u64, name: &str, scope: &str) -> Socket {
    let mut tv = home.connect().await;
    tv.send(hello(replica, &token_of("home", name, scope)).encode()).await;
    tv.welcome().await;
    tv.frame().await;
    tv
}

fn asked(id: u64, target: &str, request: Request) -> Asked {
    let (id, target) = (CommandId(id), device(target));
    Asked { id, again: false, target, ends_ms: 600_000, request }
}

fn pause(id: u64, target: &str) -> Asked {
    asked(id, target, Request::Command(Command::Pause))
}

impl Socket {
    async fn ask(&mut self, asked: &Asked) {
        self.send(ClientFrame::command(asked)).await;
    }

    /// The next order; updates of the household are skipped.
    async fn order(&mut self) -> Order {
        loop {
            match ServerFrame::decode(&self.frame().await) {
                Ok(ServerFrame::Order(order)) => return order,
                Ok(ServerFrame::Update(..) | ServerFrame::Ack(..)) => {}
                other => panic!("no order but {other:?}"),
            }
        }
    }

    async fn outcome(&mut self) -> (u64, Outcome) {
        loop {
            match ServerFrame::decode(&self.frame().await) {
                Ok(ServerFrame::Status(id, outcome)) => return (id.0, outcome),
                Ok(ServerFrame::Update(..) | ServerFrame::Ack(..)) => {}
                other => panic!("no status but {other:?}"),
            }
        }
    }

    async fn status(&mut self) -> (u64, CommandStatus) {
        let (id, outcome) = self.outcome().await;
        (id, outcome.status)
    }

    async fn presence(&mut self) -> Presence {
        loop {
            match ServerFrame::decode(&self.frame().await) {
                Ok(ServerFrame::Presence(presence)) => return presence,
                Ok(ServerFrame::Update(..) | ServerFrame::Ack(..)) => {}
                other => panic!("no presence but {other:?}"),
            }
        }
    }

    /// Nothing but the household's frames has come.
    async fn heard_nothing(&mut self) {
        self.send(ClientFrame::ping()).await;
        loop {
            match ServerFrame::decode(&self.frame().await) {
                Ok(ServerFrame::Pong) => return,
                Ok(ServerFrame::Update(..) | ServerFrame::Ack(..)) => {}
                other => panic!("it was to hear nothing, and not {other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rest_asks_a_tv_answers() {
    let home = home().await;
    let mut tv = television(&home, 2, "tv-2").await;
    for (reply, status, said) in [
        (Reply::Done, 202, "delivered"),
        (Reply::NotSupported, 422, "not_supported"),
        (Reply::Invalid, 422, "invalid"),
    ] {
        let seek = json!({"type": "seek", "position_seconds": 90});
        let (answer, order) = tokio::join!(home.phone(TV_COMMAND, seek), async {
            let order = tv.order().await;
            tv.send(ClientFrame::reply(order.id, reply)).await;
            order
        });
        assert_eq!((order.command, order.from), (Command::Seek(90), device("phone")));
        assert!(order.ends_ms >= COMMAND_LIFE_MS, "it counts from the hello");
        assert_eq!(answer.status, status, "{answer:?}");
        match status {
            202 => {
                assert_eq!(answer.json()["status"], said);
                assert_eq!(answer.json()["command_id"], format!("{:016x}", order.id.0));
            }
            _ => assert_eq!(answer.problem(), said),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tv_that_does_not_answer_has_not_taken_it() {
    let limits = Limits { command_life: Duration::from_millis(200), ..limits() };
    let home = home_with(limits).await;
    let mut tv = television(&home, 2, "tv-2").await;
    let answer = home.phone(TV_COMMAND, json!({"type": "stop"})).await;
    assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("expired")));
    let order = tv.order().await;
    tv.send(ClientFrame::reply(order.id, Reply::Done)).await;
    tv.heard_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tv_commands_what_speaks_json_and_what_does_not() {
    let home = home().await;
    let _other = described(&home, record(true, false)).await;
    let mut speaker = speaker(&home).await;
    assert_eq!(speaker.ask(json!({"type": "ping"})).await["type"], "pong");
    let mut tv = television(&home, 1, "tv-1").await;
    let mut target = television(&home, 2, "tv-2").await;
    tv.ask(&pause(7, "speaker")).await;
    assert_eq!(tv.status().await, (7, CommandStatus::Delivered));
    let heard = loop {
        let heard = speaker.hear().await;
        if heard["type"] == "device_command" {
            break heard;
        }
    };
    assert_eq!((&heard["command"], &heard["from"]), (&json!({"type": "pause"}), &json!("tv-1")));
    tv.ask(&pause(8, "tv-2")).await;
    let order = target.order().await;
    assert_eq!((order.id.0, &order.command, &order.from), (8, &Command::Pause, &device("tv-1")));
    target.send(ClientFrame::reply(order.id, Reply::Invalid)).await;
    assert_eq!(tv.status().await, (8, CommandStatus::Invalid));
    tv.ask(&pause(9, "nobody")).await;
    assert_eq!(tv.status().await, (9, CommandStatus::DeviceUnknown));
    drop(target);
    // Its socket's end may take a moment.
    loop {
        tv.ask(&pause(10, "tv-2")).await;
        match tv.status().await {
            (10, CommandStatus::Offline) => break,
            (10, CommandStatus::Expired) => {}
            other => panic!("{other:?}"),
        }
    }
    let mut reader = session(&home, 3, "reader", "read write").await;
    reader.ask(&pause(11, "speaker")).await;
    assert_eq!(reader.status().await, (11, CommandStatus::Forbidden));
    let mut old = pause(12, "speaker");
    old.ends_ms = 0;
    tv.ask(&old).await;
    assert_eq!(tv.status().await, (12, CommandStatus::Expired));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_comes_again_is_passed_on_once() {
    let home = home().await;
    let mut sender = television(&home, 1, "tv-1").await;
    let mut target = television(&home, 2, "tv-2").await;
    sender.ask(&pause(7, "tv-2")).await;
    sender.ask(&pause(7, "tv-2")).await;
    let order = target.order().await;
    // The sender comes back on another connection before there is an answer, and says it again.
    let mut sender = session(&home, 1, "tv-1", "read write control").await;
    let again = Asked { again: true, ..pause(7, "tv-2") };
    sender.ask(&again).await;
    sender.heard_nothing().await;
    target.send(ClientFrame::reply(order.id, Reply::Done)).await;
    assert_eq!(sender.status().await, (7, CommandStatus::Delivered));
    sender.ask(&again).await;
    assert_eq!(sender.status().await, (7, CommandStatus::Delivered), "what became of the first");
    target.heard_nothing().await;
    // A newer session of the target does not get it either.
    let mut newer = session(&home, 3, "tv-2", "read").await;
    sender.ask(&again).await;
    assert_eq!(sender.status().await, (7, CommandStatus::Delivered));
    newer.heard_nothing().await;
    // The same number of another device is another command.
    let mut other = television(&home, 4, "tv-4").await;
    other.ask(&pause(7, "tv-2")).await;
    assert_eq!(newer.order().await.from, device("tv-4"), "and goes to the newest session");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgot_passes_on_nothing_that_may_have_left_before() {
    let home = home().await;
    let mut sender = television(&home, 1, "tv-1").await;
    let mut target = television(&home, 2, "tv-2").await;
    let again = Asked { again: true, ..pause(7, "tv-2") };
    sender.ask(&again).await;
    assert_eq!(sender.status().await, (7, CommandStatus::Expired), "the room is too young to know");
    target.heard_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handoff_between_tvs_goes_on_where_it_was_and_pauses_the_source() {
    let home = home().await;
    let mut source = television(&home, 1, "tv-1").await;
    let mut target = television(&home, 2, "tv-2").await;
    let content = ContentId::new("tmdb:550").unwrap();
    let progress = Progress { position_s: 1_234, duration_s: 7_200, state: PlayState::Playing };
    let change = Change::Progress(content.clone(), Some(progress));
    source.operate(1, ProfileId::DEFAULT, change).await;
    for (id, said_s, expected_s) in [(7, None, 1_234), (8, Some(1_240), 1_240)] {
        let profile = ProfileId::DEFAULT;
        let handoff = Handoff { profile, content: content.clone(), position_s: said_s };
        source.ask(&asked(id, "tv-2", Request::Handoff(handoff))).await;
        let load = target.order().await;
        assert_eq!(load.command, Command::LoadContent(content.clone(), Some(expected_s)));
        source.heard_nothing().await;
        target.send(ClientFrame::reply(load.id, Reply::Done)).await;
        let status = CommandStatus::Delivered;
        let outcome = Outcome { status, position_s: Some(expected_s) };
        assert_eq!(source.outcome().await, (id, outcome));
        let pause = source.order().await;
        assert_eq!((pause.command, pause.from), (Command::Pause, device("tv-2")));
    }
    let handoff = Handoff { profile: ProfileId::DEFAULT, content, position_s: None };
    source.ask(&asked(9, "tv-2", Request::Handoff(handoff))).await;
    let load = target.order().await;
    target.send(ClientFrame::reply(load.id, Reply::NotSupported)).await;
    assert_eq!(source.status().await, (9, CommandStatus::NotSupported));
    source.heard_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_to_know_hears_which_devices_come_and_go() {
    let home = home().await;
    let mut tv = television(&home, 1, "tv-1").await;
    let mut quiet = television(&home, 2, "tv-2").await;
    tv.send(ClientFrame::watch()).await;
    let all = vec![(device("tv-1"), None), (device("tv-2"), None)];
    assert_eq!(tv.presence().await, Presence { all: true, devices: all });
    let phone = session(&home, 3, "phone", "read").await;
    let came = Presence { all: false, devices: vec![(device("phone"), None)] };
    assert_eq!(tv.presence().await, came);
    drop(phone);
    let went = tv.presence().await;
    assert!(!went.all);
    assert!(matches!(&went.devices[..], [(id, Some(0..20))] if *id == device("phone")), "{went:?}");
    quiet.heard_nothing().await;
}
