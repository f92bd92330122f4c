//! Operations in flight: each is tried, waits until something changes where it looks, is tried again, and ends once.
//!
//! F1. Lent memory is touched only in the moment in which an operation moves bytes, and not after its final completion.
//! F2. Every operation that was pushed has exactly one final completion.

use std::os::fd::RawFd;

use super::{
    kernel::{Memory, Sender, read_file, take_back},
    ledger::digest,
    names::Name,
    net::{Family, Kind, Stream},
    state::{Event, State, Waiter},
};
use crate::driver::{Completion, Interest, Token};

/// A request as the simulation sees it.
#[derive(Debug)]
pub(super) enum Order {
    Nop,
    Accept {
        many: bool,
    },
    Connect {
        to: Option<Name>,
    },
    Receive {
        into: Memory,
    },
    ReceiveDatagram {
        into: Memory,
        sender: Sender,
    },
    ReceiveMany,
    /// From a file of the machine's.
    ReadFile {
        into: Memory,
        offset: u64,
    },
    Send {
        from: Vec<Memory>,
        all: bool,
        to: Option<Name>,
    },
    Poll {
        interest: Interest,
    },
    Close,
}

/// What was pushed, with the descriptor it is about.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) fd: Option<RawFd>,
    pub(super) order: Order,
    /// A send that is done at once or not at all, and says nothing when it goes well.
    pub(super) quiet: bool,
}

/// An operation that was pushed and has not ended.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) asked: Asked,
    pub(super) file: Option<usize>,
    /// Bytes that a send has moved.
    moved: usize,
    /// An attempt is due.
    scheduled: bool,
    /// Cancels that were not heard.
    unheard: u32,
    pub(super) since: u64,
    /// Of what a send lent, when it was pushed.
    digest: u64,
}

/// What an attempt led to.
pub(super) enum Step {
    /// Something has to change first.
    Wait,
    /// It went on, and does so without waiting.
    Again,
    /// An answer, and there will be more.
    More {
        result: i32,
        flags: u32,
    },
    Final {
        result: i32,
        flags: u32,
    },
}

const BUFFER: u32 = 1;
const MORE: u32 = 1 << 1;
const BUFFER_MORE: u32 = 1 << 4;
const BUFFER_SHIFT: u32 = 16;

/// How often a cancel may go unheard: the next one is heard, so that everything ends.
const UNHEARD_MAX: u32 = 3;

pub(super) fn done(count: usize) -> Step {
    Step::Final { result: i32::try_from(count).unwrap_or(i32::MAX), flags: 0 }
}

pub(super) fn failed(errno: i32) -> Step {
    Step::Final { result: -errno, flags: 0 }
}

impl Flight {
    /// What the trace may know of a result: the numbers of descriptors are the process's, and differ from run to run.
    fn visible(&self, result: i32) -> i32 {
        if matches!(self.asked.order, Order::Accept { .. }) { result.min(0) } else { result }
    }
}

impl Order {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Order::Nop => "nop",
            Order::Accept { .. } => "accept",
            Order::Connect { .. } => "connect",
            Order::Receive { .. } => "receive",
            Order::ReceiveDatagram { .. } => "receive of a datagram",
            Order::ReceiveMany => "receive into the pool",
            Order::ReadFile { .. } => "read of a file",
            Order::Send { .. } => "send",
            Order::Poll { .. } => "poll",
            Order::Close => "close",
        }
    }

    /// The memory that is received into.
    pub(super) fn target(&self) -> Option<&Memory> {
        match self {
            Order::Receive { into } | Order::ReceiveDatagram { into, .. } | Order::ReadFile { into, .. } => Some(into),
            Order::Nop
            | Order::Accept { .. }
            | Order::Connect { .. }
            | Order::ReceiveMany
            | Order::Send { .. }
            | Order::Poll { .. }
            | Order::Close => None,
        }
    }

    /// The memory that is sent.
    pub(super) fn source(&self) -> &[Memory] {
        match self {
            Order::Send { from, .. } => from,
            Order::Nop
            | Order::Accept { .. }
            | Order::Connect { .. }
            | Order::Receive { .. }
            | Order::ReceiveDatagram { .. }
            | Order::ReceiveMany
            | Order::ReadFile { .. }
            | Order::Poll { .. }
            | Order::Close => &[],
        }
    }
}

// ---- the life of an operation

