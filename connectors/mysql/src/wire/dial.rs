//! The way to a server.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use socket2::{SockRef, TcpKeepalive};
use tidegate_core::{Error, ErrorKind, Result};
use tokio::net::TcpStream;

use super::connection::Address;
use super::server::{lost, strange};
use super::transport::Transport;

/// How long the addresses before have for themselves until one more is tried beside them (RFC 8305,
/// section 5).
const APART: Duration = Duration::from_millis(250);

/// Somebody who greeted us.
#[derive(Debug)]
pub(super) struct Greeter {
    pub(super) transport: Transport,
    pub(super) greeting: Vec<u8>,
    /// Where it is.
    pub(super) address: SocketAddr,
}

/// The first of the host's addresses at which a server greets us.
///
/// A host with two addresses is often reached by one of them only, and the other may hang: packets
/// that a firewall drops, or something that takes connections for a server that isn't there.
pub(super) async fn dial(address: &Address) -> Result<Greeter> {
    let host = (address.host.as_str(), address.port);
    let found = tokio::net::lookup_host(host).await.map_err(|error| {
        let sentence = "the server's host is not known";
        let hint = "check the host's name in `url`, or `host`";
        // The resolver's errors have no kinds; this one says that it got no answer.
        match error.to_string().contains("Temporary failure") {
            true => Error::transient(sentence).hint(hint).because(error),
            false => Error::not_found(sentence).hint(hint).because(error),
        }
    })?;
    race(found, address.read_timeout).await
}

async fn race(found: impl Iterator<Item = SocketAddr>, patience: Duration) -> Result<Greeter> {
    let mut waiting = by_turns(found);
    let mut tried = FuturesUnordered::new();
    let mut failed = unreachable(io::ErrorKind::AddrNotAvailable.into());
    loop {
        if let Some(next) = waiting.pop_front() {
            tried.push(greeted(next, patience));
        }
        let answer = match waiting.is_empty() {
            true => tried.next().await,
            false => match tokio::time::timeout(APART, tried.next()).await {
                Ok(answer) => answer,
                Err(_) => continue,
            },
        };
        match answer {
            Some(Ok(greeted)) => return Ok(greeted),
            // Somebody who is no MySQL server says more than nobody.
            Some(Err(error)) if failed.kind() == ErrorKind::Transient => failed = error,
            Some(Err(_)) => {}
            None => return Err(failed),
        }
    }
}

/// The addresses in their order, but IPv6 and IPv4 by turns.
fn by_turns(found: impl Iterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let found: Vec<_> = found.collect();
    let first = found.first().is_some_and(SocketAddr::is_ipv6);
    let (ones, others): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|address| address.is_ipv6() == first);
    let (mut ones, mut others) = (ones.into_iter(), others.into_iter());
    let mut turns = VecDeque::new();
    loop {
        let pair = [ones.next(), others.next()];
        if pair == [None, None] {
            return turns;
        }
        turns.extend(pair.into_iter().flatten());
    }
}

async fn greeted(address: SocketAddr, patience: Duration) -> Result<Greeter> {
    let socket = TcpStream::connect(address).await.map_err(unreachable)?;
    let slow = |error| lost("connect", error);
    socket.set_nodelay(true).map_err(slow)?;
    // A peer that is gone without a word is found after two minutes, and firewalls don't
    // forget a connection while the server sorts.
    let alive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10));
    SockRef::from(&socket)
        .set_tcp_keepalive(&alive)
        .map_err(slow)?;
    let mut transport = Transport::new(socket, patience);
    let greeting = transport.greeting().await.map_err(slow)?;
    let greeting = greeting.ok_or_else(|| strange("connect"))?;
    Ok(Greeter {
        transport,
        greeting,
        address,
    })
}

fn unreachable(error: io::Error) -> Error {
    Error::transient("can't connect to the server")
        .hint("check host and port, and that the server is running")
        .because(error)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// A listener that says something, or nothing at all, to whoever comes.
    async fn listener(says: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut taken = Vec::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                let _ = socket.write_all(says).await;
                taken.push(socket);
            }
        });
        address
    }

    /// An address at which nobody listens.
    async fn nobody() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    }

    const GREETING: &[u8] = b"\x03\0\0\0abc";

    #[tokio::test]
    async fn an_address_that_hangs_keeps_nobody_from_the_next() {
        let (hangs, greets) = (listener(b"").await, listener(GREETING).await);
        let patience = Duration::from_secs(60);
        for found in [[hangs, greets], [greets, hangs], [nobody().await, greets]] {
            let raced = race(found.into_iter(), patience);
            let raced = tokio::time::timeout(Duration::from_secs(20), raced).await;
            assert_eq!(raced.unwrap().unwrap().greeting, b"abc");
        }
    }

    #[tokio::test]
    async fn the_error_is_of_whoever_answered() {
        let (http, patience) = (listener(b"HTTP/1.1 400").await, Duration::from_millis(100));
        let none = race([nobody().await].into_iter(), patience).await;
        assert_eq!(none.unwrap_err().kind(), ErrorKind::Transient);
        let found = [nobody().await, http, nobody().await];
        let strange = race(found.into_iter(), patience).await.unwrap_err();
        assert_eq!(strange.kind(), ErrorKind::Internal);
        let none = race(std::iter::empty(), patience).await;
        assert_eq!(none.unwrap_err().kind(), ErrorKind::Transient);
    }

    #[test]
    fn the_kinds_of_addresses_take_turns() {
        let of = |text: &str| text.parse::<SocketAddr>().unwrap();
        let [a, b, c] = ["[::1]:1", "[::2]:1", "[::3]:1"].map(of);
        let [d, e] = ["127.0.0.1:1", "127.0.0.2:1"].map(of);
        assert_eq!(by_turns([a, b, c, d].into_iter()), [a, d, b, c]);
        assert_eq!(by_turns([d, e, a].into_iter()), [d, a, e]);
    }
}
