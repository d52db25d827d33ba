//! A trace of a household: one JSON object a line, a header and events in the order of time, as
//! `tests/bench/trace/file.mjs` describes them.

use omega_sync_core::id::{ContentId, DeviceId, IdError, ProfileId};
use omega_sync_core::operation::{
    Capabilities, DeviceRecord, DeviceType, Intent, PlayState, Progress,
};
use serde::Deserialize;
use thiserror::Error;

/// What the numbers of a trace's play states mean.
const STATES: [PlayState; 3] = [PlayState::Playing, PlayState::Paused, PlayState::Finished];

/// A file that is no trace.
#[derive(Debug, Error)]
pub enum TraceError {
    /// A line can't be read.
    #[error("line {0} is no trace event: {1}")]
    Line(usize, serde_json::Error),
    /// An event names a device, a play state or an id that can't be.
    #[error("line {0} has a {1} that no trace has")]
    Value(usize, &'static str),
    /// There is no first line, or it is no header.
    #[error("the first line is no header of version 1: gen-trace.mjs --out writes one")]
    Header,
}

/// A household's life.
#[derive(Debug)]
pub struct Trace {
    /// Which one.
    pub seed: u64,
    /// How long.
    pub days: u64,
    /// When it begins, in Unix milliseconds.
    pub t0: u64,
    /// Its devices.
    pub devices: Vec<String>,
    /// What happens, in the order of time.
    pub events: Vec<Event>,
}

/// What happens on a device.
#[derive(Debug)]
pub struct Event {
    /// When, in Unix milliseconds.
    pub t: u64,
    /// On which device, by its place.
    pub device: usize,
    /// What.
    pub what: What,
}

/// What happens.
#[derive(Debug)]
pub enum What {
    /// The network goes or returns.
    Online(bool),
    /// The viewer or the app does something.
    Intent(Intent),
}

#[derive(Deserialize)]
struct Header {
    k: String,
    v: u32,
    seed: u64,
    days: u64,
    t0: u64,
    devices: Vec<String>,
}

#[derive(Deserialize)]
struct Line {
    t: u64,
    d: usize,
    #[serde(flatten)]
    fields: Fields,
}

#[derive(Deserialize)]
#[serde(tag = "k", rename_all = "lowercase")]
enum Fields {
    Off,
    On,
    Add { c: String },
    Rem { c: String },
    Prog { c: String, p: u32, u: u32, s: usize },
    Dev { name: String, model: String, app: String, caps: Vec<String> },
}

impl Trace {
    /// Reads a trace.
    ///
    /// # Errors
    /// [`TraceError`] with the line at fault.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut lines = text.lines().enumerate();
        let header = lines.next().and_then(|(_, line)| serde_json::from_str::<Header>(line).ok());
        let Some(header) = header.filter(|header| header.k == "hdr" && header.v == 1) else {
            return Err(TraceError::Header);
        };
        let Header { seed, days, t0, devices, .. } = header;
        let mut events = Vec::new();
        for (at, line) in lines {
            let number = at + 1;
            let line: Line =
                serde_json::from_str(line).map_err(|error| TraceError::Line(number, error))?;
            let event = line.event(&devices).map_err(|what| TraceError::Value(number, what))?;
            events.push(event);
        }
        Ok(Self { seed, days, t0, devices, events })
    }
}

impl Line {
    fn event(self, devices: &[String]) -> Result<Event, &'static str> {
        let Self { t, d: device, fields } = self;
        let id = devices.get(device).ok_or("device")?;
        let what = match fields {
            Fields::Off => What::Online(false),
            Fields::On => What::Online(true),
            Fields::Add { c } => What::Intent(Intent::Add(ProfileId::DEFAULT, content(&c)?)),
            Fields::Rem { c } => What::Intent(Intent::Remove(ProfileId::DEFAULT, content(&c)?)),
            Fields::Prog { c, p, u, s } => {
                let state = *STATES.get(s).ok_or("play state")?;
                let progress = Progress { position_s: p, duration_s: u, state };
                What::Intent(Intent::Progress(ProfileId::DEFAULT, content(&c)?, Some(progress)))
            }
            Fields::Dev { name, model, app, caps } => {
                let id = DeviceId::new(id).map_err(|IdError(what)| what)?;
                let record = device_record(name, model, app, &caps);
                What::Intent(Intent::DescribeDevice(id, Some(record)))
            }
        };
        Ok(Event { t, device, what })
    }
}

fn content(id: &str) -> Result<ContentId, &'static str> {
    ContentId::new(id).map_err(|IdError(what)| what)
}

/// As `tests/bench/trace/view.mjs` gives it to the npm package.
fn device_record(name: String, model: String, app: String, caps: &[String]) -> DeviceRecord {
    let device_type = match () {
        () if model.contains("iPad") => DeviceType::Tablet,
        () if model.contains("Pixel") => DeviceType::Phone,
        () => DeviceType::Tv,
    };
    let bit = |cap: &str, codec: &str, names: &[&str]| match caps.iter().any(|own| own == cap) {
        true => names.iter().position(|name| *name == codec).map_or(0, |at| 1 << at),
        false => 0,
    };
    let capabilities = Capabilities {
        hdr: bit("dv", "dolby_vision", &Capabilities::HDR),
        audio: bit("atmos", "atmos", &Capabilities::AUDIO),
        video: bit("hevc", "hevc", &Capabilities::VIDEO),
        ..Capabilities::default()
    };
    DeviceRecord { name, device_type, platform: model, app_version: app, capabilities }
}
