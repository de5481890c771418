"""The other sides of `cargo xtask bench mysql`, on the same server.

    mysql.py connectorx|duckdb|dlt PORT TABLE FOLDER LEVEL     the table to Parquet
    mysql.py count FOLDER                                      counts what any side has written
    mysql.py versions

Each reads as fast as its manual knows how: ConnectorX, and dlt through it, over a connection for
each core.
"""

import os
import sys

CORES = os.cpu_count()


def connectorx(port, table, folder, level):
    import connectorx
    import pyarrow.parquet as parquet

    rows = connectorx.read_sql(
        f"mysql://root@127.0.0.1:{port}/bench",
        f"SELECT * FROM {table}",
        return_type="arrow",
        partition_on="id",
        partition_num=CORES,
    )
    parquet.write_table(
        rows, f"{folder}/rows.parquet", compression="zstd", compression_level=level
    )


def duckdb(port, table, folder, level):
    from pathlib import Path

    import duckdb
    import duckdb_extension_mysql_scanner as extension

    (file,) = Path(extension.__file__).parent.rglob("mysql_scanner.duckdb_extension")
    database = duckdb.connect()
    database.execute(f"LOAD '{file}'")
    database.execute("SET preserve_insertion_order = false")
    database.execute(
        f"ATTACH 'host=127.0.0.1 port={port} user=root database=bench' AS shop (TYPE mysql, READ_ONLY)"
    )
    database.execute(
        f"COPY shop.{table} TO '{folder}/rows.parquet' "
        f"(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {level})"
    )


def dlt(port, table, folder, _level):
    import dlt
    from dlt.sources.sql_database import sql_table

    # Its Parquet writer takes no level: zstd's is 1 then.
    os.environ["DATA_WRITER__COMPRESSION"] = "zstd"
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
    rows = sql_table(
        credentials=f"mysql+pymysql://root@127.0.0.1:{port}/bench",
        table=table,
        backend="connectorx",
        backend_kwargs={
            "conn": f"mysql://root@127.0.0.1:{port}/bench",
            "return_type": "arrow",
            "partition_on": "id",
            "partition_num": CORES,
        },
    )
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=f"{folder}.dlt",
        destination=dlt.destinations.filesystem(f"file://{folder}"),
        dataset_name="bench",
    )
    pipeline.run(rows, loader_file_format="parquet").raise_on_failed_jobs()


def count(folder):
    """Prints rows, the sums of `id` and of `sales_amt`, bytes and files."""
    from decimal import Decimal
    from pathlib import Path

    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    files = [file for file in Path(folder).rglob("*.parquet") if file.is_file()]
    tables = [parquet.ParquetFile(file) for file in files]

    def total(column):
        groups = (
            table.read_row_group(group, columns=[column])[column]
            for table in tables
            for group in range(table.num_row_groups)
        )
        return sum(compute.sum(group).as_py() for group in groups)

    rows = sum(table.metadata.num_rows for table in tables)
    amount = Decimal(total("sales_amt")).quantize(Decimal("0.01"))
    size = sum(file.stat().st_size for file in files)
    print(rows, total("id"), amount, size, len(files), sep="\t")


def versions():
    from importlib.metadata import version

    print(*map(version, ["connectorx", "duckdb", "dlt"]), sep="\t")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["versions"]:
            versions()
        case ["count", folder]:
            count(folder)
        case ["connectorx" | "duckdb" | "dlt" as side, port, table, folder, level]:
            globals()[side](port, table, folder, int(level))
        case _:
            sys.exit(__doc__)
