//! Bodies that are packed, and some that pretend.

use std::io::Write as _;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::any;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use tidegate_core::{ByteSize, ErrorKind};
use tidegate_http::{HttpSettings, Url};

use crate::servers::{client, refused, serve, settings};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Serves one body, with a status and perhaps a `Content-Encoding`.
async fn serve_body(status: u16, coding: Option<&'static str>, body: Vec<u8>) -> Url {
    let handler = move || {
        let mut answer = body.clone().into_response();
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        if let Some(coding) = coding {
            let headers = answer.headers_mut();
            headers.insert(header::CONTENT_ENCODING, coding.parse().unwrap());
        }
        async { answer }
    };
    serve(Router::new().fallback(any(handler))).await
}

#[tokio::test]
async fn a_body_is_unpacked_by_what_it_is_and_not_by_what_it_is_called() {
    let plain = b"{\"items\": [1, 2]}";
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(plain).unwrap();
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
    deflate.write_all(plain).unwrap();
    let (zlib, deflate) = (zlib.finish().unwrap(), deflate.finish().unwrap());
    let members = [gzip(&plain[..5]), gzip(&plain[5..])].concat();
    for (coding, body) in [
        (Some("gzip"), gzip(plain)),
        (Some("x-gzip"), gzip(plain)),
        (None, gzip(plain)),
        (Some("identity"), gzip(plain)),
        (Some("gzip"), members),
        (Some("deflate"), zlib),
        (Some("deflate"), deflate),
        (Some("gzip"), plain.to_vec()),
        (None, plain.to_vec()),
    ] {
        let sent = u64::try_from(body.len()).unwrap();
        let packed = body != plain;
        let url = serve_body(200, coding, body).await;
        let (client, metrics) = client(settings());
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.body, &plain[..], "{coding:?}");
        assert_eq!(metrics.total_bytes(), sent, "as it came");
        if packed {
            assert!(answer.header("content-encoding").is_none(), "{coding:?}");
            assert!(answer.header("content-length").is_none(), "{coding:?}");
        }
    }
}

#[tokio::test]
async fn an_empty_body_is_empty() {
    for coding in [None, Some("gzip"), Some("deflate"), Some("br")] {
        let url = serve_body(200, coding, Vec::new()).await;
        let answer = client(settings()).0.get(url).send().await.unwrap();
        assert!(answer.body.is_empty(), "{coding:?}");
    }
}

#[tokio::test]
async fn a_packed_body_that_ends_too_early_is_a_lost_connection_wherever_it_ends() {
    let whole = gzip(&b"0123456789".repeat(100));
    for end in [2, 9, 10, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
        for status in [200, 400] {
            let url = serve_body(status, None, whole[..end].to_vec()).await;
            let (client, metrics) = client(settings());
            let error = refused(&client, url).await;
            assert_eq!(error.kind(), ErrorKind::Transient, "{end} of {status}");
            assert_eq!(error.message(), "the connection to the server was lost");
            assert_eq!(metrics.total_retries(), 2);
        }
    }
}

#[tokio::test]
async fn a_packed_body_that_is_damaged_is_an_error_of_data() {
    let mut damaged = gzip(b"[1, 2]");
    let end = damaged.len() - 6;
    damaged[end] ^= 0xff;
    let mut followed = gzip(b"[1, 2]");
    followed.extend(b"and more than a member begins with");
    for body in [damaged, followed] {
        let url = serve_body(200, None, body).await;
        let (client, metrics) = client(settings());
        let error = refused(&client, url).await;
        assert_eq!(error.kind(), ErrorKind::Data);
        assert_eq!(error.message(), "the server's answer can't be unpacked");
        assert_eq!(metrics.total_retries(), 0);
    }
}

#[tokio::test]
async fn a_coding_that_was_not_asked_for_is_named() {
    let url = serve_body(200, Some("br"), b"\x0b\x02\x80[]\x03".to_vec()).await;
    let error = refused(&client(settings()).0, url).await;
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(
        error.to_string().contains("content_encoding: br"),
        "{error}"
    );
}

#[tokio::test]
async fn the_message_of_an_error_is_unpacked_too() {
    let url = serve_body(400, None, gzip(b"{\"error_id\": 402}")).await;
    let error = refused(&client(settings()).0, url).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("{\"error_id\": 402}"), "{error}");
}

#[tokio::test]
async fn a_bomb_goes_off_at_the_limit() {
    let bomb = gzip(&vec![b' '; 50_000_000]);
    assert!(bomb.len() < 60_000);
    for (status, kind) in [(200, ErrorKind::Data), (400, ErrorKind::Config)] {
        let url = serve_body(status, Some("gzip"), bomb.clone()).await;
        let (client, _) = client(HttpSettings {
            max_response: ByteSize(100_000),
            ..settings()
        });
        assert_eq!(refused(&client, url).await.kind(), kind);
    }
}

#[tokio::test]
async fn a_large_packed_body_arrives_whole() {
    // Hard to pack, so that it is large packed too.
    let mut state = 1_u64;
    let body: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(1_000_000)
    .collect();
    let url = serve_body(200, None, gzip(&body)).await;
    let answer = client(settings()).0.get(url).send().await.unwrap();
    assert_eq!(answer.body, body);
}
