//! TLS, as strictly as asked.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result};
use tokio_rustls::TlsConnector;

use super::transport::{AnySocket, Socket};

/// How strictly the connection is protected: what somebody between us and the server, who can read
/// and change what goes over the network, can do.
///
/// The password is kept from them in every mode, unless `get_server_public_key` says otherwise.
/// Whoever answers is only given a proof that we know it, from which a weak one can be guessed by
/// trying many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// Never TLS. Who sits between, or only listens, reads all rows and statements, and can change
    /// them.
    Disabled,
    /// TLS if the server has it, without looking at its certificate; plain otherwise. Who only
    /// listens reads nothing of what is encrypted. Who sits between can switch TLS off, or give a
    /// certificate of its own, and then reads all rows and statements, and can change them.
    #[default]
    Preferred,
    /// TLS or nothing, without looking at the certificate. Who only listens reads nothing. Who sits
    /// between can give a certificate of its own, and then reads all rows and statements, and can
    /// change them.
    Required,
    /// TLS, and the certificate must come from a known authority. Who sits between reads nothing,
    /// unless the authority gave it a certificate, be it for another host. So it takes a `ca_file`
    /// with an authority of your own: from the public ones everybody gets a certificate, so without
    /// a `ca_file` the server counts as not authenticated.
    VerifyCa,
    /// TLS, the certificate must come from a known authority and be for this host. Who sits between
    /// reads nothing and can change nothing.
    VerifyIdentity,
}

impl TlsMode {
    /// Whether there is no connection without TLS.
    pub(crate) fn is_needed(self) -> bool {
        !matches!(self, Self::Disabled | Self::Preferred)
    }

    /// Whether the server's certificate is looked at.
    pub(crate) fn is_verified(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyIdentity)
    }
}

/// What a connection is protected by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protection {
    /// Nothing.
    Plain,
    /// TLS with nobody knows whom.
    Encrypted,
    /// TLS with the server that the configuration means.
    Authenticated,
}

/// How a connection gets TLS.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(crate) mode: TlsMode,
    config: Option<Arc<ClientConfig>>,
    /// Whether a certificate that passes is nobody else's than the server's.
    authenticates: bool,
}

impl Tls {
    /// Reads the file of authorities, if there is one; else those that browsers know are known.
    pub(crate) fn new(mode: TlsMode, authorities: Option<PathBuf>) -> Result<Self> {
        if mode == TlsMode::Disabled {
            return Ok(Self {
                mode,
                config: None,
                authenticates: false,
            });
        }
        let authenticates = match mode {
            TlsMode::VerifyIdentity => true,
            // Everybody has a certificate of the public authorities, for some host.
            TlsMode::VerifyCa => authorities.is_some(),
            TlsMode::Disabled | TlsMode::Preferred | TlsMode::Required => false,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let failed = |error: rustls::Error| Error::internal("TLS can't be set up").because(error);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(failed)?;
        let config = match mode {
            TlsMode::VerifyIdentity => builder
                .with_root_certificates(roots(authorities)?)
                .with_no_client_auth(),
            _ => {
                let chain = match mode {
                    TlsMode::VerifyCa => Some(
                        WebPkiServerVerifier::builder_with_provider(
                            Arc::new(roots(authorities)?),
                            Arc::clone(&provider),
                        )
                        .build()
                        .map_err(|error| {
                            Error::config("the authorities of `ca_file` can't be used")
                                .because(error)
                        })?,
                    ),
                    _ => None,
                };
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(Lenient { chain, provider }))
                    .with_no_client_auth()
            }
        };
        Ok(Self {
            mode,
            config: Some(Arc::new(config)),
            authenticates,
        })
    }

    /// What a connection is protected by, with TLS or without.
    pub(super) fn protection(&self, secure: bool) -> Protection {
        match secure {
            false => Protection::Plain,
            true if self.authenticates => Protection::Authenticated,
            true => Protection::Encrypted,
        }
    }

    /// Whether to ask for TLS; an error if it is needed and the server has none.
    pub(super) fn wanted(&self, offered: bool) -> Result<bool> {
        match (self.mode, offered) {
            (TlsMode::Disabled, _) | (TlsMode::Preferred, false) => Ok(false),
            (_, true) => Ok(true),
            (_, false) => Err(Error::config("the server has no TLS, and `ssl` asks for it")
                .hint("switch TLS on at the server, or set `ssl = \"preferred\"` in a network that you trust")),
        }
    }

    pub(super) async fn wrap(
        &self,
        socket: AnySocket,
        host: &str,
    ) -> Result<impl Socket + 'static> {
        let Some(config) = &self.config else {
            return Err(Error::internal("TLS was asked for and not set up"));
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| {
            Error::config(format!("`{host}` is no name that a certificate can have")).because(error)
        })?;
        let wrapped = TlsConnector::from(Arc::clone(config)).connect(name, socket);
        wrapped.await.map_err(|error| self.failed(host, error))
    }

    fn failed(&self, host: &str, error: io::Error) -> Error {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
        let Some(cause) = cause.cloned() else {
            return super::server::lost("begin TLS", error);
        };
        let (error, hint) = match &cause {
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => (
                Error::auth("the server's certificate is for another host"),
                "connect by a name that the certificate has; `ssl = \"verify_ca\"` doesn't look at it",
            ),
            rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => (
                Error::auth("the server's certificate has expired"),
                "give the server a new one, or set this machine's clock",
            ),
            rustls::Error::InvalidCertificate(_) => (
                Error::auth("the server's certificate can't be trusted"),
                "set `ca_file` to the certificate of the authority that signed it; for RDS that is \
                 AWS's global bundle",
            ),
            _ => (
                Error::unsupported("no TLS can be agreed on with the server"),
                "it must have TLS 1.2 or 1.3",
            ),
        };
        error.with("host", host).hint(hint).because(cause)
    }
}

fn roots(authorities: Option<PathBuf>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(path) = authorities else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    let failed = |error: &dyn std::fmt::Display| {
        Error::config("`ca_file` can't be read")
            .with("path", path.display())
            .because(error.to_string())
    };
    let found = CertificateDer::pem_file_iter(&path).map_err(|error| failed(&error))?;
    for certificate in found {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    match roots.is_empty() {
        true => Err(failed(&"there is no certificate in it")),
        false => Ok(roots),
    }
}

/// Looks at the certificate's chain at most, never at its name.
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // Found only after the chain was found good.
            Err(rustls::Error::InvalidCertificate(
                NotValidForName | NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use tidegate_testkit::servers::Certificates;

    use super::*;

    #[test]
    fn a_server_is_authenticated_by_a_certificate_that_no_other_can_have() {
        let own = Certificates::new("DNS:localhost");
        for (mode, authorities, authenticated) in [
            (TlsMode::Preferred, false, false),
            (TlsMode::Required, false, false),
            (TlsMode::VerifyCa, false, false),
            (TlsMode::VerifyCa, true, true),
            (TlsMode::VerifyIdentity, false, true),
            (TlsMode::VerifyIdentity, true, true),
        ] {
            let authorities = authorities.then(|| own.file("ca.pem"));
            let tls = Tls::new(mode, authorities).unwrap();
            let expected = match authenticated {
                true => Protection::Authenticated,
                false => Protection::Encrypted,
            };
            assert_eq!(tls.protection(true), expected, "{mode:?}");
            assert_eq!(tls.protection(false), Protection::Plain);
        }
    }
}