impl State {
    /// The kernel takes an operation.
    pub(super) fn take_off(&mut self, token: Token, asked: Asked) {
        let file = match asked.fd {
            Some(fd) if fd >= 0 => self.net.find(fd),
            Some(_) | None => None,
        };
        if let Some(into) = asked.order.target() {
            into.scribble(0);
        }
        if let Some(file) = file {
            self.net.files[file].flights += 1;
        }
        let digest = digest(asked.order.source());
        let urgent = matches!(asked.order, Order::Close);
        let quiet = asked.quiet;
        let flight = Flight { asked, file, moved: 0, scheduled: false, unheard: 0, since: self.now(), digest };
        self.flights.insert(token.to_user_data(), flight);
        if quiet {
            return self.attempt_quietly(token);
        }
        let delay = if urgent { 0 } else { self.delay() };
        self.schedule(token, delay);
    }

    /// Something may have changed for an operation.
    pub(super) fn schedule(&mut self, token: Token, delay: u64) {
        let Some(flight) = self.flights.get_mut(&token.to_user_data()) else { return };
        if !flight.scheduled {
            flight.scheduled = true;
            self.add_event(delay, Event::Attempt(token));
        }
    }

    /// Something has changed at a descriptor: whoever waits there looks again.
    pub(super) fn poke(&mut self, file: Option<usize>) {
        let Some(file) = file.and_then(|file| self.net.files.get_mut(file)) else { return };
        for waiter in std::mem::take(&mut file.waiting) {
            let delay = self.delay();
            match waiter {
                Waiter::Operation(token) => self.schedule(token, delay),
                Waiter::Child(child) => self.schedule_child(child, delay),
            }
        }
    }

    pub(super) fn attempt(&mut self, token: Token) {
        let Some(mut flight) = self.flights.remove(&token.to_user_data()) else { return };
        flight.scheduled = false;
        let step = self.step(token, &mut flight);
        match step {
            Step::Wait if self.is_interrupted(&flight) => self.land(token, flight, -libc::EINTR, 0),
            Step::Wait => {
                self.wait_for_change(token, &flight);
                self.flights.insert(token.to_user_data(), flight);
            }
            Step::Again => {
                self.flights.insert(token.to_user_data(), flight);
                let delay = self.delay();
                self.schedule(token, delay);
            }
            Step::More { result, flags } => {
                self.trace.answer(self.clock.now(), token, flight.visible(result), flags | MORE);
                self.flights.insert(token.to_user_data(), flight);
                self.post(token, result, flags | MORE);
                let delay = self.delay();
                self.schedule(token, delay);
            }
            Step::Final { result, flags } => self.land(token, flight, result, flags),
        }
    }

    /// The only attempt of a quiet send. That all was sent is withheld until there is something else to tell.
    fn attempt_quietly(&mut self, token: Token) {
        let Some(mut flight) = self.flights.remove(&token.to_user_data()) else { return };
        let total: usize = flight.asked.order.source().iter().map(Memory::len).sum();
        let (result, flags) = match self.step(token, &mut flight) {
            Step::Final { result, flags } => (result, flags),
            Step::Wait | Step::Again | Step::More { .. } if flight.moved == 0 => (-libc::EAGAIN, 0),
            Step::Wait | Step::Again | Step::More { .. } => (i32::try_from(flight.moved).unwrap_or(i32::MAX), 0),
        };
        self.settle(token, flight, result, flags);
        match usize::try_from(result) {
            Ok(sent) if sent == total => self.withheld.push(Completion::new(token, result, flags)),
            Ok(_) | Err(_) => self.post(token, result, flags),
        }
    }

    /// A signal comes while it waits, and it has done nothing. A connect goes on all the same.
    fn is_interrupted(&mut self, flight: &Flight) -> bool {
        let may_be = flight.moved == 0 && !matches!(flight.asked.order, Order::Connect { .. });
        may_be && self.chance.interrupt.permille(self.knobs.interrupt)
    }

    fn wait_for_change(&mut self, token: Token, flight: &Flight) {
        let Some(file) = flight.file else { return };
        let sends = matches!(flight.asked.order, Order::Send { .. });
        let knocks = matches!(flight.asked.order, Order::Connect { .. });
        if knocks || sends && matches!(self.net.files[file].kind, Kind::Datagrams(_)) {
            self.net.knocking.push(token);
        } else {
            self.net.files[file].waiting.push(Waiter::Operation(token));
        }
    }

