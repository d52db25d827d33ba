//! Core values as answers, and arguments as core values.

use crate::answer::Answer;
use crate::command;
use omega_sync_core::codec::DecodeError;
use omega_sync_core::id::{ContentId, ProfileId};
use omega_sync_core::operation::{Change, Changed, Part, VoidReason};
use omega_sync_core::replica::Rejected;
use omega_sync_core::replica::view::ProgressItem;
use omega_sync_core::session::client::Output;
use omega_sync_core::session::metrics::Replay;

/// The stable code of an error; `pkg/src/errors.ts` has the words.
pub type Code = &'static str;

/// Parses a content id.
pub fn content(text: &str) -> Result<ContentId, Code> {
    ContentId::new(text).map_err(|_| "invalid_content_id")
}

/// Parses a profile id.
pub fn profile(text: &str) -> Result<ProfileId, Code> {
    ProfileId::new(text).map_err(|_| "invalid_profile")
}

/// Kind and value of each output.
pub fn outputs(outputs: &[Output], answer: &mut Answer) {
    for output in outputs {
        match output {
            Output::Append(record) => tagged(answer, 0, record),
            Output::Replace(image) => tagged(answer, 1, image),
            Output::Send(frame) => tagged(answer, 2, frame),
            Output::Connect => answer.byte(3),
            Output::Disconnect => answer.byte(4),
            Output::Changed(parts) => changed(answer, 5, parts),
            Output::Status(status) => {
                answer.byte(6);
                answer.byte(*status as u8);
            }
            Output::Wake(delay_ms) => {
                answer.byte(7);
                answer.number(*delay_ms as f64);
            }
            Output::Rejected(count) => {
                answer.byte(8);
                answer.number(*count as f64);
            }
            Output::Replayed(replay) => {
                answer.byte(9);
                replayed(answer, replay);
            }
            Output::Exchange(number, request) => {
                answer.byte(13);
                answer.number(f64::from(*number));
                answer.bytes(request);
            }
            Output::Order(order) => {
                answer.byte(10);
                command::order(order, answer);
            }
            Output::Outcome(ticket, outcome) => {
                answer.byte(11);
                command::outcome(*ticket, *outcome, answer);
            }
            Output::Presence(presence) => {
                answer.byte(12);
                command::presence(presence, answer);
            }
        }
    }
}

fn tagged(answer: &mut Answer, kind: u8, bytes: &[u8]) {
    answer.byte(kind);
    answer.bytes(bytes);
}

/// How many parts, then each list's kind and profile.
fn changed(answer: &mut Answer, kind: u8, parts: &Changed) {
    answer.byte(kind);
    answer.number(parts.len() as f64);
    for part in parts {
        let (list, profile) = match *part {
            Part::Profiles => (0, ProfileId::DEFAULT),
            Part::Watchlist(profile) => (1, profile),
            Part::Progress(profile) => (2, profile),
            Part::Devices => (3, ProfileId::DEFAULT),
        };
        answer.byte(list);
        answer.profile(profile);
    }
}

/// Waited, sent, accepted, coalesced, rejected, remaining; how many reasons; code and count of each.
fn replayed(answer: &mut Answer, replay: &Replay) {
    let Replay { waited, sent, accepted, coalesced, refused, remaining } = *replay;
    for count in &[waited, sent, accepted, coalesced, replay.rejected(), remaining] {
        answer.number(*count as f64);
    }
    let reasons = VoidReason::ALL.iter().zip(&refused).filter(|(_, count)| **count > 0);
    answer.number(reasons.clone().count() as f64);
    for (reason, count) in reasons {
        answer.text(reason.code());
        answer.number(*count as f64);
    }
}

/// Position, duration, state, percent, resume position and time.
pub fn progress(item: &ProgressItem, answer: &mut Answer) {
    let progress = item.progress;
    for number in [
        f64::from(progress.position_s),
        f64::from(progress.duration_s),
        f64::from(progress.state as u8),
        f64::from(progress.completion_percent()),
        f64::from(progress.resume_s()),
        item.updated.0 as f64,
    ] {
        answer.number(number);
    }
}

/// Kind, profile, title or name, and reason.
pub fn rejected(Rejected { operation, reason }: &Rejected, answer: &mut Answer) {
    let (kind, subject) = match &operation.change {
        Change::Add(content, _) => ("watchlist_add", content.as_str()),
        Change::Remove(content, _) => ("watchlist_remove", content.as_str()),
        Change::Progress(content, Some(_)) => ("progress_set", content.as_str()),
        Change::Progress(content, None) => ("progress_remove", content.as_str()),
        Change::NameProfile(name) => ("profile_name", name.as_str()),
        Change::DeleteProfile => ("profile_delete", ""),
        Change::Device(device, Some(_)) => ("device_describe", device.as_str()),
        Change::Device(device, None) => ("device_remove", device.as_str()),
    };
    answer.text(kind);
    answer.profile(operation.profile);
    answer.text(subject);
    answer.text(reason.code());
}

/// What is wrong with bytes.
pub fn damage(error: DecodeError) -> &'static str {
    match error {
        DecodeError::Truncated => "cut off",
        DecodeError::Trailing => "bytes after the end",
        DecodeError::Limit(_) => "over the limit",
        DecodeError::Invalid(_) => "invalid",
        DecodeError::Version(_) => "of another version",
        DecodeError::Checksum => "wrong checksum",
    }
}
