//! A proxy that loses a connection at a chosen statement.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// When the connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Before the server gets the statement.
    Before,
    /// When the server has done it, and before we hear of it.
    After,
}

type Next = Arc<Mutex<Option<(Vec<u8>, Cut)>>>;

/// In front of a server.
#[derive(Debug)]
pub(super) struct Cutting {
    port: u16,
    next: Next,
}

impl Cutting {
    /// Of the server on this port.
    pub(super) fn before(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let next = Next::default();
        let shared = Arc::clone(&next);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, server));
                let Ok(server) = TcpStream::connect(upstream) else {
                    continue;
                };
                let next = Arc::clone(&shared);
                let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let silent = Arc::new(AtomicBool::new(false));
                let hushed = Arc::clone(&silent);
                thread::spawn(move || answers(from, to, &hushed));
                thread::spawn(move || statements(client, server, &next, &silent));
            }
        });
        Self { port, next }
    }

    pub(super) fn url(&self, database: &str) -> String {
        format!("mysql://root@127.0.0.1:{}/{database}", self.port)
    }

    /// Loses the connection at the next statement that begins so, once.
    pub(super) fn at(&self, statement: &str, cut: Cut) {
        *self.next.lock().unwrap() = Some((statement.as_bytes().to_vec(), cut));
    }

    /// Whether it was lost.
    pub(super) fn done(&self) -> bool {
        self.next.lock().unwrap().is_none()
    }
}

fn statements(mut client: TcpStream, mut server: TcpStream, next: &Next, silent: &AtomicBool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        let packet = &buffer[..length];
        // A header of four bytes, and the command COM_QUERY.
        let text = packet.get(5..).unwrap_or_default();
        let hit = |(statement, _): &mut (Vec<u8>, Cut)| text.starts_with(statement);
        let cut = next.lock().unwrap().take_if(hit).map(|(_, cut)| cut);
        match cut {
            Some(Cut::Before) => break,
            Some(Cut::After) => silent.store(true, Ordering::SeqCst),
            None => {}
        }
        if server.write_all(packet).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

fn answers(mut server: TcpStream, mut client: TcpStream, silent: &AtomicBool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        if silent.load(Ordering::SeqCst) || client.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
