"""Ways to write a table into files: formats, writers and their odd options.

A form is a dictionary of plain values, so that it can be printed, and shrunk by leaving keys out:
what it doesn't say is usual.
"""

import base64
import datetime
import gzip
import json
import random
import struct
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import compare

TEXT_FORMATS = ["ndjson", "json", "csv"]


def form(rng, table):
    """How a table shall be written."""
    nested = any(pa.types.is_nested(kind) for kind in table.schema.types)
    maps = any(holds_map(kind) for kind in table.schema.types)
    formats = ["parquet"] * 5
    if not maps:
        formats += ["ndjson", "ndjson", "json"]
    if not nested:
        formats += ["csv", "csv"]
    chosen = {"format": rng.choice(formats), "salt": rng.randint(0, 2**32)}
    # What more than 8 files hold isn't all looked at before it is read.
    files = rng.choice([1, 1, 1, 1, 2, 3, 12])
    if files > 1 and table.num_rows >= files:
        chosen["files"] = files
    if chosen["format"] == "parquet":
        return chosen | parquet_form(rng, table, nested)
    chosen["declared"] = rng.random() < 0.5
    if rng.random() < 0.3:
        chosen["compression"] = rng.choice(["gz", "zst"])
    if rng.random() < 0.2:
        chosen["newline"] = "\r\n"
    if rng.random() < 0.1:
        chosen["bom"] = True
    if rng.random() < 0.3:
        chosen["open_end"] = True
    if chosen["format"] == "csv":
        chosen["quoting"] = rng.choice(["needed", "texts", "all"])
        if chosen["declared"]:
            if rng.random() < 0.4:
                chosen["delimiter"] = rng.choice([";", "\t", "|", "x"])
            if rng.random() < 0.2:
                chosen["quote"] = "'"
            if rng.random() < 0.3:
                chosen["null"] = rng.choice(["NULL", "\\N", "-", "null"])
            if rng.random() < 0.2:
                chosen["header"] = False
    elif rng.random() < 0.5 and files < 8:
        chosen["leave_nulls_out"] = True
    if chosen["format"] == "json":
        chosen["style"] = rng.choice(["array", "pretty", "several"])
    return chosen


def parquet_form(rng, table, nested):
    writers = ["pyarrow"] * 4
    # Neither has all types.
    if not nested:
        writers += ["duckdb", "polars"]
    chosen = {"writer": rng.choice(writers)}
    some = lambda share: rng.random() < share
    if some(0.5):
        chosen["group"] = rng.choice([1, 2, 3, 7, 50])
    if chosen["writer"] != "pyarrow":
        return chosen
    if some(0.4):
        chosen["statistics"] = rng.choice([False, ["id"], [table.column_names[-1]]])
    if some(0.3):
        chosen["dictionary"] = False
    if some(0.3):
        chosen["page_version"] = "2.0"
    if some(0.15) and any(pa.types.is_timestamp(kind) for kind in table.schema.types):
        chosen["int96"] = True
    if some(0.3):
        chosen["arrow_schema"] = False
    if some(0.5):
        chosen["codec"] = rng.choice(["none", "gzip", "zstd", "lz4"])
    if some(0.3):
        chosen["page"] = 64
    if some(0.3):
        chosen["page_index"] = True
    if some(0.2):
        chosen["lists"] = "item"
    if some(0.5):
        chosen["types"] = rng.choice(["large", "dictionary", "view", "ns", "ms", "zone", "date64"])
    if chosen.get("files") and some(0.5):
        chosen["reordered"] = True
    if chosen.get("files") and some(0.4):
        # The file that has the narrower types.
        chosen["narrow"] = rng.randrange(chosen["files"])
    return chosen


def holds_map(kind):
    return pa.types.is_map(kind) or any(holds_map(kind.field(at).type) for at in range(kind.num_fields))


