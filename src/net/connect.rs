//! Connecting to the first of several addresses that answers (RFC 8305).

use std::{
    collections::VecDeque,
    error, fmt,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::Addresses;
use crate::{
    error::cancelled,
    executor::{Leaf, context},
    op::{Connect, Port, Socket},
    task::{Sleep, sleep},
};

/// The family of an internet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "socket.AddressFamily")]
pub enum Family {
    /// IPv4.
    #[doc(alias = "AF_INET")]
    Inet,
    /// IPv6.
    #[doc(alias = "AF_INET6")]
    Inet6,
}

impl Family {
    fn of(address: &SocketAddr) -> Family {
        if address.is_ipv4() { Family::Inet } else { Family::Inet6 }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Inet => "IPv4",
            Family::Inet6 => "IPv6",
        })
    }
}

/// No address could be connected to: what each of them said. Inside an [`io::Error`] of the first one's kind.
#[derive(Debug)]
pub struct ConnectError {
    failures: Vec<(SocketAddr, io::Error)>,
}

impl ConnectError {
    /// The addresses in the order they were given up, each with its error.
    pub fn failures(&self) -> &[(SocketAddr, io::Error)] {
        &self.failures
    }

    fn into_error(self) -> io::Error {
        let kind = self.failures.first().map_or(io::ErrorKind::NotFound, |(_, error)| error.kind());
        io::Error::new(kind, self)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot connect to ")?;
        for (number, (address, error)) in self.failures.iter().enumerate() {
            write!(f, "{}{address}: {error}", if number > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

impl error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.failures.first().map(|(_, error)| error as &dyn error::Error)
    }
}

/// How to connect.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectOptions {
    /// Only addresses of this family.
    pub(crate) family: Option<Family>,
    /// Where to connect from.
    pub(crate) local: Option<Addresses>,
    /// How long an attempt is alone before the next one joins it; without it the next one waits for its failure.
    pub(crate) stagger: Option<Duration>,
    /// How many addresses of the first family come first when the families are mixed; zero keeps their order.
    pub(crate) interleave: Option<usize>,
}

/// OC2-OC5.
pub(crate) async fn connect(addresses: Addresses, options: ConnectOptions) -> io::Result<Rc<Socket>> {
    let host = addresses.host();
    let mut addresses = addresses.resolve().await.map_err(|error| match host {
        // A look-up that failed does not say of what.
        Some(host) if error.get_ref().is_some() && cancelled(&error).is_none() => {
            io::Error::new(error.kind(), format!("{host}: {error}"))
        }
        Some(_) | None => error,
    })?;
    if let Some(family) = options.family {
        addresses.retain(|address| Family::of(address) == family);
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no {family} address to connect to")));
        }
    }
    let local = match options.local {
        Some(local) => Some(local.resolve().await?),
        None => None,
    };
    let first = options.interleave.unwrap_or(usize::from(options.stagger.is_some()));
    let race = Race {
        port: context::with(|runtime| runtime.port.clone()),
        waiting: interleaved(addresses, first).into(),
        local,
        stagger: options.stagger,
        running: Vec::new(),
        timer: None,
        failures: Vec::new(),
        cancelled: None,
    };
    race.await
}

/// RFC 8305, section 4: `first` addresses of the first family, then the families by turns.
fn interleaved(addresses: Vec<SocketAddr>, first: usize) -> Vec<SocketAddr> {
    let Some(family) = addresses.first().map(Family::of).filter(|_| first > 0) else { return addresses };
    let (mine, others): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| Family::of(address) == family);
    let mut mine = mine.into_iter();
    let mut mixed: Vec<_> = mine.by_ref().take(first - 1).collect();
    let mut others = others.into_iter();
    loop {
        let pair = (mine.next(), others.next());
        mixed.extend(pair.0.into_iter().chain(pair.1));
        if pair == (None, None) {
            return mixed;
        }
    }
}

