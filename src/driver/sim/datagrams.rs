//! Sockets for datagrams: each arrives as a whole or not at all.
//!
//! One for the internet is lost where there is no room for it, or by chance; one between processes waits for room.

use std::collections::VecDeque;

use super::{
    flights::{Step, done, failed},
    kernel::{Memory, Sender},
    names::{Name, Protocol, loopback},
    net::{Family, Kind},
    state::{Event, State},
};

/// What a socket for datagrams has.
pub(super) struct Mailbox {
    pub(super) family: Family,
    arrived: VecDeque<Letter>,
    /// Bytes that have arrived.
    held: usize,
    /// Whom it sends to when nobody is named.
    pub(super) peer: Option<Peer>,
    /// Nobody was where the last one went.
    refused: bool,
    /// When the last one arrives that it sent: nothing overtakes, unless it shall.
    last_due: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Peer {
    Named(Name),
    /// Between processes it is the socket itself, whatever it is called.
    Socket(usize),
}

struct Letter {
    bytes: Vec<u8>,
    from: Option<Name>,
}

/// A datagram on its way.
pub(super) struct Posted {
    letter: Letter,
    sender: usize,
    to: Name,
}

/// The longest datagram of UDP, and of a Unix socket.
const UDP_BYTES_MAX: usize = 65_507;
const UNIX_BYTES_MAX: usize = 212_960;

/// How many datagrams wait at a Unix socket.
const WAITING_MAX: usize = 11;

impl Mailbox {
    pub(super) fn new(family: Family) -> Mailbox {
        Mailbox { family, arrived: VecDeque::new(), held: 0, peer: None, refused: false, last_due: 0 }
    }

    pub(super) fn is_readable(&self) -> bool {
        !self.arrived.is_empty() || self.refused
    }

    /// Whether one more fits; one always does.
    fn has_room(&self, bytes: usize, capacity: usize) -> bool {
        self.arrived.is_empty() || self.held + bytes <= capacity
    }
}

impl State {
    fn mailbox(&mut self, file: usize) -> Option<&mut Mailbox> {
        let Kind::Datagrams(mailbox) = &mut self.net.files.get_mut(file)?.kind else { return None };
        Some(mailbox)
    }

    pub(super) fn send_datagram(&mut self, file: usize, from: &[Memory], to: Option<&Name>) -> Step {
        let bytes: Vec<u8> = from.iter().flat_map(|piece| piece.read(0, piece.len())).collect();
        let Some(mailbox) = self.mailbox(file) else { return failed(libc::ENOTSOCK) };
        let peer = mailbox.peer.clone();
        if mailbox.family == Family::Unix {
            return self.send_to_socket(file, bytes, to, peer);
        }
        if std::mem::take(&mut mailbox.refused) {
            return failed(libc::ECONNREFUSED);
        }
        let family = mailbox.family;
        let to = match (to, peer) {
            (Some(to), _) => to.clone(),
            (None, Some(Peer::Named(peer))) => peer,
            (None, _) => return failed(libc::EDESTADDRREQ),
        };
        let Some(address) = to.internet().filter(|to| Family::of(to) == family) else {
            return failed(libc::EAFNOSUPPORT);
        };
        if bytes.len() > UDP_BYTES_MAX {
            return failed(libc::EMSGSIZE);
        }
        let count = bytes.len();
        // The sender is where an answer reaches it.
        let mut sender = self.net.files[file].local.as_ref().and_then(Name::internet);
        if let Some(sender) = sender.as_mut().filter(|sender| sender.ip().is_unspecified()) {
            sender.set_ip(loopback(address.is_ipv6()));
        }
        self.post_letter(file, bytes, sender.map(Name::Internet), to);
        done(count)
    }

    fn post_letter(&mut self, file: usize, bytes: Vec<u8>, from: Option<Name>, to: Name) {
        let hostile = self.chance.datagrams.permille(self.knobs.loss);
        let fate = if hostile { self.chance.datagrams.below(3) } else { 3 };
        let copies = match fate {
            0 => 0,
            1 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let letter = Letter { bytes: bytes.clone(), from: from.clone() };
            let posted = self.net.letters.insert(Posted { letter, sender: file, to: to.clone() });
            let now = self.now();
            let mut due = now + self.delay();
            if fate == 2 {
                due += self.chance.datagrams.below(STRAY_MAX);
            } else if let Some(mailbox) = self.mailbox(file) {
                if due <= mailbox.last_due {
                    due = mailbox.last_due + 1;
                }
                if due > now {
                    mailbox.last_due = due;
                }
            }
            match due - now {
                0 => self.bring(posted),
                delay => self.add_event(delay, Event::Bring(posted)),
            }
        }
    }