def write(table, form, folder):
    """Writes the files below `folder`, and returns the table as it stands in them."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(form.get("salt", 0))
    if form["format"] == "parquet":
        table = retyped(table, form.get("types"))
    parts = form.get("files", 1)
    cut = [round(at * table.num_rows / parts) for at in range(parts + 1)]
    for at in range(parts):
        piece = table.slice(cut[at], cut[at + 1] - cut[at])
        if form["format"] == "parquet":
            if form.get("narrow") == at:
                piece = pa.table([narrowed(column) for column in piece.columns], names=piece.column_names)
            if form.get("reordered"):
                names = piece.column_names
                piece = piece.select(rng.sample(names, len(names)) if at else names)
            write_parquet(piece, form, folder / f"{at}.parquet")
        else:
            write_text(piece, form, folder / f"{at}.{form['format']}", rng)
    return table


def retyped(table, how):
    """The same values, in other types of Arrow's."""
    return pa.table([retyped_column(column, how) for column in table.columns], names=table.column_names)


def retyped_column(column, how):
    kind = column.type
    try:
        if how == "large" and pa.types.is_string(kind):
            return column.cast(pa.large_string())
        if how == "large" and pa.types.is_binary(kind):
            return column.cast(pa.large_binary())
        if how == "date64" and pa.types.is_date(kind):
            return column.cast(pa.date64())
        if how in ("ns", "ms") and pa.types.is_time(kind):
            return column.cast(pa.time64("ns") if how == "ns" else pa.time32("ms"))
        if how == "large" and pa.types.is_list(kind):
            return column.cast(pa.large_list(kind.value_type))
        if how == "view" and pa.types.is_string(kind):
            return column.cast(pa.string_view())
        if how == "dictionary" and (pa.types.is_string(kind) or kind == pa.int32()):
            return column.dictionary_encode()
        if how in ("ns", "ms") and pa.types.is_timestamp(kind):
            return column.cast(pa.timestamp(how, kind.tz))
        if how == "zone" and pa.types.is_timestamp(kind) and kind.tz:
            return column.cast(pa.timestamp("us", "Europe/Oslo"))
    except pa.ArrowInvalid:
        pass  # Not all of its values are such.
    return column


def narrowed(column):
    """The same values in a type that the column's own holds all of, if they fit."""
    kind = column.type
    try:
        if kind in (pa.int64(), pa.int32()):
            return column.cast(pa.int16())
        if kind in (pa.uint64(), pa.uint32()):
            return column.cast(pa.uint16())
        if kind == pa.float64():
            # Not by `cast`, which rounds.
            values = column.combine_chunks()
            single = values.cast(pa.float32())
            return single if compare.values(single) == compare.values(values) else column
        if kind == pa.decimal128(18, 4):
            return column.cast(pa.decimal128(9, 4))
        if kind == pa.timestamp("us"):
            return column.cast(pa.timestamp("ms"))
        if pa.types.is_string(kind):
            return column.cast(pa.large_string())
        if pa.types.is_null(kind) or column.null_count == len(column):
            return pa.nulls(len(column))
    except pa.ArrowInvalid:
        pass
    return column


def write_parquet(table, form, path):
    group = form.get("group", 1 << 20)
    if form["writer"] == "duckdb":
        database = duckdb.connect()
        database.execute("SET threads = 1")
        database.register("rows", table)
        database.execute(f"COPY (SELECT * FROM rows ORDER BY id) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE {group})")
        return
    if form["writer"] == "polars":
        pl.from_arrow(table).write_parquet(path, row_group_size=group)
        return
    pq.write_table(
        table,
        path,
        row_group_size=group,
        write_statistics=form.get("statistics", True),
        use_dictionary=form.get("dictionary", True),
        data_page_version=form.get("page_version", "1.0"),
        use_deprecated_int96_timestamps=form.get("int96", False),
        store_schema=form.get("arrow_schema", True),
        compression=form.get("codec", "snappy"),
        data_page_size=form.get("page"),
        write_page_index=form.get("page_index", False),
        use_compliant_nested_type="lists" not in form,
    )


