//! Instants, dates and times.

use super::{Case, ours, same};

/// A12, C1, C9.
pub(super) const TIMES: &[Case] = &[
    same(
        "SELECT i FROM {oslo} WHERE moment >= TIMESTAMP '2024-07-01T03:00:00Z'",
        &[r#"{"i":2}"#, r#"{"i":3}"#, r#"{"i":4}"#, r#"{"i":5}"#],
    ),
    ours(
        "SELECT i FROM {oslo} WHERE moment > TIMESTAMP '2024-07-01T07:00:00+02:00'",
        &[r#"{"i":5}"#],
    ),
    same(
        "SELECT i FROM {oslo} WHERE moment = TIMESTAMPTZ '2024-07-01 03:00:00+02:00'",
        &[r#"{"i":0}"#],
    ),
    same(
        "SELECT i FROM {oslo} WHERE moment = '2024-07-01T03:00:00+02:00'",
        &[r#"{"i":0}"#],
    ),
    same(
        "SELECT i FROM {oslo} WHERE moment = '2024-07-01T03:00:00'",
        &[r#"{"i":2}"#],
    ),
    same(
        "SELECT i FROM {oslo} WHERE moment = TIMESTAMP '2024-07-01 03:00:00'",
        &[r#"{"i":2}"#],
    ),
    same(
        "SELECT i FROM {oslo} WHERE moment BETWEEN TIMESTAMP '2024-07-01T02:00:00Z' AND TIMESTAMP '2024-07-01T03:00:00Z'",
        &[r#"{"i":1}"#, r#"{"i":2}"#],
    ),
    same(
        "SELECT i FROM {oslo} WHERE moment IN (TIMESTAMP '2024-07-01T02:00:00Z')",
        &[r#"{"i":1}"#],
    ),
    same(
        "SELECT extract(hour FROM moment) AS h FROM {oslo} WHERE i = 0",
        &[r#"{"h":1}"#],
    ),
    same(
        "SELECT count(*) AS n FROM {oslo} WHERE date_trunc('day', moment) = DATE '2024-07-01'",
        &[r#"{"n":6}"#],
    ),
    ours(
        "SELECT CAST(moment AS VARCHAR) AS t FROM {oslo} WHERE i = 0",
        &[r#"{"t":"2024-07-01T01:00:00Z"}"#],
    ),
    ours(
        "SELECT moment FROM {oslo} WHERE i = 0",
        &[r#"{"moment":"2024-07-01T01:00:00Z"}"#],
    ),
    ours(
        "SELECT extract(hour FROM moment AT TIME ZONE 'Europe/Oslo') AS h FROM {oslo} WHERE i = 0",
        &[r#"{"h":3}"#],
    ),
    same(
        "SELECT CAST(moment AS DATE) AS d FROM {oslo} WHERE i = 0",
        &[r#"{"d":"2024-07-01"}"#],
    ),
    same(
        "SELECT id FROM {valid} WHERE valid_to = TIMESTAMP '9999-12-31 00:00:00'",
        &[r#"{"id":2}"#],
    ),
    same(
        "SELECT id FROM {valid} WHERE valid_to < DATE '9999-12-31'",
        &[r#"{"id":1}"#],
    ),
    same(
        "SELECT id FROM {valid} WHERE valid_to >= DATE '9999-12-31'",
        &[r#"{"id":2}"#],
    ),
    same(
        "SELECT id FROM {valid} WHERE coalesce(valid_to, now()) > TIMESTAMP '2024-06-01 00:00:00'",
        &[r#"{"id":2}"#, r#"{"id":3}"#],
    ),
    same(
        "SELECT id FROM {valid} WHERE valid_to < now()",
        &[r#"{"id":1}"#],
    ),
    same(
        "SELECT id FROM {valid} WHERE valid_to < current_timestamp",
        &[r#"{"id":1}"#],
    ),
    same(
        "SELECT coalesce(valid_to, TIMESTAMP '9999-12-31 23:59:59.999999') AS t FROM {valid} WHERE id = 3",
        &[r#"{"t":"9999-12-31T23:59:59.999999"}"#],
    ),
    same(
        "SELECT coalesce(valid_to, DATE '9999-12-31') AS t FROM {valid} WHERE id = 3",
        &[r#"{"t":"9999-12-31T00:00:00"}"#],
    ),
    same(
        "SELECT id FROM {valid} WHERE valid_to BETWEEN TIMESTAMP '0001-01-01 00:00:00' AND TIMESTAMP '9999-12-31 00:00:00'",
        &[r#"{"id":1}"#, r#"{"id":2}"#],
    ),
    same(
        "SELECT id FROM {valid} WHERE valid_to BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'",
        &[r#"{"id":1}"#, r#"{"id":2}"#],
    ),
    same(
        "SELECT id FROM {valid} WHERE valid_to IN (DATE '9999-12-31', TIMESTAMP '2024-01-01 00:00:00')",
        &[r#"{"id":1}"#, r#"{"id":2}"#],
    ),
    same(
        "SELECT id FROM {valid} WHERE valid_to = day",
        &[r#"{"id":1}"#, r#"{"id":2}"#],
    ),
    same(
        "SELECT id FROM {valid} WHERE valid_to = '9999-12-31'",
        &[r#"{"id":2}"#],
    ),
    same(
        "SELECT id FROM {valid} WHERE day = DATE '0001-01-01'",
        &[r#"{"id":3}"#],
    ),
    same(
        "SELECT id FROM {valid} WHERE CAST(day AS TIMESTAMP) = TIMESTAMP '0001-01-01 00:00:00'",
        &[r#"{"id":3}"#],
    ),
    same(
        "SELECT CAST(text AS TIMESTAMP) AS t FROM {valid}",
        &[
            r#"{"t":"0001-01-01T00:00:00"}"#,
            r#"{"t":"2024-01-01T00:00:00"}"#,
            r#"{"t":"9999-12-31T00:00:00"}"#,
        ],
    ),
    ours(
        "SELECT to_timestamp(text) AS t FROM {valid} WHERE id = 2",
        &[r#"{"t":"9999-12-31T00:00:00"}"#],
    ),
    same(
        "SELECT to_timestamp(1700000000) AS t",
        &[r#"{"t":"2023-11-14T22:13:20"}"#],
    )
    .asked("SELECT to_timestamp(1700000000)::TIMESTAMP AS t"),
    same(
        "SELECT CASE WHEN id = 1 THEN valid_to ELSE TIMESTAMP '9999-12-31 00:00:00' END AS t FROM {valid} WHERE id < 3",
        &[
            r#"{"t":"2024-01-01T00:00:00"}"#,
            r#"{"t":"9999-12-31T00:00:00"}"#,
        ],
    ),
    same(
        "SELECT valid_to AS t FROM {valid} WHERE id = 1 UNION ALL SELECT TIMESTAMP '0001-01-01 00:00:00'",
        &[
            r#"{"t":"0001-01-01T00:00:00"}"#,
            r#"{"t":"2024-01-01T00:00:00"}"#,
        ],
    ),
    same(
        "SELECT valid_to AS t FROM {valid} WHERE id = 1 UNION ALL SELECT DATE '9999-12-31'",
        &[
            r#"{"t":"2024-01-01T00:00:00"}"#,
            r#"{"t":"9999-12-31T00:00:00"}"#,
        ],
    ),
    same(
        "SELECT v.id FROM {valid} v JOIN (SELECT DATE '9999-12-31' AS d) o ON v.valid_to = o.d",
        &[r#"{"id":2}"#],
    ),
    same(
        "SELECT valid_to + INTERVAL '-1 day' AS t FROM {valid} WHERE id = 2",
        &[r#"{"t":"9999-12-30T00:00:00"}"#],
    ),
    same(
        "SELECT max(valid_to) AS t FROM {valid}",
        &[r#"{"t":"9999-12-31T00:00:00"}"#],
    ),
    ours(
        "SELECT id FROM {nanos} WHERE moment < TIMESTAMP '9999-12-31 00:00:00'",
        &[r#"{"id":1}"#, r#"{"id":2}"#],
    ),
    ours(
        "SELECT id FROM {nanos} WHERE moment < DATE '9999-12-31' AND moment > DATE '0001-01-01'",
        &[r#"{"id":1}"#, r#"{"id":2}"#],
    ),
    ours(
        "SELECT id FROM {nanos} WHERE moment BETWEEN TIMESTAMP '2024-01-01 00:00:00' AND TIMESTAMP '9999-12-31 00:00:00'",
        &[r#"{"id":1}"#],
    ),
    ours(
        "SELECT id FROM {nanos} WHERE moment NOT BETWEEN TIMESTAMP '2024-01-01 00:00:00' AND TIMESTAMP '9999-12-31 00:00:00'",
        &[r#"{"id":2}"#],
    ),
    ours(
        "SELECT id FROM {nanos} WHERE moment < '9999-12-31'",
        &[r#"{"id":1}"#, r#"{"id":2}"#],
    ),
    ours(
        "SELECT id FROM {nanos} WHERE moment IN (TIMESTAMP '9999-12-31 00:00:00', TIMESTAMP '1970-01-01 00:00:00')",
        &[r#"{"id":2}"#],
    ),
    ours(
        "SELECT id FROM {nanos} WHERE moment = TIMESTAMP '2024-07-01 00:00:00.123456789'",
        &[r#"{"id":1}"#],
    ),
    ours(
        "SELECT id FROM {nanos} WHERE moment = TIMESTAMP '2024-07-01 00:00:00.123456'",
        &[],
    ),
    ours(
        "SELECT moment FROM {nanos} WHERE id = 1",
        &[r#"{"moment":"2024-07-01T00:00:00.123456789"}"#],
    ),
    same(
        "SELECT id, day FROM {dates}",
        &[
            r#"{"id":1,"day":"2024-01-01"}"#,
            r#"{"id":2,"day":"1969-12-31"}"#,
        ],
    ),
    same(
        "SELECT id FROM {dates} WHERE day = DATE '2024-01-01'",
        &[r#"{"id":1}"#],
    ),
    same(
        "SELECT CAST(day AS VARCHAR) AS t FROM {dates} WHERE id = 1",
        &[r#"{"t":"2024-01-01"}"#],
    ),
    // Beyond what nanoseconds can count.
    same(
        "SELECT id, date_trunc('month', valid_to) AS m FROM {valid} WHERE id < 3",
        &[
            r#"{"id":1,"m":"2024-01-01T00:00:00"}"#,
            r#"{"id":2,"m":"9999-12-01T00:00:00"}"#,
        ],
    ),
    same(
        "SELECT id, date_trunc('week', CAST(day AS TIMESTAMP)) AS w FROM {valid}",
        &[
            r#"{"id":1,"w":"2024-01-01T00:00:00"}"#,
            r#"{"id":2,"w":"9999-12-27T00:00:00"}"#,
            r#"{"id":3,"w":"0001-01-01T00:00:00"}"#,
        ],
    ),
    ours(
        "SELECT id, date_trunc('year', day) AS y FROM {valid} WHERE id > 1",
        &[
            r#"{"id":2,"y":"9999-01-01T00:00:00"}"#,
            r#"{"id":3,"y":"0001-01-01T00:00:00"}"#,
        ],
    ),
    same(
        "SELECT id, date_bin(INTERVAL '1 month', valid_to) AS m FROM {valid}",
        &[
            r#"{"id":1,"m":"2024-01-01T00:00:00"}"#,
            r#"{"id":2,"m":"9999-12-01T00:00:00"}"#,
            r#"{"id":3,"m":null}"#,
        ],
    )
    .asked("SELECT id, time_bucket(INTERVAL '1 month', valid_to) AS m FROM {valid}"),
    same(
        "SELECT id, date_bin(INTERVAL '6 hours', valid_to, TIMESTAMP '0001-01-01 01:00:00') AS b FROM {valid} WHERE id < 3",
        &[
            r#"{"id":1,"b":"2023-12-31T19:00:00"}"#,
            r#"{"id":2,"b":"9999-12-30T19:00:00"}"#,
        ],
    )
    .asked("SELECT id, time_bucket(INTERVAL '6 hours', valid_to, TIMESTAMP '0001-01-01 01:00:00') AS b FROM {valid} WHERE id < 3"),
    same(
        "SELECT i, date_bin(INTERVAL '2 hours', moment) AS b FROM {oslo} WHERE i = 0",
        &[r#"{"i":0,"b":"2024-07-01T00:00:00Z"}"#],
    )
    .asked("SELECT i, '2024-07-01T00:00:00Z' AS b FROM {oslo} WHERE i = 0"),
    // A time without a zone is one of UTC, in whatever zone the instant is told.
    ours(
        "SELECT i FROM {oslo} WHERE (moment AT TIME ZONE 'Europe/Oslo') = TIMESTAMP '2024-07-01 02:00:00'",
        &[r#"{"i":1}"#],
    ),
    ours(
        "SELECT i FROM {oslo} WHERE (moment AT TIME ZONE 'Europe/Oslo') = CAST('2024-07-01 0' || (i + 1) || ':00:00' AS TIMESTAMP)",
        &[
            r#"{"i":0}"#,
            r#"{"i":1}"#,
            r#"{"i":2}"#,
            r#"{"i":3}"#,
            r#"{"i":4}"#,
            r#"{"i":5}"#,
        ],
    ),
    // A part of a day isn't dropped.
    same(
        "SELECT id, day + INTERVAL '2 hours' AS t FROM {valid} WHERE id = 2",
        &[r#"{"id":2,"t":"9999-12-31T02:00:00"}"#],
    ),
    same(
        "SELECT id FROM {valid} WHERE day - INTERVAL '1 second' < TIMESTAMP '2023-12-31 23:59:59.5' AND id < 3",
        &[r#"{"id":1}"#],
    ),
    ours(
        "SELECT id, day + INTERVAL '1 month' AS t FROM {valid} WHERE id = 1",
        &[r#"{"id":1,"t":"2024-02-01"}"#],
    ),
    same(
        "SELECT id, day - DATE '2024-01-01' AS n FROM {valid} WHERE day - DATE '2024-01-01' > 100",
        &[r#"{"id":2,"n":2913173}"#],
    ),
];
