use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::process::{Server, installed};

/// JSONPlaceholder's own server with its own data: json-server 0.x, `_page` and `_limit`, bare
/// arrays. Its log has a line for each request.
///
/// # Panics
///
/// If it isn't installed or doesn't start.
pub fn jsonplaceholder() -> Server {
    let app = installed("jsonplaceholder/node_modules/jsonplaceholder/src/app.js");
    Server::start("jsonplaceholder", "/users/1", |port, _| {
        let mut node = Command::new("node");
        // The package's own script would listen on all interfaces.
        node.args([
            "-e",
            "require(process.argv[1]).listen(process.argv[2], '127.0.0.1')",
        ])
        .arg(app)
        .arg(port.to_string());
        node
    })
}

/// json-server 1.x with the same data: `_page` and `_per_page`, pages wrapped in an object, ids as
/// texts.
///
/// # Panics
///
/// If it isn't installed or doesn't start.
pub fn json_server() -> Server {
    let script = installed("json-server/node_modules/json-server/lib/bin.js");
    let data = jsonplaceholder_data();
    Server::start("json-server", "/users/1", |port, directory| {
        // It writes to its data file, so it gets one of its own.
        let own = directory.join("data.json");
        fs::copy(&data, &own)
            .unwrap_or_else(|error| panic!("{} can't be copied: {error}", data.display()));
        let mut node = Command::new("node");
        node.arg(script).args(["--host", "127.0.0.1", "--port"]);
        node.arg(port.to_string()).arg(own);
        node
    })
}

/// The file with all of JSONPlaceholder's data: an object with an array for each resource.
///
/// # Panics
///
/// If it isn't installed.
pub fn jsonplaceholder_data() -> PathBuf {
    installed("jsonplaceholder/node_modules/jsonplaceholder/data.json")
}
