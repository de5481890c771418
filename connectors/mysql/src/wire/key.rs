//! The key that a password is encrypted with where there is no TLS.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use tidegate_core::{Error, Result};

/// The least bytes of a modulus: 1,024 bits.
const SHORTEST: usize = 128;

/// The most bytes of a modulus: OpenSSL's most, 16,384 bits. The time that encrypting takes grows
/// with its third power.
const LONGEST: usize = 2_048;

/// The most bytes of an exponent; nearly all keys have 65537.
const EXPONENT: usize = 8;

/// What OAEP with SHA-1 puts beside the text (RFC 8017, section 7.1.1).
const BESIDE: usize = 42;

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const INTEGER: u8 = 0x02;

/// A server's RSA public key: `public_key.pem` in its data directory. It was looked at, because
/// `mysql_common` panics over a key that it can't read.
#[derive(Clone)]
pub(crate) struct PublicKey {
    /// As `mysql_common` takes it.
    pem: Arc<str>,
    /// The longest text that can be encrypted with it.
    most: usize,
}

impl PublicKey {
    /// Reads the first public key of a PEM text; `None` if there is none, or it is no RSA key of
    /// 1,024 to 16,384 bits.
    pub(crate) fn from_pem(pem: &[u8]) -> Option<Self> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).ok()?;
        let (modulus, exponent) = numbers(&der)?;
        if !(SHORTEST..=LONGEST).contains(&modulus.len())
            || !(1..=EXPONENT).contains(&exponent.len())
        {
            return None;
        }
        let unused = modulus.first().map_or(0, |first| first.leading_zeros());
        let bits = modulus.len() * 8 - usize::try_from(unused).ok()?;
        Some(Self {
            pem: format!(
                "-----BEGIN PUBLIC KEY-----{}-----END PUBLIC KEY-----",
                STANDARD.encode(&der)
            )
            .into(),
            // How long the library takes the key to be.
            most: ((bits + 6) / 8).checked_sub(BESIDE)?,
        })
    }

    /// The text, encrypted (RSA, OAEP with SHA-1).
    ///
    /// Errors: `Unsupported` for a text that is too long for the key.
    pub(super) fn encrypt(&self, text: &[u8]) -> Result<Vec<u8>> {
        match text.len() <= self.most {
            true => Ok(mysql_common::crypto::encrypt(text, self.pem.as_bytes())),
            false => Err(Error::unsupported(
                "the password is too long for the server's public key",
            )
            .hint("use TLS: set `ssl = \"verify_identity\"` and `ca_file`")),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").finish_non_exhaustive()
    }
}

/// Modulus and exponent, without zeros in front (RFC 5280, section 4.1, and RFC 8017, appendix
/// A.1.1).
fn numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (info, _) = value(der, SEQUENCE)?;
    let (_algorithm, info) = value(info, SEQUENCE)?;
    let (bits, _) = value(info, BIT_STRING)?;
    // How many of the last byte's bits are no part of it.
    let (numbers, _) = value(bits.strip_prefix(&[0])?, SEQUENCE)?;
    let (modulus, numbers) = value(numbers, INTEGER)?;
    let (exponent, _) = value(numbers, INTEGER)?;
    Some((without_zeros(modulus), without_zeros(exponent)))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// The contents of the value at the front, if it has this tag, and what follows it.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match der {
        [found, ..] if *found != tag => return None,
        [_, short @ ..=0x7F, rest @ ..] => (usize::from(*short), rest),
        [_, 0x81, length, rest @ ..] => (usize::from(*length), rest),
        [_, 0x82, high, low, rest @ ..] => (usize::from(*high) << 8 | usize::from(*low), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tidegate_core::ErrorKind;
    use tidegate_testkit::servers::openssl;

    use super::*;

    fn made(kind: &str) -> Vec<u8> {
        let directory = TempDir::new().unwrap();
        let make = format!("genpkey -algorithm {kind} -out private.key");
        openssl(directory.path(), &make);
        openssl(directory.path(), "pkey -in private.key -pubout")
    }

    fn rsa(bits: usize) -> Vec<u8> {
        made(&format!("RSA -pkeyopt rsa_keygen_bits:{bits}"))
    }

    fn pem(der: &[u8]) -> Vec<u8> {
        let text = STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n").into_bytes()
    }

    #[test]
    fn a_key_takes_what_it_has_room_for() {
        for (bits, most) in [(1024, 86), (2048, 214), (3072, 342)] {
            let key = PublicKey::from_pem(&rsa(bits)).unwrap();
            assert_eq!(key.encrypt(&vec![b'x'; most]).unwrap().len(), bits / 8);
            let error = key.encrypt(&vec![b'x'; most + 1]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_nothing_panics() {
        let right = rsa(1024);
        let der = SubjectPublicKeyInfoDer::from_pem_slice(&right).unwrap();
        assert!(PublicKey::from_pem(&pem(&der)).is_some());
        for length in 0..der.len() {
            assert!(PublicKey::from_pem(&pem(&der[..length])).is_none());
        }
        // Whatever is taken can be used.
        for at in 0..der.len() {
            for bit in 0..8 {
                let mut flipped = der.to_vec();
                flipped[at] ^= 1 << bit;
                if let Some(key) = PublicKey::from_pem(&pem(&flipped)) {
                    let _ = key.encrypt(b"secret\0");
                }
            }
        }
        for wrong in [
            &b""[..],
            b"nothing",
            b"-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n",
            &made("ed25519"),
            &rsa(512),
        ] {
            assert!(PublicKey::from_pem(wrong).is_none());
        }
    }
}
