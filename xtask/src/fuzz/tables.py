"""Random tables of nasty values: the ones that tools are known to lose or to change."""

import datetime
import struct
from decimal import Decimal

import pyarrow as pa

UTC = pa.timestamp("us", tz="UTC")
NAIVE = pa.timestamp("us")

# Twice where it shall come twice as often.
SCALARS = [
    pa.bool_(),
    pa.int8(),
    pa.int16(),
    pa.int32(),
    pa.int64(),
    pa.int64(),
    pa.uint8(),
    pa.uint16(),
    pa.uint32(),
    pa.uint64(),
    pa.float32(),
    pa.float64(),
    pa.float64(),
    pa.float64(),
    pa.decimal128(5, 2),
    pa.decimal128(18, 4),
    pa.decimal128(38, 0),
    pa.decimal128(38, 10),
    pa.string(),
    pa.string(),
    pa.string(),
    pa.binary(),
    pa.date32(),
    pa.date32(),
    pa.time64("us"),
    NAIVE,
    NAIVE,
    UTC,
    UTC,
]

FLOATS = [
    float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 5e-324, 2.2250738585072014e-308,
    1.7976931348623157e308, 0.1, 1.1, 1 / 3, 1e16, 9007199254740992.0, 1e22, 1e23, 123456.789, 1e-7,
    16777216.0, 1.5e-20, 2.5, -2.5, 1.0, 3.0, 1e5,
]  # fmt: skip

TEXTS = [
    "", "a", "b", "A", " ", "  x ", " 7 ", "007", "7", "+7", "-7", "-0", "1.10", "1.9", "1e5", "7e3",
    "12E12", "0x1F", "1_000", ".5", "5.", "true", "TRUE", "t", "no", "null", "NULL", "None", "NaN",
    "nan", "inf", "-Infinity", "9007199254740993", "12345678901234567.89", "1" * 40, "2024-02-30",
    "2024-02-29", "2024-01-01T00:00:00", "2024-01-01T00:00:00Z", "2024-01-01 00:00:00.123456789+02:00",
    "12:00", "\\N", "\\", "\\n", "'", "''", '"', '""', 'a"b', "a,b", "a;b", "a|b", "a\tb", ",", ";",
    "\n", "\r", "\r\n", "a\nb", "a\r\nb", "a\rb", "\n\n", "\x85", "\u2028", "\x0b", "\x0c", "\x1b[0m", "\x7f",
    "\x00", "\x01", "\ufeff", "\ufeffa", "𝄞", "🇳🇴", "e\u0301", "é", "\u202eabc", "İ", "ß", "ﬁ", "\u00a0",
    "{}", "[1]", '{"a":1}', '"quoted"', "__HIVE_DEFAULT_PARTITION__", "a=b", "a/b", "%2F", "..", "#",
    "# a", "-- a", "=1+1", "Ōsaka", "k" * 64, "z" * 5000,
]  # fmt: skip

# Nobody wants each table to be huge.
VAST_TEXT = "v" * 70_000

BYTES = [b"", b"\x00", b"\xff\xfe", b"a", b"\r\n", b'"', bytes(range(256)), "é".encode(), b"\x80" * 40]

DAYS = [
    datetime.date(*day).toordinal() - datetime.date(1970, 1, 1).toordinal()
    for day in [
        (1, 1, 1), (9999, 12, 31), (1970, 1, 1), (1969, 12, 31), (2000, 2, 29), (1900, 2, 28),
        (1582, 10, 4), (1582, 10, 15), (2024, 2, 29), (2024, 12, 30), (2025, 1, 1), (1677, 9, 21),
        (2262, 4, 11), (2024, 3, 31), (2024, 6, 15),
    ]
]  # fmt: skip
DAY = 86_400_000_000

NAMES = ["my col", "select", "Ünï", "Mixed", "a-b", "1st", "x", "group", "q'q"]


def signed_bounds(bits):
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def integers(kind):
    if pa.types.is_signed_integer(kind):
        low, high = signed_bounds(kind.bit_width)
    else:
        low, high = 0, 2**kind.bit_width - 1
    pool = [low, low + 1, high, high - 1, -1, 0, 1, 2, 5, 7, 100, 2**53 - 1, 2**53, 2**53 + 1, 2**24 + 1]
    return low, high, [value for value in pool if low <= value <= high]


def as_float32(value):
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return float("inf")


