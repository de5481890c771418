"""Whether two tables hold the same rows."""

import math
import re
from collections import Counter
from decimal import Decimal

import pyarrow as pa

NANOS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
DAY = 86_400 * NANOS["s"]


def values(column):
    """A column's values as Python's that are equal only if they are the same: -0.0 isn't 0.0, NaN is
    NaN, and times are nanoseconds."""
    if isinstance(column, pa.ChunkedArray):
        return [value for chunk in column.chunks for value in values(chunk)]
    kind = column.type
    if pa.types.is_dictionary(kind):
        return values(column.dictionary_decode())
    if pa.types.is_map(kind):
        found = list(zip(values(column.keys), values(column.items)))
        return slices(column, found)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return slices(column, values(column.values))
    if pa.types.is_fixed_size_list(kind):
        return values(column.cast(pa.list_(kind.value_type)))
    if pa.types.is_struct(kind):
        members = [(kind.field(at).name, values(column.field(at))) for at in range(kind.num_fields)]
        valid = column.is_valid().to_pylist()
        return [
            tuple((name, member[row]) for name, member in members) if valid[row] else None
            for row in range(len(column))
        ]
    turn = lambda value: value
    if pa.types.is_floating(kind):
        turn = float_value
    elif pa.types.is_decimal(kind):
        turn = exact
    elif pa.types.is_date32(kind):
        column, turn = column.view(pa.int32()), lambda day: day * DAY
    elif pa.types.is_date64(kind):
        column, turn = column.view(pa.int64()), lambda millis: millis * NANOS["ms"]
    elif pa.types.is_time32(kind) or pa.types.is_time64(kind) or pa.types.is_timestamp(kind):
        unit = NANOS[kind.unit]
        column, turn = column.view(pa.int32() if pa.types.is_time32(kind) else pa.int64()), lambda one: one * unit
    elif pa.types.is_duration(kind):
        unit = NANOS[kind.unit]
        column, turn = column.view(pa.int64()), lambda one: one * unit
    elif pa.types.is_interval(kind):
        turn = str
    return [None if value is None else turn(value) for value in column.to_pylist()]


def slices(column, items):
    starts = column.offsets.to_pylist()
    valid = column.is_valid().to_pylist()
    return [tuple(items[a:b]) if here else None for a, b, here in zip(starts, starts[1:], valid)]


class Float(str):
    """A floating-point number by its shortest digits, so that -0.0 and NaN compare as they are."""


def float_value(value):
    return Float("nan" if value != value else repr(value))


def exact(value):
    """A number without the zeros at its end, at any precision."""
    sign, digits, exponent = value.as_tuple()
    while exponent < 0 and len(digits) > 1 and digits[-1] == 0:
        digits, exponent = digits[:-1], exponent + 1
    return Decimal((0 if digits == (0,) else sign, digits, 0 if digits == (0,) else exponent))


def kind_of(kind):
    """A type as rows show it: texts are texts, and a time's unit is that of its values."""
    if pa.types.is_dictionary(kind):
        return kind_of(kind.value_type)
    if pa.types.is_large_string(kind) or kind == pa.string_view() or pa.types.is_null(kind):
        return "string"
    if pa.types.is_large_binary(kind) or kind == pa.binary_view() or pa.types.is_fixed_size_binary(kind):
        return "binary"
    if pa.types.is_timestamp(kind):
        return "timestamp" + (" with a zone" if kind.tz else "")
    if pa.types.is_time(kind):
        return "time"
    if pa.types.is_date(kind):
        return "date"
    if pa.types.is_map(kind):
        return f"map<{kind_of(kind.key_type)}, {kind_of(kind.item_type)}>"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{kind_of(kind.value_type)}>"
    if pa.types.is_struct(kind):
        members = [kind.field(at) for at in range(kind.num_fields)]
        return "struct<" + ", ".join(f"{member.name}: {kind_of(member.type)}" for member in members) + ">"
    return str(kind)


