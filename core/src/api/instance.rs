//! Instances, the status of the service, and who is told when it changes.

use super::error::ApiError;
use super::operation::{Action, OperationId, Outcome};
use super::tables::Tables;
use super::{Api, Handle};

/// The highest version of the API that is here: 2.0, with the major part in the low byte.
pub const SUPPORTED_VERSION: u32 = 0x0002;

/// What [`Api::startup`] opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InstanceHandle {
    index: u16,
    generation: u32,
}

impl InstanceHandle {
    /// One that was never open.
    pub(super) const NONE: Self = Self { index: u16::MAX, generation: 0 };
}

/// Whose an instance is, by a number that the adapter gives: each user has publications of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UserId(pub u32);

/// How the service is (PEERDIST_STATUS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u32)]
pub enum Status {
    /// Switched off.
    Disabled = 0,
    /// On, and not ready.
    Unavailable = 1,
    /// At work.
    Available = 2,
}

/// How the service is, and what it can do (PEERDIST_STATUS_INFO).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StatusInfo {
    /// How it is.
    pub status: Status,
    /// The lowest version of content information.
    pub min_version: u32,
    /// The highest.
    pub max_version: u32,
}

/// A row of the table of instances.
pub struct Instance {
    generation: u32,
    is_open: bool,
    user: UserId,
    /// The status that was told last.
    notified: Status,
}

impl Instance {
    pub(super) const FREE: Self =
        Self { generation: 0, is_open: false, user: UserId(0), notified: Status::Disabled };

    pub(super) fn user(&self) -> UserId {
        self.user
    }
}

impl Api<'_> {
    /// Opens an instance for somebody who can do with `version` of the API (PeerDistStartup), whatever
    /// the status. Where that is higher than [`SUPPORTED_VERSION`], a lower one may do.
    pub fn startup(&mut self, version: u32, user: UserId) -> Result<InstanceHandle, ApiError> {
        let [major, minor, 0, 0] = version.to_le_bytes() else { return Err(ApiError::InvalidParameter) };
        let [our_major, our_minor, ..] = SUPPORTED_VERSION.to_le_bytes();
        match (major, minor) {
            (0, _) => return Err(ApiError::InvalidParameter),
            wanted if wanted > (our_major, our_minor) => return Err(ApiError::VersionUnsupported),
            _ => {}
        }
        let mut rows = (0u16..).zip(&mut *self.tables.instances);
        let (index, row) = rows.find(|(_, row)| !row.is_open).ok_or(ApiError::Full)?;
        let generation = row.generation.wrapping_add(1);
        // Before the first notification, it is compared with this.
        *row = Instance { generation, is_open: true, user, notified: Status::Disabled };
        Ok(InstanceHandle { index, generation })
    }

    /// Closes an instance with all its handles, cancels its operations and removes what it published
    /// (PeerDistShutdown).
    pub fn shutdown(&mut self, instance: InstanceHandle) -> Result<(), ApiError> {
        self.tables.instance(instance)?;
        self.tables.end_all(ApiError::Aborted, &|row| row.instance == instance);
        self.forget_published(instance);
        self.forget_contents(instance);
        if let Some(row) = self.tables.instances.get_mut(usize::from(instance.index)) {
            row.is_open = false;
        }
        Ok(())
    }

    /// How the service is (PeerDistGetStatus, PeerDistGetStatusEx).
    pub fn status(&self, instance: InstanceHandle) -> Result<StatusInfo, ApiError> {
        self.tables.instance(instance)?;
        Ok(self.status_info())
    }

    /// Ends once the status is another than the last that this instance was told, which may be at once
    /// (PeerDistRegisterForStatusChangeNotification, also Ex). Both forms have one registration for each
    /// instance, and it is for one notification.
    ///
    /// Contradiction C3: this is accepted like any other operation, and says nothing of success.
    pub fn register_status(&mut self, instance: InstanceHandle, key: usize) -> Result<OperationId, ApiError> {
        self.tables.instance(instance)?;
        let handle = Handle::Instance(instance);
        // Gap G11: a second registration is a wrong call.
        if self.tables.is_under_way(handle, Action::Notify) {
            return Err(ApiError::InvalidParameter);
        }
        let operation = self.tables.accept(instance, handle, key, Action::Notify)?;
        self.notify();
        Ok(operation)
    }

    /// Cancels the registration, if there is one (PeerDistUnregisterForStatusChangeNotification).
    ///
    /// Contradiction C5: the call itself succeeds, and the registration ends as cancelled.
    pub fn unregister_status(&mut self, instance: InstanceHandle) -> Result<(), ApiError> {
        self.tables.instance(instance)?;
        let meant = Handle::Instance(instance);
        self.tables.end_all(ApiError::Aborted, &|row| row.handle == meant && row.action == Action::Notify);
        Ok(())
    }

    /// For the owner of the device: the service is like this from now on. One that is not available
    /// invalidates all handles but instances.
    pub fn set_status(&mut self, status: Status) {
        self.tables.desk.status = status;
        if status != Status::Available {
            // Gap G10: they stay so, whatever the status becomes.
            self.invalidate();
            self.invalidate_contents();
        }
        self.notify();
    }

    pub(super) fn status_info(&self) -> StatusInfo {
        let (min_version, max_version) = self.tables.desk.published.bounds();
        StatusInfo { status: self.tables.desk.status, min_version, max_version }
    }

    /// Tells the status to all who wait for another one than they know.
    fn notify(&mut self) {
        let info = self.status_info();
        for index in 0..self.tables.instances.len() {
            let Some(row) = self.tables.instances.get_mut(index).filter(|row| row.is_open) else { continue };
            if row.notified == info.status {
                continue;
            }
            let handle = Handle::Instance(InstanceHandle { index: index as u16, generation: row.generation });
            let meant =
                |row: &super::operation::Operation| row.handle == handle && row.action == Action::Notify;
            if let Some(operation) = self.tables.first_pending(&meant) {
                self.tables.end(operation, Outcome::Status(info));
                if let Some(row) = self.tables.instances.get_mut(index) {
                    row.notified = info.status;
                }
            }
        }
    }
}

impl Tables<'_> {
    /// An instance that is open.
    pub(super) fn instance(&self, instance: InstanceHandle) -> Result<&Instance, ApiError> {
        let row = self.instances.get(usize::from(instance.index));
        let open = row.filter(|row| row.is_open && row.generation == instance.generation);
        open.ok_or(ApiError::InvalidHandle)
    }

    /// An instance that is open, while the service is at work.
    pub(super) fn available(&self, instance: InstanceHandle) -> Result<&Instance, ApiError> {
        let row = self.instance(instance)?;
        match self.desk.status {
            Status::Available => Ok(row),
            Status::Disabled => Err(ApiError::Disabled),
            Status::Unavailable => Err(ApiError::Unavailable),
        }
    }
}
