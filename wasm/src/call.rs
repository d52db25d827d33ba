//! The calls of a [`Replica`](crate::Replica) by their numbers, and the values that come with them.
//!
//! Each is one of many through the same door: a function for each would be twice as much code. The
//! numbers follow from the places in the lists of `pkg/src/calls.ts`, which says what values each takes
//! and gives.

use crate::answer::Answer;
use crate::convert::{self, Code};
use omega_sync_core::codec::text;
use omega_sync_core::command::{CommandId, Reply, Request};
use omega_sync_core::id::{ContentId, DeviceId, ProfileId};
use omega_sync_core::operation::{
    Capabilities, DeviceRecord, DeviceType, Intent, PlayState, Progress,
};
use omega_sync_core::replica::Now;
use omega_sync_core::session::client::{Client, Input, Output};

/// The numbers of the writes.
#[allow(missing_docs, reason = "`pkg/src/calls.ts` documents each by its name")]
pub mod write {
    pub const WATCHLIST_ADD: u8 = 0;
    pub const WATCHLIST_REMOVE: u8 = 1;
    pub const PROGRESS_SET: u8 = 2;
    pub const PROGRESS_REMOVE: u8 = 3;
    pub const PROFILE_NAME: u8 = 4;
    pub const PROFILE_DELETE: u8 = 5;
    pub const DEVICE_DESCRIBE: u8 = 6;
    pub const DEVICE_REMOVE: u8 = 7;
    pub const DEVICE_ASK: u8 = 8;
    pub const DEVICE_REPLY: u8 = 9;
    pub const DEVICE_WATCH: u8 = 10;
    pub const REJECTED_TAKEN: u8 = 11;
}

/// The numbers of what the driver says: they go on after those of the writes.
#[allow(missing_docs, reason = "`pkg/src/calls.ts` documents each by its name")]
pub mod input {
    pub const FIRST_OUTPUTS: u8 = 12;
    pub const CATCH_UP: u8 = 13;
    pub const REST: u8 = 14;
    pub const ONLINE: u8 = 15;
    pub const OFFLINE: u8 = 16;
    pub const OPENED: u8 = 17;
    pub const FRAME: u8 = 18;
    pub const CLOSED: u8 = 19;
    pub const ASKED: u8 = 20;
    pub const ANSWERED: u8 = 21;
    pub const HIDING: u8 = 22;
    pub const WAKE: u8 = 23;
}

/// The number of loading what was stored.
pub const LOAD: u8 = 31;

/// The numbers of the reads.
#[allow(missing_docs, reason = "`pkg/src/calls.ts` documents each by its name")]
pub mod read {
    pub const PROFILES: u8 = 32;
    pub const WATCHLIST: u8 = 33;
    pub const HAS: u8 = 34;
    pub const PROGRESS: u8 = 35;
    pub const PROGRESS_ALL: u8 = 36;
    pub const DEVICES: u8 = 37;
    pub const REJECTED: u8 = 38;
    pub const ABOUT: u8 = 39;
    pub const METRICS: u8 = 40;
    pub const NEW_PROFILE_ID: u8 = 41;
    pub const STANDING: u8 = 42;
}

/// No such number: the package is of another version than the module.
pub(crate) const UNKNOWN: Code = "unknown_call";
const INVALID_DEVICE: Code = "invalid_device";

/// Values one after the other, each after its length (32 bits, little endian): a text as UTF-8, a
/// number as a 64-bit float. One that is missing or cut off counts as empty, or zero.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a>(pub &'a [u8]);

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        self.0 = rest;
        Some(value)
    }
}

impl<'a> Values<'a> {
    /// Copies of all: records to load.
    pub fn to_vecs(self) -> Vec<Vec<u8>> {
        self.map(<[u8]>::to_vec).collect()
    }