def spelled(kind):
    """A type with its units. How texts, bytes and lists are laid out in memory is nobody's business,
    nor in which zone instants are told: SQL does so in UTC."""
    if pa.types.is_timestamp(kind):
        return f"{kind_of(kind)} [{kind.unit}]"
    if pa.types.is_time(kind):
        return str(kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{spelled(kind.value_type)}>"
    if pa.types.is_struct(kind):
        members = [kind.field(at) for at in range(kind.num_fields)]
        return "struct<" + ", ".join(f"{member.name}: {spelled(member.type)}" for member in members) + ">"
    return kind_of(kind)


def difference(right, seen, *, types="kind", ordered=False):
    """What is different, in a line or two; None if nothing is. `types`: "exact", "kind" or None."""
    if right.column_names != seen.column_names:
        return f"columns {right.column_names} became {seen.column_names}"
    show = {"exact": spelled, "kind": kind_of, None: lambda kind: ""}[types]
    for name, one, other in zip(right.column_names, right.schema.types, seen.schema.types):
        if show(one) != show(other):
            return f"column {name!r}: type {show(one)} became {show(other)}"
    if right.num_rows != seen.num_rows:
        return f"{right.num_rows} rows became {seen.num_rows}"
    right_rows, seen_rows = rows(right), rows(seen)
    if ordered:
        if right_rows == seen_rows:
            return None
    missing = Counter(right_rows)
    missing.subtract(seen_rows)
    gone = [row for row, count in missing.items() if count > 0]
    new = [row for row, count in missing.items() if count < 0]
    if gone:
        return f"row {shown(gone[0], right)} became {shown(nearest(gone[0], new), seen)}"
    return "the order of rows is another" if ordered else None


def rows(table):
    return list(zip(*[values(column) for column in table.columns])) if table.num_columns else []


def nearest(row, others):
    return max(others, key=lambda other: sum(a == b for a, b in zip(row, other)))


def shown(row, table):
    cells = ", ".join(f"{name}={value!r}" for name, value in zip(table.column_names, row))
    return cells if len(cells) < 400 else cells[:400] + "…"


def loose_difference(right, seen, *, ordered=False):
    """As `difference`, between two dialects: numbers are equal by value whatever their type, 0.0 is
    -0.0, a date is its midnight, and floating-point numbers differ in the last digits."""
    if right.num_columns != seen.num_columns:
        return f"{right.num_columns} columns became {seen.num_columns}"
    if right.num_rows != seen.num_rows:
        return f"{right.num_rows} rows became {seen.num_rows}"
    pairs = [loosened(one, other) for one, other in zip(right.columns, seen.columns)]
    if not pairs:
        return None
    right_rows, seen_rows = (list(zip(*side)) for side in zip(*pairs))
    if not ordered:
        # The rounded digits only bring equal rows side by side; what they can't tell apart is in the
        # order of the numbers.
        key = lambda row: ([sort_key(value) for value in row], [magnitude(value) for value in row])
        right_rows, seen_rows = sorted(right_rows, key=key), sorted(seen_rows, key=key)
    for one, other in zip(right_rows, seen_rows):
        if not all(same(a, b) for a, b in zip(one, other)):
            return f"row {shown(one, right)} became {shown(other, seen)}"
    return None


def loosened(one, other):
    floats = [pa.types.is_floating(kind) for kind in (one.type, other.type)]
    sides = [values(one), values(other)]
    if any(floats):
        return [[None if value is None else as_float(value) for value in side] for side in sides]
    return [[loose(value) for value in side] for side in sides]


def loose(value):
    if isinstance(value, Float):
        return as_float(value)
    if isinstance(value, tuple):
        return tuple(loose(item) for item in value)
    if isinstance(value, int) and not isinstance(value, bool):
        return exact(Decimal(value))
    return value


def as_float(value):
    return float(value) + 0.0 if isinstance(value, (str, int, Decimal)) else value


def sort_key(value):
    if value is None:
        return "0"
    return f"1{value:.5e}" if isinstance(value, float) else f"2{value!r}"


def magnitude(value):
    return value if isinstance(value, float) and value == value else 0.0


def same(one, other):
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (one != one and other != other) or math.isclose(one, other, rel_tol=1e-9)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other))
    return one == other


def skeleton(message):
    """A message without what differs from case to case, to count its kind."""
    message = re.sub(r"`[^`]*`|'[^']*'|\"[^\"]*\"", "…", message)
    return re.sub(r"-?\d[\d.eE+:-]*", "N", message)[:160]
