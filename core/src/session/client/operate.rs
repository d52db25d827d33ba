//! What the app writes.
//!
//! What a device says of itself replaces what it said before, name and all. Where it says no name it
//! keeps the one that it has, which may have been given elsewhere. So before the first state is here,
//! which may have a name for it, nothing is written: that would take the name away. Until then it waits,
//! in memory only, because a device says it again at each start.

use super::{Client, IN_FLIGHT_MAX, LEAVING_OPERATIONS_MAX, Link, Output, USUAL_OUTPUTS};
use crate::id::DeviceId;
use crate::operation::{DeviceRecord, Intent};
use crate::outbox::Outbox;
use crate::replica::{Now, OperationError};

impl Client {
    /// Carries out what a user wants, here at once and at the server as soon as can be.
    ///
    /// # Errors
    /// [`OperationError`]; nothing has changed then.
    pub fn operate(&mut self, now: Now, intent: Intent) -> Result<Vec<Output>, OperationError> {
        let mut outputs = Vec::with_capacity(USUAL_OUTPUTS);
        let link = &self.link;
        let may_hide = self.may_hide();
        let leaves = |outbox: &Outbox| match link {
            // Alone it fits a frame; more may need several.
            Link::Open(connection) => {
                connection.in_flight.len() < IN_FLIGHT_MAX
                    && outbox.above(connection.sent).nth(1).is_none()
            }
            _ => may_hide && outbox.len() <= LEAVING_OPERATIONS_MAX,
        };
        let before = self.replica.outbox().len();
        let described = match &intent {
            Intent::DescribeDevice(device, _) => Some(device.clone()),
            _ => None,
        };
        let made = self.replica.operate(now, intent, leaves)?;
        // In place of what it said before.
        self.described.take_if(|(held, _)| Some(&*held) == described.as_ref());
        if let Some((record, changed)) = made {
            let connected = matches!(self.link, Link::Open(_));
            self.tally.made(before, self.replica.outbox().len(), connected);
            outputs.push(Output::Changed(changed));
            self.store(record, &mut outputs);
            self.flush(&mut outputs);
            self.hasten(now, &mut outputs);
        }
        Ok(outputs)
    }

    /// [`Client::operate`] with what `device` says of itself, but the name in `record` counts for
    /// nothing. Where no state is here yet, with the first one; until then it counts as pending.
    ///
    /// # Errors
    /// [`OperationError`]; nothing has changed then.
    pub fn describe(
        &mut self,
        now: Now,
        device: DeviceId,
        mut record: DeviceRecord,
    ) -> Result<Vec<Output>, OperationError> {
        let known = self.replica.device(&device);
        if known.is_none() && self.replica.base_version().is_none() {
            if !record.is_valid() {
                return Err(OperationError::DeviceRecord);
            }
            self.described = Some((device, record));
            return Ok(Vec::new());
        }
        record.name = known.map_or(String::new(), |known| known.name.clone());
        self.operate(now, Intent::DescribeDevice(device, Some(record)))
    }

    /// The first state is here.
    pub(super) fn describe_now(&mut self, now: Now, outputs: &mut Vec<Output>) {
        if let Some((device, record)) = self.described.take() {
            // Of an outbox that is full by now: the device says it again at its next start.
            outputs.extend(self.describe(now, device, record).unwrap_or_default());
        }
    }

    /// How many writes the server has not acknowledged.
    pub fn pending(&self) -> usize {
        self.replica.outbox().len() + usize::from(self.described.is_some())
    }
}