def write_text(table, form, path, rng):
    newline = form.get("newline", "\n")
    if form["format"] == "csv":
        lines = csv_lines(table, form, rng)
    else:
        lines = json_lines(table, form)
    text = newline.join(lines)
    if form["format"] == "json":
        text = json_document(lines, form.get("style"), newline)
    elif lines and not form.get("open_end"):
        text += newline
    data = text.encode()
    if form.get("bom"):
        data = b"\xef\xbb\xbf" + data
    match form.get("compression"):
        case "gz":
            data = gzip.compress(data, mtime=0)
        case "zst":
            data = pa.compress(data, codec="zstd", asbytes=True)
    path = path.with_name(path.name + ("." + form["compression"] if "compression" in form else ""))
    path.write_bytes(data)


def read_json(folder, format):
    """The rows of JSON files, their numbers as they are written."""
    rows = []
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        elif path.suffix == ".zst":
            data = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
        number = lambda text: Number(text)
        read = lambda text: json.loads(text, parse_float=number, parse_int=number)
        text = data.decode()
        rows += read(text) if format == "json" else [read(line) for line in text.split("\n") if line]
    return rows


def json_document(lines, style, newline):
    if style == "several":
        return newline.join(lines)
    if style == "pretty":
        return json_indented(lines)
    return "[" + ",".join(lines) + "]"


def json_indented(lines):
    """Pretty-printed objects after each other, their numbers' digits as they were."""
    number = lambda text: Number(text)
    found = [json.loads(line, parse_float=number, parse_int=number) for line in lines]
    return "\n".join(dumped(one, indent=1) for one in found)


class Number:
    """A number as it is written."""

    def __init__(self, text):
        self.text = text


def dumped(value, indent=None, depth=0):
    """JSON with numbers as they were written."""
    gap = "\n" + " " * (depth + 1) if indent else ""
    end = "\n" + " " * depth if indent else ""
    if isinstance(value, Number):
        return value.text
    if isinstance(value, dict):
        inner = ",".join(f"{gap}{json.dumps(k, ensure_ascii=False)}:{dumped(v, indent, depth + 1)}" for k, v in value.items())
        return "{" + inner + (end if value else "") + "}"
    if isinstance(value, list):
        inner = ",".join(gap + dumped(one, indent, depth + 1) for one in value)
        return "[" + inner + (end if value else "") + "]"
    return json.dumps(value, ensure_ascii=False)


def json_lines(table, form):
    leave_out = form.get("leave_nulls_out")
    columns = [cells(column) for column in table.columns]
    rows = zip(*columns) if columns else []
    return [
        dumped({name: cell for name, cell in zip(table.column_names, row) if not (leave_out and cell is None)})
        for row in rows
    ]


def csv_lines(table, form, rng):
    delimiter, quote, null = form.get("delimiter", ","), form.get("quote", '"'), form.get("null", "")
    quoting = form.get("quoting", "needed")
    enclosed = lambda text: quote + text.replace(quote, quote * 2) + quote

    def field(cell, is_text):
        if cell is None:
            return null
        text = cell.text if isinstance(cell, Number) else cell if isinstance(cell, str) else json.dumps(cell)
        special = text == null or any(mark in text for mark in (delimiter, quote, "\n", "\r"))
        wanted = quoting == "all" or (quoting == "texts" and is_text and rng.random() < 0.9)
        # Blanks at the ends and the mark of a BOM are part of a text.
        return enclosed(text) if special or wanted else text

    texts = [pa.types.is_string(kind) for kind in table.schema.types]
    lines = []
    if form.get("header", True):
        lines.append(delimiter.join(field(name, True) for name in table.column_names))
    for row in zip(*[cells(column) for column in table.columns]):
        lines.append(delimiter.join(field(cell, is_text) for cell, is_text in zip(row, texts)))
    return lines


