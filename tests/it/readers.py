"""Reads one table with everything that reads Parquet, and says what each has seen.

    readers.py BUCKET PREFIX LOCAL_COPY

pyarrow, DuckDB and Polars read it from S3 (the server and the keys are in the environment, as the
AWS SDKs want them); Spark, whose package has no S3, reads the copy. One line of JSON each.
"""

import json
import os
import sys
from urllib.parse import urlparse

BUCKET, PREFIX, COPY = sys.argv[1:]
ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
COLUMNS = ["id", "small", "ratio", "price", "active", "name", "born", "seen_at", "tags", "place"]


def say(reader, types, values):
    names = [
        "rows", "ids", "small", "ratio", "price", "active", "names", "born", "seen_at", "tags",
        "zips", "countries", "days",
    ]
    row = dict(zip(names, values, strict=True))
    row["price"] = str(row["price"])
    row["born"] = str(row["born"])
    row["seen_at"] = row["seen_at"].strftime("%Y-%m-%dT%H:%M:%S.%f")
    row["days"] = [str(day) for day in row["days"]]
    print(json.dumps({"reader": reader, "types": types} | row), flush=True)


def with_pyarrow():
    import pyarrow.compute as pc
    import pyarrow.dataset as ds
    from pyarrow import fs

    s3 = fs.S3FileSystem(endpoint_override=ENDPOINT, allow_bucket_creation=False)
    partitioning = ds.partitioning(flavor="hive")
    data = ds.dataset(f"{BUCKET}/{PREFIX}", filesystem=s3, partitioning=partitioning)
    t = data.to_table()
    types = {name: str(data.schema.field(name).type) for name in COLUMNS}
    total = lambda column: pc.sum(column).as_py()
    say("pyarrow", types, [
        t.num_rows,
        total(t["id"]),
        total(t["small"]),
        total(t["ratio"]),
        total(t["price"]),
        total(t["active"]),
        pc.count(t["name"]).as_py(),
        pc.max(t["born"]).as_py(),
        pc.max(t["seen_at"]).as_py(),
        total(pc.list_value_length(t["tags"])),
        total(pc.struct_field(t["place"], "zip")),
        sorted(pc.unique(t["country"]).to_pylist()),
        sorted(pc.unique(t["dt"]).to_pylist()),
    ])


SQL = """
    SELECT count(*), sum(id)::BIGINT, sum(small)::BIGINT, sum(ratio), sum(price),
        count(*) FILTER (WHERE active), count(name), max(born), max(seen_at),
        sum(len(tags))::BIGINT, sum(place.zip)::BIGINT,
        list_sort(list(DISTINCT country)), list_sort(list(DISTINCT dt))
    FROM t
"""


def with_duckdb():
    from pathlib import Path

    import duckdb
    import duckdb_extension_httpfs

    folder = Path(duckdb_extension_httpfs.__file__).parent
    (extension,) = folder.rglob("httpfs.duckdb_extension")
    db = duckdb.connect()
    db.execute(f"LOAD '{extension}'")
    db.execute("SET TimeZone = 'UTC'")
    db.execute(f"""
        CREATE SECRET (TYPE s3, KEY_ID '{os.environ["AWS_ACCESS_KEY_ID"]}',
            SECRET '{os.environ["AWS_SECRET_ACCESS_KEY"]}', REGION '{os.environ["AWS_REGION"]}',
            ENDPOINT '{urlparse(ENDPOINT).netloc}', URL_STYLE 'path', USE_SSL false)
    """)
    db.execute(f"""
        CREATE VIEW t AS SELECT * FROM
        read_parquet('s3://{BUCKET}/{PREFIX}/**/*.parquet', hive_partitioning = true)
    """)
    described = {name: of for name, of, *_ in db.execute("DESCRIBE t").fetchall()}
    # Times with a zone come back as text: the package for zones isn't installed.
    say_row = list(db.execute(SQL.replace("max(seen_at)", "max(seen_at::TIMESTAMP)")).fetchone())
    say("duckdb", {name: described[name] for name in COLUMNS}, say_row)


def with_polars():
    import polars as pl

    options = {
        "aws_endpoint_url": ENDPOINT,
        "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
        "aws_region": os.environ["AWS_REGION"],
        "aws_allow_http": "true",
    }
    t = pl.scan_parquet(
        f"s3://{BUCKET}/{PREFIX}/**/*.parquet", hive_partitioning=True, storage_options=options
    ).collect()
    types = {name: str(t.schema[name]) for name in COLUMNS}
    say("polars", types, [
        t.height,
        t["id"].sum(),
        t["small"].sum(),
        t["ratio"].sum(),
        t["price"].sum(),
        t["active"].sum(),
        t["name"].count(),
        t["born"].max(),
        t["seen_at"].max(),
        t["tags"].list.len().sum(),
        t["place"].struct.field("zip").sum(),
        t["country"].unique().sort().to_list(),
        t["dt"].unique().sort().to_list(),
    ])


def with_spark():
    from pyspark.sql import SparkSession

    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    t = spark.read.parquet(COPY)
    types = {field.name: field.dataType.simpleString() for field in t.schema}
    t.createOrReplaceTempView("t")
    row = spark.sql("""
        SELECT count(*), sum(id), sum(small), sum(ratio), sum(price),
            count_if(active), count(name), max(born), max(seen_at),
            sum(size(tags)) FILTER (WHERE tags IS NOT NULL), sum(place.zip),
            sort_array(collect_set(country)), sort_array(collect_set(dt))
        FROM t
    """).collect()[0]
    say("spark", {name: types[name] for name in COLUMNS}, list(row))
    spark.stop()


os.environ["TZ"] = "UTC"
os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
with_pyarrow()
with_duckdb()
with_polars()
with_spark()
