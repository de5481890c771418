//! Real servers, started for a test and ended with it.
//!
//! Each is the genuine thing, installed by `cargo xtask setup` into one folder. A test that
//! needs one that isn't there fails and says so.
//!
//! ```no_run
//! let server = tidegate_testkit::servers::jsonplaceholder();
//! println!("{}/users", server.url());
//! ```

mod aws;
mod jsonplaceholder;
mod place;
mod process;

pub use aws::{ACCESS_KEY, AwsServer, SECRET_KEY, ministack, moto, seaweedfs};
pub use jsonplaceholder::{json_server, jsonplaceholder, jsonplaceholder_data};
pub use process::Server;