def cells(column):
    """What JSON says of each value: texts, booleans, `Number`s, lists, dictionaries and None."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # Where there are no chunks.
            column = pa.array([], column.type)
    kind = column.type
    if pa.types.is_list(kind):
        items = cells(column.values)
        starts = column.offsets.to_pylist()
        valid = column.is_valid().to_pylist()
        return [items[a:b] if here else None for a, b, here in zip(starts, starts[1:], valid)]
    if pa.types.is_struct(kind):
        members = [cells(column.field(at)) for at in range(kind.num_fields)]
        names = [kind.field(at).name for at in range(kind.num_fields)]
        valid = column.is_valid().to_pylist()
        return [
            {name: member[row] for name, member in zip(names, members)} if valid[row] else None
            for row in range(len(column))
        ]
    values = raw(column)
    return [None if value is None else cell(value, kind) for value in values]


def raw(column):
    """Integers for dates and times, which Python's own types can't all hold; else its own types."""
    kind = column.type
    if pa.types.is_date32(kind) or pa.types.is_time32(kind):
        column = column.view(pa.int32())
    elif pa.types.is_timestamp(kind) or pa.types.is_time64(kind) or pa.types.is_date64(kind):
        column = column.view(pa.int64())
    return column.to_pylist()


def cell(value, kind):
    if pa.types.is_boolean(kind) or pa.types.is_string(kind):
        return value
    if pa.types.is_integer(kind):
        return Number(str(value))
    if pa.types.is_floating(kind):
        return float_cell(value, kind)
    if pa.types.is_decimal(kind):
        return Number(format(value, "f"))
    if pa.types.is_binary(kind):
        return base64.b64encode(value).decode()
    if pa.types.is_date(kind):
        return date_text(value)
    if pa.types.is_time(kind):
        return time_text(value)
    if pa.types.is_timestamp(kind):
        day, rest = divmod(value, 86_400_000_000)
        return date_text(day) + "T" + time_text(rest) + ("Z" if kind.tz else "")
    raise TypeError(kind)


def float_cell(value, kind):
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if kind == pa.float32():
        # The fewest digits that mean this one.
        digits = next(digits for digits in range(1, 10) if as_float32(f"{value:.{digits}g}") == value)
        value = f"{value:.{digits}g}"
    return Number(str(value))


def as_float32(text):
    try:
        return struct.unpack("f", struct.pack("f", float(text)))[0]
    except OverflowError:
        return None


def date_text(day):
    return datetime.date.fromordinal(datetime.date(1970, 1, 1).toordinal() + day).isoformat()


def time_text(micros):
    seconds, fraction = divmod(micros, 1_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return text + (f".{fraction:06}" if fraction else "")


def spec(kind):
    """A type as pipeline files name it."""
    if pa.types.is_list(kind):
        return f"list<{spec(kind.value_type)}>"
    if pa.types.is_struct(kind):
        members = [kind.field(at) for at in range(kind.num_fields)]
        return "struct<" + ",".join(f"{member.name}:{spec(member.type)}" for member in members) + ">"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz else "timestamp_naive"
    if pa.types.is_floating(kind):
        return f"float{kind.bit_width}"
    names = {pa.date32(): "date", pa.time64("us"): "time"}
    return names.get(kind, str(kind))


def keys(form, table):
    """The keys of a `files` source that reads such files, besides type and url."""
    lines = []
    options = {name: form[name] for name in ("delimiter", "quote", "null", "header") if name in form}
    if options:
        inner = ", ".join(f"{name} = {json.dumps(value)}" for name, value in options.items())
        lines.append(f"csv = {{ {inner} }}")
    if form.get("declared"):
        lines.append(schema_key(table.schema))
    return lines


def toml_text(text):
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def schema_key(schema):
    columns = [f"    {{ name = {toml_text(one.name)}, type = {toml_text(spec(one.type))} }}," for one in schema]
    return "schema = [\n" + "\n".join(columns) + "\n]"


def can_be_queried(form):
    """Whether `query`, which has no options of files, sees the same as a source with these keys."""
    return not any(name in form for name in ("delimiter", "quote", "null", "header")) and not form.get("declared")