    /// Bytes as they are.
    #[inline(never)]
    pub fn bytes(&mut self) -> &'a [u8] {
        self.next().unwrap_or_default()
    }

    /// A text.
    #[inline(never)]
    pub fn text(&mut self) -> &'a str {
        text(self.bytes()).unwrap_or_default()
    }

    /// A number.
    #[inline(never)]
    pub fn number(&mut self) -> f64 {
        self.bytes().try_into().map_or(0.0, f64::from_le_bytes)
    }

    /// A whole number; a negative one is a very large one, which is in no list and no range.
    #[inline(never)]
    pub fn whole(&mut self) -> u64 {
        self.number() as i64 as u64
    }

    #[inline(never)]
    pub(crate) fn profile(&mut self) -> Result<ProfileId, Code> {
        convert::profile(self.text())
    }

    /// A title on a profile's shelf.
    #[inline(never)]
    pub(crate) fn shelf(&mut self) -> Result<(ProfileId, ContentId), Code> {
        Ok((self.profile()?, convert::content(self.text())?))
    }

    #[inline(never)]
    fn device(&mut self) -> Result<DeviceId, Code> {
        DeviceId::new(self.text()).map_err(|_| INVALID_DEVICE)
    }

    /// One of `all`, by its place there.
    fn of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        all.get(self.whole() as usize).copied()
    }

    fn progress(&mut self) -> Result<Progress, Code> {
        let (position_s, duration_s) = (self.whole() as u32, self.whole() as u32);
        let state = self.of(&PlayState::ALL).ok_or("invalid_progress")?;
        Ok(Progress { position_s, duration_s, state })
    }

    fn record(&mut self) -> Result<DeviceRecord, Code> {
        let name = self.text().to_owned();
        let device_type = self.of(&DeviceType::ALL).ok_or(INVALID_DEVICE)?;
        let (platform, app_version) = (self.text().to_owned(), self.text().to_owned());
        let capabilities = Capabilities::from_bits(self.whole()).ok_or(INVALID_DEVICE)?;
        Ok(DeviceRecord { name, device_type, platform, app_version, capabilities })
    }

    /// What is asked of which device; a negative number is none.
    fn request(&mut self) -> Result<(DeviceId, Request), Code> {
        let (target, kind, profile) = (self.device()?, self.whole() as u8, self.profile()?);
        let number = self.number();
        let number = if number < 0.0 { None } else { Some(number as u32) };
        let request = Request::from_parts(kind, profile, number, self.text());
        Ok((target, request.ok_or("invalid_command")?))
    }
}

/// Makes the write `call`, or says to the client what the driver says.
pub fn make(
    client: &mut Client,
    call: u8,
    mut values: Values,
    now: Now,
) -> Result<Vec<Output>, Code> {
    let intent = match call {
        write::WATCHLIST_ADD..=write::PROGRESS_REMOVE => {
            let (profile, content) = values.shelf()?;
            match call {
                write::WATCHLIST_ADD => Intent::Add(profile, content),
                write::WATCHLIST_REMOVE => Intent::Remove(profile, content),
                write::PROGRESS_SET => Intent::Progress(profile, content, Some(values.progress()?)),
                _ => Intent::Progress(profile, content, None),
            }
        }
        write::PROFILE_NAME | write::PROFILE_DELETE => {
            let profile = values.profile()?;
            match call {
                write::PROFILE_NAME => Intent::NameProfile(profile, values.text().to_owned()),
                _ => Intent::DeleteProfile(profile),
            }
        }
        write::DEVICE_DESCRIBE => {
            let (device, record) = (values.device()?, values.record()?);
            if values.whole() != 0 {
                return client.describe(now, device, record).map_err(|error| error.code());
            }
            Intent::DescribeDevice(device, Some(record))
        }
        write::DEVICE_REMOVE => Intent::DescribeDevice(values.device()?, None),
        write::DEVICE_ASK => {
            let ticket = values.whole();
            let (target, request) = values.request()?;
            return Ok(client.ask(now, ticket, target, request));
        }
        write::DEVICE_REPLY => {
            let id = CommandId(values.whole() << 32 | values.whole());
            return Ok(client.reply(id, values.of(Reply::ALL).unwrap_or(Reply::Invalid)));
        }
        write::DEVICE_WATCH => return Ok(client.watch()),
        _ => return say(client, call, values, now),
    };
    client.operate(now, intent).map_err(|error| error.code())
}

