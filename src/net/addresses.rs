//! Where to connect to or listen on.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
};

use crate::thread::to_thread;

/// What names one or more internet addresses: an address, `"host:port"`, or `("host", port)`; or an array of these
/// texts. The host `""` of a pair is all interfaces.
pub trait ToAddresses {
    /// The addresses, or the name they go by.
    fn to_addresses(self) -> Addresses;
}

/// Addresses, or a name that has to be looked up.
#[derive(Debug, Clone)]
pub struct Addresses(Inner);

#[derive(Debug, Clone)]
enum Inner {
    Known(Vec<SocketAddr>),
    Name { host: String, port: u16 },
    Malformed(String),
    List(Vec<Addresses>),
}

impl Addresses {
    /// The addresses, without a look-up.
    ///
    /// # Errors
    /// For a name: looking it up may take long.
    pub(crate) fn known(self) -> io::Result<Vec<SocketAddr>> {
        match self.0 {
            Inner::Known(addresses) => some(addresses),
            Inner::Name { host, .. } => {
                let text = format!("{host:?} is a name; this call does not wait for a look-up: give an IP address");
                Err(io::Error::new(io::ErrorKind::InvalidInput, text))
            }
            Inner::Malformed(text) => Err(malformed(&text)),
            Inner::List(list) => {
                let all: io::Result<Vec<_>> = list.into_iter().map(Addresses::known).collect();
                some(all?.concat())
            }
        }
    }

    /// The addresses; a name is looked up on a thread of the pool (OC2), which a cancel abandons to it.
    pub(crate) async fn resolve(self) -> io::Result<Vec<SocketAddr>> {
        match self.0 {
            Inner::Known(addresses) => some(addresses),
            Inner::Name { host, port } => some(look_up(host, port).await?),
            Inner::Malformed(text) => Err(malformed(&text)),
            Inner::List(list) => {
                let mut all = Vec::new();
                for addresses in list {
                    all.extend(Box::pin(addresses.resolve()).await?);
                }
                some(all)
            }
        }
    }

    /// The host they were named by, or the first address.
    pub(crate) fn host(&self) -> Option<String> {
        match &self.0 {
            Inner::Known(addresses) => addresses.first().map(|address| address.ip().to_string()),
            Inner::Name { host, .. } => Some(host.clone()),
            Inner::List(list) => list.first()?.host(),
            Inner::Malformed(_) => None,
        }
    }

    fn parse(text: &str) -> Addresses {
        if let Ok(address) = text.parse() {
            return Addresses(Inner::Known(vec![address]));
        }
        let named = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        match named {
            // An IPv6 address with a port is written in brackets, and was parsed above.
            Some((host, port)) if !host.is_empty() && !host.contains(['[', ']', ':']) => Addresses::named(host, port),
            Some(_) | None => Addresses(Inner::Malformed(text.to_owned())),
        }
    }

    fn named(host: &str, port: u16) -> Addresses {
        if host.is_empty() {
            // SV1: all interfaces, one address for each family.
            let all = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
            return Addresses(Inner::Known(all.map(|ip| SocketAddr::new(ip, port)).to_vec()));
        }
        match host.parse::<IpAddr>() {
            Ok(ip) => Addresses(Inner::Known(vec![SocketAddr::new(ip, port)])),
            Err(_) => Addresses(Inner::Name { host: host.to_owned(), port }),
        }
    }
}

fn some(addresses: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is no address to use"));
    }
    Ok(addresses)
}

fn malformed(text: &str) -> io::Error {
    let text = format!("{text:?} is no address; write it as \"host:port\", for example \"127.0.0.1:8080\"");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

async fn look_up(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    to_thread(move || (host.as_str(), port).to_socket_addrs().map(Iterator::collect)).await?
}

impl ToAddresses for Addresses {
    fn to_addresses(self) -> Addresses {
        self
    }
}

impl ToAddresses for SocketAddr {
    fn to_addresses(self) -> Addresses {
        Addresses(Inner::Known(vec![self]))
    }
}

impl ToAddresses for Vec<SocketAddr> {
    fn to_addresses(self) -> Addresses {
        Addresses(Inner::Known(self))
    }
}

impl ToAddresses for &[SocketAddr] {
    fn to_addresses(self) -> Addresses {
        Addresses(Inner::Known(self.to_vec()))
    }
}

impl ToAddresses for &[&str] {
    fn to_addresses(self) -> Addresses {
        Addresses(Inner::List(self.iter().map(|text| Addresses::parse(text)).collect()))
    }
}

impl<const N: usize> ToAddresses for [&str; N] {
    fn to_addresses(self) -> Addresses {
        self.as_slice().to_addresses()
    }
}

impl ToAddresses for Vec<String> {
    fn to_addresses(self) -> Addresses {
        Addresses(Inner::List(self.iter().map(|text| Addresses::parse(text)).collect()))
    }
}

/// Several hosts, one port.
impl ToAddresses for (&[&str], u16) {
    fn to_addresses(self) -> Addresses {
        Addresses(Inner::List(self.0.iter().map(|host| Addresses::named(host, self.1)).collect()))
    }
}

impl ToAddresses for (IpAddr, u16) {
    fn to_addresses(self) -> Addresses {
        SocketAddr::from(self).to_addresses()
    }
}

impl ToAddresses for &str {
    fn to_addresses(self) -> Addresses {
        Addresses::parse(self)
    }
}

impl ToAddresses for String {
    fn to_addresses(self) -> Addresses {
        Addresses::parse(&self)
    }
}

impl ToAddresses for &String {
    fn to_addresses(self) -> Addresses {
        Addresses::parse(self)
    }
}

impl ToAddresses for (&str, u16) {
    fn to_addresses(self) -> Addresses {
        Addresses::named(self.0, self.1)
    }
}

impl ToAddresses for (String, u16) {
    fn to_addresses(self) -> Addresses {
        Addresses::named(&self.0, self.1)
    }
}
