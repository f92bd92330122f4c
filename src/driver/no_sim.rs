//! What stands for the simulated kernel where it is not compiled in: a type without values.
#![allow(unsafe_code)] // fence: the same functions, none of which can be called

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    os::fd::{BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    task::Waker,
};

use super::{Completion, Config, Doorbell, DriverReport, Held, Profile, Request, Token, Wait};
use crate::{
    buf::{Pool, PoolLayout},
    clock::Clock,
    sys::{Address, Job, ListenOptions, Look, Plan, Reach, Signalled, SocketFile, Spawned, Wire},
};

#[derive(Debug, Clone)]
pub(crate) struct World {
    never: Never,
}

#[derive(Debug, Clone)]
enum Never {}

/// The simulated kernel has the same functions, and does something in them.
macro_rules! never {
    ($($visible:vis fn $name:ident(&self $(, $argument:ident: $type:ty)*) $(-> $result:ty)?;)*) => {
        impl World {
            $(#[inline] $visible fn $name(&self $(, _: $type)*) $(-> $result)? { match self.never {} })*
        }
    };
}

never! {
    pub(super) fn configure(&self, config: &Config);
    pub(super) fn cancel(&self, target: Token);
    pub(super) fn turn(&self, wait: Wait) -> io::Result<bool>;
    pub(super) fn drain(&self, sink: impl FnMut(Completion));
    pub(super) fn doorbell(&self) -> &Doorbell;
    pub(super) fn forget_pool(&self) -> io::Result<()>;
    pub(super) fn pool_layout(&self) -> PoolLayout;
    pub(super) fn profile(&self) -> Profile;
    pub(super) fn report(&self) -> DriverReport;
    pub(super) fn clock(&self) -> Clock;
    pub(super) fn stream_socket(&self, address: &SocketAddr) -> io::Result<OwnedFd>;
    pub(super) fn bind_to_listen(&self, address: SocketAddr, options: ListenOptions) -> io::Result<OwnedFd>;
    pub(super) fn start_listening(&self, fd: BorrowedFd<'_>, backlog: u32) -> io::Result<()>;
    pub(super) fn bind_to_connect(&self, fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()>;
    pub(super) fn local_address(&self, fd: BorrowedFd<'_>) -> io::Result<SocketAddr>;
    pub(super) fn peer_address(&self, fd: BorrowedFd<'_>) -> io::Result<SocketAddr>;
    pub(super) fn set_nodelay(&self, fd: BorrowedFd<'_>, on: bool) -> io::Result<()>;
    pub(super) fn is_stream_socket(&self, fd: BorrowedFd<'_>) -> io::Result<()>;
    pub(super) fn shutdown_write(&self, fd: BorrowedFd<'_>) -> io::Result<()>;
    pub(super) fn reset_on_close(&self, fd: BorrowedFd<'_>) -> io::Result<()>;
    pub(super) fn has_unread(&self, fd: BorrowedFd<'_>) -> bool;
    pub(super) fn udp_socket(&self, address: SocketAddr) -> io::Result<OwnedFd>;
    pub(super) fn connect_datagrams(&self, fd: BorrowedFd<'_>, address: &Address) -> io::Result<()>;
    pub(super) fn unix_socket(&self, datagrams: bool) -> io::Result<OwnedFd>;
    pub(super) fn unix_pair(&self, datagrams: bool) -> io::Result<(OwnedFd, OwnedFd)>;
    pub(super) fn bind_unix(&self, fd: BorrowedFd<'_>, path: &Path, mode: Option<u32>) -> io::Result<Option<SocketFile>>;
    pub(super) fn remove_socket_file(&self, file: &SocketFile);
    pub(super) fn unix_local_path(&self, fd: BorrowedFd<'_>) -> io::Result<Option<PathBuf>>;
    pub(super) fn unix_peer_path(&self, fd: BorrowedFd<'_>) -> io::Result<Option<PathBuf>>;
    pub(super) fn peer_credentials(&self, fd: BorrowedFd<'_>) -> io::Result<(i32, u32, u32)>;
    pub(super) fn look_at_child(&self, pidfd: BorrowedFd<'_>) -> Look;
    pub(super) fn send_signal(&self, pidfd: BorrowedFd<'_>, signal: i32, reach: Reach) -> Signalled;
    pub(super) fn send_signal_to_unreaped_group(&self, pid: u32, signal: i32) -> Signalled;
    pub(super) fn kill_and_reap(&self, spawned: Spawned, reach: Reach);
    pub(super) fn leave_orphan(&self, pidfd: OwnedFd);
    pub(super) fn hear(&self, numbers: &[i32]) -> io::Result<(OwnedFd, usize)>;
    pub(super) fn stop_hearing(&self, file: usize);
    pub(super) fn signal_count(&self, signal: i32) -> u32;
    pub(super) fn clear_counter(&self, counter: BorrowedFd<'_>);
    pub(super) fn null_device(&self) -> io::Result<OwnedFd>;
    pub(super) fn high(&self, fd: OwnedFd) -> io::Result<OwnedFd>;
    pub(super) fn high_pipe(&self) -> io::Result<(OwnedFd, OwnedFd)>;
    pub(super) fn close(&self, fd: OwnedFd);
    pub(crate) fn start_program(&self, plan: Box<Plan>, wires: [Wire<Held>; 3], waker: &Waker) -> Arc<Job>;
    pub(crate) fn run_starts(&self);
    pub(crate) fn end_starts(&self);
    pub(crate) fn note_task(&self, key: u64);
    pub(crate) fn count_outside(&self, by: isize);
}

impl World {
    #[inline]
    pub(crate) fn order_tasks<T>(&self, _: &mut VecDeque<T>) {
        match self.never {}
    }

    /// # Safety
    /// As for `Driver::push`.
    pub(super) unsafe fn push(&self, _: Token, _: &Request) {
        match self.never {}
    }

    /// # Safety
    /// As for `Driver::push`.
    pub(super) unsafe fn push_quietly(&self, _: Token, _: &Request) {
        match self.never {}
    }

    /// # Safety
    /// As for `Driver::provide`.
    pub(super) unsafe fn provide(&self, _: &Pool) {
        match self.never {}
    }
}
