//! What a device says of itself: its name and what it can do. Whether it is online is no part of
//! the state.

use crate::codec::{DecodeError, Reader, Writer};

/// Longest name, platform or app version of a device in bytes.
pub const DEVICE_TEXT_BYTES_MAX: usize = 64;

/// What kind of device it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeviceType {
    /// A television or a box beside it.
    Tv,
    /// A phone.
    Phone,
    /// A tablet.
    Tablet,
    /// A computer.
    Computer,
    /// Something else.
    #[default]
    Other,
}

impl DeviceType {
    /// All types, at the index that stands for them in bytes.
    pub const ALL: [Self; 5] = [Self::Tv, Self::Phone, Self::Tablet, Self::Computer, Self::Other];
}

/// The largest picture a device can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Resolution {
    /// Less than 720 lines, or not known.
    #[default]
    Sd,
    /// 720 lines.
    Hd,
    /// 1080 lines.
    FullHd,
    /// 2160 lines.
    UltraHd,
    /// 4320 lines.
    EightK,
}

impl Resolution {
    /// All resolutions, at the index that stands for them in bytes.
    pub const ALL: [Self; 5] = [Self::Sd, Self::Hd, Self::FullHd, Self::UltraHd, Self::EightK];
}

/// What a device can show, play and be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Capabilities {
    /// The largest picture.
    pub resolution: Resolution,
    /// HDR formats: bits at the places of [`Capabilities::HDR`].
    pub hdr: u8,
    /// Audio codecs: bits at the places of [`Capabilities::AUDIO`].
    pub audio: u8,
    /// Video codecs: bits at the places of [`Capabilities::VIDEO`].
    pub video: u8,
    /// Takes commands of other devices.
    pub remote_controllable: bool,
    /// Can send what it plays to another device.
    pub can_cast: bool,
    /// Diagonal in inches, 0 when not known.
    pub screen_inches: u8,
}

impl Capabilities {
    /// Names of the HDR formats, by their bits from the lowest.
    pub const HDR: [&str; 4] = ["hdr10", "hdr10_plus", "hlg", "dolby_vision"];
    /// Names of the audio codecs, by their bits from the lowest.
    pub const AUDIO: [&str; 8] = ["aac", "ac3", "eac3", "atmos", "dts", "dts_x", "truehd", "opus"];
    /// Names of the video codecs, by their bits from the lowest.
    pub const VIDEO: [&str; 6] = ["h264", "hevc", "vp9", "av1", "vvc", "mpeg2"];

    /// All fields as one number of 32 bits: resolution from bit 0, casting 4, remote control 5, HDR 6, video
    /// 10, audio 16, inches 24.
    pub fn to_bits(self) -> u64 {
        u64::from(self.screen_inches) << 24
            | u64::from(self.audio) << 16
            | u64::from(self.video) << 10
            | u64::from(self.hdr) << 6
            | u64::from(self.remote_controllable) << 5
            | u64::from(self.can_cast) << 4
            | self.resolution as u64
    }

    /// The fields in a number, unless it is none that [`Capabilities::to_bits`] gives.
    pub fn from_bits(bits: u64) -> Option<Self> {
        let flags = |at: u32, count: u32| (bits >> at & ((1 << count) - 1)) as u8;
        let resolution = *Resolution::ALL.get(usize::from(flags(0, 4)))?;
        (bits >> CAPABILITIES_BITS == 0).then_some(Self {
            resolution,
            hdr: flags(6, 4),
            audio: flags(16, 8),
            video: flags(10, 6),
            remote_controllable: flags(5, 1) == 1,
            can_cast: flags(4, 1) == 1,
            screen_inches: flags(24, 8),
        })
    }
}

/// Bits of [`Capabilities::to_bits`].
pub(crate) const CAPABILITIES_BITS: u32 = 32;

/// What a device says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceRecord {
    /// What people call it.
    pub name: String,
    /// What kind of device it is.
    pub device_type: DeviceType,
    /// Operating system and model.
    pub platform: String,
    /// Version of the app.
    pub app_version: String,
    /// What it can do.
    pub capabilities: Capabilities,
}