/// Attempts that run beside each other; the first that succeeds ends the others.
struct Race {
    port: Rc<Port>,
    waiting: VecDeque<SocketAddr>,
    local: Option<Vec<SocketAddr>>,
    stagger: Option<Duration>,
    running: Vec<(SocketAddr, Leaf<Connect>)>,
    /// Until the next one joins.
    timer: Option<Sleep>,
    failures: Vec<(SocketAddr, io::Error)>,
    cancelled: Option<io::Error>,
}

impl Future for Race {
    type Output = io::Result<Rc<Socket>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            if let Some(winner) = this.poll_running(cx) {
                // The others are dropped: the kernel is asked to end them, and what connects nevertheless is closed.
                return Poll::Ready(Ok(winner));
            }
            if this.cancelled.is_some() || this.waiting.is_empty() {
                if !this.running.is_empty() {
                    return Poll::Pending;
                }
                let error = this
                    .cancelled
                    .take()
                    .unwrap_or_else(|| ConnectError { failures: std::mem::take(&mut this.failures) }.into_error());
                return Poll::Ready(Err(error));
            }
            if !this.running.is_empty() {
                let Some(timer) = &mut this.timer else { return Poll::Pending };
                let slept = ready!(Pin::new(timer).poll(cx));
                this.timer = None;
                if let Err(cancel) = slept {
                    this.cancelled = Some(cancel.into());
                    continue;
                }
            }
            this.start_next();
        }
    }
}

impl Race {
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Option<Rc<Socket>> {
        let mut number = 0;
        while let Some((address, attempt)) = self.running.get_mut(number) {
            match Pin::new(attempt).poll(cx) {
                Poll::Pending => number += 1,
                Poll::Ready(Ok(socket)) => {
                    self.running.remove(number);
                    if self.cancelled.is_none() {
                        return Some(socket);
                    }
                    // Another attempt has taken the cancel, and nobody else will hear of it.
                    socket.close();
                }
                Poll::Ready(Err(error)) => {
                    let address = *address;
                    self.running.remove(number);
                    match cancelled(&error) {
                        Some(_) => self.cancelled = Some(error),
                        None => {
                            self.failures.push((address, error));
                            if self.cancelled.is_none() {
                                self.start_next(); // at once
                            }
                        }
                    }
                }
            }
        }
        None
    }

    fn start_next(&mut self) {
        while let Some(address) = self.waiting.pop_front() {
            match self.attempt(address) {
                Ok(attempt) => {
                    self.running.push((address, attempt));
                    self.timer = self.stagger.map(sleep);
                    return;
                }
                Err(error) => self.failures.push((address, error)),
            }
        }
    }

    fn attempt(&self, address: SocketAddr) -> io::Result<Leaf<Connect>> {
        let socket = Socket::new(&self.port, self.port.calls().stream_socket(&address)?);
        if let Some(local) = &self.local {
            let family = Family::of(&address);
            let same: Vec<_> = local.iter().filter(|local| Family::of(local) == family).collect();
            let none = || io::Error::new(io::ErrorKind::AddrNotAvailable, format!("no local address is {family}"));
            let mut bound = Err(none());
            for local in same {
                bound = socket.with_fd(|fd| self.port.calls().bind_to_connect(fd, *local));
                if bound.is_ok() {
                    break;
                }
            }
            bound?;
        }
        Ok(Leaf::new(&self.port, Connect { socket, address: Box::new(address.into()) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_interleaved_behind_the_first_ones() {
        // OC4
        let addresses = |text: &str| -> Vec<SocketAddr> {
            text.split(' ')
                .map(|name| if name.len() == 1 { format!("[::{name}]:1") } else { format!("127.0.0.{name}:1") })
                .map(|text| text.parse().unwrap())
                .collect()
        };
        let all = addresses("1 2 3 44 55");
        assert_eq!(interleaved(all.clone(), 0), all);
        assert_eq!(interleaved(all.clone(), 1), addresses("1 44 2 55 3"));
        assert_eq!(interleaved(all.clone(), 2), addresses("1 2 44 3 55"));
        assert_eq!(interleaved(all, 9), addresses("1 2 3 44 55"));
        assert_eq!(interleaved(addresses("44 1 55 2"), 1), addresses("44 1 55 2"));
    }
}
