//! Extremes of structs and lists: those that ORDER BY has first and last. NULL is greater than any
//! value in them.

use super::{Case, same};

pub(super) const EXTREMES: &[Case] = &[
    same(
        "SELECT min(s) AS lo, max(s) AS hi FROM {nests}",
        &[r#"{"lo":{"a":1,"b":"y"},"hi":{"a":null,"b":"x"}}"#],
    ),
    same(
        "SELECT g, min(s) AS lo, max(s) AS hi FROM {nests} GROUP BY g",
        &[
            r#"{"g":1,"lo":{"a":1,"b":null},"hi":{"a":null,"b":"x"}}"#,
            r#"{"g":2,"lo":{"a":1,"b":"y"},"hi":{"a":1,"b":"y"}}"#,
        ],
    ),
    same(
        "SELECT id, min(s) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS lo, max(s) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS hi FROM {nests}",
        &[
            r#"{"id":1,"lo":{"a":1,"b":null},"hi":{"a":1,"b":null}}"#,
            r#"{"id":2,"lo":{"a":1,"b":null},"hi":{"a":null,"b":"x"}}"#,
            r#"{"id":3,"lo":{"a":null,"b":"x"},"hi":{"a":null,"b":"x"}}"#,
            r#"{"id":4,"lo":{"a":1,"b":"y"},"hi":{"a":1,"b":"y"}}"#,
        ],
    ),
    same(
        "SELECT id, min(s) OVER (ORDER BY id) AS lo, max(s) OVER (ORDER BY id) AS hi FROM {nests}",
        &[
            r#"{"id":1,"lo":{"a":1,"b":null},"hi":{"a":1,"b":null}}"#,
            r#"{"id":2,"lo":{"a":1,"b":null},"hi":{"a":null,"b":"x"}}"#,
            r#"{"id":3,"lo":{"a":1,"b":null},"hi":{"a":null,"b":"x"}}"#,
            r#"{"id":4,"lo":{"a":1,"b":"y"},"hi":{"a":null,"b":"x"}}"#,
        ],
    ),
    same(
        "SELECT s FROM (SELECT s FROM {nests} WHERE s IS NOT NULL ORDER BY s LIMIT 1)",
        &[r#"{"s":{"a":1,"b":"y"}}"#],
    ),
    same(
        "SELECT s FROM (SELECT s FROM {nests} WHERE s IS NOT NULL ORDER BY s DESC LIMIT 1)",
        &[r#"{"s":{"a":null,"b":"x"}}"#],
    ),
    same(
        "SELECT min(l) AS lo, max(l) AS hi FROM {nests}",
        &[r#"{"lo":[],"hi":[1,null]}"#],
    ),
    same(
        "SELECT g, min(l) AS lo, max(l) AS hi FROM {nests} GROUP BY g",
        &[
            r#"{"g":1,"lo":[1,2],"hi":[1,null]}"#,
            r#"{"g":2,"lo":[],"hi":[]}"#,
        ],
    ),
    same(
        "SELECT min(ls) AS lo, max(ls) AS hi FROM {nests}",
        &[r#"{"lo":[],"hi":[{"a":null}]}"#],
    ),
    same(
        "SELECT g, max(ls) AS hi FROM {nests} GROUP BY g",
        &[r#"{"g":1,"hi":[{"a":null}]}"#, r#"{"g":2,"hi":[]}"#],
    ),
    same(
        "SELECT l FROM (SELECT l FROM {nests} WHERE l IS NOT NULL ORDER BY l DESC LIMIT 1)",
        &[r#"{"l":[1,null]}"#],
    ),
    same(
        "SELECT g, max(s) FILTER (WHERE id = 1) AS hi FROM {nests} GROUP BY g",
        &[r#"{"g":1,"hi":{"a":1,"b":null}}"#, r#"{"g":2,"hi":null}"#],
    ),
    same(
        "SELECT max(s) AS hi FROM {nests} WHERE id = 3",
        &[r#"{"hi":null}"#],
    ),
];
