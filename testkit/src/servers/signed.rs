//! Requests to AWS's protocols that need no SDK: signed with Signature Version 4, sent and answered
//! on a connection of their own, while the caller waits.

use std::fmt::Write as _;
use std::io::{self, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use chrono::Utc;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::http::{Head, read_body};
use super::{ACCESS_KEY, SECRET_KEY};

/// What these servers take for their region.
const REGION: &str = "us-east-1";

/// A request to be signed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    /// `s3` or `glue`.
    pub(super) service: &'static str,
    pub(super) method: &'static str,
    /// Not yet percent-encoded.
    pub(super) path: &'a str,
    /// Sorted by their names; not yet percent-encoded.
    pub(super) query: &'a [(&'static str, &'a str)],
    /// Names in lower case.
    pub(super) headers: &'a [(&'static str, &'a str)],
    pub(super) body: &'a [u8],
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Signed<'_> {
    /// Sends it to a server on this host and port.
    pub(super) fn send(&self, host: &str) -> io::Result<Answer> {
        let time = Utc::now().format("%Y%m%dT%H%M%SZ").to_string();
        let path = encoded(self.path, true);
        let query = self.query.iter().map(|(name, value)| {
            let (name, value) = (encoded(name, false), encoded(value, false));
            format!("{name}={value}")
        });
        let query = query.collect::<Vec<_>>().join("&");
        let hash = hex::encode(Sha256::digest(self.body));
        let mut headers = vec![
            ("host", host),
            ("x-amz-content-sha256", &hash),
            ("x-amz-date", &time),
        ];
        headers.extend(self.headers);
        headers.sort_unstable();

        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let mut canonical = format!("{}\n{path}\n{query}\n", self.method);
        for (name, value) in &headers {
            canonical.extend([name, ":", value, "\n"]);
        }
        canonical.extend(["\n", &names, "\n", &hash]);
        let (day, _) = time.split_at(8);
        let scope = format!("{day}/{REGION}/{}/aws4_request", self.service);
        let canonical = hex::encode(Sha256::digest(canonical));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
        let mut key = format!("AWS4{SECRET_KEY}").into_bytes();
        for part in [day, REGION, self.service, "aws4_request"] {
            key = mac(&key, part)?;
        }
        let signature = hex::encode(mac(&key, &text)?);

        let mut socket = TcpStream::connect(host)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut head = format!(
            "{} {path}{}{query} HTTP/1.1\r\n",
            self.method,
            if query.is_empty() { "" } else { "?" },
        );
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        let length = self.body.len();
        head.push_str(&format!(
            "authorization: AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, \
             SignedHeaders={names}, Signature={signature}\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n"
        ));
        socket.write_all(&[head.as_bytes(), self.body].concat())?;
        let mut socket = BufReader::new(socket);
        let head = Head::read(&mut socket)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = head.answer_length(self.method)?;
        Ok(Answer {
            status: head.status()?,
            body: read_body(&mut socket, length)?,
        })
    }
}

fn mac(key: &[u8], text: &str) -> io::Result<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(io::Error::other)?;
    mac.update(text.as_bytes());
    Ok(mac.finalize().into_bytes().to_vec())
}

/// Percent-encoded as Signature Version 4 wants it.
fn encoded(text: &str, slashes: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        if plain || (slashes && byte == b'/') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_once() {
        assert_eq!(
            encoded("/b/dt=2024 07/ä+%", true),
            "/b/dt%3D2024%2007/%C3%A4%2B%25"
        );
        assert_eq!(encoded("a/b", false), "a%2Fb");
    }
}
