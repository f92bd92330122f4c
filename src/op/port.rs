//! The place where operations meet their driver: one per runtime.
//!
//! Nothing is borrowed while anything of the user's runs: completions are copied out first, wakers are called last.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::VecDeque,
    io,
    os::fd::OwnedFd,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use super::{
    Operation, Socket,
    basic::CloseFd,
    chores::{CANCEL_PAUSE, Chore, Chores, next_pause},
    provide, push, push_quietly,
    receive::Incoming,
    send::Outgoing,
    slot::{Finished, Owner},
    table::Table,
};
use crate::{
    buf::{Pool, PoolLayout},
    clock::{Clock, Tick},
    driver::{
        Calls, Completion, Config, Doorbell, Driver, DriverReport, Group, Held, Profile, Request, Token, Wait, select,
    },
    sys::{Job, Plan, Spawner, Wire},
};

pub(crate) struct Port {
    /// `None` once the runtime is gone.
    driver: RefCell<Option<Driver>>,
    closed: Cell<bool>,
    /// Something waits for the next turn: a request, or bytes to send.
    work: Cell<bool>,
    /// The runtime is closing: nothing new is started for sockets and listeners.
    ending: Cell<bool>,
    doorbell: Doorbell,
    calls: Calls,
    profile: Profile,
    pub(super) table: RefCell<Table>,
    pool: Pool,
    /// For sockets of datagrams, from the first one on; `None` where the driver receives these one at a time.
    datagram_pool: OnceCell<Option<Pool>>,
    clock: Clock,
    chores: RefCell<Chores>,
    spawner: RefCell<Spawner>,
    /// Sockets with bytes to send that were written in this turn.
    dirty: RefCell<Vec<Rc<Socket>>>,
    /// Sockets whose receive found no buffer, each with the turn in which it last received; who has waited longest first.
    pub(super) starving: RefCell<VecDeque<(u32, Rc<Socket>)>>,
    /// Turns since a buffer came back, while sockets starve.
    hungry_turns: Cell<u32>,
    /// How many receives have found no buffer.
    starved: Cell<u64>,
    /// That number when some were started again.
    starved_before: Cell<u64>,
    /// Completions on their way from the queue to their slots; kept for its memory.
    batch: RefCell<Vec<Completion>>,
    #[expect(clippy::vec_box, reason = "the boxes wander between here and the sockets")]
    spare_incoming: RefCell<Vec<Box<Incoming>>>,
    #[expect(clippy::vec_box, reason = "the boxes wander between here and the sockets")]
    spare_outgoing: RefCell<Vec<Box<Outgoing>>>,
    /// Memory that written bytes were copied into.
    spare_blocks: RefCell<Vec<Vec<u8>>>,
    turns: Cell<u32>,
    /// Sockets that received in this turn; tells one big stream from many small ones.
    receivers: Cell<u32>,
}

/// The longest datagram with its header and its sender fits into a buffer; 4 MiB at most, of which only what was received
/// into takes memory.
const DATAGRAMS: PoolLayout = PoolLayout { count_max: 64, count_first: 8, size: 68 * 1024 };

/// How many unused boxes of each kind are kept, and how many blocks.
const SPARES_MAX: usize = 256;
const SPARE_BLOCKS_MAX: usize = 16;

/// Turns without waiting that teardown begins with: to send, to say the end of the stream, and to close.
const LAST_TURNS: u32 = 4;

/// How long teardown waits for the kernel to give back what was lent.
const TEARDOWN_MAX: Duration = Duration::from_secs(5);

