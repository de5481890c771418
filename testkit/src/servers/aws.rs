//! Servers that speak AWS's protocols: two for S3, one for Glue, one that runs Athena's SQL.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::process::{Server, free_port, installed};

/// The name of the key that every server here knows.
pub const ACCESS_KEY: &str = "tidegate-test";

/// The key itself. These servers listen on 127.0.0.1 and hold nothing but what a test makes.
pub const SECRET_KEY: &str = "tidegate-test-secret";

/// The name of the key with which [`seaweedfs`] lets one read and list, and nothing else.
pub const READER_ACCESS_KEY: &str = "tidegate-reader";

/// A server that speaks protocols of AWS.
#[derive(Debug)]
pub struct AwsServer(Server);

impl AwsServer {
    /// Its address, without a slash at the end.
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        self.0.log()
    }

    /// The settings `[aws]` with which it is reached.
    pub fn settings(&self) -> Value {
        settings(&self.url(), &self.secret_file())
    }

    /// The same, by way of another address (a proxy's).
    pub fn settings_at(&self, url: &str) -> Value {
        settings(url, &self.secret_file())
    }

    /// The settings `[aws]` with which one may only read and list.
    pub fn settings_of_reader(&self) -> Value {
        let mut settings = self.settings();
        settings["credentials"]["access_key_id"] = READER_ACCESS_KEY.into();
        settings
    }

    /// The environment with which the SDKs and the AWS command line reach it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL", self.url()),
        ]
    }

    fn secret_file(&self) -> PathBuf {
        self.0.directory().join("secret")
    }

    pub(super) fn start(
        name: &str,
        ready: &str,
        command: impl FnOnce(u16, &std::path::Path) -> Command,
    ) -> Self {
        let server = Self(Server::start(name, ready, command));
        fs::write(server.secret_file(), SECRET_KEY)
            .unwrap_or_else(|error| panic!("a key can't be written: {error}"));
        server
    }
}

fn settings(url: &str, secret: &std::path::Path) -> Value {
    json!({
        "region": "us-east-1",
        "endpoint_url": url,
        "credentials": {
            "access_key_id": ACCESS_KEY,
            "secret_access_key": { "file": secret },
        },
    })
}

/// SeaweedFS: an S3 server that stores, checks signatures and keeps conditions. Buckets aren't made
/// by themselves.
///
/// # Panics
///
/// If it isn't installed or doesn't start.
pub fn seaweedfs() -> AwsServer {
    let weed = installed("seaweedfs/bin/weed");
    AwsServer::start("seaweedfs", "/healthz", |port, directory| {
        let identities = directory.join("identities.json");
        let identity = |name, key, actions: &[&str]| {
            json!({
                "name": name,
                "credentials": [{ "accessKey": key, "secretKey": SECRET_KEY }],
                "actions": actions,
            })
        };
        let all = ["Admin", "Read", "Write", "List", "Tagging"];
        let identity = json!({ "identities": [
            identity("test", ACCESS_KEY, &all),
            identity("reader", READER_ACCESS_KEY, &["Read", "List"]),
        ] });
        fs::write(&identities, identity.to_string())
            .unwrap_or_else(|error| panic!("its identities can't be written: {error}"));
        let mut command = Command::new(weed);
        command.arg("mini");
        command.arg(format!("-dir={}", directory.display()));
        command.arg(format!("-s3.config={}", identities.display()));
        command.arg(format!("-s3.port={port}"));
        for option in [
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
            "s3.port.grpc",
            "s3.port.iceberg",
            "admin.port",
            "admin.port.grpc",
        ] {
            let port = free_port().unwrap_or_else(|error| panic!("no port is free: {error}"));
            command.arg(format!("-{option}={port}"));
        }
        command.args([
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            "-s3.allowDeleteBucketNotEmpty=false",
            "-webdav=false",
            "-admin.ui=false",
            "-master.telemetry=false",
        ]);
        command
    })
}

/// moto: S3, Glue and more, in memory.
///
/// # Panics
///
/// If it isn't installed or doesn't start.
pub fn moto() -> AwsServer {
    let server = installed("moto/bin/moto_server");
    AwsServer::start("moto", "/moto-api/data.json", |port, _| {
        let mut command = Command::new(server);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        command
    })
}

/// ministack: Athena that runs the SQL over the Parquet in its own S3.
///
/// # Panics
///
/// If it isn't installed or doesn't start.
pub fn ministack() -> AwsServer {
    let server = installed("ministack/bin/ministack");
    AwsServer::start("ministack", "/_ministack/health", |port, directory| {
        let mut command = Command::new(server);
        command
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("IOT_MTLS_ENABLED", "0")
            .env("S3_DATA_DIR", directory.join("s3"));
        command
    })
}
