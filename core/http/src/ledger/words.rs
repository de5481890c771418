//! What is said of waits.

use chrono::{DateTime, Utc};

use super::document::Why;

/// A moment as people read it: the time, and the date where it isn't today's. UTC.
pub(super) fn moment(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    // A minute that has begun counts whole: after it is after it.
    let then = then + chrono::TimeDelta::milliseconds(59_999);
    let format = if then.date_naive() == now.date_naive() {
        "%H:%M UTC"
    } else {
        "%Y-%m-%d %H:%M UTC"
    };
    then.format(format).to_string()
}

pub(super) fn reason(why: Why) -> &'static str {
    match why {
        Why::UnderWay | Why::Next => {
            "a request waits for another one's answer, or for the time in which a run that was \
             killed may have been asked to back off"
        }
        Why::Backoff => "a request waits: the API asked for a break, or an answer of it was lost",
        Why::Repeated => "a request waits: the same one was made a short while ago",
        Why::Last => "a request waits: others that are under way may use up the quota",
        Why::Pace => "a request waits: so many a second are allowed",
        Why::Spent => "a request waits: the quota is spent",
    }
}