impl Port {
    pub(crate) fn open(config: &Config) -> io::Result<Port> {
        let mut driver = select(config)?;
        let pool = Pool::new(driver.pool_layout())?;
        provide(&mut driver, Group::Streams, &pool);
        Ok(Port {
            doorbell: driver.doorbell().clone(),
            calls: driver.calls(),
            clock: driver.clock(),
            profile: driver.profile(),
            driver: RefCell::new(Some(driver)),
            closed: Cell::new(false),
            work: Cell::new(true),
            ending: Cell::new(false),
            table: RefCell::default(),
            pool,
            datagram_pool: OnceCell::new(),
            chores: RefCell::default(),
            spawner: RefCell::default(),
            dirty: RefCell::default(),
            starving: RefCell::default(),
            hungry_turns: Cell::new(0),
            starved: Cell::new(0),
            starved_before: Cell::new(0),
            batch: RefCell::default(),
            spare_incoming: RefCell::default(),
            spare_outgoing: RefCell::default(),
            spare_blocks: RefCell::default(),
            turns: Cell::new(0),
            receivers: Cell::new(0),
        })
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn doorbell(&self) -> &Doorbell {
        &self.doorbell
    }

    /// The calls that never wait.
    #[inline]
    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    pub(crate) fn profile(&self) -> Profile {
        self.profile
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Whole buffers for datagrams; `None` where they are received one at a time.
    pub(super) fn datagram_pool(&self) -> Option<&Pool> {
        let open = || {
            let mut driver = self.driver.borrow_mut();
            let opened = driver.as_mut().is_some_and(|driver| driver.open_datagrams(DATAGRAMS.count_max));
            // The driver gets the buffers with the next turn.
            if opened { Pool::new(DATAGRAMS).ok() } else { None }
        };
        self.datagram_pool.get_or_init(open).as_ref()
    }

    pub(crate) fn report(&self) -> Option<DriverReport> {
        self.driver.borrow().as_ref().map(Driver::report)
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    #[inline]
    pub(super) fn is_ending(&self) -> bool {
        self.ending.get()
    }

    // ---- operations of futures

    pub(super) fn submit<T: Operation>(&self, operation: T, waker: Option<Waker>) -> Token {
        let (token, request) = self.table.borrow_mut().insert(operation, waker);
        self.push(token, &request);
        token
    }

    /// Starts an operation that nobody will wait for.
    pub(super) fn submit_detached<T: Operation>(&self, operation: T) {
        let (token, request) = self.table.borrow_mut().insert_abandoned(operation);
        self.push(token, &request);
    }

    pub(super) fn poll_slot<T: Operation>(&self, token: Token, waker: &Waker) -> Poll<(T, Completion)> {
        let polled = self.table.borrow_mut().poll(token, waker);
        match polled {
            Poll::Ready(Some((lent, completion))) => Poll::Ready((lent.take::<T>(), completion)),
            Poll::Ready(None) => panic!("an operation was polled after its runtime was closed"),
            Poll::Pending => Poll::Pending,
        }
    }

    pub(super) fn abandon(&self, token: Token) {
        let (finished, cancel) = self.table.borrow_mut().abandon(token);
        self.act(finished);
        if cancel {
            self.cancel(token);
        }
    }

    // ---- operations of sockets and listeners

    #[inline]
    pub(super) fn stand(&self, owner: Owner, request: &Request) -> Token {
        let token = self.table.borrow_mut().stand(owner);
        self.push(token, request);
        token
    }

    /// As `stand`, for a send of `len` bytes in all whose success nobody waits for (see [`Driver::push_quietly`]). Only at the
    /// end of a turn, so that nobody begins to.
    #[inline]
    pub(super) fn stand_quietly(&self, owner: Owner, request: &Request, len: u32) -> Token {
        let token = self.table.borrow_mut().stand(owner);
        self.work.set(true);
        match &mut *self.driver.borrow_mut() {
            Some(driver) => push_quietly(driver, token, request, len),
            None => panic!("an operation was started after its runtime was closed"),
        }
        token
    }

    /// Asks the kernel to end an operation, and again until it has ended (S5).
    pub(super) fn cancel(&self, token: Token) {
        self.cancel_again(token, CANCEL_PAUSE);
    }

    fn cancel_again(&self, target: Token, pause: Duration) {
        if !self.table.borrow().is_in_kernel(target) {
            return;
        }
        if let Some(driver) = &mut *self.driver.borrow_mut() {
            self.work.set(true);
            driver.cancel(target);
            let due = self.clock.now().after(pause);
            self.chores.borrow_mut().add(due, Chore::Cancel { target, pause: next_pause(pause) });
        }
    }

    #[inline]
    fn push(&self, token: Token, request: &Request) {
        self.work.set(true);
        match &mut *self.driver.borrow_mut() {
            Some(driver) => push(driver, token, request),
            None => panic!("an operation was started after its runtime was closed"),
        }
    }

    /// Remembers that a socket has bytes to send; they go with the next turn, all together.
    #[inline]
    pub(super) fn mark_dirty(&self, socket: Rc<Socket>) {
        self.work.set(true);
        self.dirty.borrow_mut().push(socket);
    }

    /// Starts a program on a thread of the runtime's.
    pub(crate) fn start_program(
        &self,
        mut plan: Box<Plan>,
        wires: [Wire<Held>; 3],
        waker: &Waker,
    ) -> io::Result<Arc<Job>> {
        if let Some(world) = self.calls.world() {
            return Ok(world.start_program(plan, wires, waker));
        }
        plan.wires = wires.map(|wire| wire.map(Held::into_fd));
        self.spawner.borrow().start(plan, waker)
    }

    pub(super) fn linger(&self, socket: Rc<Socket>, time: Duration) {
        self.chores.borrow_mut().add(self.clock.now().after(time), Chore::StopLingering(socket));
    }

    pub(super) fn abort_in(&self, socket: Rc<Socket>, limit: Duration) {
        // Afterwards nobody would do it, and it would keep the socket, which keeps this.
        if !self.is_closed() {
            self.chores.borrow_mut().add(self.clock.now().after(limit), Chore::Abort(socket));
        }
    }

    /// Closes a descriptor that has no operation in flight.
    pub(super) fn close(&self, fd: OwnedFd, socket: Option<Rc<Socket>>) {
        if !self.is_ending() {
            return self.submit_detached(CloseFd::new(fd, socket, self.calls.clone()));
        }
        self.calls.close(fd);
        if let Some(socket) = socket {
            socket.on_closed();
        }
    }

    // ---- one turn

    /// Sends what was written, submits everything, and waits.
    #[inline]
    pub(crate) fn turn(&self, wait: Wait) -> io::Result<bool> {
        self.flush_dirty();
        let wait = if self.feed_starving() { wait } else { Wait::Not };
        let again = !self.starving.borrow().is_empty();
        self.work.set(again);
        let mut driver = self.driver.borrow_mut();
        let driver = driver.as_mut().expect("a turn of a closed runtime");
        if self.pool.has_returned() {
            provide(driver, Group::Streams, &self.pool);
        }
        if let Some(Some(pool)) = self.datagram_pool.get()
            && pool.has_returned()
        {
            provide(driver, Group::Datagrams, pool);
        }
        driver.turn(wait)
    }

    /// A receive found no buffer: it is started again when the turn's tasks have given theirs back. One that was started
    /// again in vain has its place in the line still, because it has received nothing meanwhile.
    pub(super) fn starve(&self, socket: Rc<Socket>, received: u32) {
        self.work.set(true);
        self.starved.set(self.starved.get() + 1);
        let age = |turn: u32| self.turns.get().wrapping_sub(turn);
        let mut line = self.starving.borrow_mut();
        let is_last = line.back().is_none_or(|(last, _)| age(*last) >= age(received));
        let older = |(other, _): &(u32, Rc<Socket>)| age(*other) >= age(received);
        let place = if is_last { line.len() } else { line.iter().take_while(|other| older(other)).count() };
        line.insert(place, (received, socket));
    }

    /// Starts receives that found no buffer again, the first first, and no more than there are buffers: others would only
    /// find none again. The pool grows only when no buffer has come back for a turn: a few that stay in the cache serve
    /// better than many. False when some are left for the next turn.
    fn feed_starving(&self) -> bool {
        if self.starving.borrow().is_empty() {
            return true;
        }
        let mut pooled = self.pool.has_returned() || self.pool.provided() > 0;
        if !pooled {
            if self.hungry_turns.replace(1) == 0 {
                return false;
            }
            pooled = self.pool.grow();
        }
        self.hungry_turns.set(0);
        if let Some(driver) = &mut *self.driver.borrow_mut() {
            provide(driver, Group::Streams, &self.pool);
        }
        if !pooled {
            // There is none for anybody: each does without.
            std::iter::from_fn(|| self.next_starving()).for_each(|socket| socket.receive_again(false));
            return true;
        }
        // While any are refused, somebody else may always be quicker: the first in line does without, so that it moves.
        if self.starved.get() != self.starved_before.replace(self.starved.get())
            && let Some(first) = self.next_starving()
        {
            first.receive_again(false);
        }
        for _ in 0..self.pool.provided() {
            let Some(socket) = self.next_starving() else { return true };
            socket.receive_again(true);
        }
        self.starving.borrow().is_empty()
    }

    fn next_starving(&self) -> Option<Rc<Socket>> {
        self.starving.borrow_mut().pop_front().map(|(_, socket)| socket)
    }

    #[inline]
    fn flush_dirty(&self) {
        if self.dirty.borrow().is_empty() {
            return;
        }
        let mut dirty = self.dirty.take();
        for socket in dirty.drain(..) {
            socket.flush();
        }
        // Flushing writes nothing new, so the list is still empty: keep its memory.
        self.dirty.replace(dirty);
    }

    /// Brings every completion that is there to whoever it is for. True when there were any.
    #[inline]
    pub(crate) fn collect(&self) -> bool {
        let mut batch = self.batch.take();
        if let Some(driver) = &mut *self.driver.borrow_mut() {
            driver.drain(|completion| batch.push(completion));
        }
        let any = !batch.is_empty();
        self.turns.set(self.turns.get().wrapping_add(1));
        self.receivers.set(0);
        for completion in batch.drain(..) {
            if completion.token.is_standing() {
                self.answer(completion);
            } else {
                let finished = self.table.borrow_mut().finish(completion);
                self.act(finished);
            }
        }
        self.batch.replace(batch);
        if let Some(world) = self.calls.world() {
            world.run_starts();
        }
        any
    }

    #[inline]
    fn answer(&self, completion: Completion) {
        let owner = self.table.borrow_mut().answer(&completion);
        match owner {
            Some(Owner::Receive(socket)) => socket.on_received(completion),
            Some(Owner::Send(socket)) => socket.on_sent(completion),
            Some(Owner::Accept(acceptor)) => acceptor.on_accepted(completion),
            Some(Owner::Datagram(datagrams)) => datagrams.on_received(completion),
            Some(Owner::Exit(child)) => child.on_exited(&completion),
            None => {}
        }
    }

    fn act(&self, finished: Finished) {
        match finished {
            Finished::Wake(waker) => waker.wake(),
            Finished::Orphan(lent, completion) => lent.orphan(completion),
            Finished::Nothing => {}
        }
    }

    /// Whether a turn would have nothing to submit and no chore to look after.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        !self.work.get() && self.chores.borrow().is_empty()
    }

    /// When [`Port::do_chores`] has something to do next.
    #[inline]
    pub(crate) fn next_chore(&self) -> Option<Tick> {
        let mut chores = self.chores.borrow_mut();
        if chores.is_empty() {
            return None;
        }
        let table = self.table.borrow();
        chores.next_due(|chore| match chore {
            Chore::Cancel { target, .. } => !table.is_in_kernel(*target),
            Chore::StopLingering(socket) => !socket.is_lingering(),
            Chore::Abort(socket) => socket.is_closed(),
        })
    }

    pub(crate) fn do_chores(&self, now: Tick) {
        loop {
            let due = self.chores.borrow_mut().take_due(now);
            match due {
                Some(Chore::Cancel { target, pause }) => self.cancel_again(target, pause),
                Some(Chore::StopLingering(socket)) => socket.stop_lingering(),
                Some(Chore::Abort(socket)) => socket.abort(),
                None => return,
            }
        }
    }

    // ---- boxes that sockets use while data moves

    #[inline]
    pub(super) fn take_incoming(&self) -> Box<Incoming> {
        self.spare_incoming.borrow_mut().pop().unwrap_or_default()
    }

    #[inline]
    pub(super) fn keep_incoming(&self, incoming: Box<Incoming>) {
        keep(&self.spare_incoming, incoming);
    }

    #[inline]
    pub(super) fn take_outgoing(&self) -> Box<Outgoing> {
        self.spare_outgoing.borrow_mut().pop().unwrap_or_default()
    }

    #[inline]
    pub(super) fn keep_outgoing(&self, outgoing: Box<Outgoing>) {
        keep(&self.spare_outgoing, outgoing);
    }

    pub(super) fn take_block(&self, bytes: usize) -> Vec<u8> {
        self.spare_blocks.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(bytes))
    }

    pub(super) fn keep_block(&self, mut block: Vec<u8>, bytes: usize) {
        let mut spares = self.spare_blocks.borrow_mut();
        if block.capacity() == bytes && spares.len() < SPARE_BLOCKS_MAX {
            block.clear();
            spares.push(block);
        }
    }

    /// Counts a socket that received in this turn, once; returns how many did so far.
    #[inline]
    pub(super) fn count_receiver(&self, stamp: &Cell<u32>) -> u32 {
        if stamp.replace(self.turns.get()) != self.turns.get() {
            self.receivers.set(self.receivers.get() + 1);
        }
        self.receivers.get()
    }

    // ---- the end

    /// S7. What the kernel did not give back in time stays allocated for ever; returns its names.
    pub(crate) fn teardown(&self) -> Vec<&'static str> {
        let mut patience = TEARDOWN_MAX;
        // What was written is sent as far as the kernel takes it at once.
        for _ in 0..LAST_TURNS {
            if self.turn(Wait::Not).is_err() {
                break;
            }
            self.collect();
        }
        self.end_children(&mut patience);
        self.ending.set(true);
        self.drop_done();
        let tokens: Vec<Token> = self.table.borrow().in_kernel().map(|(token, _)| token).collect();
        for token in tokens {
            self.cancel(token);
        }
        while self.table.borrow().in_kernel().next().is_some() && self.be_patient(&mut patience) {}
        self.let_go()
    }

