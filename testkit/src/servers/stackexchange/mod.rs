//! A fake of the Stack Exchange API 2.3 that keeps to the documented rules, and punishes what the
//! real one punishes.
//!
//! ```no_run
//! use std::time::Duration;
//! use tidegate_testkit::servers::{Kind, Rules, StackExchange};
//!
//! let api = StackExchange::start(Rules::default());
//! let site = api.site("stackoverflow");
//! site.questions(1_000, Duration::from_secs(86_400), 7);
//! // … read `{api.url()}/questions?site=stackoverflow&sort=activity&order=asc` …
//! site.edit(site.ids(Kind::Questions)[3]);
//! assert_eq!(site.truth(Kind::Questions).len(), 1_000);
//! assert_eq!(api.violations(), []);
//! ```
//!
//! The documentation leaves things open. Here
//! - everything but what was throttled or dropped is counted, errors too;
//! - who gets undefined answers for having been too fast breaks no other rule by asking again;
//! - a request without quota is a violation only if the client was told before that none is left,
//!   by `quota_remaining` or by an error;
//! - rows with the same value come in an order of which nothing can be told but that it stays;
//! - names are ordered without regard to case;
//! - parameters that nobody knows are ignored;
//! - a backoff lasts a tenth of a second longer than was said, so that who waits exactly so long is
//!   early;
//! - a question asked again 20 ms too early isn't early: clients round.
//!
//! Rooms: `rules` what the server is like; `server` connections; `respond` from a request to its
//! answer; `judge` rate, repeats, backoff and quota; `query` which rows a request means; `filter`
//! which fields are sent; `render` rows as JSON; `answer` the wrapper, errors and bytes; `data` the
//! rows and their orders; `made` where they come from; `happening` and `changes` what becomes of
//! them.

mod answer;
mod changes;
mod data;
mod filter;
mod happening;
mod judge;
mod made;
mod query;
mod render;
mod respond;
mod rules;
mod seen;
mod server;

pub use changes::{Changes, Site};
pub use rules::{Failure, Packing, Rules};
pub use seen::{Broken, Kind, Request, Seen, Violation};
pub use server::StackExchange;
