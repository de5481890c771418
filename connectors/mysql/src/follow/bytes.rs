//! Taking values from the front of bytes.

/// The bytes end too early, or say what can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// Why something isn't taken out of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    Broken,
    /// It has so many bytes, more than it may have.
    Long(usize),
}

impl From<Broken> for Unfit {
    fn from(_: Broken) -> Self {
        Self::Broken
    }
}

/// What is left of an event. Integers are little-endian, unless a method says otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let (front, rest) = self.0.split_at_checked(length).ok_or(Broken)?;
        self.0 = rest;
        Ok(front)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (front, rest) = self.0.split_first_chunk().ok_or(Broken)?;
        self.0 = rest;
        Ok(*front)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Broken> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, Broken> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Broken> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Broken> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// An integer of `width` bytes, up to 8.
    pub(super) fn uint(&mut self, width: usize) -> Result<u64, Broken> {
        let bytes = self.take(width)?;
        let mut all = [0; 8];
        all.get_mut(..width).ok_or(Broken)?.copy_from_slice(bytes);
        Ok(u64::from_le_bytes(all))
    }

    /// A big-endian integer of `width` bytes, up to 8.
    pub(super) fn uint_be(&mut self, width: usize) -> Result<u64, Broken> {
        let bytes = self.take(width)?;
        let mut all = [0; 8];
        let from = 8_usize.checked_sub(width).ok_or(Broken)?;
        all[from..].copy_from_slice(bytes);
        Ok(u64::from_be_bytes(all))
    }

    /// A length-encoded integer.
    pub(super) fn length(&mut self) -> Result<usize, Broken> {
        let length = crate::wire::length(&mut self.0).ok_or(Broken)?;
        usize::try_from(length).map_err(|_| Broken)
    }

    /// As many bytes as the length-encoded integer before them says.
    pub(super) fn counted(&mut self) -> Result<&'a [u8], Broken> {
        let length = self.length()?;
        self.take(length)
    }
}

/// Writes a length-encoded integer.
pub(super) fn put_length(out: &mut Vec<u8>, length: usize) {
    let bytes = (length as u64).to_le_bytes();
    match length {
        0..=250 => out.push(bytes[0]),
        251..=0xFFFF => {
            out.push(0xFC);
            out.extend_from_slice(&bytes[..2]);
        }
        0x1_0000..=0xFF_FFFF => {
            out.push(0xFD);
            out.extend_from_slice(&bytes[..3]);
        }
        _ => {
            out.push(0xFE);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Writes bytes and their length in front of them.
pub(super) fn put_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Calls `write`, and puts the length of what it wrote in front of that.
pub(super) fn put_measured<E>(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    out.push(0);
    write(out)?;
    let length = out.len() - start - 1;
    if let Ok(short) = u8::try_from(length)
        && short <= 250
    {
        out[start] = short;
        return Ok(());
    }
    // Rare: a long value, which moves by the few bytes that its length takes.
    let mut prefix = Vec::with_capacity(9);
    put_length(&mut prefix, length);
    out.splice(start..=start, prefix);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_they_were_written() {
        for length in [0, 1, 250, 251, 252, 0xFFFF, 0x1_0000, 0xFF_FFFF, 0x100_0000] {
            let mut out = Vec::new();
            put_length(&mut out, length);
            let mut bytes = Bytes(&out);
            assert_eq!(bytes.length(), Ok(length));
            assert!(bytes.is_empty());
        }
    }

    #[test]
    fn a_measured_value_reads_as_a_counted_one() {
        for length in [0, 3, 250, 251, 70_000] {
            let mut out = vec![7];
            put_measured::<Broken>(&mut out, |out| {
                out.resize(out.len() + length, b'x');
                Ok(())
            })
            .unwrap();
            let mut bytes = Bytes(&out[1..]);
            assert_eq!(bytes.counted().unwrap().len(), length);
            assert!(bytes.is_empty());
        }
    }

    #[test]
    fn bytes_that_end_too_early_are_broken() {
        assert_eq!(Bytes(&[1, 2]).u32(), Err(Broken));
        assert_eq!(Bytes(&[5, 2]).counted(), Err(Broken));
        assert_eq!(Bytes(&[1, 2, 3]).uint_be(3), Ok(0x01_02_03));
        assert_eq!(Bytes(&[1, 2, 3]).uint(3), Ok(0x03_02_01));
    }
}
