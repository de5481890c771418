//! Real servers, started for a test and ended with it.
//!
//! Each is the genuine thing, installed by `cargo xtask setup` into one directory. A test that
//! needs one that isn't there fails and says so.
//!
//! ```no_run
//! let server = tidegate_testkit::servers::jsonplaceholder();
//! println!("{}/users", server.url());
//! ```

mod aws;
mod certificates;
mod door;
mod faults;
mod http;
mod jsonplaceholder;
mod kinesis;
mod mariadb;
mod objects;
mod place;
mod process;
mod proxy;
mod signed;
mod stackexchange;

pub use aws::{ACCESS_KEY, AwsServer, READER_ACCESS_KEY, SECRET_KEY, ministack, moto, seaweedfs};
pub use certificates::{Certificates, openssl};
pub use faults::{Fault, Faults, Reply, Request};
pub use jsonplaceholder::{json_server, jsonplaceholder, jsonplaceholder_data};
pub use kinesis::kinesis;
pub use mariadb::{MariaDb, mariadb, mariadb_plugins};
pub use objects::{Object, Upload};
pub use process::{Server, python};
pub use proxy::{Hold, Proxy, Seen};
pub use stackexchange::{
    Broken, Changes, Failure, Kind, Packing, Request as ApiRequest, Rules, Seen as ApiSeen, Site,
    StackExchange, Violation,
};
