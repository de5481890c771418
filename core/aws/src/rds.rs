//! Logins to databases on RDS and Aurora by IAM.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tidegate_core::{Error, Result, SecretValue};

use crate::{Aws, credentials_error};

const DOING: &str = "make a login for the database";

/// How long a token lets in: what RDS allows ("IAM database authentication for MariaDB, MySQL, and
/// PostgreSQL", RDS user guide). A connection that stands is not closed when it ends.
const VALID: Duration = Duration::from_secs(15 * 60);

/// All but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

impl Aws {
    /// A token with which `user` logs in to a database on RDS or Aurora instead of a password,
    /// within 15 minutes. `host` is the endpoint's own name, as AWS gave it: no alias.
    ///
    /// It is signed for the region that the host's name tells, else for [`Aws::region`]. Nothing is
    /// asked of AWS but credentials that expired, so a new one for each login costs nothing.
    ///
    /// Errors: `Auth` if there are no credentials, `Transient` if they didn't come in time.
    pub async fn rds_token(&self, host: &str, port: u16, user: &str) -> Result<SecretValue> {
        let credentials = self.credentials().provide_credentials().await;
        let credentials = credentials.map_err(|error| credentials_error(DOING, &error))?;
        let region = rds_region(host).unwrap_or_else(|| self.region());
        let place = format!("{host}:{port}");
        token(&place, user, region, credentials, SystemTime::now()).map(SecretValue::from)
    }
}

/// The region of an endpoint of RDS, by its name: `shop.abcdef.eu-west-1.rds.amazonaws.com`.
pub fn rds_region(host: &str) -> Option<&str> {
    let host = host.strip_suffix(".cn").unwrap_or(host);
    let mut labels = host.strip_suffix(".amazonaws.com")?.rsplit('.');
    // In China they stand the other way round.
    match (labels.next()?, labels.next()?) {
        ("rds", region) | (region, "rds") => Some(region),
        _ => None,
    }
}

fn token(
    place: &str,
    user: &str,
    region: &str,
    credentials: Credentials,
    now: SystemTime,
) -> Result<String> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::internal(format!("can't {DOING}"))
            .with("server", place)
            .because(error.to_string())
    };
    // The scheme is only for the signature.
    let encode = |text| utf8_percent_encode(text, RESERVED).to_string();
    let wanted = format!("{place}/?Action=connect&DBUser={}", encode(user));
    let url = format!("https://{wanted}");

    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(VALID);
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("rds-db")
        .time(now)
        .settings(settings)
        .build()
        .map_err(|error| failed(&error))?
        .into();
    let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[]));
    let signed = sign(request.map_err(|error| failed(&error))?, &params);
    let (instructions, _) = signed.map_err(|error| failed(&error))?.into_parts();
    let mut token = wanted;
    for (name, value) in instructions.params() {
        token.push_str(&format!("&{name}={}", encode(value)));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    /// What botocore 1.44.5's `generate_db_auth_token` gives at 2026-01-02T03:04:05Z, without and
    /// with a session's token.
    const EXPECTED: [(Option<&str>, &str); 2] = [
        (
            None,
            "shop.123456789012.eu-west-1.rds.amazonaws.com:3306/?Action=connect\
             &DBUser=%C3%A4%20b%2Buser&X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIDEXAMPLE%2F20260102%2Feu-west-1%2Frds-db%2Faws4_request\
             &X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=4ac3ac86cb5062e777385aa3544133f69102f16447761d5061e825b63decc2be",
        ),
        (
            Some("a/session+token=="),
            "shop.123456789012.eu-west-1.rds.amazonaws.com:3306/?Action=connect\
             &DBUser=%C3%A4%20b%2Buser&X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIDEXAMPLE%2F20260102%2Feu-west-1%2Frds-db%2Faws4_request\
             &X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
             &X-Amz-Security-Token=a%2Fsession%2Btoken%3D%3D\
             &X-Amz-Signature=90511d7190a5a83e77cbc63a69fd7e59c0f4cb95f06c66e8ef9279d018e20cde",
        ),
    ];

    #[test]
    fn tokens_are_signed_as_botocore_signs_them() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045);
        let host = "shop.123456789012.eu-west-1.rds.amazonaws.com";
        for (session, expected) in EXPECTED {
            let credentials = Credentials::new(
                "AKIDEXAMPLE",
                "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                session.map(str::to_owned),
                None,
                "test",
            );
            let region = rds_region(host).unwrap();
            let place = format!("{host}:3306");
            let token = token(&place, "ä b+user", region, credentials, now).unwrap();
            // The order of parameters means nothing.
            let sorted = |token: &str| {
                let mut parts: Vec<_> = token.split('&').map(str::to_owned).collect();
                parts.sort();
                parts
            };
            assert_eq!(sorted(&token), sorted(expected));
        }
    }

    #[test]
    fn an_endpoint_tells_its_region() {
        for (host, region) in [
            ("a.b.us-east-1.rds.amazonaws.com", Some("us-east-1")),
            ("a.b.rds.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            (
                "a.cluster-ro-b.us-gov-west-1.rds.amazonaws.com",
                Some("us-gov-west-1"),
            ),
            ("a.proxy-b.eu-west-1.rds.amazonaws.com", Some("eu-west-1")),
            ("db.example.com", None),
            ("a.b.s3.amazonaws.com", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(rds_region(host), region);
        }
    }
}
