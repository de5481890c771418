"""The other side of `cargo xtask bench sql`: the data, DuckDB, and whether answers are the same.

    sql.py make  FOLDER ROWS               the Parquet files that all sides read
    sql.py ask   QUERY OUTPUT              DuckDB's answer, as a Parquet file
    sql.py same  FILES FILES               compares two answers, row by row; prints how many rows
    sql.py version
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

FILES = 10
GROUP = 1_000_000
# Two years of orders, evenly.
BEGIN, SPAN = 1_704_067_200_000_000, 63_072_000_000_000
STORES, PRODUCTS, CUSTOMERS = 50, 10_000, 2_000_000
STATUS = ["paid", "shipped", "returned", "open", "cancelled"]


def mixed(numbers, salt):
    """Numbers that look like chance and are the same everywhere: the mixer of splitmix64."""
    import numpy as np

    with np.errstate(over="ignore"):
        z = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(salt * 0xBF58476D1CE4E5B9 % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def below(numbers, salt, limit, kind="int32"):
    import numpy as np

    return (mixed(numbers, salt) % np.uint64(limit)).astype(kind)


def decimals(cents, precision, scale):
    import numpy as np
    import pyarrow as pa

    words = np.zeros((len(cents), 2), dtype="int64")
    words[:, 0] = cents
    kind = pa.decimal128(precision, scale)
    return pa.Decimal128Array.from_buffers(kind, len(cents), [None, pa.py_buffer(words)])


def orders(begin, end, total):
    import numpy as np
    import pyarrow as pa

    ids = np.arange(begin, end, dtype="uint64")
    step = SPAN // total
    times = BEGIN + ids.astype("int64") * step + below(ids, 1, step, "int64")
    status = pa.DictionaryArray.from_arrays(
        np.array([0, 0, 0, 0, 1, 1, 2, 3, 3, 4], dtype="int8")[below(ids, 7, 10)], STATUS
    )
    return pa.table({
        "id": ids.astype("int64"),
        "ts": pa.array(times, type=pa.timestamp("us")),
        "store": 1 + below(ids, 2, STORES),
        "product": 1 + below(ids, 3, PRODUCTS),
        "customer": 1 + below(ids, 4, CUSTOMERS),
        "quantity": 1 + below(ids, 5, 20),
        "price": decimals(100 + below(ids, 6, 50_000, "int64"), 10, 2),
        "status": status.cast(pa.string()),
    })


def write_orders(path, begin, end, total):
    import pyarrow.parquet as pq

    writer = None
    for first in range(begin, end, GROUP):
        table = orders(first, min(first + GROUP, end), total)
        writer = writer or pq.ParquetWriter(
            path,
            table.schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=["store", "product", "quantity", "price", "status"],
            write_page_index=True,
            store_decimal_as_integer=True,
        )
        writer.write_table(table, row_group_size=GROUP)
    if writer:
        writer.close()


def make(folder, total):
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = Path(folder)
    for name in ["orders", "stores", "products"]:
        (folder / name).mkdir(parents=True)
    stores = np.arange(1, STORES + 1, dtype="uint64")
    regions = np.array(["north", "south", "east", "west"])
    pq.write_table(
        pa.table({
            "store": stores.astype("int32"),
            "region": pa.array(regions[below(stores, 11, len(regions))], type=pa.string()),
            "square_metres": 50 + below(stores, 12, 2_000),
        }),
        folder / "stores/stores.parquet",
    )
    products = np.arange(1, PRODUCTS + 1, dtype="uint64")
    pq.write_table(
        pa.table({
            "product": products.astype("int32"),
            "category": pa.array([f"category-{n}" for n in below(products, 13, 40)], type=pa.string()),
            "cost": decimals(50 + below(products, 14, 20_000, "int64"), 10, 2),
        }),
        folder / "products/products.parquet",
    )
    edges = [total * n // FILES for n in range(FILES + 1)]
    with ProcessPoolExecutor() as pool:
        jobs = [
            pool.submit(write_orders, folder / f"orders/orders-{n:02}.parquet", begin, end, total)
            for n, (begin, end) in enumerate(zip(edges, edges[1:]))
        ]
        for job in jobs:
            job.result()


def ask(query, output):
    import duckdb

    duckdb.connect().execute(f"COPY ({query}) TO '{output}' (FORMAT parquet)")


def answer(files):
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(files)
    columns = {}
    for name, column in zip(table.column_names, table.columns):
        kind = column.type
        if pa.types.is_integer(kind):
            column = pc.cast(column, pa.int64())
        elif pa.types.is_decimal(kind):
            column = pc.cast(column, pa.decimal128(38, kind.scale))
        elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            column = pc.cast(column, pa.timestamp("us"))
        columns[name] = column
    table = pa.table(columns)
    return table.sort_by([(name, "ascending") for name in table.column_names]).combine_chunks()


def same(one, other):
    one, other = answer(one), answer(other)
    if one.schema.names != other.schema.names or one.schema.types != other.schema.types:
        sys.exit(f"the columns differ: {one.schema} and {other.schema}")
    if not one.equals(other):
        sys.exit(f"the answers differ: {one.num_rows} rows and {other.num_rows}")
    print(one.num_rows)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", folder, rows]:
            make(folder, int(rows))
        case ["ask", query, output]:
            ask(query, output)
        case ["same", one, other]:
            same(one, other)
        case ["version"]:
            import duckdb

            print(duckdb.__version__)
        case _:
            sys.exit(__doc__)
