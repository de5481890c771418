//! What a service answers when it doesn't do what was asked, and what that means.

use std::time::Duration;

use tidegate_core::{Error, ErrorKind};

/// An answer that says no, as far as it was understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The service's name for it: `"AccessDenied"`.
    pub code: Option<String>,
    /// The HTTP status.
    pub status: Option<u16>,
    /// What the service says about it.
    pub message: Option<String>,
    /// The region where the bucket is (header `x-amz-bucket-region`).
    pub region: Option<String>,
    /// How long the service asks us to wait (header `Retry-After`).
    pub wait: Option<Duration>,
}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Expired,
    Clock,
    UnknownKey,
    WrongSecret,
    Denied,
    WrongRegion,
    NoBucket,
    NotFound,
    Slower,
    Changed,
    Exists,
    Again,
    NotThere,
    Archived,
    Limit,
    Wrong,
    Unknown,
}

impl Refusal {
    /// Reads S3's error document, `<Error><Code>…</Code><Message>…</Message></Error>`, wherever it
    /// stands in `text`.
    pub fn from_xml(status: Option<u16>, text: &str) -> Self {
        let tag = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            let (value, _) = rest.split_once(&format!("</{name}>"))?;
            Some(value.replace("&apos;", "'").replace("&quot;", "\""))
        };
        Self {
            code: tag("Code"),
            status,
            message: tag("Message"),
            region: tag("Region"),
            wait: None,
        }
    }

    /// The error of `doing` ("read a table"): its kind, what the service said, what to do.
    pub fn into_error(self, doing: &str) -> Error {
        let meaning = self.meaning();
        let message = format!("can't {doing}: {}", self.sentence(meaning));
        let error = match meaning {
            Meaning::Slower => Error::rate_limited(message, self.wait),
            other => Error::new(other.kind(), message),
        };
        let error = match self.hint(meaning) {
            Some(hint) => error.hint(hint),
            None => error,
        };
        let said = match (&self.code, &self.message) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => match self.status {
                Some(status) => format!("HTTP status {status} without a reason"),
                None => return error,
            },
        };
        error.because(said)
    }

    fn meaning(&self) -> Meaning {
        use Meaning::*;
        let message = self.message.as_deref().unwrap_or_default();
        match self.code.as_deref().unwrap_or_default() {
            "ExpiredToken"
            | "ExpiredTokenException"
            | "TokenRefreshRequired"
            | "RequestExpired" => Expired,
            "RequestTimeTooSkewed" => Clock,
            // SigV4 services other than S3 say this of a wrong clock and of a wrong key.
            "InvalidSignatureException" if message.contains("expired") => Clock,
            "InvalidAccessKeyId"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidToken"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "MissingSecurityHeader"
            | "InvalidSecurity"
            | "NotSignedUp"
            | "OptInRequired" => UnknownKey,
            "SignatureDoesNotMatch" | "InvalidSignatureException" => WrongSecret,
            "AccessDenied"
            | "AccessDeniedException"
            | "AllAccessDisabled"
            | "AccountProblem"
            | "UnauthorizedOperation"
            | "UnauthorizedException"
            | "Forbidden"
            | "KMS.AccessDeniedException"
            | "KMSAccessDeniedException" => Denied,
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "Redirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException" => WrongRegion,
            "NoSuchBucket" => NoBucket,
            "NoSuchKey"
            | "NoSuchUpload"
            | "NoSuchVersion"
            | "NotFound"
            | "EntityNotFoundException"
            | "ResourceNotFoundException"
            | "MetadataException" => NotFound,
            "SlowDown"
            | "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "BandwidthLimitExceeded"
            | "ProvisionedThroughputExceededException"
            | "KMSThrottlingException"
            | "PriorRequestNotComplete" => Slower,
            "PreconditionFailed" => Changed,
            "AlreadyExistsException" | "BucketAlreadyExists" | "BucketAlreadyOwnedByYou" => Exists,
            "InternalError"
            | "InternalFailure"
            | "InternalServerException"
            | "InternalServiceException"
            | "ServiceUnavailable"
            | "ServiceUnavailableException"
            | "RequestTimeout"
            | "RequestTimeoutException"
            | "OperationTimeoutException"
            | "OperationAborted"
            | "ConditionalRequestConflict"
            | "ConcurrentModificationException"
            | "IncompleteBody" => Again,
            "NotImplemented" | "MethodNotAllowed" | "UnknownOperationException" => NotThere,
            "InvalidObjectState" => Archived,
            "ResourceNumberLimitExceededException" | "LimitExceededException" => Limit,
            "QuotaExceeded" | "XMinioStorageFull" => Limit,
            _ => match (self.status, &self.region) {
                (Some(301 | 307 | 308), _) => WrongRegion,
                // The answer to a HEAD has no body, but says where the bucket is.
                (Some(400), Some(_)) => WrongRegion,
                (Some(401), _) => UnknownKey,
                (Some(403), _) => Denied,
                (Some(404), _) => NotFound,
                (Some(412), _) => Changed,
                (Some(408 | 409), _) => Again,
                (Some(429), _) => Slower,
                (Some(501), _) => NotThere,
                (Some(500..), _) => Again,
                (Some(400..), _) => Wrong,
                _ => Unknown,
            },
        }
    }

    fn sentence(&self, meaning: Meaning) -> &'static str {
        match meaning {
            Meaning::Expired => "the credentials have expired",
            Meaning::Clock => "this machine's clock is too far from the server's",
            Meaning::UnknownKey => "the access key isn't known there",
            Meaning::WrongSecret => "the secret key doesn't belong to the access key",
            Meaning::Denied => "access denied",
            Meaning::WrongRegion => "the bucket is in another region",
            Meaning::NoBucket => "there is no such bucket",
            Meaning::NotFound => "it doesn't exist",
            Meaning::Slower => "the service asks for fewer requests",
            Meaning::Changed => "it isn't what it was expected to be any more",
            Meaning::Exists => "it exists already",
            Meaning::Again => "the service failed",
            Meaning::NotThere => "the server can't do this",
            Meaning::Archived => "the object is archived",
            Meaning::Limit => "a limit of the account or the server is reached",
            Meaning::Wrong => "the request was refused",
            Meaning::Unknown => "the answer can't be understood",
        }
    }

    fn hint(&self, meaning: Meaning) -> Option<String> {
        let hint = match meaning {
            Meaning::Expired => {
                "get new ones (with `aws sso login`, or by setting AWS_SESSION_TOKEN and its keys \
                 again), then run the same command again: nothing is lost"
            }
            Meaning::Clock => "set the clock",
            Meaning::UnknownKey => {
                "check AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN, the profile, or `credentials` \
                 under [aws], and that they belong to this server"
            }
            Meaning::WrongSecret => {
                "check AWS_SECRET_ACCESS_KEY, or `secret_access_key` under [aws], for missing or \
                 additional characters"
            }
            Meaning::Denied => {
                "the credentials are known but lack this permission: see the policies of the identity \
                 and of the bucket or table"
            }
            Meaning::WrongRegion => {
                return Some(match self.right_region() {
                    Some(region) => format!(
                        "set `region = \"{region}\"` under [aws] in tidegate.toml, in the \
                         component's `aws`, or AWS_REGION={region}"
                    ),
                    None => "set the bucket's region as `region` under [aws] in tidegate.toml, in \
                             the component's `aws`, or AWS_REGION"
                        .to_owned(),
                });
            }
            Meaning::NoBucket => {
                "make the bucket, or correct its name in the url; with `endpoint_url`, check that \
                 this is the right server"
            }
            Meaning::NotThere => "see what the server at `endpoint_url` supports",
            Meaning::Archived => "restore it first, or leave it out",
            Meaning::Limit => "remove what isn't needed, or ask for a higher limit",
            Meaning::NotFound
            | Meaning::Slower
            | Meaning::Changed
            | Meaning::Exists
            | Meaning::Again
            | Meaning::Wrong
            | Meaning::Unknown => return None,
        };
        Some(hint.to_owned())
    }

    /// By the header, else by S3's sentence "the region 'a' is wrong; expecting 'b'".
    fn right_region(&self) -> Option<String> {
        self.region.clone().or_else(|| {
            let (_, rest) = self.message.as_ref()?.split_once("expecting '")?;
            let (region, _) = rest.split_once('\'')?;
            Some(region.to_owned())
        })
    }
}

