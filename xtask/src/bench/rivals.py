"""The other side of `cargo xtask bench files`.

    rivals.py versions
    rivals.py duckdb|polars ndjson|csv INPUT OUTPUT LEVEL
    rivals.py count FOLDER          counts what any side has written

Each tool is told the columns, may use all cores and need not keep the rows' order, which is what
Tidegate does too.
"""

import sys


def duckdb(form, source, target, level):
    import duckdb

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
    if form == "csv":
        read = f"read_csv('{source}', header = true, columns = {columns})"
    else:
        read = f"read_json('{source}', format = 'newline_delimited', columns = {columns})"
    database = duckdb.connect()
    database.execute("SET preserve_insertion_order = false")
    database.execute(
        f"COPY (SELECT * FROM {read}) TO '{target}/rows.parquet' "
        f"(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {level})"
    )


def polars(form, source, target, level):
    import polars as pl

    columns = {
        "id": pl.Int64,
        "user_id": pl.Int64,
        "session": pl.String,
        "country": pl.String,
        "product": pl.String,
        # Its JSON reader refuses numbers in a column of decimals.
        "amount": pl.Decimal(12, 2) if form == "csv" else pl.Float64,
        "quantity": pl.Int32,
        "score": pl.Float64,
        "active": pl.Boolean,
        "created_at": pl.Datetime("us", "UTC"),
        "comment": pl.String,
    }
    if form == "csv":
        rows = pl.scan_csv(source, schema=columns)
    else:
        # Its JSON reader takes four times as long to read times itself.
        text = columns | {"created_at": pl.String}
        time = pl.col("created_at").str.to_datetime(time_unit="us", time_zone="UTC")
        rows = pl.scan_ndjson(source, schema=text).with_columns(time)
    rows.sink_parquet(
        f"{target}/rows.parquet",
        compression="zstd",
        compression_level=level,
        maintain_order=False,
    )


def count(folder):
    """Prints rows, the sum of `id` (nothing lost, nothing doubled), bytes, files and types."""
    from pathlib import Path

    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    files = [file for file in Path(folder).rglob("*.parquet") if file.is_file()]
    tables = [parquet.ParquetFile(file) for file in files]
    rows = sum(table.metadata.num_rows for table in tables)
    total = sum(
        compute.sum(table.read_row_group(group, columns=["id"])["id"]).as_py()
        for table in tables
        for group in range(table.num_row_groups)
    )
    size = sum(file.stat().st_size for file in files)
    types = "; ".join(f"{field.name} {field.type}" for field in tables[0].schema_arrow)
    print(rows, total, size, len(files), types, sep="\t")


def versions():
    import duckdb
    import polars

    print(duckdb.__version__, polars.__version__, sep="\t")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["versions"]:
            versions()
        case ["count", folder]:
            count(folder)
        case ["duckdb", form, source, target, level]:
            duckdb(form, source, target, int(level))
        case ["polars", form, source, target, level]:
            polars(form, source, target, int(level))
        case _:
            sys.exit(__doc__)
