//! Requests as servers of benchmarks read them.

use std::io::BufRead;

use anyhow::{Context as _, Result};

/// A request of HTTP/1.1.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// The method and what is asked for: `GET /rows?page=2`.
    pub(super) asks: String,
    /// Of `X-Amz-Target`.
    pub(super) target: String,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// The next one; `None` where the connection ends.
    pub(super) fn read(reader: &mut impl BufRead) -> Result<Option<Self>> {
        let (mut request, mut length, mut line) = (Self::default(), 0, String::new());
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            if line.trim().is_empty() {
                break;
            }
            if request.asks.is_empty() {
                let asks = line.rsplit_once(' ').context("no request of HTTP")?;
                asks.0.clone_into(&mut request.asks);
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "x-amz-target" => value.trim().clone_into(&mut request.target),
                "content-length" => length = value.trim().parse().context("a length")?,
                _ => {}
            }
        }
        request.body.resize(length, 0);
        reader.read_exact(&mut request.body)?;
        Ok(Some(request))
    }
}
