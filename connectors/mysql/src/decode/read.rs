//! Values of the binary protocol, taken from bytes at a place that moves on.
//!
//! A value that isn't whole moves the place to [`NOWHERE`], from where nothing can be read; the
//! row's end is compared once, after its last column.
//!
//! Source: "Binary Protocol Resultset Row" and "Protocol::LengthEncodedInteger" of the MySQL
//! internals manual.

/// Behind the end of everything.
pub(super) const NOWHERE: usize = usize::MAX;

/// The next `N` bytes.
#[inline(always)]
pub(super) fn fixed<const N: usize>(bytes: &[u8], at: &mut usize) -> [u8; N] {
    match peek(bytes, *at) {
        Some(value) => {
            *at += N;
            value
        }
        None => {
            *at = NOWHERE;
            [0; N]
        }
    }
}

/// `N` bytes from a place on, if there are so many.
#[inline(always)]
pub(super) fn peek<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A length-encoded run of bytes.
#[inline(always)]
pub(super) fn run<'a>(bytes: &'a [u8], at: &mut usize) -> &'a [u8] {
    let length = length(bytes, at);
    let run = bytes.get(*at..).and_then(|rest| rest.get(..length));
    match run {
        Some(run) => {
            *at += length;
            run
        }
        None => {
            *at = NOWHERE;
            &[]
        }
    }
}

/// The length of what follows.
#[inline(always)]
pub(super) fn length(bytes: &[u8], at: &mut usize) -> usize {
    match fixed(bytes, at) {
        [short @ 0..=250] => usize::from(short),
        [mark] => long(mark, bytes, at),
    }
}

#[cold]
fn long(mark: u8, bytes: &[u8], at: &mut usize) -> usize {
    let length = match mark {
        0xFC => u64::from(u16::from_le_bytes(fixed(bytes, at))),
        0xFD => {
            let [a, b, c] = fixed(bytes, at);
            u64::from(u32::from_le_bytes([a, b, c, 0]))
        }
        0xFE => u64::from_le_bytes(fixed(bytes, at)),
        _ => u64::MAX,
    };
    usize::try_from(length).unwrap_or(NOWHERE)
}
