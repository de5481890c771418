//! Who may send, and whether a body is what was signed.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Sha256, Sha512};
use tidegate_core::{Context, Result, SecretValue};

use crate::config::{Algorithm, Encoding, ServerAuth, Signature};

/// The keys that will do.
#[derive(Debug)]
pub(crate) struct Keys {
    /// `None`: a bearer's token.
    header: Option<String>,
    keys: Vec<SecretValue>,
}

impl Keys {
    pub(crate) fn new(auth: &ServerAuth, cx: &Context) -> Result<Self> {
        let (header, secrets) = match auth {
            ServerAuth::Bearer { tokens } => (None, tokens),
            ServerAuth::Header { name, values } => (Some(name.clone()), values),
        };
        let keys = secrets.iter().map(|secret| secret.resolve(cx));
        Ok(Self {
            header,
            keys: keys.collect::<Result<_>>()?,
        })
    }

    /// Whether a request has one of them.
    pub(crate) fn has(&self, headers: &HeaderMap) -> bool {
        let sent = match &self.header {
            Some(name) => headers.get(name).map(|value| value.as_bytes()),
            None => headers.get(AUTHORIZATION).and_then(|value| {
                let (scheme, token) = value.as_bytes().split_at_checked(7)?;
                scheme
                    .eq_ignore_ascii_case(b"bearer ")
                    .then(|| token.trim_ascii())
            }),
        };
        let Some(sent) = sent else {
            return false;
        };
        // All are compared, so that the time tells nothing of which one was nearly right.
        let same = self
            .keys
            .iter()
            .map(|key| is_same(key.expose().as_bytes(), sent));
        same.fold(false, |any, same| any | same)
    }
}

/// Compares in a time that depends on neither's content.
fn is_same(key: &[u8], sent: &[u8]) -> bool {
    let code = |of: &[u8]| mac::<Hmac<Sha256>>(key, &[of]);
    match (code(key), code(sent)) {
        (Some(own), Some(sent)) => own.verify_slice(&sent.finalize().into_bytes()).is_ok(),
        _ => false,
    }
}

fn mac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Option<M> {
    // An HMAC takes keys of any length.
    let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac)
}

/// How bodies are signed, with the secret.
#[derive(Debug)]
pub(crate) struct Signed {
    how: Signature,
    secret: SecretValue,
}

impl Signed {
    pub(crate) fn new(signature: &Signature, cx: &Context) -> Result<Self> {
        let (Signature::Github { secret }
        | Signature::Stripe { secret, .. }
        | Signature::Hmac { secret, .. }) = signature;
        Ok(Self {
            how: signature.clone(),
            secret: secret.resolve(cx)?,
        })
    }

    /// Whether the body is what was signed.
    pub(crate) fn is_right(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match &self.how {
            Signature::Github { .. } => text("x-hub-signature-256")
                .and_then(|sent| sent.strip_prefix("sha256="))
                .and_then(|sent| hex::decode(sent).ok())
                .is_some_and(|sent| self.is(Algorithm::Sha256, &[body], &sent)),
            Signature::Stripe { tolerance, .. } => text("stripe-signature").is_some_and(|sent| {
                let of = |name: &str| {
                    let parts = sent
                        .split(',')
                        .filter_map(|part| part.trim().split_once('='));
                    let parts = parts.filter(move |(key, _)| *key == name);
                    parts.map(|(_, value)| value).collect::<Vec<_>>()
                };
                let times = of("t");
                let Some(time) = times.first() else {
                    return false;
                };
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                let is_recent = time
                    .parse::<u64>()
                    .is_ok_and(|time| now.as_secs().abs_diff(time) <= tolerance.0.as_secs());
                let signed = [time.as_bytes(), b".", body];
                is_recent
                    && of("v1").iter().any(|sent| {
                        hex::decode(sent)
                            .is_ok_and(|sent| self.is(Algorithm::Sha256, &signed, &sent))
                    })
            }),
            Signature::Hmac {
                header,
                algorithm,
                encoding,
                prefix,
                ..
            } => text(header)
                .and_then(|sent| sent.strip_prefix(prefix.as_str()))
                .and_then(|sent| match encoding {
                    Encoding::Hex => hex::decode(sent).ok(),
                    Encoding::Base64 => STANDARD.decode(sent).ok(),
                })
                .is_some_and(|sent| self.is(*algorithm, &[body], &sent)),
        }
    }

    fn is(&self, algorithm: Algorithm, parts: &[&[u8]], sent: &[u8]) -> bool {
        let key = self.secret.expose().as_bytes();
        match algorithm {
            Algorithm::Sha256 => {
                mac::<Hmac<Sha256>>(key, parts).is_some_and(|mac| mac.verify_slice(sent).is_ok())
            }
            Algorithm::Sha512 => {
                mac::<Hmac<Sha512>>(key, parts).is_some_and(|mac| mac.verify_slice(sent).is_ok())
            }
        }
    }
}
