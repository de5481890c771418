use std::process::Command;

use super::aws::AwsServer;
use super::process::{free_port, installed};

/// The package listens on all interfaces.
const HERE_ONLY: &str = "const { Server } = require('net'), { listen } = Server.prototype; \
    Server.prototype.listen = function (port, ...rest) { \
        return listen.call(this, { port: port.port ?? port, host: '127.0.0.1' }, rest.findLast(x => x?.call)) }; \
    require(process.argv[1])";

/// kinesis-local: Kinesis in memory, with states, splits and merges. It accepts more than 500 records
/// in a request, throttles nothing, and knows no fan-out.
///
/// # Panics
///
/// If it isn't installed or doesn't start.
pub fn kinesis() -> AwsServer {
    let script = installed("kinesis/node_modules/kinesis-local/main.js");
    let certificate = script.with_file_name("server.json");
    AwsServer::start("kinesis", "/healthcheck", |port, _| {
        let tls = free_port().unwrap_or_else(|error| panic!("no port is free: {error}"));
        let mut node = Command::new("node");
        node.args(["-e", HERE_ONLY])
            .arg(script)
            .env("KINESIS_MOCK_CERT_PATH", certificate)
            .env("KINESIS_MOCK_PLAIN_PORT", port.to_string())
            .env("KINESIS_MOCK_TLS_PORT", tls.to_string());
        // What takes a second on its own takes as long as it does.
        for step in [
            "CREATE_STREAM",
            "DELETE_STREAM",
            "SPLIT_SHARD",
            "MERGE_SHARDS",
            "UPDATE_SHARD_COUNT",
        ] {
            node.env(format!("{step}_DURATION"), "50ms");
        }
        node
    })
}
