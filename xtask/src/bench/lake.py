"""The other side of `cargo xtask bench lake`: DuckDB with httpfs, and Polars, on the same server.

    lake.py write duckdb|polars INPUT S3_URL LEVEL     NDJSON to Parquet
    lake.py scan  duckdb|polars S3_URL OUTPUT          a filter, and four columns of what it leaves
    lake.py group duckdb|polars S3_URL OUTPUT          counts and sums of 288 groups
    lake.py count S3_URL                               counts what any side has written
    lake.py clear S3_URL

The server and its keys are in the environment, as the AWS SDKs want them.
"""

import os
import sys
from urllib.parse import urlparse

ENDPOINT = os.environ.get("AWS_ENDPOINT_URL_S3", "")

# What the program is asked, with FROM's place left open; lake.rs has the same text.
SCAN = "SELECT id, user_id, amount, comment FROM {} WHERE country = 'JP' AND amount > 4000"
GROUP = (
    "SELECT country, product, count(*) AS n, sum(amount) AS amount, avg(score) AS score "
    "FROM {} GROUP BY country, product"
)


def duckdb_connection():
    from pathlib import Path

    import duckdb
    import duckdb_extension_httpfs

    (extension,) = Path(duckdb_extension_httpfs.__file__).parent.rglob("httpfs.duckdb_extension")
    database = duckdb.connect()
    database.execute(f"LOAD '{extension}'")
    database.execute("SET preserve_insertion_order = false")
    database.execute(f"""
        CREATE SECRET (TYPE s3, KEY_ID '{os.environ["AWS_ACCESS_KEY_ID"]}',
            SECRET '{os.environ["AWS_SECRET_ACCESS_KEY"]}', REGION '{os.environ["AWS_REGION"]}',
            ENDPOINT '{urlparse(ENDPOINT).netloc}', URL_STYLE 'path', USE_SSL false)
    """)
    return database


def duckdb_write(source, url, level):
    columns = {
        "id": "BIGINT",
        "user_id": "BIGINT",
        "session": "VARCHAR",
        "country": "VARCHAR",
        "product": "VARCHAR",
        "amount": "DECIMAL(12,2)",
        "quantity": "INTEGER",
        "score": "DOUBLE",
        "active": "BOOLEAN",
        "created_at": "TIMESTAMP",
        "comment": "VARCHAR",
    }
    columns = "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items()) + "}"
    duckdb_connection().execute(
        f"COPY (SELECT * FROM read_json('{source}', format = 'newline_delimited', "
        f"columns = {columns})) TO '{url}/rows.parquet' "
        f"(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {level})"
    )


def duckdb_query(query, url, output):
    query = query.format(f"read_parquet('{url}/*.parquet')")
    duckdb_connection().execute(f"COPY ({query}) TO '{output}' (FORMAT csv, HEADER)")


def polars_options():
    return {
        "aws_endpoint_url": ENDPOINT,
        "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
        "aws_region": os.environ["AWS_REGION"],
        "aws_allow_http": "true",
    }


def polars_write(source, url, level):
    import polars as pl

    columns = {
        "id": pl.Int64,
        "user_id": pl.Int64,
        "session": pl.String,
        "country": pl.String,
        "product": pl.String,
        # Its JSON reader refuses numbers in a column of decimals.
        "amount": pl.Float64,
        "quantity": pl.Int32,
        "score": pl.Float64,
        "active": pl.Boolean,
        # Its JSON reader takes four times as long to read times itself.
        "created_at": pl.String,
        "comment": pl.String,
    }
    time = pl.col("created_at").str.to_datetime(time_unit="us", time_zone="UTC")
    pl.scan_ndjson(source, schema=columns).with_columns(time).sink_parquet(
        f"{url}/rows.parquet",
        compression="zstd",
        compression_level=level,
        maintain_order=False,
        storage_options=polars_options(),
    )


def polars_rows(url):
    import polars as pl

    return pl.scan_parquet(f"{url}/*.parquet", storage_options=polars_options())


def polars_scan(url, output):
    import polars as pl

    rows = polars_rows(url).filter((pl.col("country") == "JP") & (pl.col("amount") > 4000))
    rows.select("id", "user_id", "amount", "comment").sink_csv(output, maintain_order=False)


def polars_group(url, output):
    import polars as pl

    rows = polars_rows(url).group_by("country", "product")
    rows.agg(
        pl.len().alias("n"), pl.col("amount").sum(), pl.col("score").mean()
    ).sink_csv(output, maintain_order=False)


def bucket_of(url):
    from pyarrow import fs

    s3 = fs.S3FileSystem(endpoint_override=ENDPOINT)
    return s3, url.removeprefix("s3://")


def count(url):
    """Prints rows, the sum of `id` (nothing lost, nothing doubled), bytes, files and types."""
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet
    from pyarrow import fs

    s3, folder = bucket_of(url)
    found = s3.get_file_info(fs.FileSelector(folder, recursive=True))
    files = [file for file in found if file.path.endswith(".parquet")]
    tables = [parquet.ParquetFile(s3.open_input_file(file.path)) for file in files]
    rows = sum(table.metadata.num_rows for table in tables)
    total = sum(
        compute.sum(table.read_row_group(group, columns=["id"])["id"]).as_py()
        for table in tables
        for group in range(table.num_row_groups)
    )
    size = sum(file.size for file in files)
    types = "; ".join(f"{field.name} {field.type}" for field in tables[0].schema_arrow)
    print(rows, total, size, len(files), types, sep="\t")


def clear(url):
    s3, folder = bucket_of(url)
    s3.delete_dir_contents(folder, missing_dir_ok=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", "duckdb", source, url, level]:
            duckdb_write(source, url, int(level))
        case ["write", "polars", source, url, level]:
            polars_write(source, url, int(level))
        case ["scan", "duckdb", url, output]:
            duckdb_query(SCAN, url, output)
        case ["scan", "polars", url, output]:
            polars_scan(url, output)
        case ["group", "duckdb", url, output]:
            duckdb_query(GROUP, url, output)
        case ["group", "polars", url, output]:
            polars_group(url, output)
        case ["count", url]:
            count(url)
        case ["clear", url]:
            clear(url)
        case _:
            sys.exit(__doc__)