    /// Somebody's queue has room again: whoever waits for that looks again.
    pub(super) fn knock_again(&mut self) {
        for knocking in std::mem::take(&mut self.net.knocking) {
            self.schedule(knocking, 0);
        }
    }

    /// The end of an operation: its memory goes (F1), then its final completion is posted (F2).
    fn land(&mut self, token: Token, flight: Flight, result: i32, flags: u32) {
        self.settle(token, flight, result, flags);
        self.post(token, result, flags);
    }

    fn settle(&mut self, token: Token, flight: Flight, result: i32, flags: u32) {
        if digest(flight.asked.order.source()) != flight.digest {
            self.violate(format!("memory that was lent to a {} was written meanwhile", flight.asked.order.name()));
        }
        if let Some(file) = flight.file
            && let Some(file) = self.net.files.get_mut(file)
        {
            file.flights -= 1;
            file.waiting.retain(|waiting| *waiting != Waiter::Operation(token));
        }
        self.trace.answer(self.clock.now(), token, flight.visible(result), flags);
    }

    fn post(&mut self, token: Token, result: i32, flags: u32) {
        self.done.push_back(Completion::new(token, result, flags));
    }

    // ---- cancels

    /// The kernel takes a cancel.
    pub(super) fn hear_cancel(&mut self, target: Token) {
        let Some(flight) = self.flights.get_mut(&target.to_user_data()) else { return };
        if flight.unheard < UNHEARD_MAX && self.chance.cancel.permille(self.knobs.cancel_lost) {
            flight.unheard += 1;
            return;
        }
        let late = self.chance.cancel.permille(self.knobs.cancel_late);
        let delay = if late { self.chance.cancel.below(CANCEL_DELAY_MAX) } else { 0 };
        self.add_event(delay, Event::End(target));
    }

    /// A cancel takes effect: what became of its target?
    pub(super) fn end(&mut self, token: Token) {
        let loses = self.chance.cancel.permille(self.knobs.cancel_loses);
        let Some(flight) = self.flights.get(&token.to_user_data()) else { return };
        if loses || matches!(flight.asked.order, Order::Close) {
            self.attempt(token);
        }
        let Some(flight) = self.flights.remove(&token.to_user_data()) else { return };
        let interrupts = self.chance.cancel.permille(self.knobs.cancel_interrupts);
        let result = match flight.moved {
            0 if interrupts => -libc::EINTR,
            0 => -libc::ECANCELED,
            moved => i32::try_from(moved).unwrap_or(i32::MAX),
        };
        self.land(token, flight, result, 0);
    }
}

/// The longest time, in nanoseconds, that a cancel needs to take effect.
const CANCEL_DELAY_MAX: u64 = 50_000_000;

// ---- what each operation does

impl State {
    fn step(&mut self, token: Token, flight: &mut Flight) -> Step {
        if matches!(flight.asked.order, Order::Nop) {
            return done(0);
        }
        if let Order::ReadFile { into, offset } = &flight.asked.order {
            return self.read_file(flight.asked.fd, into, *offset);
        }
        let Some(file) = flight.file.filter(|&file| self.net.files.contains(file)) else {
            return failed(libc::EBADF);
        };
        match &flight.asked.order {
            Order::Nop | Order::ReadFile { .. } => done(0),
            Order::Accept { many } => self.accept(file, *many),
            Order::Connect { to } => self.connect(file, to.as_ref()),
            Order::Receive { into } => self.receive(file, into),
            Order::ReceiveDatagram { into, sender } => self.receive_datagram(file, into, sender),
            Order::ReceiveMany => self.receive_many(file),
            Order::Send { from, to, .. } if matches!(self.net.files[file].kind, Kind::Datagrams(_)) => {
                self.send_datagram(file, from, to.as_ref())
            }
            Order::Send { from, all, .. } => self.send(file, from, &mut flight.moved, *all),
            Order::Poll { interest } => self.poll(file, *interest),
            Order::Close => {
                flight.file = None;
                self.net.files[file].flights -= 1;
                self.close_file(file);
                self.bury(take_back(flight.asked.fd.expect("a close names its descriptor")));
                self.trace.note("closed", token.to_user_data());
                done(0)
            }
        }
    }

