"""What `same.rs` compares with: the inputs, as other programs write them, and DuckDB's answers.

    same.py inputs FOLDER
    same.py answers FOLDER QUERIES

The first writes the inputs. The second reads the file QUERIES, a JSON list of texts, and prints for
each a JSON list of its rows, sorted, each with its values in the order of their columns.
"""

import datetime as dt
import json
import math
import os
import sys
from decimal import Decimal
from pathlib import Path


def inputs():
    import pyarrow as pa
    import pyarrow.parquet as pq

    nan, inf = math.nan, math.inf

    def write(name, *groups, schema=None, **options):
        tables = [pa.table(group, schema=schema) for group in groups]
        with pq.ParquetWriter(f"{name}.parquet", tables[0].schema, **options) as writer:
            for table in tables:
                writer.write_table(table)

    # No statistics for texts above 4096 bytes.
    trace = "Traceback: " + "frame\n" * 900
    write("jobs", {"job": [1, 2], "error": ["", ""]}, {"job": [3, 4], "error": [trace, ""]})
    write("texts", {"s": ["b", "a"]}, {"s": ["z" * 5000, "k"]})
    some = [("id", pa.int64()), ("n", pa.int64())]
    write(
        "nulls", {"id": [1, 2], "n": [None, None]}, {"id": [3, 4], "n": [7, None]},
        schema=pa.schema(some),
    )
    floats = pa.schema([("id", pa.int64()), ("f", pa.float64())])
    write("one", {"id": [1, 2, 3], "f": [1.0, nan, 1.0]}, schema=floats)
    write("two", {"id": [1, 2], "f": [1.0, nan]}, {"id": [3, 4], "f": [3.0, 3.0]}, schema=floats)
    write("last", {"id": [1, 2], "f": [1.0, 1.0]}, {"id": [3, 4], "f": [nan, nan]}, schema=floats)
    write("zeros", {"id": [1, 2], "f": [-0.0, 0.0]}, schema=floats)
    write("mass", {"id": [1, 2, 3, 4], "f": [1.5e-20, 2.5, 1e20, nan]}, schema=floats)
    place = pa.struct([("lat", pa.float64())])
    write(
        "places", {"id": [1, 2], "spot": [{"lat": 1.0}, {"lat": nan}]},
        schema=pa.schema([("id", pa.int64()), ("spot", place)]),
    )
    write(
        "singles",
        {
            "id": [1, 2, 3, 4, 5],
            "f": [0.25, 16777216.0, nan, inf, 1e-30],
            "i": [1, 16777217, 2, 3, 4],
            "d": [Decimal("0.25"), Decimal("1.50"), None, Decimal("9.99"), Decimal("0.01")],
        },
        schema=pa.schema([
            ("id", pa.int64()), ("f", pa.float32()), ("i", pa.int64()), ("d", pa.decimal128(9, 2)),
        ]),
    )
    oslo = pa.timestamp("us", tz="Europe/Oslo")
    hours = [dt.datetime(2024, 7, 1, hour, tzinfo=dt.timezone.utc) for hour in range(1, 7)]
    write(
        "oslo", {"i": list(range(6)), "moment": hours},
        schema=pa.schema([("i", pa.int64()), ("moment", oslo)]),
    )
    micros = pa.timestamp("us")
    write(
        "valid",
        {
            "id": [1, 2, 3],
            "valid_to": [dt.datetime(2024, 1, 1), dt.datetime(9999, 12, 31), None],
            "day": [dt.date(2024, 1, 1), dt.date(9999, 12, 31), dt.date(1, 1, 1)],
            "text": ["2024-01-01 00:00:00", "9999-12-31 00:00:00", "0001-01-01 00:00:00"],
        },
        schema=pa.schema([
            ("id", pa.int64()), ("valid_to", micros), ("day", pa.date32()), ("text", pa.string()),
        ]),
    )
    write(
        "nanos",
        {"id": [1, 2], "moment": pa.array([1_719_792_000_123_456_789, 0], pa.timestamp("ns"))},
    )
    write(
        "dates",
        {"id": [1, 2], "day": pa.array([dt.date(2024, 1, 1), dt.date(1969, 12, 31)], pa.date64())},
    )
    write("price", {"id": [1, 2], "price": pa.array([Decimal("1.10"), Decimal("2.00")], pa.decimal128(10, 2))})
    write("small", {"id": [1, 2, 3], "i": pa.array([-2, -1, 0], pa.int32())})
    write(
        "evening",
        {"id": [1, 2], "moment": pa.array([dt.datetime(2024, 1, 1, 21), dt.datetime(2024, 1, 2, 3)], micros)},
    )
    write("early", {"id": [1, 2], "moment": pa.array([-3000, 5], pa.timestamp("ns"))})
    write("clock", {"id": [1], "t": pa.array([1], pa.time64("us"))})
    write(
        "waves",
        {
            "id": [1, 2, 3, 4, 5, 6, 7],
            "t": [1, 2, 3, 10, 11, 30, 31],
            "x": [nan, 1.0, 2.0, inf, 3.0, None, 4.0],
            "y": [1e20, 1.0, 2.0, 4.0, None, 8.0, 16.0],
            "n": [2**63 - 1, 1, 2, 3, 4, 5, 6],
        },
        schema=pa.schema([
            ("id", pa.int64()), ("t", pa.int64()), ("x", pa.float64()), ("y", pa.float64()),
            ("n", pa.int64()),
        ]),
    )
    pair = pa.struct([("a", pa.int64()), ("b", pa.string())])
    one = pa.struct([("a", pa.int64())])
    nests = pa.schema([
        ("id", pa.int64()), ("g", pa.int64()), ("s", pair), ("l", pa.list_(pa.int64())),
        ("ls", pa.list_(one)),
    ])
    write(
        "nests",
        {
            "id": [1, 2], "g": [1, 1], "s": [{"a": 1, "b": None}, {"a": None, "b": "x"}],
            "l": [[1, None], [1, 2]], "ls": [[{"a": 1}], [{"a": None}]],
        },
        {
            "id": [3, 4], "g": [2, 2], "s": [None, {"a": 1, "b": "y"}],
            "l": [None, []], "ls": [None, []],
        },
        schema=nests,
    )
    # A note of Arrow types that nobody can read.
    noted = pa.table({"id": [1, 2]})
    with pq.ParquetWriter("noted.parquet", noted.schema, store_schema=False) as writer:
        writer.write_table(noted)
        writer.add_key_value_metadata({"ARROW:schema": "!!!"})
    Path("mass.ndjson").write_text('{"id":1,"mass":1.5e-20}\n{"id":2,"mass":2.5}\n')
    Path("large.ndjson").write_text('{"id":1,"mass":1e16}\n{"id":2,"mass":2.5}\n')


def plain(value):
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case Decimal():
            return float(value)
        case dt.datetime() | dt.date():
            return value.isoformat()
        case list():
            return [plain(one) for one in value]
        case dict():
            return {name: plain(one) for name, one in value.items()}
    return value


def answers(queries):
    import duckdb

    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    for query in json.loads(Path(queries).read_text()):
        try:
            rows = db.execute(query).fetchall()
        except duckdb.Error as error:
            rows = [[query], [str(error)]]
        rows = [[plain(value) for value in row] for row in rows]
        print(json.dumps(sorted(rows, key=str)))


queries = [os.path.abspath(path) for path in sys.argv[3:]]
os.chdir(sys.argv[2])
{"inputs": inputs, "answers": answers}[sys.argv[1]](*queries)
