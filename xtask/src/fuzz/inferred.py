"""Whether what was read says what the text said, whichever types were found out."""

import base64
import datetime
import json
import re
from decimal import Decimal, InvalidOperation

import pyarrow as pa

import compare
from files import Number, as_float32, cells, dumped

FLOATS = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf", "inf": "inf", "-inf": "-inf"}


def difference(written, seen, is_csv):
    """What isn't what was written; None if all is. Rows are told apart by the first column, `id`."""
    tokens = {name: cells(column) for name, column in zip(written.column_names, written.columns)}
    return unlike(tokens, written.num_rows, seen, is_csv)


def unlike(tokens, count, seen, is_csv):
    extra = set(seen.column_names) - set(tokens)
    missing = {
        name for name, column in tokens.items()
        if name not in seen.column_names and any(cell is not None for cell in column)
    }  # fmt: skip
    if extra or missing:
        return f"columns {sorted(tokens)} became {sorted(seen.column_names)}"
    if seen.num_rows != count:
        return f"{count} rows became {seen.num_rows}"
    if count == 0:
        return None
    where = {int(float(value)): row for row, value in enumerate(seen["id"].to_pylist())}
    rows = [where.get(int(cell.text)) for cell in tokens["id"]]
    if None in rows:
        return "some rows are gone"
    for name in seen.column_names:
        kind, values = seen[name].type, compare.values(seen[name])
        for token, row in zip(tokens[name], rows):
            if not kept(token, values[row], kind, is_csv):
                shown = dumped(token)
                return f"column {name!r}: {shown[:200]} became {str(values[row])[:200]!r} ({kind})"
    return None


def kept(token, value, kind, is_csv=False):
    """Whether a value can be written back to what was read; the spacing of a number and the zeros
    at the end of a fraction aside."""
    if token is None or value is None:
        return token is None and value is None
    if pa.types.is_list(kind):
        of = kind.value_type
        return isinstance(token, list) and len(token) == len(value) and all(kept(t, v, of) for t, v in zip(token, value))
    if pa.types.is_struct(kind):
        members = dict(value)
        types = {kind.field(at).name: kind.field(at).type for at in range(kind.num_fields)}
        extra = isinstance(token, dict) and any(cell is not None for name, cell in token.items() if name not in types)
        return isinstance(token, dict) and not extra and all(kept(token.get(n), members[n], types[n]) for n in types)
    if is_csv and not isinstance(token, str):
        token = token.text if isinstance(token, Number) else json.dumps(token)
    if pa.types.is_string(kind):
        return text_kept(token, value)
    if pa.types.is_boolean(kind):
        return token is value or (is_csv and token == str(value).lower())
    if pa.types.is_binary(kind):
        return token == base64.b64encode(value).decode()
    if isinstance(token, str) and not is_csv and not pa.types.is_temporal(kind):
        return pa.types.is_floating(kind) and FLOATS.get(token) == value
    text = token.text if isinstance(token, Number) else token
    if pa.types.is_integer(kind):
        return re.fullmatch(r"-?(0|[1-9]\d*)", text.strip(" ")) is not None and int(text) == value
    if pa.types.is_decimal(kind):
        return number(text) == value
    if pa.types.is_floating(kind):
        if text in FLOATS or value in ("nan", "inf", "-inf"):
            return FLOATS.get(text) == value
        # `12E12` is a code.
        is_code = is_csv and re.fullmatch(r"\d+[eE]\d+|[-+]?0\d.*|\+.*", text.strip(" ")) is not None
        # A 32-bit float is written with fewer digits than its double has.
        same = as_float32(text) == float(value) if kind == pa.float32() else number(text) == number(value)
        return not is_code and same and text.strip(" ").startswith("-") == value.startswith("-")
    if pa.types.is_time(kind):
        return instant(f"1970-01-01T{text}") == value
    if pa.types.is_date(kind):
        return instant(text) == value and "T" not in text
    if pa.types.is_timestamp(kind):
        return instant(text) == value and (instant_has_zone(text) == (kind.tz is not None))
    return False


def text_kept(token, value):
    if isinstance(token, str):
        return token == value
    if isinstance(token, Number) and token.text == value:
        return True
    try:
        seen = json.loads(value, parse_float=Number, parse_int=Number)
    except ValueError:
        return False
    return alike(token, seen)


def alike(one, other):
    """Whether two documents say the same."""
    if isinstance(one, Number) and isinstance(other, Number):
        return number(one.text) == number(other.text)
    if isinstance(one, dict) and isinstance(other, dict):
        return all(alike(one.get(name), other.get(name)) for name in one.keys() | other.keys())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(alike(a, b) for a, b in zip(one, other))
    return type(one) is type(other) and one == other


def number(text):
    try:
        return compare.exact(Decimal(text.strip(" ")))
    except InvalidOperation:
        return None


def instant(text):
    """Nanoseconds since 1970 of a date or a time in ISO 8601."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?)?", text)
    if found is None:
        return None
    day, hour, minute, second, fraction, zone = found.groups()
    try:
        days = datetime.date.fromisoformat(day).toordinal() - datetime.date(1970, 1, 1).toordinal()
    except ValueError:
        return None
    seconds = int(hour or 0) * 3600 + int(minute or 0) * 60 + int(second or 0)
    if zone and zone != "Z":
        sign = -1 if zone[0] == "+" else 1
        seconds += sign * (int(zone[1:3]) * 3600 + int(zone[-2:]) * 60)
    return (days * 86_400 + seconds) * 10**9 + int((fraction or "0").ljust(9, "0"))


def instant_has_zone(text):
    return re.search(r"T.*(Z|[+-]\d\d:?\d\d)$", text) is not None or re.search(r" .*(Z|[+-]\d\d:?\d\d)$", text) is not None