    fn accept(&mut self, file: usize, many: bool) -> Step {
        let Kind::Listener { queue, .. } = &self.net.files[file].kind else { return failed(libc::EINVAL) };
        if queue.is_empty() {
            return self.not_ready();
        }
        if self.chance.accept.permille(self.knobs.exhausted) {
            return failed(libc::EMFILE);
        }
        let Kind::Listener { queue, .. } = &mut self.net.files[file].kind else { return failed(libc::EINVAL) };
        let connection = queue.pop_front().expect("the queue is not empty");
        self.knock_again();
        let breaks = self.net.stream(connection).is_some_and(|stream| stream.is_tcp());
        if breaks && self.chance.accept.permille(self.knobs.reset) {
            self.reset(connection);
            self.close_file(connection);
            return failed(libc::ECONNABORTED);
        }
        let number = self.give_number(connection);
        if number < 0 {
            self.close_file(connection);
            return Step::Final { result: number, flags: 0 };
        }
        if many && !self.chance.receive.permille(self.knobs.cut) {
            return Step::More { result: number, flags: 0 };
        }
        Step::Final { result: number, flags: 0 }
    }

    fn connect(&mut self, file: usize, to: Option<&Name>) -> Step {
        let Some(to) = to else { return failed(libc::EAFNOSUPPORT) };
        let Kind::Fresh { family } = self.net.files[file].kind else { return failed(libc::EISCONN) };
        if to.internet().map_or(Family::Unix, |to| Family::of(&to)) != family {
            return failed(libc::EAFNOSUPPORT);
        }
        let listener = match self.net.listener(to) {
            Ok(listener) => listener,
            Err(errno) => return failed(errno),
        };
        let Kind::Listener { queue, backlog, .. } = &self.net.files[listener].kind else {
            return failed(libc::ECONNREFUSED);
        };
        if queue.len() > *backlog {
            return Step::Wait;
        }
        let server = self.net.connect(file, to.clone(), self.knobs.socket_bytes);
        if let Kind::Listener { queue, .. } = &mut self.net.files[listener].kind {
            queue.push_back(server);
        }
        self.poke(Some(listener));
        done(0)
    }

    /// Nothing is there yet: wait, or say so.
    fn not_ready(&mut self) -> Step {
        if self.chance.receive.permille(self.knobs.not_ready) { failed(libc::EAGAIN) } else { Step::Wait }
    }

    /// How many bytes of `most` are moved this time.
    pub(super) fn portion(&mut self, most: usize) -> usize {
        if most > 1 && self.chance.transfer.permille(self.knobs.short) {
            let few = most.min(1 << self.chance.transfer.below(12));
            return 1 + self.chance.transfer.index(few);
        }
        most
    }

    fn receive(&mut self, file: usize, into: &Memory) -> Step {
        let Some(Stream { reading: Some(channel), .. }) = self.net.stream(file) else { return failed(libc::ENOTCONN) };
        if into.len() == 0 {
            return done(0);
        }
        self.reset_by_chance(file);
        let from = &self.net.channels[channel];
        match from.arrived.len() {
            0 if from.reset => failed(libc::ECONNRESET),
            0 if from.ended => done(0),
            0 => self.not_ready(),
            arrived => {
                let count = self.portion(arrived.min(into.len()));
                if !into.is_scribbled(0) {
                    self.violate("memory that was lent to a receive was written meanwhile".to_owned());
                }
                into.write(0, &self.net.channels[channel].take(count));
                self.poke(self.net.channels[channel].writer);
                done(count)
            }
        }
    }

    fn read_file(&mut self, fd: Option<RawFd>, into: &Memory, offset: u64) -> Step {
        let count = self.portion(into.len());
        match read_file(fd.unwrap_or(-1), offset, count) {
            Ok(bytes) => {
                if !into.is_scribbled(0) {
                    self.violate("memory that was lent to a read was written meanwhile".to_owned());
                }
                into.write(0, &bytes);
                done(bytes.len())
            }
            Err(errno) => failed(errno),
        }
    }