    /// Kills and reaps the children that are still somebody's, and ends the threads that made them.
    fn end_children(&self, patience: &mut Duration) {
        drop(self.spawner.take());
        if let Some(world) = self.calls.world() {
            world.end_starts();
        }
        let mut children = self.table.borrow().children();
        for child in children.iter().filter(|child| child.must_end()) {
            child.kill();
        }
        loop {
            children.retain(|child| child.must_end());
            if children.is_empty() || !self.be_patient(patience) {
                return;
            }
        }
    }

    /// Does what is due and waits for completions, at most until the next chore or the end of the patience; false at that end.
    ///
    /// A wait costs no more patience than the time it asked for: the clock of a process that was stopped meanwhile has
    /// moved on, and nobody had a chance to answer.
    fn be_patient(&self, patience: &mut Duration) -> bool {
        let before = self.clock.now();
        self.do_chores(before);
        let until_chore = self.next_chore().map_or(Duration::MAX, |due| before.until(due));
        let wait = until_chore.min(*patience);
        if patience.is_zero() || self.turn(Wait::AtMost(wait)).is_err() {
            return false;
        }
        self.collect();
        *patience -= before.until(self.clock.now()).min(wait);
        true
    }

    /// Ends operations whose futures were forgotten.
    fn drop_done(&self) {
        let done = self.table.borrow_mut().take_done();
        for (lent, completion) in done {
            lent.orphan(completion);
        }
    }

