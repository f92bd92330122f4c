//! The simulated kernel itself: time, the requests it was given, the completions it has, and one turn of it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    time::Duration,
};

use super::{
    arena::Arena,
    children::Process,
    faults::{Chance, Faults, Knobs},
    flights::{Asked, Flight},
    kernel::Memory,
    net::{Family, Kind, Net, Stream},
    pool::Provided,
    programs::Starting,
    signals::Signals,
    trace::Trace,
};
use crate::{
    clock::{Clock, Tick},
    driver::{Completion, Token, Wait},
};

pub(super) struct State {
    pub(super) clock: Clock,
    pub(super) knobs: Knobs,
    pub(super) chance: Chance,
    events: BinaryHeap<Reverse<Timed>>,
    made: u64,
    /// Pushed, not yet taken.
    pub(super) queue: VecDeque<Entry>,
    pub(super) flights: BTreeMap<u64, Flight>,
    /// Completions that were not drained.
    pub(super) done: VecDeque<Completion>,
    /// Quiet sends that went well, and were not told of.
    pub(super) withheld: Vec<Completion>,
    /// Some quiet sends were not taken when they should have been.
    late: bool,
    pub(super) net: Net,
    pub(super) children: Arena<Process>,
    pub(super) spawned: u32,
    pub(super) starting: Arena<Starting>,
    /// Whoever is not of the kernel goes on with them.
    pub(super) due_starts: VecDeque<usize>,
    pub(super) signals: Signals,
    pub(super) pool: Provided,
    pub(super) trace: Trace,
    pub(super) violation: Option<String>,
    /// Descriptors that were closed; their numbers stay taken for a while, so that nobody uses them by mistake.
    buried: VecDeque<OwnedFd>,
    /// What every descriptor is a copy of.
    blank: OwnedFd,
    /// Tokens of operations that are over.
    past: VecDeque<Token>,
    turns: u64,
    /// Turns since anything happened.
    idle_turns: u64,
    turns_max: u64,
    /// Turns in a row that took nothing.
    refused: u32,
}

/// What the runtime asked for since the last turn.
pub(super) enum Entry {
    Push(Token, Asked),
    Cancel(Token),
}

impl Entry {
    fn is_quiet(&self) -> bool {
        matches!(self, Entry::Push(_, asked) if asked.quiet)
    }

    pub(super) fn is_push_of(&self, token: Token) -> bool {
        matches!(self, Entry::Push(pushed, _) if *pushed == token)
    }

    pub(super) fn asked(&self) -> Option<&Asked> {
        match self {
            Entry::Push(_, asked) => Some(asked),
            Entry::Cancel(_) => None,
        }
    }
}

/// Who waits for a change at a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiter {
    Operation(Token),
    Child(usize),
}

