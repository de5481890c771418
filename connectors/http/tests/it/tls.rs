//! TLS, with a certificate that changes while the server runs.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Certificate, Client};
use serde_json::json;
use tidegate_testkit::servers::Certificates;

use crate::site::Site;

/// Puts a certificate for 127.0.0.1 into the directory; gives its authority.
fn certificate(directory: &Path) -> Certificate {
    let made = Certificates::new("IP:127.0.0.1");
    for name in ["server.pem", "server.key"] {
        std::fs::copy(made.file(name), directory.join(name)).unwrap();
    }
    Certificate::from_pem(&std::fs::read(made.file("ca.pem")).unwrap()).unwrap()
}

fn client(known: Certificate) -> Client {
    Client::builder()
        .tls_built_in_root_certs(false)
        .add_root_certificate(known)
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_changes_is_used_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let first = client(certificate(directory.path()));
    let keys = json!({ "tls": { "cert_file": "server.pem", "key_file": "server.key" } });
    let mut site = Site::start(directory.path(), keys).await;
    assert_eq!(site.send(first.post(&site.url).body("1")).await.0, 202);
    // One that can't be used changes nothing.
    std::fs::write(directory.path().join("server.pem"), "no certificate").unwrap();
    let second = client(certificate(directory.path()));
    let begun = Instant::now();
    while second.post(&site.url).body("2").send().await.is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "the new one isn't used"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let other = client(certificate(tempfile::tempdir().unwrap().path()));
    other
        .post(&site.url)
        .body("3")
        .send()
        .await
        .expect_err("an unknown authority");
    // Plain requests are refused.
    let plain = site.url.replace("https", "http");
    Client::new()
        .post(plain)
        .body("4")
        .send()
        .await
        .expect_err("plain HTTP");
    assert_eq!(site.payloads(2).await, ["1", "2"]);
    site.stop().await;
}
