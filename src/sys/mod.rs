//! Linux as it is: setting up a ring, asking the kernel what it can, and the system calls that never wait. Everything
//! that names a constant of the kernel is here or in `driver/`.
#![allow(unsafe_code)] // fence: sys/, budget in uring-tests/tidy.rs

mod address;
mod buffer_ring;
mod exec;
mod inspection;
mod interrupt;
mod message;
mod pidfd;
mod probe;
mod ring;
mod signals;
mod socket;
mod spawn;
mod spawner;
mod unix;

pub(crate) use address::Address;
pub(crate) use buffer_ring::BufferRing;
pub(crate) use inspection::{is_asleep, is_same_user, listen_for_inspection, this_thread};
pub(crate) use interrupt::{CtrlC, QuietPipes, interrupts};
pub(crate) use message::{Envelope, GATHER_MAX, Message};
pub(crate) use pidfd::{
    Look, Reach, Signalled, kill_and_reap, leave_orphan, look_at_child, reap_orphans, send_signal,
    send_signal_to_unreaped_group, unknown_status,
};
pub(crate) use probe::{Kernel, Opcodes};
pub(crate) use ring::{Ring, RingSize, Waiting};
pub(crate) use signals::{Listener, check_heard, clear_counter, hear, number, signal_count};
pub(crate) use socket::{
    ListenOptions, bind_to_connect, bind_to_listen, close, connect_datagrams, doorbell_fd, has_unread,
    is_stream_socket, lacks_family, local_address, peer_address, reset_on_close, ring_doorbell, set_nodelay,
    shutdown_write, start_listening, stream_socket, udp_socket,
};
pub(crate) use spawn::{Plan, PreExec, Spawned, Wire, high, high_pipe, is_root, null_device, refuse, signal_mask};
pub(crate) use spawner::{GivenUp, Job, Spawner, Started};
pub(crate) use unix::{
    SocketFile, bind_unix, peer_credentials, remove_socket_file, unix_address, unix_local_path, unix_pair,
    unix_peer_path, unix_socket,
};