    /// A datagram of UDP arrives.
    pub(super) fn bring(&mut self, posted: usize) {
        let Posted { letter, sender, to } = self.net.letters.remove(posted);
        let capacity = self.knobs.socket_bytes;
        let receiver = to.internet().and_then(|to| self.net.names.at(Protocol::Udp, to));
        let from = letter.from.clone().map(Peer::Named);
        let Some((file, mailbox)) = receiver.and_then(|file| Some((file, self.mailbox(file)?))) else {
            // Only who is connected is told.
            if let Some(mailbox) = self.mailbox(sender).filter(|mailbox| mailbox.peer == Some(Peer::Named(to))) {
                mailbox.refused = true;
                self.poke(Some(sender));
            }
            return;
        };
        let welcome = mailbox.peer.is_none() || mailbox.peer == from;
        if welcome && mailbox.has_room(letter.bytes.len(), capacity) {
            self.deliver_letter(file, letter);
        }
    }

    fn deliver_letter(&mut self, file: usize, letter: Letter) {
        if let Some(mailbox) = self.mailbox(file) {
            mailbox.held += letter.bytes.len();
            mailbox.arrived.push_back(letter);
        }
        self.poke(Some(file));
    }

    /// The socket that datagrams go to by this name.
    pub(super) fn unix_receiver(&self, to: &Name) -> Result<usize, i32> {
        let file = self.net.unix_socket_at(to)?;
        let is_mailbox = matches!(self.net.files[file].kind, Kind::Datagrams(_));
        if is_mailbox { Ok(file) } else { Err(libc::EPROTOTYPE) }
    }

    fn send_to_socket(&mut self, file: usize, bytes: Vec<u8>, to: Option<&Name>, peer: Option<Peer>) -> Step {
        let receiver = match (to, peer) {
            (Some(to), _) => match self.unix_receiver(to) {
                Ok(receiver) => receiver,
                Err(errno) => return failed(errno),
            },
            (None, Some(Peer::Socket(peer))) if self.net.files.contains(peer) => peer,
            (None, Some(_)) => {
                if let Some(mailbox) = self.mailbox(file) {
                    mailbox.peer = None;
                }
                return failed(libc::ECONNREFUSED);
            }
            (None, None) => return failed(libc::ENOTCONN),
        };
        if bytes.len() > UNIX_BYTES_MAX {
            return failed(libc::EMSGSIZE);
        }
        let capacity = self.knobs.socket_bytes;
        let from = self.net.files[file].local.clone();
        let Some(mailbox) = self.mailbox(receiver) else { return failed(libc::ECONNREFUSED) };
        let mutual = mailbox.peer == Some(Peer::Socket(file));
        if mailbox.peer.is_some() && !mutual {
            return failed(libc::EPERM);
        }
        if !mailbox.has_room(bytes.len(), capacity) || !mutual && mailbox.arrived.len() >= WAITING_MAX {
            return Step::Wait;
        }
        let count = bytes.len();
        self.deliver_letter(receiver, Letter { bytes, from });
        done(count)
    }

    pub(super) fn receive_datagram(&mut self, file: usize, into: &Memory, sender: &Sender) -> Step {
        let Some(mailbox) = self.mailbox(file) else { return failed(libc::ENOTSOCK) };
        let Some(letter) = mailbox.arrived.pop_front() else {
            let refused = std::mem::take(&mut mailbox.refused);
            return if refused { failed(libc::ECONNREFUSED) } else { Step::Wait };
        };
        mailbox.held -= letter.bytes.len();
        if !into.is_scribbled(0) {
            self.violate("memory that was lent to a receive was written meanwhile".to_owned());
        }
        let count = letter.bytes.len().min(into.len());
        into.write(0, &letter.bytes[..count]);
        sender.name(letter.from.as_ref());
        self.knock_again();
        done(count)
    }
}

/// How much later than others a datagram may come that goes another way.
const STRAY_MAX: u64 = 20_000_000;
