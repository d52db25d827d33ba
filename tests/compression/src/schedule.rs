//! When devices are offline, and which bodies are taken then.

use crate::home::Home;
use crate::trace::{Event, Trace, What};
use crate::{Body, Kind};
use omega_sync_core::operation::Intent;
use std::collections::BTreeMap;

/// Operations of an outbox that is replayed.
pub const TEN: usize = 10;
/// Bodies of one kind that are kept of one trace, evenly chosen.
pub const BODIES_MAX: usize = 1_000;
const DAY_MS: u64 = 86_400_000;

/// All bodies of a trace, by kind.
pub fn bodies(trace: &Trace) -> BTreeMap<Kind, Vec<Body>> {
    let mut bodies = as_it_was(trace);
    let (day_up, day_down) = days_offline(trace);
    bodies.extend([
        (Kind::TenUp, tens_offline(trace)),
        (Kind::DayUp, day_up),
        (Kind::DayDown, day_down),
    ]);
    bodies.into_iter().map(|(kind, bodies)| (kind, thinned(bodies))).collect()
}

/// Devices are offline when the trace says so. Bodies: operations made online, and the snapshot.
fn as_it_was(trace: &Trace) -> BTreeMap<Kind, Vec<Body>> {
    let mut home = Home::new(trace);
    let mut online = vec![true; trace.devices.len()];
    let (mut one_up, mut describe_up) = (Vec::new(), Vec::new());
    for event in &trace.events {
        home.at(event.t);
        match &event.what {
            What::Online(now) if *now == online[event.device] => continue,
            What::Online(now) => {
                online[event.device] = *now;
                home.set_online(event.device, *now);
                home.take();
            }
            What::Intent(intent) => {
                home.operate(event.device, intent.clone());
                let up = match intent {
                    Intent::DescribeDevice(..) => &mut describe_up,
                    _ => &mut one_up,
                };
                up.extend(home.take().deltas);
            }
        }
    }
    for (device, _) in online.iter().enumerate().filter(|(_, online)| !**online) {
        home.set_online(device, true);
    }
    home.take();
    home.open();
    BTreeMap::from([
        (Kind::OneUp, one_up),
        (Kind::DescribeUp, describe_up),
        (Kind::Snapshot, home.take().snapshots),
    ])
}

/// What is done with titles.
fn titles(event: &Event) -> Option<&Intent> {
    match &event.what {
        What::Intent(Intent::DescribeDevice(..)) | What::Online(_) => None,
        What::Intent(intent) => Some(intent),
    }
}

/// Every device is offline until ten operations wait. Bodies: the ten.
fn tens_offline(trace: &Trace) -> Vec<Body> {
    let mut home = Home::new(trace);
    let mut up = Vec::new();
    for device in 0..trace.devices.len() {
        home.set_online(device, false);
    }
    for event in &trace.events {
        let Some(intent) = titles(event) else { continue };
        home.at(event.t);
        home.operate(event.device, intent.clone());
        if home.waiting(event.device) >= TEN {
            home.set_online(event.device, true);
            up.extend(home.take().deltas);
            home.set_online(event.device, false);
        }
    }
    up
}

/// Each day another device is offline. Bodies: what it did, and what it gets, when it returns.
fn days_offline(trace: &Trace) -> (Vec<Body>, Vec<Body>) {
    let mut home = Home::new(trace);
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let mut day = 0;
    home.set_online(0, false);
    let away = |day: u64| day as usize % trace.devices.len();
    for event in &trace.events {
        while event.t >= trace.t0 + (day + 1) * DAY_MS {
            home.at(trace.t0 + (day + 1) * DAY_MS);
            home.take();
            home.set_online(away(day), true);
            let passed = home.take();
            up.extend(passed.deltas);
            down.extend(passed.differences);
            day += 1;
            home.set_online(away(day), false);
        }
        if let Some(intent) = titles(event) {
            home.at(event.t);
            home.operate(event.device, intent.clone());
        }
    }
    (up, down)
}

fn thinned(bodies: Vec<Body>) -> Vec<Body> {
    let every = bodies.len().div_ceil(BODIES_MAX).max(1);
    bodies.into_iter().step_by(every).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    /// Two devices, on two days: each lists thirty titles, the second takes one off again.
    fn trace() -> Trace {
        let mut text = String::from(
            r#"{"k":"hdr","v":1,"seed":7,"days":2,"t0":1767225600000,"devices":["tv","phone"]}"#,
        );
        let mut line = |t: u64, rest: &str| {
            text.push_str(&format!("\n{{\"t\":{},{rest}}}", 1_767_225_600_000 + t * 1_000));
        };
        line(1, r#""d":0,"k":"dev","name":"TV","model":"webOS 5","app":"1","caps":["dv"]"#);
        for title in 0..30 {
            line(10 + title, &format!(r#""d":0,"k":"add","c":"tmdb:{title}""#));
            line(100_000 + title, &format!(r#""d":1,"k":"add","c":"tmdb:{}""#, 100 + title));
        }
        line(170_000, r#""d":1,"k":"rem","c":"tmdb:100""#);
        let (head, rest) = text.split_once('\n').unwrap();
        let mut lines: Vec<&str> = rest.lines().collect();
        lines.sort();
        Trace::parse(&[head, &lines.join("\n")].join("\n")).unwrap()
    }

    #[test]
    fn every_kind_has_the_bodies_that_a_household_sends() {
        let bodies = bodies(&trace());
        let records = |kind| -> Vec<usize> {
            bodies[&kind].iter().map(|body: &Body| body.records.len()).collect()
        };
        assert_eq!(records(Kind::DescribeUp), [1]);
        assert_eq!(records(Kind::OneUp), [1; 61]);
        assert_eq!(records(Kind::TenUp), [TEN; 6]);
        // The second day, when the phone is away, is over only when something happens after it.
        assert_eq!(records(Kind::DayUp), [30]);
        // 59 titles, one device, two replicas.
        assert_eq!(records(Kind::Snapshot), [62]);
        let Record::Watchlist(_, content, dots) = &bodies[&Kind::Snapshot][0].records[0] else {
            panic!("{:?}", bodies[&Kind::Snapshot][0].records[0]);
        };
        assert_eq!((content.as_str(), dots.len()), ("tmdb:0", 1));
    }

    #[test]
    fn bodies_are_thinned_evenly() {
        let body = |at: usize| Body { bytes: at.to_le_bytes().to_vec(), records: Vec::new() };
        let kept = thinned((0..2 * BODIES_MAX + 1).map(body).collect());
        assert_eq!(kept.len(), 2 * BODIES_MAX / 3 + 1);
        assert_eq!(thinned((0..BODIES_MAX).map(body).collect()).len(), BODIES_MAX);
    }
}
