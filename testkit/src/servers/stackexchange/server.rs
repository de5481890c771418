use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Failure, Request, Rules, Seen, Site, Violation};

/// A fake of api.stackexchange.com on a port of 127.0.0.1, in this process, until it is dropped.
#[derive(Debug)]
pub struct StackExchange {}

#[expect(unused_variables, reason = "bodies follow")]
#[expect(clippy::unimplemented, reason = "bodies follow")]
impl StackExchange {
    /// Starts one. It has no site yet.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub fn start(rules: Rules) -> Self {
        unimplemented!()
    }

    /// Its base URL, with the version and without a slash at the end:
    /// `http://127.0.0.1:4711/2.3`.
    pub fn url(&self) -> String {
        unimplemented!()
    }

    /// The site with this name, as the parameter `site` gives it. It is made, without rows, when
    /// asked for the first time; any other is unknown to clients.
    pub fn site(&self, name: &str) -> Site {
        unimplemented!()
    }

    /// The time by the server's clock, which the header `Date` and all rules go by.
    pub fn now(&self) -> DateTime<Utc> {
        unimplemented!()
    }

    /// Moves the server's clock forward.
    pub fn advance(&self, by: Duration) {
        unimplemented!()
    }

    /// The rules that were broken so far.
    pub fn violations(&self) -> Vec<Violation> {
        unimplemented!()
    }

    /// All requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Seen> {
        unimplemented!()
    }

    /// How many requests of this address were counted since its quota was last reset. Those that
    /// were throttled or dropped aren't.
    pub fn quota_used(&self) -> i64 {
        unimplemented!()
    }

    /// Counts requests that another program made from this address.
    pub fn spend(&self, requests: i64) {
        unimplemented!()
    }

    /// Makes the next answers go wrong, one after the other. More are added to those that are
    /// still to come.
    pub fn fail_next(&self, failures: impl IntoIterator<Item = Failure>) {
        unimplemented!()
    }

    /// From now on answers to which this says so go wrong, instead of what was said before.
    pub fn fail_when(&self, fails: impl FnMut(&Request) -> Option<Failure> + Send + 'static) {
        unimplemented!()
    }

    /// From now on this runs when a request has come, before its rows are looked up: to change
    /// data between any two pages. One request at a time.
    pub fn on_request(&self, run: impl FnMut(&Request) + Send + 'static) {
        unimplemented!()
    }
}
