//! The devices of the household, for [`Replica`].

use crate::{Address, Replica};
use omega_sync_core::household::{Capabilities, DeviceRecord, DeviceType, Intent};
use omega_sync_core::id::DeviceId;
use wasm_bindgen::prelude::*;

/// What the app gave is no device, or no record of one.
const INVALID: &str = "invalid_device";

#[wasm_bindgen]
impl Replica {
    /// Notes what a device says of itself. `kind`: 0 TV, 1 phone, 2 tablet, 3 computer, 4 other;
    /// `capabilities`: the bits that `docs/protocol.md` lists under "Record".
    #[wasm_bindgen(js_name = deviceDescribe)]
    #[allow(
        clippy::too_many_arguments,
        reason = "plain values are what crosses the border cheaply"
    )]
    pub fn device_describe(
        &mut self,
        device_id: &str,
        name: String,
        kind: u8,
        platform: String,
        app_version: String,
        capabilities: u32,
        unix_ms: f64,
        steady_ms: f64,
    ) -> Address {
        let device = DeviceId::new(device_id).ok();
        let device_type = DeviceType::ALL.get(usize::from(kind)).copied();
        let capabilities = Capabilities::from_bits(capabilities.into());
        let record = device_type.zip(capabilities).map(|(device_type, capabilities)| {
            DeviceRecord { name, device_type, platform, app_version, capabilities }
        });
        let intent = device.zip(record).ok_or(INVALID);
        let intent = intent.map(|(device, record)| Intent::DescribeDevice(device, Some(record)));
        self.operate(intent, unix_ms, steady_ms)
    }

    /// Takes a device off the list.
    #[wasm_bindgen(js_name = deviceRemove)]
    pub fn device_remove(&mut self, device_id: &str, unix_ms: f64, steady_ms: f64) -> Address {
        let device = DeviceId::new(device_id).map_err(|_| INVALID);
        let intent = device.map(|device| Intent::DescribeDevice(device, None));
        self.operate(intent, unix_ms, steady_ms)
    }

    /// Id, name, kind, platform, version of the app and capabilities of each, in the order of their ids.
    pub fn devices(&mut self) -> Address {
        self.answer.clear();
        for (id, record) in self.client.replica().devices() {
            self.answer.text(id.as_str());
            self.answer.text(&record.name);
            self.answer.number(f64::from(record.device_type as u8));
            self.answer.text(&record.platform);
            self.answer.text(&record.app_version);
            self.answer.number(record.capabilities.to_bits() as f64);
        }
        self.answer.end()
    }
}