impl DeviceRecord {
    /// Whether its texts fit [`DEVICE_TEXT_BYTES_MAX`] and its flags have names.
    pub fn is_valid(&self) -> bool {
        let capabilities = &self.capabilities;
        self.texts().iter().all(|text| text.len() <= DEVICE_TEXT_BYTES_MAX)
            && usize::from(capabilities.hdr) < 1 << Capabilities::HDR.len()
            && usize::from(capabilities.video) < 1 << Capabilities::VIDEO.len()
    }

    /// No encoding of this record is longer, in bytes.
    pub fn bytes_bound(&self) -> usize {
        const FIXED: usize = 16;
        FIXED + self.texts().iter().map(|text| text.len()).sum::<usize>()
    }

    /// Whether another record is the same but for the version of the app.
    pub(crate) fn differs_in_version(&self, other: &Self) -> bool {
        let itself = |record: &Self| (record.device_type, record.capabilities);
        let (texts, others) = (self.texts(), other.texts());
        itself(self) == itself(other) && texts[..2] == others[..2]
    }

    /// Its texts, the version of the app last.
    fn texts(&self) -> [&str; 3] {
        [&self.name, &self.platform, &self.app_version]
    }

    /// Appends the record by itself, as in an operation.
    pub fn encode(&self, writer: &mut Writer) {
        writer.u8(self.device_type as u8);
        writer.varint(self.capabilities.to_bits());
        for text in self.texts() {
            writer.bytes(text.as_bytes());
        }
    }

    /// Reads what [`DeviceRecord::encode`] wrote.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let device_type = DeviceType::ALL.get(usize::from(reader.u8()?));
        let device_type = *device_type.ok_or(DecodeError::invalid("device type"))?;
        let capabilities = Capabilities::from_bits(reader.varint()?);
        let capabilities = capabilities.ok_or(DecodeError::invalid("capabilities"))?;
        let mut text =
            || reader.string(DEVICE_TEXT_BYTES_MAX, "DEVICE_TEXT_BYTES_MAX").map(String::from);
        Ok(Self {
            name: text()?,
            device_type,
            platform: text()?,
            app_version: text()?,
            capabilities,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> DeviceRecord {
        DeviceRecord {
            name: "Living room".into(),
            device_type: DeviceType::Tv,
            platform: "webOS 5".into(),
            app_version: "4.2.0".into(),
            capabilities: Capabilities {
                resolution: Resolution::EightK,
                hdr: 0b1001,
                audio: 0b1000_0001,
                video: 0b10_0011,
                remote_controllable: true,
                can_cast: false,
                screen_inches: 255,
            },
        }
    }

    #[test]
    fn a_record_comes_back() {
        for record in [record(), DeviceRecord::default()] {
            assert!(record.is_valid());
            let mut writer = Writer::new();
            record.encode(&mut writer);
            let mut reader = Reader::new(writer.as_slice());
            assert_eq!(DeviceRecord::decode(&mut reader), Ok(record));
            assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn what_no_record_says_is_refused() {
        let mut long = record();
        long.name = "x".repeat(DEVICE_TEXT_BYTES_MAX + 1);
        assert!(!long.is_valid());
        let mut writer = Writer::new();
        long.encode(&mut writer);
        let limit = Err(DecodeError::limit("DEVICE_TEXT_BYTES_MAX"));
        assert_eq!(DeviceRecord::decode(&mut Reader::new(writer.as_slice())), limit);
        let mut flags = record();
        flags.capabilities.hdr = 1 << Capabilities::HDR.len();
        assert!(!flags.is_valid());
        let decode = |bytes: &[u8]| DeviceRecord::decode(&mut Reader::new(bytes));
        assert_eq!(decode(&[5]), Err(DecodeError::invalid("device type")));
        assert_eq!(decode(&[0, 5]), Err(DecodeError::invalid("capabilities")));
        assert_eq!(Capabilities::from_bits(1 << CAPABILITIES_BITS), None);
    }
}
