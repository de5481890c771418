//! The HTTP client that API connectors share.
//!
//! ```text
//! HttpClient::get(url) ── Request ── send ─┐
//!                                          │   ┌── again, after a while ──────────────┐
//!                                          v   v                                      │
//!  Ledger: its turn?   (all runs and pipelines: one at a time, backoffs, quota)       │
//!  pace: its time?     (all of this process: per host, per name)                      │
//!  ── server ──>  unpack, by magic bytes, up to the limit                             │
//!  Ledger: what was told                                                              │
//!  Dialect: good? ── no: Refusal ── lost connections, time-outs, 408, 429, 5xx, … ────┘
//!       │
//!       └─> Response (whole body in memory) ── 304 to a conditional request, too
//! ```
//!
//! A request is retried where that can help and can't harm, an answer is never larger than the
//! limit, and every error says which URL (without its secrets), which status and how the body
//! begins. The user tunes it in the table `[http]` of `tidegate.toml`: [`HttpSettings`].
//!
//! - What an API means by its answers, a [`Dialect`] says; without one, their status does.
//! - What it allows whom and when, a [`Ledger`] keeps between requests, runs and pipelines.
//! - How many requests may be under way at once, an [`Adaptive`] limit finds out.
//! - Who is asking, an [`Authorizer`] says to the server, and to nobody else.
//! - What has not changed needn't be sent again: [`Request::conditional`].
//! - What must not be shown is told to [`HttpClient::hide`] before the first request.
//!
//! ```no_run
//! # async fn example(cx: &tidegate_core::Context) -> tidegate_core::Result<()> {
//! use tidegate_http::{HttpClient, Url};
//!
//! let client = HttpClient::new(cx)?;
//! let url = Url::parse("https://jsonplaceholder.typicode.com/users").unwrap();
//! let answer = client.get(url).query("_page", 1).send().await?;
//! let users: Vec<serde_json::Value> = answer.json()?;
//! # Ok(())
//! # }
//! ```
//!
//! What belongs here is what every HTTP API needs. What one API means by its answers (paging,
//! quotas, error bodies) belongs to its connector; what many JSON APIs have in common beyond HTTP
//! (pages, records, windows) to `tidegate-api`.

mod adaptive;
mod attempt;
mod auth;
mod client;
mod dialect;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod headers;
mod hidden;
mod ledger;
mod limiter;
mod redact;
mod redirect;
mod request;
mod response;
mod retry_after;
mod settings;
mod unpack;
mod validators;

pub use adaptive::Adaptive;
pub use auth::{Along, Auth, AuthStyle, Authorizer, may_carry};
pub use client::HttpClient;
pub use dialect::{Again, Dialect, Refusal, Told, by_status};
pub use headers::{HeaderText, check_auth_header, check_headers};
pub use ledger::{Ledger, LedgerOptions, OnQuota, Quota};
pub use redact::redact;
pub use request::Request;
pub use reqwest::header;
pub use reqwest::{Method, StatusCode};
pub use response::{Response, status_of};
pub use settings::{HttpSettings, is_rate};
pub use url::Url;
pub use validators::Validators;