def value(rng, kind):
    """One value of a type that isn't nested, as what `plain` takes."""
    if pa.types.is_boolean(kind):
        return rng.random() < 0.5
    if pa.types.is_integer(kind):
        low, high, pool = integers(kind)
        turn = rng.random()
        if turn < 0.5:
            return rng.choice(pool)
        return rng.randint(max(low, -9), min(high, 9)) if turn < 0.8 else rng.randint(low, high)
    if pa.types.is_floating(kind):
        turn = rng.random()
        found = rng.choice(FLOATS) if turn < 0.6 else round(rng.uniform(-100, 100), rng.randint(0, 4))
        return as_float32(found) if kind == pa.float32() else found
    if pa.types.is_decimal(kind):
        digits = rng.choice([1, 2, kind.precision - 1, kind.precision, rng.randint(1, kind.precision)])
        unscaled = rng.choice([0, 1, -1, 10, 10**digits - 1, 1 - 10**digits, rng.randint(0, 10**digits - 1)])
        unscaled = max(min(unscaled, 10**kind.precision - 1), 1 - 10**kind.precision)
        sign, number = int(unscaled < 0), tuple(int(digit) for digit in str(abs(unscaled)))
        return Decimal((sign, number, -kind.scale))
    if pa.types.is_string(kind):
        turn = rng.random()
        if turn < 0.005:
            return VAST_TEXT
        if turn < 0.1:
            return rng.choice(TEXTS[:40]) + rng.choice(TEXTS[40:])
        return rng.choice(TEXTS)
    if pa.types.is_binary(kind):
        return rng.choice(BYTES)
    if pa.types.is_date(kind):
        return rng.choice(DAYS) if rng.random() < 0.7 else rng.randint(DAYS[0], DAYS[1])
    if pa.types.is_time(kind):
        return rng.choice([0, DAY - 1, DAY // 2, 1, 1_000, 1_000_000, rng.randint(0, DAY - 1)])
    if pa.types.is_timestamp(kind):
        day = value(rng, pa.date32())
        return day * DAY + rng.choice([0, 0, 1, DAY - 1, 3_600_000_000, rng.randint(0, DAY - 1)])
    raise TypeError(kind)


def plain(values, kind):
    """An array of values as `value` gives them, some of them None."""
    if pa.types.is_date(kind):
        return pa.array(values, pa.int32()).view(kind)
    if pa.types.is_time(kind) or pa.types.is_timestamp(kind):
        return pa.array(values, pa.int64()).view(kind)
    return pa.array(values, kind)


def array(rng, kind, rows, depth=0, absent=()):
    """A column: nulls on each level of it, and one of several ways to repeat values. `absent`: where
    the struct that it is a member of is NULL."""
    nulls = rng.choice([0, 0, 0.1, 0.5])
    if depth == 0 and rng.random() < 0.04:
        nulls = 1
    gone = [rng.random() < nulls for _ in range(rows)]
    gone = [one or other for one, other in zip(gone, absent)] if absent else gone
    if pa.types.is_list(kind):
        lengths = [0 if null else rng.choice([0, 1, 1, 2, 3]) for null in gone]
        items = array(rng, kind.value_type, sum(lengths), depth + 1)
        return pa.ListArray.from_arrays(offsets(lengths), items, type=kind, mask=pa.array(gone, pa.bool_()))
    if pa.types.is_map(kind):
        lengths = [0 if null else rng.choice([0, 1, 2]) for null in gone]
        keys = [f"{at}{rng.choice(TEXTS)}" for length in lengths for at in range(length)]
        items = array(rng, kind.item_type, sum(lengths), depth + 1)
        mask = pa.array(gone, pa.bool_())
        return pa.MapArray.from_arrays(offsets(lengths), pa.array(keys, pa.string()), items, type=kind, mask=mask)
    if pa.types.is_struct(kind):
        fields = [kind.field(at) for at in range(kind.num_fields)]
        members = [array(rng, field.type, rows, depth + 1, gone) for field in fields]
        return pa.StructArray.from_arrays(members, fields=fields, mask=pa.array(gone, pa.bool_()))
    pick = lambda: value(rng, kind)
    way = rng.choice(["any", "any", "few", "constant", "sorted"])
    if way == "few":
        few = [value(rng, kind) for _ in range(3)]
        pick = lambda: rng.choice(few)
    elif way == "constant":
        only = value(rng, kind)
        pick = lambda: only
    values = [pick() for _ in range(rows)]
    if way == "sorted" and not pa.types.is_floating(kind):
        values.sort()
    return plain([None if null else one for null, one in zip(gone, values)], kind)


def offsets(lengths):
    found = [0]
    for length in lengths:
        found.append(found[-1] + length)
    return pa.array(found, pa.int32())


def nested(rng, maps, depth=0):
    turn = rng.random()
    inner = lambda: nested(rng, maps, depth + 1) if depth < 2 and rng.random() < 0.3 else rng.choice(SCALARS)
    if turn < 0.5:
        return pa.list_(inner())
    if maps and turn < 0.65:
        return pa.map_(pa.string(), inner())
    return pa.struct([pa.field(name, inner()) for name in ["a", "b", "c"][: rng.randint(1, 3)]])


def table(rng, *, nesting=True, maps=True, most=7):
    """A table whose first column, `id`, tells rows apart."""
    rows = rng.choice([0, 1, 2, 3, 5, 10, 10, 30, 30, 100, 400])
    names, columns = ["id"], [pa.array(range(rows), pa.int64())]
    for at in range(rng.randint(1, most)):
        odd = rng.choice(NAMES)
        name = odd if rng.random() < 0.1 and odd not in names else f"c{at}"
        kind = nested(rng, maps) if nesting and rng.random() < 0.15 else rng.choice(SCALARS)
        names.append(name)
        columns.append(array(rng, kind, rows))
    return pa.table(columns, names=names)
