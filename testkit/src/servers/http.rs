//! As much of HTTP/1.1 as tests need on plain sockets: messages with bodies of known length or in
//! chunks.

use std::io::{self, BufRead, Read, Write};

/// A head longer than this is none.
const MOST_HEAD: usize = 1 << 20;

/// The lines before a body: the first, and the headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// The request line or the status line.
    pub(super) first: String,
    /// Names as they came, and values without white space around them.
    pub(super) headers: Vec<(String, String)>,
}

/// How a body's end is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// After so many bytes.
    Known(u64),
    /// With the chunk of no bytes.
    Chunked,
    /// With the connection.
    ToTheEnd,
}

impl Head {
    /// Reads one; `None` if the other side has closed the connection before it.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut lines = Vec::new();
        let mut size = 0;
        loop {
            let mut line = String::new();
            size += from.by_ref().take(1 << 16).read_line(&mut line)?;
            if line.is_empty() && lines.is_empty() {
                return Ok(None);
            }
            if !line.ends_with('\n') || size > MOST_HEAD {
                return Err(invalid("a head without an end"));
            }
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let mut lines = lines.into_iter();
        let first = lines.next().ok_or_else(|| invalid("an empty head"))?;
        let headers = lines
            .map(|line| {
                let (name, value) = line
                    .split_once(':')
                    .ok_or_else(|| invalid("a header without a name"))?;
                Ok((name.to_owned(), value.trim().to_owned()))
            })
            .collect::<io::Result<_>>()?;
        Ok(Some(Self { first, headers }))
    }

    /// The value of a header, by its name in any case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter();
        named
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Removes a header.
    pub(super) fn remove(&mut self, name: &str) {
        self.headers
            .retain(|(header, _)| !header.eq_ignore_ascii_case(name));
    }

    /// The length of a request's body.
    pub(super) fn request_length(&self) -> io::Result<Length> {
        self.length(Length::Known(0))
    }

    /// The length of the body of an answer to a request with this method.
    pub(super) fn answer_length(&self, method: &str) -> io::Result<Length> {
        let status = self.status()?;
        if method == "HEAD" || status == 204 || status == 304 || status < 200 {
            return Ok(Length::Known(0));
        }
        self.length(Length::ToTheEnd)
    }

    fn length(&self, otherwise: Length) -> io::Result<Length> {
        if self
            .header("transfer-encoding")
            .is_some_and(|encoding| encoding.eq_ignore_ascii_case("chunked"))
        {
            return Ok(Length::Chunked);
        }
        match self.header("content-length") {
            None => Ok(otherwise),
            Some(length) => length
                .parse()
                .map(Length::Known)
                .map_err(|_| invalid("a length that is no number")),
        }
    }

    /// The status of an answer.
    pub(super) fn status(&self) -> io::Result<u16> {
        let status = self.first.split(' ').nth(1).map(str::parse);
        status
            .and_then(Result::ok)
            .ok_or_else(|| invalid("a status line without a status"))
    }

    /// As it goes over the wire, with the empty line.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.first);
        for (name, value) in &self.headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

/// Reads a body whole, out of its chunks if it comes in such.
pub(super) fn read_body(from: &mut impl BufRead, length: Length) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    match length {
        Length::Known(length) => {
            from.by_ref().take(length).read_to_end(&mut body)?;
            if u64::try_from(body.len()).map_err(io::Error::other)? < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Length::Chunked => loop {
            let size = line(from)?;
            let size = size.split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(size, 16).map_err(|_| invalid("no chunk"))?;
            if size == 0 {
                // Trailers.
                while !line(from)?.is_empty() {}
                break;
            }
            from.by_ref().take(size).read_to_end(&mut body)?;
            line(from)?;
        },
        Length::ToTheEnd => {
            from.read_to_end(&mut body)?;
        }
    }
    Ok(body)
}

/// Reads a line, without its end.
fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

/// Passes a body on as it comes.
pub(super) fn copy_body(
    from: &mut impl BufRead,
    to: &mut impl Write,
    length: Length,
) -> io::Result<()> {
    match length {
        Length::Known(length) => {
            if io::copy(&mut from.by_ref().take(length), to)? < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Length::Chunked => {
            let body = read_body(from, length)?;
            write!(to, "{:x}\r\n", body.len())?;
            to.write_all(&body)?;
            to.write_all(if body.is_empty() {
                b"\r\n"
            } else {
                b"\r\n0\r\n\r\n"
            })?;
        }
        Length::ToTheEnd => {
            io::copy(from, to)?;
        }
    }
    to.flush()
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
