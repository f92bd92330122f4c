//! Who takes part? One table: name, kind, and the function that serves. Guards: a server is in every comparison or in
//! none, under one name.

use std::io;

use crate::{
    peers, raw,
    serve::{Role, listen},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Ringio,
    /// A raw loop: the best of them in a cell is its floor.
    Raw,
    Peer,
    /// Takes part only when named.
    Extra,
}

pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Returns only with an error.
    pub(crate) serve: fn(Role) -> io::Result<()>,
    pub(crate) environment: &'static [(&'static str, &'static str)],
}

const fn server(name: &'static str, kind: Kind, serve: fn(Role) -> io::Result<()>) -> Server {
    Server { name, kind, serve, environment: &[] }
}

pub(crate) static SERVERS: &[Server] = &[
    server("ringio-stream", Kind::Ringio, peers::ringio_stream::serve),
    server("ringio-owned", Kind::Ringio, peers::ringio_owned::serve),
    server("raw-epoll", Kind::Raw, |role| raw::epoll(listen()?, role)),
    server("raw-oneshot", Kind::Raw, |role| raw::oneshot(listen()?, role)),
    server("raw-multishot", Kind::Raw, |role| raw::multishot(listen()?, role)),
    server("raw-incremental", Kind::Raw, |role| raw::incremental(listen()?, role)),
    server("tokio", Kind::Peer, peers::tokio::serve),
    server("compio", Kind::Peer, |role| peers::compio::serve(role, peers::compio::Ring::Default)),
    server("compio-defer", Kind::Peer, |role| peers::compio::serve(role, peers::compio::Ring::Defer)),
    server("monoio", Kind::Peer, |role| peers::monoio::serve(role, peers::monoio::Ring::Default)),
    server("monoio-defer", Kind::Peer, |role| peers::monoio::serve(role, peers::monoio::Ring::Defer)),
    server("glommio", Kind::Peer, peers::glommio::serve),
    server("tokio-uring", Kind::Peer, peers::tokio_uring::serve),
    server("smol", Kind::Peer, peers::smol::serve_local),
    Server {
        name: "smol-global",
        kind: Kind::Extra,
        serve: peers::smol::serve_global,
        environment: &[("SMOL_THREADS", "1")],
    },
    server("corrupt", Kind::Extra, peers::corrupt::serve),
];

/// Those that count the lines they are sent, for `compare lines` alone.
pub(crate) static LINES: &[Server] = &[
    server("ringio-lines", Kind::Ringio, |_| peers::lines::ringio()),
    server("tokio-lines", Kind::Peer, |_| peers::lines::tokio()),
    server("monoio-lines", Kind::Peer, |_| peers::lines::monoio()),
    server("smol-lines", Kind::Peer, |_| peers::lines::smol()),
    server("asyncio-lines", Kind::Extra, |_| peers::lines::asyncio()),
];

pub(crate) fn find(name: &str) -> Result<&'static Server, String> {
    let all = || SERVERS.iter().chain(LINES);
    all().find(|server| server.name == name).ok_or_else(|| {
        let names: Vec<_> = all().map(|server| server.name).collect();
        format!("no server '{name}'; there are {}", names.join(", "))
    })
}

/// Those named, or all that take part without being named.
pub(crate) fn choose(names: &[String]) -> Result<Vec<&'static Server>, String> {
    if names.is_empty() {
        return Ok(SERVERS.iter().filter(|server| server.kind != Kind::Extra).collect());
    }
    names.iter().map(|name| find(name)).collect()
}

/// As [`choose`], of those that count lines.
pub(crate) fn choose_lines(names: &[String]) -> Result<Vec<&'static Server>, String> {
    if names.is_empty() { Ok(LINES.iter().collect()) } else { choose(names) }
}