impl Meaning {
    fn kind(self) -> ErrorKind {
        match self {
            Self::Expired | Self::Clock | Self::UnknownKey | Self::WrongSecret | Self::Denied => {
                ErrorKind::Auth
            }
            Self::WrongRegion | Self::Wrong | Self::Limit | Self::Archived => ErrorKind::Config,
            Self::NoBucket | Self::NotFound => ErrorKind::NotFound,
            Self::Slower => ErrorKind::RateLimited { wait: None },
            Self::Changed | Self::Exists => ErrorKind::Conflict,
            Self::Again => ErrorKind::Transient,
            Self::NotThere => ErrorKind::Unsupported,
            Self::Unknown => ErrorKind::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use std::error::Error as _;

    use super::*;

    fn error(code: &str, status: u16) -> Error {
        let refusal = Refusal {
            code: (!code.is_empty()).then(|| code.to_owned()),
            status: Some(status),
            ..Refusal::default()
        };
        refusal.into_error("read")
    }

    #[test]
    fn the_kind_follows_the_code_and_then_the_status() {
        let limited = ErrorKind::RateLimited { wait: None };
        for (code, status, kind) in [
            ("AccessDenied", 403, ErrorKind::Auth),
            ("ExpiredToken", 400, ErrorKind::Auth),
            ("InvalidAccessKeyId", 403, ErrorKind::Auth),
            ("SignatureDoesNotMatch", 403, ErrorKind::Auth),
            ("UnrecognizedClientException", 400, ErrorKind::Auth),
            ("NoSuchBucket", 404, ErrorKind::NotFound),
            ("EntityNotFoundException", 400, ErrorKind::NotFound),
            ("PermanentRedirect", 301, ErrorKind::Config),
            ("AuthorizationHeaderMalformed", 400, ErrorKind::Config),
            ("InvalidInputException", 400, ErrorKind::Config),
            ("SlowDown", 503, limited),
            ("ThrottlingException", 400, limited),
            ("", 429, limited),
            ("InternalError", 500, ErrorKind::Transient),
            ("", 503, ErrorKind::Transient),
            ("OperationAborted", 409, ErrorKind::Transient),
            ("", 412, ErrorKind::Conflict),
            ("", 403, ErrorKind::Auth),
            ("NotImplemented", 501, ErrorKind::Unsupported),
        ] {
            assert_eq!(error(code, status).kind(), kind, "{code} {status}");
        }
    }

    #[test]
    fn every_matter_of_rights_and_places_has_a_hint() {
        let mut hints = std::collections::BTreeSet::new();
        for code in [
            "AccessDenied",
            "ExpiredToken",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "RequestTimeTooSkewed",
            "NoSuchBucket",
            "PermanentRedirect",
        ] {
            let error = error(code, 400);
            assert!(
                hints.insert(error.hint_text().unwrap().to_owned()),
                "{code}"
            );
        }
    }

    #[test]
    fn the_right_region_is_named() {
        let header = Refusal {
            status: Some(301),
            region: Some("eu-west-1".into()),
            ..Refusal::default()
        };
        let sentence = Refusal {
            code: Some("AuthorizationHeaderMalformed".into()),
            message: Some("The region 'us-east-1' is wrong; expecting 'eu-west-1'".into()),
            ..Refusal::default()
        };
        for refusal in [header, sentence] {
            let error = refusal.into_error("read");
            assert!(error.hint_text().unwrap().contains("AWS_REGION=eu-west-1"));
        }
    }

    #[test]
    fn a_wait_that_is_asked_for_is_kept() {
        let wait = Some(Duration::from_secs(3));
        let refusal = Refusal {
            status: Some(429),
            wait,
            ..Refusal::default()
        };
        assert_eq!(
            refusal.into_error("read").kind(),
            ErrorKind::RateLimited { wait }
        );
    }

    #[test]
    fn an_error_document_is_read_wherever_it_stands() {
        let text = "failed: <?xml version=\"1.0\"?><Error><Code>AuthorizationHeaderMalformed</Code>\
                    <Message>expecting &apos;eu-west-1&apos;</Message></Error> after 3 retries";
        let refusal = Refusal::from_xml(Some(400), text);
        assert_eq!(
            refusal.code.as_deref(),
            Some("AuthorizationHeaderMalformed")
        );
        let error = refusal.into_error("read");
        assert!(error.hint_text().unwrap().contains("eu-west-1"));
        assert!(error.source().unwrap().to_string().contains("expecting"));
        assert_eq!(Refusal::from_xml(None, "nothing"), Refusal::default());
    }
}