    fn let_go(&self) -> Vec<&'static str> {
        self.drop_done();
        drop(self.chores.borrow_mut().clear());
        drop(self.starving.take());
        let refused: Vec<_> = self.table.borrow().in_kernel().map(|(_, name)| name).collect();
        self.closed.set(true);
        self.doorbell.close();
        let driver = self.driver.borrow_mut().take();
        if refused.is_empty() {
            if let Some(mut driver) = driver {
                // It can only fail for a ring that is broken, whose end takes the registration with it.
                let _ = driver.forget_pool();
            }
        } else {
            // The kernel may still write to what was lent, and to the ring.
            self.pool.leak();
            self.datagram_pool.get().into_iter().flatten().for_each(Pool::leak);
            std::mem::forget(self.table.take());
            std::mem::forget(driver);
        }
        refused
    }

    /// Operations in the kernel or not yet taken; buffers of the pool at home, and all of them; stale completions.
    #[cfg(feature = "internals")]
    pub(crate) fn counts(&self) -> (usize, (u32, u32), u64) {
        let table = self.table.borrow();
        (table.live(), self.pool.buffers_home(), table.stale_answers())
    }

    #[cfg(feature = "internals")]
    pub(crate) fn starved(&self) -> u64 {
        self.starved.get()
    }

    #[cfg(feature = "internals")]
    pub(crate) fn turns(&self) -> u32 {
        self.turns.get()
    }
}

fn keep<T: Default>(spares: &RefCell<Vec<Box<T>>>, unused: Box<T>) {
    let mut spares = spares.borrow_mut();
    if spares.len() < SPARES_MAX {
        spares.push(unused);
    }
}
