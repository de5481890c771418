//! Decimals, integers and floating-point numbers beside each other.

use super::{Case, ours, same};

/// A3.
pub(super) const NUMBERS: &[Case] = &[
    same(
        "SELECT id FROM {mass.ndjson} WHERE mass > 0.0",
        &[r#"{"id":1}"#, r#"{"id":2}"#],
    ),
    same(
        "SELECT id FROM {large.ndjson} WHERE mass > 0.5",
        &[r#"{"id":1}"#, r#"{"id":2}"#],
    ),
    same(
        "SELECT coalesce(mass, 0.0) AS m FROM {mass.ndjson}",
        &[r#"{"m":1.5e-20}"#, r#"{"m":2.5}"#],
    ),
    ours(
        "SELECT DISTINCT arrow_typeof(coalesce(mass, 0.0)) AS t FROM {mass.ndjson}",
        &[r#"{"t":"Float64"}"#],
    ),
    ours(
        "SELECT id FROM {mass} WHERE id > 1.5e-20 AND id BETWEEN 1.5e-20 AND 2.000000000000000000001",
        &[r#"{"id":1}"#, r#"{"id":2}"#],
    ),
    ours(
        "SELECT id FROM {mass} WHERE id NOT IN (1.00000000000000000001, 2, 3e0)",
        &[r#"{"id":1}"#, r#"{"id":4}"#],
    ),
    ours(
        "SELECT id FROM {mass} WHERE id IN (1.00000000000000000001, 2.00000000000000000000)",
        &[r#"{"id":2}"#],
    ),
    ours(
        "SELECT id, CASE id WHEN 1.00000000000000000001 THEN 'no' WHEN 2.00000000000000000000 THEN 'yes' END AS c FROM {mass} WHERE id < 3",
        &[r#"{"id":1,"c":null}"#, r#"{"id":2,"c":"yes"}"#],
    ),
    ours(
        "SELECT a.id FROM {mass} a JOIN (SELECT arrow_cast(id, 'Decimal128(38, 30)') AS d FROM {mass}) b ON a.id = b.d WHERE a.id < 3",
        &[r#"{"id":1}"#, r#"{"id":2}"#],
    ),
    ours(
        "SELECT id FROM {mass} WHERE arrow_cast(id, 'Decimal128(38, 0)') < arrow_cast(2.5, 'Decimal128(38, 37)')",
        &[r#"{"id":1}"#, r#"{"id":2}"#],
    ),
    same("SELECT id FROM {mass} WHERE f < 0.5", &[r#"{"id":1}"#]),
    same(
        "SELECT DISTINCT (id = 5) IS NOT TRUE AS x FROM {mass}",
        &[r#"{"x":true}"#],
    ),
    same(
        "SELECT id FROM {mass} WHERE f > 0e0 AND f < 1e1",
        &[r#"{"id":1}"#, r#"{"id":2}"#],
    ),
    same("SELECT id FROM {mass} WHERE f = 1.5e-20", &[r#"{"id":1}"#]),
    same(
        "SELECT id FROM {mass} WHERE 2.5 <= f",
        &[r#"{"id":2}"#, r#"{"id":3}"#, r#"{"id":4}"#],
    ),
    same(
        "SELECT id FROM {mass} WHERE f BETWEEN 0.0 AND 2.5",
        &[r#"{"id":1}"#, r#"{"id":2}"#],
    ),
    same(
        "SELECT id FROM {mass} WHERE f IN (2.5, 0.25)",
        &[r#"{"id":2}"#],
    ),
    same(
        "SELECT id FROM {mass} WHERE f NOT IN (2.5, 0.25, 1e20)",
        &[r#"{"id":1}"#, r#"{"id":4}"#],
    ),
    same(
        "SELECT id FROM {mass} WHERE f IS DISTINCT FROM 2.5",
        &[r#"{"id":1}"#, r#"{"id":3}"#, r#"{"id":4}"#],
    ),
    same(
        "SELECT id FROM {mass} WHERE CASE WHEN id > 2 THEN 0 ELSE f END > 0.25",
        &[r#"{"id":2}"#],
    ),
    same(
        "SELECT id, CASE WHEN f > 100 THEN 0.5 ELSE f END AS c FROM {mass} WHERE id < 4",
        &[
            r#"{"id":1,"c":1.5e-20}"#,
            r#"{"id":2,"c":2.5}"#,
            r#"{"id":3,"c":0.5}"#,
        ],
    ),
    same(
        "SELECT id FROM {mass} WHERE CASE f WHEN 2.5 THEN true ELSE false END",
        &[r#"{"id":2}"#],
    ),
    same(
        "SELECT id, nullif(f, 2.5) AS c FROM {mass} WHERE id < 3",
        &[r#"{"id":1,"c":1.5e-20}"#, r#"{"id":2,"c":null}"#],
    ),
    same(
        "SELECT id, greatest(f, 0.5) AS g, least(f, 0.5) AS l FROM {mass} WHERE id < 4",
        &[
            r#"{"id":1,"g":0.5,"l":1.5e-20}"#,
            r#"{"id":2,"g":2.5,"l":0.5}"#,
            r#"{"id":3,"g":1e+20,"l":0.5}"#,
        ],
    ),
    same(
        "SELECT m.id FROM {mass} m JOIN (SELECT 2.5 AS x) o ON m.f = o.x",
        &[r#"{"id":2}"#],
    ),
    same(
        "SELECT m.id FROM {mass} m JOIN (SELECT 2.5 AS x) o ON m.f < o.x",
        &[r#"{"id":1}"#],
    ),
    same(
        "SELECT id FROM {mass} WHERE f IN (SELECT 2.5)",
        &[r#"{"id":2}"#],
    ),
    same(
        "SELECT id FROM {mass} WHERE f < (SELECT 0.5)",
        &[r#"{"id":1}"#],
    ),
    same(
        "SELECT f FROM {mass} WHERE id < 3 UNION ALL SELECT 0.1",
        &[r#"{"f":0.1}"#, r#"{"f":1.5e-20}"#, r#"{"f":2.5}"#],
    ),
    same(
        "SELECT coalesce(mass, 0.5) AS m FROM {mass.ndjson} WHERE id = 1
         UNION ALL SELECT mass FROM {mass.ndjson} WHERE id = 1",
        &[r#"{"m":1.5e-20}"#, r#"{"m":1.5e-20}"#],
    ),
    same(
        "SELECT 0.1 AS f UNION ALL SELECT f FROM {mass} WHERE id < 3",
        &[r#"{"f":0.1}"#, r#"{"f":1.5e-20}"#, r#"{"f":2.5}"#],
    ),
    same(
        "SELECT f FROM {mass} INTERSECT SELECT 2.5",
        &[r#"{"f":2.5}"#],
    ),
    same(
        "SELECT f FROM {mass} WHERE id < 3 EXCEPT SELECT 2.5",
        &[r#"{"f":1.5e-20}"#],
    ),
    same(
        "SELECT id FROM {mass} GROUP BY id HAVING min(f) < 0.5",
        &[r#"{"id":1}"#],
    ),
    same(
        "SELECT sum(CASE WHEN f < 3 THEN f ELSE 0.0 END) AS s FROM {mass}",
        &[r#"{"s":2.5}"#],
    ),
    same(
        "SELECT id, lag(f, 1, 0.25) OVER (ORDER BY id) AS p FROM {mass} WHERE id < 3",
        &[r#"{"id":1,"p":0.25}"#, r#"{"id":2,"p":1.5e-20}"#],
    ),
    same(
        "SELECT id, f * 0.5 AS h FROM {mass} WHERE id < 3",
        &[r#"{"id":1,"h":7.5e-21}"#, r#"{"id":2,"h":1.25}"#],
    ),
    ours(
        "SELECT id FROM {mass} WHERE f > 1e-100 AND f < 1e100",
        &[r#"{"id":1}"#, r#"{"id":2}"#, r#"{"id":3}"#],
    ),
    same(
        "SELECT id FROM {singles} WHERE f > 0.125",
        &[r#"{"id":1}"#, r#"{"id":2}"#, r#"{"id":3}"#, r#"{"id":4}"#],
    ),
    same("SELECT id FROM {singles} WHERE f = 0.25", &[r#"{"id":1}"#]),
    same(
        "SELECT id FROM {singles} WHERE f < 0.5",
        &[r#"{"id":1}"#, r#"{"id":5}"#],
    ),
    ours(
        "SELECT id FROM {singles} WHERE f >= 16777217.0",
        &[r#"{"id":3}"#, r#"{"id":4}"#],
    ),
    ours("SELECT id FROM {singles} WHERE f = i", &[]),
    same("SELECT id FROM {singles} WHERE f = d", &[r#"{"id":1}"#]),
    ours(
        "SELECT coalesce(f, 0.5) AS c FROM {singles} WHERE id = 5",
        &[r#"{"c":1e-30}"#],
    ),
    same("SELECT id FROM {singles} WHERE d = 0.25", &[r#"{"id":1}"#]),
    same(
        "SELECT id FROM {singles} WHERE d > 1.4 AND i < 1e9",
        &[r#"{"id":2}"#, r#"{"id":4}"#],
    ),
    same(
        "SELECT sum(d) + 0.001 AS s FROM {singles}",
        &[r#"{"s":11.751}"#],
    ),
    same("SELECT 0.1 + 0.2 AS s", &[r#"{"s":0.3}"#]),
    same("SELECT 1e16 AS x", &[r#"{"x":10000000000000000.0}"#]),
    // Inside structs and lists as well.
    same(
        "SELECT id FROM {mass} WHERE (f, id) = (0.000000000000000000015, 1)",
        &[r#"{"id":1}"#],
    ),
    same(
        "SELECT id FROM {mass} WHERE (f, id) IN ((2.5, 2), (1.5, 1))",
        &[r#"{"id":2}"#],
    ),
    same(
        "SELECT named_struct('a', f) AS x FROM {mass} WHERE id = 1 UNION ALL SELECT named_struct('a', 0.5)",
        &[r#"{"x":{"a":0.5}}"#, r#"{"x":{"a":1.5e-20}}"#],
    )
    .asked(
        "SELECT struct_pack(a := f) AS x FROM {mass} WHERE id = 1 UNION ALL SELECT struct_pack(a := 0.5::DOUBLE)",
    ),
    same(
        "SELECT [f] AS x FROM {mass} WHERE id = 1 UNION ALL SELECT [0.1]",
        &[r#"{"x":[0.1]}"#, r#"{"x":[1.5e-20]}"#],
    ),
    ours(
        "SELECT id FROM {places} WHERE coalesce(spot, named_struct('lat', 0.1)) = named_struct('lat', 1.0)",
        &[r#"{"id":1}"#],
    ),
    same("SELECT id FROM {mass} WHERE list_has([f], 2.5)", &[r#"{"id":2}"#]),
    same(
        "SELECT list_append([f], 0.1) AS x FROM {mass} WHERE id = 2",
        &[r#"{"x":[2.5,0.1]}"#],
    ),
    // Zeros with and without a sign are one.
    same(
        "SELECT id, nullif(f, 0.0) IS NULL AS n FROM {zeros}",
        &[r#"{"id":1,"n":true}"#, r#"{"id":2,"n":true}"#],
    ),
    same(
        "SELECT id, CASE f WHEN 0.0 THEN 'zero' ELSE 'other' END AS c FROM {zeros}",
        &[r#"{"id":1,"c":"zero"}"#, r#"{"id":2,"c":"zero"}"#],
    ),
    same(
        "SELECT id, count(*) OVER (PARTITION BY f) AS n FROM {zeros}",
        &[r#"{"id":1,"n":2}"#, r#"{"id":2,"n":2}"#],
    ),
    same(
        "SELECT id, rank() OVER (ORDER BY f) AS n FROM {zeros}",
        &[r#"{"id":1,"n":1}"#, r#"{"id":2,"n":1}"#],
    ),
    same(
        "SELECT count(DISTINCT f) AS n, count(*) AS c FROM {zeros}",
        &[r#"{"n":1,"c":2}"#],
    ),
    same(
        "SELECT id, row_number() OVER (ORDER BY f, id) AS n FROM {zeros}",
        &[r#"{"id":1,"n":1}"#, r#"{"id":2,"n":2}"#],
    ),
    same(
        "SELECT id FROM (SELECT id FROM {zeros} ORDER BY f DESC, id LIMIT 1) q",
        &[r#"{"id":1}"#],
    ),
    same(
        "SELECT x FROM (VALUES (CAST(1.5e-20 AS DOUBLE)), (2.5), (1e20)) v(x)",
        &[r#"{"x":1.5e-20}"#, r#"{"x":1e+20}"#, r#"{"x":2.5}"#],
    ),
    ours(
        "SELECT lag(id, 1, 0.5) OVER (ORDER BY id) AS v FROM {zeros}",
        &[r#"{"v":0.5}"#, r#"{"v":1.0}"#],
    ),
];

/// Casts that lose something, compared with constants.
pub(super) const CASTS: &[Case] = &[
    ours(
        "SELECT id, CAST(price AS INT) AS c FROM {price} WHERE CAST(price AS INT) = 1",
        &[r#"{"id":1,"c":1}"#],
    ),
    same(
        "SELECT id FROM {price} WHERE CAST(price AS INT) > 1",
        &[r#"{"id":2}"#],
    ),
    same(
        "SELECT id FROM {price} WHERE CAST(price AS INT) IN (1, 7)",
        &[r#"{"id":1}"#],
    ),
    same(
        "SELECT id FROM {price} WHERE CAST(price AS INT) BETWEEN 0 AND 1",
        &[r#"{"id":1}"#],
    ),
    same(
        "SELECT id FROM (SELECT id, CAST(price AS INT) AS c FROM {price}) q WHERE c = 1",
        &[r#"{"id":1}"#],
    ),
    same(
        "SELECT id FROM {price} WHERE CAST(price AS DECIMAL(10, 0)) = 1",
        &[r#"{"id":1}"#],
    ),
    // DuckDB takes the cast off.
    ours(
        "SELECT id FROM {small} WHERE TRY_CAST(i * 50000 AS SMALLINT) < 5",
        &[r#"{"id":3}"#],
    ),
    same(
        "SELECT id FROM {small} WHERE CAST(i AS BOOLEAN)",
        &[r#"{"id":1}"#, r#"{"id":2}"#],
    ),
    same(
        "SELECT id FROM {evening} WHERE CAST(moment AS TIME) > CAST('20:00:00' AS TIME)",
        &[r#"{"id":1}"#],
    ),
    same(
        "SELECT count(*) AS n FROM {evening} WHERE CAST(moment AS TIME) < TIME '05:00:00'",
        &[r#"{"n":1}"#],
    ),
    same(
        "SELECT id FROM {evening} WHERE CAST(moment AS DATE) = DATE '2024-01-02'",
        &[r#"{"id":2}"#],
    ),
    ours(
        "SELECT id FROM {early} WHERE CAST(moment AS DATE) < DATE '1970-01-01'",
        &[r#"{"id":1}"#],
    ),
    same(
        "SELECT id FROM {clock} WHERE t < TIME '06:00:00' AND t BETWEEN TIME '00:00:00' AND TIME '01:00:00'",
        &[r#"{"id":1}"#],
    ),
];