/// What happens at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// An operation looks whether it can go on.
    Attempt(Token),
    /// A cancel takes effect.
    End(Token),
    /// The next piece on a channel arrives.
    Arrive(usize),
    /// The news that nobody reads any more reaches the writer.
    Refuse(usize),
    /// A datagram arrives.
    Bring(usize),
    /// A child is started, or its start is known.
    Start(usize),
    /// A child does something.
    Go(usize),
    /// A signal reaches a child.
    Signal(usize, i32),
    /// A signal reaches the process itself.
    Raise(i32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Timed {
    due: u64,
    order: u64,
    number: u64,
    event: Event,
}

/// Most events in one turn.
const EVENTS_MAX: usize = 10_000;

/// Tokens of the past that forged completions are made of.
const PAST_MAX: usize = 16;

/// Numbers of closed descriptors that stay taken.
const BURIED_MAX: usize = 64;

/// Turns without a wait after which time passes by itself, so that a task that asks again and again gets its answer.
const IDLE_TURNS_MAX: u64 = 1000;
const IDLE_TURN: u64 = 1000;

/// How often in a row the kernel may take nothing, and how long that lasts in nanoseconds.
const REFUSED_MAX: u32 = 3;
const REFUSED_TIME: u64 = 1_000_000;

impl State {
    pub(super) fn new(seed: u64, allowed: Faults, blank: OwnedFd) -> State {
        State {
            clock: Clock::manual(),
            knobs: Knobs::draw(seed, allowed),
            chance: Chance::new(seed),
            events: BinaryHeap::new(),
            made: 0,
            queue: VecDeque::new(),
            flights: BTreeMap::new(),
            done: VecDeque::new(),
            withheld: Vec::new(),
            late: false,
            net: Net::new(),
            children: Arena::default(),
            spawned: 0,
            starting: Arena::default(),
            due_starts: VecDeque::new(),
            signals: Signals::default(),
            pool: Provided::default(),
            trace: Trace::default(),
            violation: None,
            buried: VecDeque::new(),
            blank,
            past: VecDeque::new(),
            turns: 0,
            idle_turns: 0,
            turns_max: u64::MAX,
            refused: 0,
        }
    }

    pub(super) fn limit_turns(&mut self, turns: u64) {
        self.turns_max = turns;
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.now().as_nanoseconds()
    }

    fn move_to(&mut self, now: u64) {
        self.clock.move_to(Tick::from_nanoseconds(now));
    }

    pub(super) fn add_event(&mut self, delay: u64, event: Event) {
        self.made += 1;
        let order = if self.knobs.reorder { self.chance.order.next() } else { 0 };
        let due = self.now().saturating_add(delay);
        self.events.push(Reverse(Timed { due, order, number: self.made, event }));
    }

    /// How long something takes: mostly nothing or little, now and then long.
    pub(super) fn delay(&mut self) -> u64 {
        let (usual, longest) = self.knobs.delay;
        if usual == 0 {
            return 0;
        }
        match self.chance.delay.below(100) {
            0..30 => 0,
            30..98 => self.chance.delay.below(usual),
            _ => self.chance.delay.below(longest),
        }
    }

    // ---- what the runtime asks for

    pub(super) fn push(&mut self, token: Token, asked: Asked) {
        self.check_push(token, &asked);
        self.trace.push(self.clock.now(), token, asked.order.name());
        self.queue.push_back(Entry::Push(token, asked));
    }

    pub(super) fn cancel(&mut self, target: Token) {
        self.trace.cancel(self.clock.now(), target);
        self.queue.push_back(Entry::Cancel(target));
    }

    pub(super) fn provide(&mut self, id: u16, memory: Memory) {
        if self.pool.contains(id) {
            self.violate(format!("P1: buffer {id} was provided while the kernel has it"));
        }
        self.pool.add(id, memory);
    }

    pub(super) fn drain(&mut self) -> Option<Completion> {
        let completion = self.done.pop_front()?;
        if !completion.more() {
            if self.past.len() == PAST_MAX {
                self.past.pop_front();
            }
            self.past.push_back(completion.token);
        }
        Some(completion)
    }

    /// What quiet sends did not say.
    pub(super) fn answer_quiet(&mut self) -> Vec<Completion> {
        self.late = self.queue.iter().any(Entry::is_quiet);
        std::mem::take(&mut self.withheld)
    }

    /// How many completions are seen at once.
    pub(super) fn visible(&self) -> usize {
        match self.knobs.overflow {
            0 => self.done.len(),
            most => most.min(self.done.len()),
        }
    }

    // ---- one turn

    /// Takes what was pushed, does what is due, and lets time pass when there is nothing else.
    pub(super) fn turn(&mut self, wait: Wait) -> io::Result<Turned> {
        self.check()?;
        self.turns += 1;
        self.move_to(self.now() + self.knobs.turn);
        let refused = self.take_entries();
        self.run_due();
        if self.has_news() || self.forge() {
            self.idle_turns = 0;
            return Ok(Turned::Done);
        }
        if refused {
            self.move_to(self.now() + REFUSED_TIME);
            return Ok(Turned::Done);
        }
        match wait {
            // As the driver of the real ring: nobody sleeps beside a send whose end may be waited for meanwhile.
            _ if self.late => Ok(Turned::Done),
            Wait::Not => {
                self.idle();
                Ok(Turned::Done)
            }
            Wait::AtMost(_) | Wait::Forever if self.chance.wait.permille(self.knobs.spurious) => Ok(Turned::Done),
            Wait::AtMost(time) => {
                let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                Ok(self.pass_until(Some(self.now().saturating_add(time))))
            }
            Wait::Forever => Ok(self.pass_until(None)),
        }
    }

    fn check(&mut self) -> io::Result<()> {
        if self.turns >= self.turns_max {
            let turns = self.turns;
            self.violate(format!("no end after {turns} turns"));
        }
        match &self.violation {
            Some(violation) => Err(io::Error::other(violation.clone())),
            None => Ok(()),
        }
    }

    /// True when the kernel takes no more for now, which is no reason to wait.
    fn take_entries(&mut self) -> bool {
        let mut count = self.queue.len();
        let mut refused = false;
        if count > 0 && self.refused < REFUSED_MAX && self.chance.enter.permille(self.knobs.enter) {
            count = self.chance.enter.index(count);
            refused = true;
        }
        self.refused = if refused { self.refused + 1 } else { 0 };
        for entry in self.queue.drain(..count).collect::<Vec<_>>() {
            match entry {
                Entry::Push(token, asked) => self.take_off(token, asked),
                Entry::Cancel(target) => self.hear_cancel(target),
            }
        }
        refused
    }

    fn has_news(&self) -> bool {
        !self.done.is_empty() || !self.due_starts.is_empty()
    }

    fn next_due(&self) -> Option<u64> {
        self.events.peek().map(|Reverse(next)| next.due)
    }

    fn run_due(&mut self) {
        for _ in 0..EVENTS_MAX {
            if self.next_due().is_none_or(|due| due > self.now()) {
                return;
            }
            let Some(Reverse(Timed { event, .. })) = self.events.pop() else { return };
            match event {
                Event::Attempt(token) => self.attempt(token),
                Event::End(token) => self.end(token),
                Event::Arrive(channel) => self.arrive(channel),
                Event::Refuse(channel) => self.refuse(channel),
                Event::Bring(posted) => self.bring(posted),
                Event::Start(starting) => self.due_starts.push_back(starting),
                Event::Go(child) => self.go(child),
                Event::Signal(child, signal) => self.take_signal(child, signal),
                Event::Raise(signal) => self.reach_listeners(signal),
            }
        }
    }

    /// Time passes until something completes, or until `end`.
    fn pass_until(&mut self, end: Option<u64>) -> Turned {
        self.idle_turns = 0;
        while !self.has_news() {
            match (self.next_due(), end) {
                (Some(due), end) if end.is_none_or(|end| due <= end) => {
                    self.move_to(due);
                    self.run_due();
                }
                (_, Some(end)) => {
                    self.move_to(end);
                    break;
                }
                (_, None) => return Turned::Deadlock,
            }
        }
        if self.chance.wait.permille(self.knobs.clock) {
            let jump = 1 << self.chance.wait.below(34);
            let later = self.now() + self.chance.wait.below(jump);
            self.move_to(later);
        }
        Turned::Done
    }

    /// Tasks are busy and nothing happens: that takes no time, unless it goes on and on.
    fn idle(&mut self) {
        self.idle_turns += 1;
        if self.idle_turns > IDLE_TURNS_MAX {
            self.move_to(self.now() + IDLE_TURN);
        }
    }

    /// Posts a completion that answers nothing; true when it did.
    fn forge(&mut self) -> bool {
        if !self.chance.forge.permille(self.knobs.forged) {
            return false;
        }
        let past = self.chance.forge.index(PAST_MAX);
        let token = match self.past.get(past) {
            Some(token) => *token,
            // Beyond any index that is in use.
            None => {
                let index = (1 << 30) | self.chance.forge.below(1 << 20) as u32;
                let generation = self.chance.forge.below(1 << 20) as u32;
                if past < PAST_MAX / 2 { Token::new(index, generation) } else { Token::standing(index, generation) }
            }
        };
        let result = self.chance.forge.below(2000) as i32 - 200;
        let flags = self.chance.forge.below(32) as u32;
        self.done.push_back(Completion::new(token, result, flags));
        true
    }

    // ---- descriptors

    /// A number of the process for a descriptor of ours: a copy of something harmless, so that no other can have it.
    pub(super) fn new_number(&self) -> io::Result<OwnedFd> {
        self.blank.try_clone()
    }

    /// Whether the doorbell was rung since this was last asked. The blank descriptor is a copy of it.
    pub(super) fn take_ring(&self) -> bool {
        nix::unistd::read(&self.blank, &mut [0; size_of::<u64>()]).is_ok()
    }

    /// For a connection that was accepted.
    pub(super) fn give_number(&mut self, file: usize) -> RawFd {
        match self.new_number() {
            Ok(fd) => {
                let number = std::os::fd::IntoRawFd::into_raw_fd(fd);
                self.net.name(file, number);
                number
            }
            Err(error) => -error.raw_os_error().unwrap_or(libc::EMFILE),
        }
    }

    pub(super) fn bury(&mut self, fd: OwnedFd) {
        self.buried.push_back(fd);
        if self.buried.len() > BURIED_MAX {
            self.buried.pop_front();
        }
    }

    pub(super) fn is_buried(&self, number: RawFd) -> bool {
        self.buried.iter().any(|fd| fd.as_raw_fd() == number)
    }

    // ---- data on its way

    /// Bytes leave a writer.
    pub(super) fn ship(&mut self, channel: usize, bytes: Vec<u8>) {
        let writer = self.net.channels[channel].writer;
        // Between processes of one machine it is there at once.
        let is_local =
            writer.and_then(|writer| self.net.stream(writer)).is_some_and(|stream| stream.family == Some(Family::Unix));
        let delay = if is_local { 0 } else { self.delay() };
        let now = self.now();
        let to = &mut self.net.channels[channel];
        to.held += bytes.len();
        let due = to.last_due.max(now + delay);
        if due == now && to.travelling.is_empty() {
            self.deliver(channel, bytes);
            return;
        }
        to.last_due = due;
        to.travelling.push_back(bytes);
        self.add_event(due - now, Event::Arrive(channel));
    }

    fn arrive(&mut self, channel: usize) {
        let Some(to) = self.net.channels.get_mut(channel) else { return };
        if let Some(bytes) = to.travelling.pop_front() {
            self.deliver(channel, bytes);
        }
    }

    /// Bytes reach the reader; none stand for the end.
    fn deliver(&mut self, channel: usize, bytes: Vec<u8>) {
        let to = &mut self.net.channels[channel];
        match to.reader {
            Some(reader) => {
                if bytes.is_empty() {
                    to.ended = true;
                } else {
                    to.arrived.extend(bytes);
                }
                self.poke(Some(reader));
            }
            None if bytes.is_empty() => {}
            None => {
                let delay = self.delay();
                self.add_event(delay, Event::Refuse(channel));
            }
        }
    }

    /// Data came for a socket that is closed: the sender is told so.
    fn refuse(&mut self, channel: usize) {
        if let Some(writer) = self.net.channels.get(channel).and_then(|channel| channel.writer) {
            self.reset(writer);
        }
    }

    /// The end of a direction, behind what was written.
    pub(super) fn shut(&mut self, channel: usize) {
        if !std::mem::replace(&mut self.net.channels[channel].writer_shut, true) {
            self.ship(channel, Vec::new());
        }
    }

    /// Both directions of a connection break off; what is on the way is lost.
    pub(super) fn reset(&mut self, file: usize) {
        let Some(Stream { reading: Some(reading), writing: Some(writing), .. }) = self.net.stream(file) else { return };
        for channel in [reading, writing] {
            let Some(broken) = self.net.channels.get_mut(channel) else { continue };
            broken.reset = true;
            broken.held -= broken.travelling.iter().map(Vec::len).sum::<usize>();
            broken.travelling.clear();
            let ends = [broken.reader, broken.writer];
            for end in ends {
                self.poke(end);
            }
        }
    }

    /// The last of a descriptor.
    pub(super) fn close_file(&mut self, file: usize) {
        if let Some(stream) = self.net.stream(file) {
            if self.net.files[file].resets && stream.is_tcp() {
                self.reset(file);
            }
            self.close_stream(file, stream);
        }
        let removed = self.net.remove(file);
        for waiter in removed.waiting {
            if let Waiter::Operation(token) = waiter {
                self.schedule(token, 0);
            }
        }
        if let Kind::Listener { queue, .. } = removed.kind {
            for connection in queue {
                self.reset(connection);
                self.close_file(connection);
            }
        }
        self.knock_again();
    }

    fn close_stream(&mut self, file: usize, stream: Stream) {
        if let Some(reading) = stream.reading {
            let unread = self.net.channels[reading].held > 0;
            // Closing with unread data resets a connection: the peer may lose what was sent to it before.
            if unread && stream.family.is_some() {
                self.reset(file);
            }
        }
        if let Some(writing) = stream.writing {
            self.shut(writing);
            self.net.channels[writing].writer = None;
            self.net.drop_channel(writing);
        }
        if let Some(reading) = stream.reading {
            self.net.channels[reading].reader = None;
            let writer = self.net.channels[reading].writer;
            self.poke(writer);
            self.net.drop_channel(reading);
        }
    }
}

/// What came of a turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turned {
    Done,
    /// Nothing is in flight that could end, and nobody waits for a time.
    Deadlock,
}

/// How long a wait for other threads is looked at, in real time.
pub(super) const LOOK: Duration = Duration::from_millis(1);