    fn receive_many(&mut self, file: usize) -> Step {
        let Some(Stream { reading: Some(channel), .. }) = self.net.stream(file) else { return failed(libc::ENOTCONN) };
        // A buffer is picked before anybody looks whether there is data.
        if self.pool.is_empty() || self.chance.receive.permille(self.knobs.no_buffer) {
            return failed(libc::ENOBUFS);
        }
        self.reset_by_chance(file);
        let from = &self.net.channels[channel];
        let (arrived, ended, reset) = (from.arrived.len(), from.ended, from.reset);
        let cut = self.chance.receive.permille(self.knobs.cut);
        match arrived {
            0 if reset => failed(libc::ECONNRESET),
            0 if ended && cut => {
                // The buffer was picked for bytes that did not come.
                let buffer = self.pool.give_up_first();
                Step::Final { result: 0, flags: BUFFER | u32::from(buffer) << BUFFER_SHIFT }
            }
            0 if ended => done(0),
            0 => self.not_ready(),
            arrived => {
                let count = self.portion(arrived.min(self.pool.room()));
                let bytes = self.net.channels[channel].take(count);
                let (buffer, keeps, clean) = self.pool.fill_first(&bytes);
                if !clean {
                    self.violate("a buffer of the pool was written while the kernel had it".to_owned());
                }
                self.poke(self.net.channels[channel].writer);
                let keeps = if keeps { BUFFER_MORE } else { 0 };
                let flags = BUFFER | keeps | u32::from(buffer) << BUFFER_SHIFT;
                let result = i32::try_from(count).unwrap_or(i32::MAX);
                if cut { Step::Final { result, flags } } else { Step::More { result, flags } }
            }
        }
    }

    fn send(&mut self, file: usize, from: &[Memory], moved: &mut usize, all: bool) -> Step {
        let Some(stream) = self.net.stream(file) else { return failed(libc::ENOTCONN) };
        let Some(channel) = stream.writing else { return failed(libc::ENOTCONN) };
        self.reset_by_chance(file);
        let to = &self.net.channels[channel];
        let gone = match to.reader {
            _ if to.writer_shut => Some(libc::EPIPE),
            _ if to.reset => Some(libc::ECONNRESET),
            // Where something lies between, it is taken, and the answer comes later.
            None if !stream.is_tcp() => Some(libc::EPIPE),
            Some(_) | None => None,
        };
        let total: usize = from.iter().map(Memory::len).sum();
        if let Some(errno) = gone {
            return if *moved > 0 { done(*moved) } else { failed(errno) };
        }
        let count = self.portion(to.room().min(total - *moved));
        if count > 0 {
            self.ship(channel, gather(from, *moved, count));
            *moved += count;
        }
        let short = *moved > 0 && self.chance.transfer.permille(self.knobs.short / 2);
        if *moved == total || short || (*moved > 0 && !all) {
            return done(*moved);
        }
        match count {
            0 if *moved == 0 => self.not_ready(),
            0 => Step::Wait,
            _ => Step::Again,
        }
    }

    fn poll(&mut self, file: usize, interest: Interest) -> Step {
        let too_early = self.knobs.spurious;
        let ready = match (&self.net.files[file].kind, interest) {
            (Kind::Listener { queue, .. }, Interest::Readable) => !queue.is_empty(),
            (Kind::Stream(stream), Interest::Readable) => {
                stream.reading.is_none_or(|channel| self.net.channels[channel].is_readable())
            }
            (Kind::Stream(stream), Interest::Writable) => {
                stream.writing.is_none_or(|channel| self.net.channels[channel].is_writable())
            }
            (Kind::Datagrams(mailbox), Interest::Readable) => mailbox.is_readable(),
            (Kind::Datagrams(_), Interest::Writable) => true,
            // Whoever is told so looks, and polls again.
            (Kind::Child(child), _) => self.has_ended(*child) || self.chance.children.permille(too_early),
            (Kind::Counter { rung }, Interest::Readable) => *rung || self.chance.wait.permille(too_early),
            (Kind::Null | Kind::Counter { .. }, _) => true,
            (Kind::Fresh { .. } | Kind::Listener { .. }, _) => false,
        };
        let event = match interest {
            Interest::Readable => libc::POLLIN,
            Interest::Writable => libc::POLLOUT,
        };
        if ready { Step::Final { result: i32::from(event), flags: 0 } } else { Step::Wait }
    }

    /// Somebody on the way resets the connection.
    fn reset_by_chance(&mut self, file: usize) {
        let breaks = self.net.stream(file).is_some_and(|stream| stream.is_tcp());
        if breaks && self.chance.accept.permille(self.knobs.reset) {
            self.reset(file);
        }
    }
}

/// `count` bytes from `from` on of what stands in several places.
fn gather(pieces: &[Memory], mut from: usize, count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count);
    for piece in pieces {
        let skipped = from.min(piece.len());
        from -= skipped;
        let len = (piece.len() - skipped).min(count - bytes.len());
        bytes.extend(piece.read(skipped, len));
    }
    bytes
}
