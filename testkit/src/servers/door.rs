//! The door of a server that is written here: a port, and a thread for each who comes in.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A free port of 127.0.0.1, open until this is dropped: then all connections end.
pub(super) struct Door {
    port: u16,
    guests: Arc<Mutex<Guests>>,
}

#[derive(Default)]
struct Guests {
    closed: bool,
    next: u64,
    inside: BTreeMap<u64, TcpStream>,
}

impl Door {
    /// Opens one. `serve` serves a connection to its end, each in a thread of its own.
    pub(super) fn open(
        serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let guests = Arc::<Mutex<Guests>>::default();
        let (known, serve) = (Arc::clone(&guests), Arc::new(serve));
        thread::spawn(move || {
            for client in listener.incoming() {
                let Some(id) = lock(&known).enter(client.as_ref().ok()) else {
                    return;
                };
                let (known, serve) = (Arc::clone(&known), Arc::clone(&serve));
                thread::spawn(move || {
                    // A connection that breaks is what clients in tests are made to bear.
                    let _ = client.and_then(|client| serve(client));
                    lock(&known).inside.remove(&id);
                });
            }
        });
        Ok(Self { port, guests })
    }

    /// Its address, without a slash at the end.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Guests {
    /// Notes a client; `None` if the door is closed.
    fn enter(&mut self, client: Option<&TcpStream>) -> Option<u64> {
        if self.closed {
            return None;
        }
        self.next += 1;
        if let Some(client) = client.and_then(|client| client.try_clone().ok()) {
            self.inside.insert(self.next, client);
        }
        Some(self.next)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let inside = {
            let mut guests = lock(&self.guests);
            guests.closed = true;
            std::mem::take(&mut guests.inside)
        };
        for client in inside.into_values() {
            let _ = client.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Door({})", self.port)
    }
}

fn lock(guests: &Mutex<Guests>) -> MutexGuard<'_, Guests> {
    guests.lock().unwrap_or_else(PoisonError::into_inner)
}