/// Says to the client what happened, or how it is to be.
fn say(client: &mut Client, call: u8, mut values: Values, now: Now) -> Result<Vec<Output>, Code> {
    let input = match call {
        input::FIRST_OUTPUTS => return Ok(client.first_outputs()),
        input::CATCH_UP => {
            client.set_differences(values.whole() != 0);
            return Ok(Vec::new());
        }
        input::REST => {
            client.set_rest(values.whole(), values.whole());
            return Ok(Vec::new());
        }
        input::ONLINE => Input::Online,
        input::OFFLINE => Input::Offline,
        input::OPENED => Input::Opened(values.text().to_owned()),
        input::FRAME => Input::Frame(values.bytes()),
        input::CLOSED => Input::Closed(values.whole() as u16),
        input::ASKED => Input::Asked(values.text().to_owned()),
        input::ANSWERED => Input::Answered(values.whole() as u32, values.bytes()),
        input::HIDING => Input::Hiding(values.text().to_owned()),
        input::WAKE => Input::Woke,
        write::REJECTED_TAKEN => Input::RejectedTaken,
        _ => return Err(UNKNOWN),
    };
    Ok(client.handle(now, input))
}

/// Answers the read `call`.
pub fn answer(
    client: &mut Client,
    call: u8,
    mut values: Values,
    answer: &mut Answer,
) -> Result<(), Code> {
    let replica = client.replica();
    match call {
        read::PROFILES => {
            for (id, name) in replica.profiles() {
                answer.profile(id);
                answer.text(&name);
            }
        }
        read::WATCHLIST => {
            for item in replica.watchlist(values.profile()?) {
                answer.text(item.content.as_str());
                answer.number(item.added.0 as f64);
            }
        }
        read::HAS => {
            let (profile, content) = values.shelf()?;
            let listed = replica.is_listed(profile, &content);
            answer.number(f64::from(u8::from(listed)));
        }
        read::PROGRESS => {
            let (profile, content) = values.shelf()?;
            let item = replica.progress(profile, &content);
            item.iter().for_each(|item| convert::progress(item, answer));
        }
        read::PROGRESS_ALL => {
            for item in replica.all_progress(values.profile()?) {
                answer.text(item.content.as_str());
                convert::progress(&item, answer);
            }
        }
        read::DEVICES => devices(client, answer),
        read::REJECTED => {
            replica.rejected().iter().for_each(|rejected| convert::rejected(rejected, answer));
        }
        read::ABOUT => about(client, answer),
        read::METRICS => metrics(client, answer),
        read::NEW_PROFILE_ID => answer.id(client.random_id()),
        read::STANDING => {
            answer.number(client.pending() as f64);
            answer.number(f64::from(client.status() as u8));
        }
        _ => return Err(UNKNOWN),
    }
    Ok(())
}

fn devices(client: &Client, answer: &mut Answer) {
    for (id, record) in client.replica().devices() {
        answer.text(id.as_str());
        answer.text(&record.name);
        answer.number(f64::from(record.device_type as u8));
        answer.text(&record.platform);
        answer.text(&record.app_version);
        answer.number(record.capabilities.to_bits() as f64);
    }
}

fn about(client: &Client, answer: &mut Answer) {
    let replica = client.replica();
    answer.number(replica.rejected().len() as f64);
    answer.number(replica.offset_ms() as f64);
    answer.id(replica.id().0);
    answer.text(replica.household().map_or("", |id| id.as_str()));
    answer.text(client.close_code().map_or("", |code| code.reason()));
}

fn metrics(client: &Client, answer: &mut Answer) {
    let metrics = client.metrics();
    for count in &[
        metrics.operations,
        metrics.coalesced,
        metrics.sent,
        metrics.retried,
        metrics.acknowledged,
        metrics.rejected,
        metrics.plain_bytes,
        metrics.delta_bytes,
    ] {
        answer.number(*count as f64);
    }
    answer.number(metrics.saved_percent() as f64);
}
