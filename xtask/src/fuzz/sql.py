"""Random SQL, in the dialects of DataFusion and of DuckDB.

An expression is a tree whose nodes know their kind, so that a smaller one of that kind can take
their place. What the dialects justly see in another way is either written differently for each, or
marked `alone`: then only a run and a `query` are compared.

    integer division     truncates in DataFusion, gives a double in DuckDB, whose `//` truncates
    overflow             integers wrap around here and are an error there: operands are kept small
    decimals             quotients and averages have other digits, and beside one of 38 digits
                         DuckDB drops the fraction of another: `alone`
    FLOAT beside 0.1     DuckDB makes the literal a FLOAT, Tidegate a double: only exact fractions
    -0.0                 is less than 0.0 here and the same there: `+ 0e0` makes it 0.0
    -NaN                 (inf - inf on x86) isn't NaN here, and is there: made NaN
    text of a number     floats, times and binary are written in other ways: `alone`
    text to number       `try_cast` accepts other spellings: `alone`
    float to integer     truncates here, rounds there: `alone`
    upper, lower         `ß` and its like: `alone`
    trim                 takes no-break spaces too there: `alone`
    date + interval      a date here, a timestamp there: compared as its midnight
    NULLs in ORDER BY    have other defaults: always said
"""

import re
from dataclasses import dataclass, replace

import pyarrow as pa

from tables import TEXTS

NUMBERS = ["int", "dec", "float"]
# What two numbers become beside each other: the wider one.
WIDTH = {"int": 1, "dec": 2, "float": 3}
TIMES = ["date", "ts", "tstz"]
PARTS = ["year", "month", "day", "hour", "minute", "second", "dow", "doy", "quarter", "week"]


@dataclass(frozen=True)
class Node:
    """`ours` and `theirs` have `$0`, `$1`, … where the kids stand."""

    kind: str
    ours: str
    kids: tuple = ()
    theirs: str | None = None
    alone: bool = False
    # Whether the last digits depend on the order of rows.
    rounds: bool = False

    def text(self, dialect):
        template = self.theirs if dialect == "duckdb" and self.theirs is not None else self.ours
        if not self.kids:
            return template
        return re.sub(r"\$(\d)", lambda found: self.kids[int(found[1])].text(dialect), template)

    def nodes(self):
        yield self
        for kid in self.kids:
            yield from kid.nodes()

    def is_alone(self):
        return any(node.alone for node in self.nodes())

    def smaller(self):
        """Trees of this kind that are smaller, the smallest first."""
        if self.kids:
            for node in sorted(list(self.nodes())[1:], key=lambda node: len(node.ours)):
                if node.kind == self.kind:
                    yield node
        for at, kid in enumerate(self.kids):
            for less in kid.smaller():
                yield replace(self, kids=self.kids[:at] + (less,) + self.kids[at + 1 :])


def kind_of(kind):
    """The kind of expression that a column of a type is."""
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_integer(kind):
        return "int"
    if pa.types.is_floating(kind):
        return "float"
    if pa.types.is_decimal(kind):
        return "dec"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "str"
    if pa.types.is_binary(kind):
        return "bin"
    if pa.types.is_date(kind):
        return "date"
    if pa.types.is_time(kind):
        return "time"
    if pa.types.is_timestamp(kind):
        return "tstz" if kind.tz else "ts"
    return "nested"


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def text_literal(text):
    return "'" + text.replace("'", "''") + "'"


class Expressions:
    """Expressions over the columns of some tables in scope: (alias, name, type)."""

    def __init__(self, rng, columns):
        self.rng = rng
        self.columns = columns

    def some(self, share):
        return self.rng.random() < share

    def of(self, kind):
        return [column for column in self.columns if kind_of(column[2]) == kind]

    def column(self, kind, narrow=None):
        found = self.of(kind)
        if narrow is not None:
            found = [column for column in found if narrow(column[2])]
        if not found:
            return self.literal(kind)
        alias, name, of = self.rng.choice(found)
        return Node(kind, f"{alias}.{quoted(name)}")

    def holds_float32(self):
        return any(column[2] == pa.float32() for column in self.columns)

    def holds_wide_decimal(self):
        return any(pa.types.is_decimal(column[2]) and column[2].precision == 38 for column in self.columns)

    def kinds(self):
        return sorted({kind_of(column[2]) for column in self.columns} - {"nested", "time", "bin"})

    def literal(self, kind):
        pick = self.rng.choice
        match kind:
            case "bool":
                return Node(kind, pick(["TRUE", "FALSE", "NULL::BOOLEAN"]))
            case "int":
                far = ["9007199254740993", "-9223372036854775808", "9223372036854775807", "4294967296", "255", "-128"]
                return Node(kind, pick(["0", "1", "-1", "2", "5", "7", "100", *far]))
            case "float":
                usual = ["0.0", "0.5", "1.5", "-2.5", "2.5", "0e0", "1e0", "0.25", "1e16", "CAST(1 AS DOUBLE)"]
                odd = ["CAST('NaN' AS DOUBLE)", "CAST('inf' AS DOUBLE)", "CAST('-inf' AS DOUBLE)", "1.5e-20"]
                return Node(kind, pick(usual + usual + odd))
            case "dec":
                inexact = [] if self.holds_float32() else ["-1.1", "0.01", "12345678.9012", "0.1"]
                return Node(kind, pick(["0.0", "0.5", "1.50", "2.5", "100.00", *inexact]))
            case "str":
                usable = [text for text in TEXTS if "\x00" not in text and len(text) < 80]
                return Node(kind, text_literal(pick(usable)))
            case "bin":
                return Node(kind, "X'6100ff'", theirs="'a\\x00\\xFF'::BLOB")
            case "date":
                days = ["1970-01-01", "2024-02-29", "9999-12-31", "0001-01-01", "2000-02-29", "1582-10-10"]
                return Node(kind, f"DATE '{pick(days)}'")
            case "time":
                return Node(kind, pick(["TIME '00:00:00'", "TIME '12:00:00'", "TIME '23:59:59.999999'"]))
            case "ts":
                times = [
                    "2024-02-29 00:00:00", "1969-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999",
                    "0001-01-01 00:00:00", "1970-01-01 00:00:00", "2024-03-31 02:30:00", "2262-04-12 00:00:00",
                ]  # fmt: skip
                return Node(kind, f"TIMESTAMP '{pick(times)}'")
            case "tstz":
                times = [
                    "2024-02-29T00:00:00Z", "1970-01-01T00:00:00+02:00", "2024-07-01T03:00:00Z",
                    "9999-12-31T00:00:00Z", "2024-03-31T02:30:00-05:00", "1600-01-01T00:00:00Z",
                ]  # fmt: skip
                time = pick(times)
                return Node(kind, f"TIMESTAMP '{time}'", theirs=f"TIMESTAMPTZ '{time}'")
        raise ValueError(kind)

    def leaf(self, kind):
        return self.column(kind) if self.some(0.75) else self.literal(kind)

    def make(self, kind, depth=2):
        """An expression of a kind."""
        if depth <= 0 or self.some(0.25):
            return self.column(kind) if self.some(0.8) else self.literal(kind)
        if kind == "bool":
            return self.condition(depth)
        if self.some(0.5):
            return self.chosen(kind, depth - 1)
        made = getattr(self, f"make_{kind}", None)
        return made(depth - 1) if made else self.chosen(kind, depth - 1)

    def chosen(self, kind, depth):
        """What works for every kind: one of several values."""
        a, b = self.make(kind, depth), self.make(kind, depth)
        c = self.make("bool", depth - 1)
        if kind in NUMBERS and self.some(0.3):
            b = self.literal(self.rng.choice(NUMBERS))
        kind = max(a.kind, b.kind, key=lambda kind: WIDTH.get(kind, 0))
        alone = kind == "dec" and self.holds_wide_decimal()
        turn = self.rng.randrange(6)
        if turn == 0:
            return Node(kind, "coalesce($0, $1)", (a, b), alone=alone)
        if turn == 1:
            return Node(kind, "nullif($0, $1)", (self.rid(a), self.rid(b)))
        if turn == 2:
            return Node(kind, "CASE WHEN $0 THEN $1 ELSE $2 END", (c, a, b), alone=alone)
        if turn == 3:
            return Node(kind, "CASE WHEN $0 THEN $1 END", (c, a))
        if turn == 4:
            of = self.rng.choice(["greatest", "least"])
            return Node(kind, f"{of}($0, $1)", (self.rid(a), self.rid(b)), alone=alone)
        kids = (self.rid(self.leaf(kind)), self.rid(self.leaf(kind)), b)
        return Node(kind, "CASE $0 WHEN $1 THEN $2 ELSE $0 END", kids, alone=alone)

    def rid(self, node):
        """A float without -0.0, which the dialects compare differently."""
        return Node("float", "($0 + 0e0)", (node,)) if node.kind == "float" else node

    def compared(self, depth):
        """Two expressions that can be compared."""
        kind = self.rng.choice(self.kinds())
        a = self.make(kind, depth)
        other = kind
        if kind in NUMBERS and self.some(0.4):
            other = self.rng.choice(NUMBERS)
        elif kind in TIMES and self.some(0.2):
            other = "date" if kind == "ts" else kind
        b = self.literal(other) if self.some(0.6) else self.make(other, depth)
        return self.rid(a), self.rid(b)

    def condition(self, depth):
        turn = self.rng.randrange(13)
        if turn < 4:
            op = self.rng.choice(["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"])
            a, b = self.compared(depth - 1)
            return Node("bool", f"($0 {op} $1)", (a, b), alone="dec" in (a.kind, b.kind) and self.holds_wide_decimal())
        if turn == 4:
            a, b = self.compared(depth - 1)
            c = self.rid(self.literal(b.kind))
            no = self.rng.choice(["", "NOT "])
            return Node("bool", f"($0 {no}BETWEEN $1 AND $2)", (a, b, c))
        if turn == 5:
            kind = self.rng.choice(self.kinds())
            a = self.rid(self.make(kind, depth - 1))
            kids = [self.rid(self.literal(kind)) for _ in range(self.rng.randint(1, 4))]
            inner = ", ".join(f"${at + 1}" for at in range(len(kids)))
            if self.some(0.1):
                inner += ", NULL"
            no = self.rng.choice(["", "NOT "])
            return Node("bool", f"($0 {no}IN ({inner}))", (a, *kids))
        if turn == 6:
            no = self.rng.choice(["", "NOT "])
            return Node("bool", f"($0 IS {no}NULL)", (self.make(self.rng.choice(self.kinds()), depth - 1),))
        if turn == 7:
            return Node("bool", "(NOT $0)", (self.make("bool", depth - 1),))
        if turn in (8, 9):
            op = self.rng.choice(["AND", "OR"])
            return Node("bool", f"($0 {op} $1)", (self.make("bool", depth - 1), self.make("bool", depth - 1)))
        if turn == 10:
            of = self.rng.choice(["IS TRUE", "IS NOT TRUE", "IS FALSE", "IS NOT FALSE", "IS UNKNOWN"])
            theirs = "($0 IS NULL)" if of == "IS UNKNOWN" else None
            return Node("bool", f"($0 {of})", (self.make("bool", depth - 1),), theirs)
        if turn == 11 and self.of("float"):
            return Node("bool", "isnan($0)", (self.column("float"),))
        if turn == 12 and self.of("str"):
            pattern = self.rng.choice(["%", "a%", "%a%", "_", "%1_", "00%", "%\n%", "", "%é%", "___"])
            of = self.rng.choice(["LIKE", "NOT LIKE"])
            return Node("bool", f"($0 {of} {text_literal(pattern)})", (self.make("str", depth - 1),))
        return self.column("bool")

    def make_int(self, depth):
        turn = self.rng.randrange(6)
        small = lambda: self.small()
        if turn == 0:
            return Node("int", f"($0 {self.rng.choice('+-*')} $1)", (small(), small()))
        if turn == 1:
            divisor = str(self.rng.choice([2, 3, -7, 10]))
            return Node("int", f"($0 / {divisor})", (small(),), f"($0 // {divisor})")
        if turn == 2:
            return Node("int", f"($0 % {self.rng.choice([2, 3, 10])})", (small(),))
        if turn == 3 and self.of("str"):
            return Node("int", "length($0)", (self.make("str", depth),))
        if turn == 4:
            kind = self.rng.choice(["date", "ts"])
            if self.of(kind):
                parts = PARTS if kind == "ts" else [part for part in PARTS if part not in ("hour", "minute", "second")]
                return Node("int", f"extract({self.rng.choice(parts)} FROM $0)", (self.column(kind),))
        return Node("int", "CAST($0 AS BIGINT)", (self.make("bool", depth),))

    def small(self):
        """An integer of at most 32 bits in 64, so that a product of two doesn't overflow."""
        if self.some(0.3):
            return Node("int", self.rng.choice(["1", "2", "-3", "10"]))
        column = self.column("int", lambda kind: kind.bit_width < 32 or kind == pa.int32())
        return Node("int", "CAST($0 AS BIGINT)", (column,)) if "." in column.ours else Node("int", "4")

    def make_float(self, depth):
        turn = self.rng.randrange(4)
        double = lambda: Node("float", "CAST($0 AS DOUBLE)", (self.column("float"),))
        if turn == 0:
            sum = f"($0 {self.rng.choice('+-*')} $1)"
            one_nan = f"CASE WHEN isnan({sum}) THEN CAST('NaN' AS DOUBLE) ELSE {sum} END"
            return Node("float", one_nan, (double(), self.literal("float")))
        if turn == 1:
            return Node("float", "abs($0)", (self.make("float", depth),))
        if turn == 2:
            return Node("float", "CAST($0 AS DOUBLE)", (self.make("int", depth),))
        return Node("float", "(0e0 - $0)", (self.column("float"),))

    def make_dec(self, depth):
        short = self.column("dec", lambda kind: kind.precision <= 18)
        turn = self.rng.randrange(3)
        if turn == 0 and "." in short.ours and '"' in short.ours:
            return Node("dec", f"($0 {self.rng.choice('+-*')} $1)", (short, Node("dec", self.rng.choice(["1.5", "0.10", "2"]))))
        if turn == 1:
            return Node("dec", "abs($0)", (self.column("dec"),))
        return Node("dec", "CAST($0 AS DECIMAL(20, 2))", (self.small(),))

    def make_str(self, depth):
        a = self.make("str", depth)
        turn = self.rng.randrange(8)
        if turn == 0:
            return Node("str", "($0 || $1)", (a, self.make("str", depth)))
        if turn == 1:
            return Node("str", "concat($0, $1)", (a, self.make("str", depth)))
        if turn == 2:
            return Node("str", f"substr($0, {self.rng.randint(1, 3)}, {self.rng.randint(0, 4)})", (a,))
        if turn == 3:
            return Node("str", "replace($0, 'a', 'bb')", (a,))
        if turn == 4:
            return Node("str", f"{self.rng.choice(['upper', 'lower'])}($0)", (a,), alone=True)
        if turn == 5:
            kind = self.rng.choice(["int", "bool", "date"])
            return Node("str", "CAST($0 AS VARCHAR)", (self.make(kind, depth),))
        if turn == 6:
            kind = self.rng.choice(["float", "ts", "tstz", "dec", "time"])
            return Node("str", "CAST($0 AS VARCHAR)", (self.column(kind),), alone=True)
        return Node("str", "trim($0)", (a,), alone=True)

    def make_date(self, depth):
        if self.some(0.5) and self.of("ts"):
            return Node("date", "CAST($0 AS DATE)", (self.column("ts"),))
        # Far from the calendar's ends, beyond which neither can go.
        near = Node("date", "CASE WHEN $0 BETWEEN DATE '1000-01-01' AND DATE '9000-01-01' THEN $0 END", (self.column("date"),))
        step = self.rng.choice(["1 day", "1 month", "-1 month", "12 month", "-400 day"])
        return Node("date", f"CAST($0 + INTERVAL '{step}' AS DATE)", (near,))

    def make_ts(self, depth):
        turn = self.rng.randrange(3)
        if turn == 0:
            part = self.rng.choice(["year", "month", "day", "hour", "week"])
            return Node("ts", f"date_trunc('{part}', $0)", (self.near("ts"),))
        if turn == 1:
            return Node("ts", "CAST($0 AS TIMESTAMP)", (self.near("date"),))
        step = self.rng.choice(["1 day", "1 month", "-1 hour", "90 minute", "-1 year"])
        return Node("ts", f"($0 + INTERVAL '{step}')", (self.near("ts"),))

    def make_tstz(self, depth):
        step = self.rng.choice(["1 hour", "-90 minute"])
        return Node("tstz", f"($0 + INTERVAL '{step}')", (self.near("tstz"),))

    def near(self, kind):
        bound = {"date": "DATE", "ts": "TIMESTAMP", "tstz": "TIMESTAMPTZ"}[kind]
        if kind == "tstz":
            low, high = "'1700-01-01T00:00:00Z'", "'2200-01-01T00:00:00Z'"
        else:
            low, high = "'1700-01-01'", "'2200-01-01'"
        theirs = f"CASE WHEN $0 BETWEEN {bound} {low} AND {bound} {high} THEN $0 END"
        return Node(kind, theirs.replace("TIMESTAMPTZ", "TIMESTAMP"), (self.column(kind),), theirs)


@dataclass(frozen=True)
class Query:
    """One SELECT; `@name@` in its texts is a table. Each part but the items may be missing."""

    items: tuple
    tables: str = "@src@"
    where: Node | None = None
    group: bool = False
    having: Node | None = None
    distinct: bool = False
    order: tuple = ()
    limit: str = ""
    union: "Query | None" = None
    on: Node | None = None
    total: bool = False

    def text(self, dialect, sources):
        head = "SELECT DISTINCT" if self.distinct else "SELECT"
        items = ", ".join(f"{item.text(dialect)} AS x{at}" for at, item in enumerate(self.items))
        sql = f"{head} {items} FROM {self.tables}"
        if self.on is not None:
            sql += f" ON {self.on.text(dialect)}"
        if self.where is not None:
            sql += f" WHERE {self.where.text(dialect)}"
        if self.group:
            keys = [str(at + 1) for at, item in enumerate(self.items) if item.kind != "agg"]
            sql += " GROUP BY " + ", ".join(keys) if keys else ""
        if self.having is not None:
            sql += f" HAVING {self.having.text(dialect)}"
        if self.union is not None:
            sql += " UNION ALL " + self.union.text(dialect, sources)
        if self.order:
            sql += " ORDER BY " + ", ".join(self.order) + self.limit
        for name, source in sources.items():
            sql = sql.replace(f"@{name}@", source)
        return sql

    def parts(self):
        return [part for part in (*self.items, self.where, self.having, self.on) if part is not None]

    def rounds(self):
        return any(node.rounds for part in self.parts() for node in part.nodes())

    def is_alone(self):
        alone = any(part.is_alone() for part in self.parts())
        return alone or (self.union is not None and self.union.is_alone())

    def smaller(self):
        if self.union is not None:
            yield replace(self, union=None)
            yield self.union
        for name, none in [("where", None), ("having", None), ("distinct", False), ("order", ()), ("limit", "")]:
            if getattr(self, name) != none and not (name == "order" and self.limit):
                changed = {name: none}
                if name in ("order", "distinct"):
                    changed["total"] = False
                yield replace(self, **changed)
        if len(self.items) > 1 and self.union is None and not self.order:
            for at in range(len(self.items)):
                yield replace(self, items=self.items[:at] + self.items[at + 1 :])
        for at, item in enumerate(self.items):
            for less in item.smaller():
                yield replace(self, items=self.items[:at] + (less,) + self.items[at + 1 :])
        for name in ("where", "having", "on"):
            if getattr(self, name) is not None:
                for less in getattr(self, name).smaller():
                    yield replace(self, **{name: less})


def query(rng, schemas):
    """A query over tables with these schemas: `src` and perhaps `other`."""
    columns = [("a", one.name, one.type) for one in schemas["src"]]
    make = Expressions(rng, columns)
    table = "@src@ a"
    shapes = ["map"] * 4 + ["order", "order", "group", "group", "global", "distinct", "union", "window", "nested"]
    if "other" in schemas:
        shapes += ["join"] * 3 + ["in"] * 2
    shape = rng.choice(shapes)
    where = make.make("bool", 3) if make.some(0.6) else None
    kinds = make.kinds()
    item = lambda depth=2: make.make(rng.choice(kinds), depth)
    several = lambda most: tuple(item() for _ in range(rng.randint(1, most)))
    ident = Node("int", 'a."id"')
    if shape == "map":
        plain = [Node("nested", f"a.{quoted(name)}") for _, name, kind in columns if kind_of(kind) in ("nested", "time", "bin")]
        return Query((ident, *several(4), *plain), table, where)
    if shape == "order":
        items = (ident, *several(2))
        turn = lambda: rng.choice([" ASC", " DESC"]) + rng.choice([" NULLS FIRST", " NULLS LAST"])
        # Floats as they are would be ordered with -0.0 before 0.0, or not.
        items = tuple(make.rid(one) for one in items)
        order = tuple(f"x{at}{turn()}" for at in range(1, len(items))) + ("x0" + turn(),)
        limit = f" LIMIT {rng.randint(0, 20)}" if make.some(0.6) else ""
        limit += f" OFFSET {rng.randint(0, 5)}" if limit and make.some(0.3) else ""
        return Query(items, table, where, order=order, limit=limit, total=True)
    if shape in ("group", "global"):
        keys = tuple(make.rid(item(1)) for _ in range(rng.randint(1, 2))) if shape == "group" else ()
        aggregates = tuple(aggregate(make) for _ in range(rng.randint(1, 4)))
        having = None
        if make.some(0.2):
            having = Node("bool", f"(count(*) > {rng.randint(0, 2)})")
        return Query((*keys, *aggregates), table, where, group=True, having=having)
    if shape == "distinct":
        return Query(tuple(make.rid(one) for one in several(2)), table, where, distinct=True)
    if shape == "union":
        first = several(3)
        second = tuple(make.make(one.kind if one.kind != "int" or make.some(0.5) else rng.choice(NUMBERS)) for one in first)
        if make.holds_wide_decimal():
            first = tuple(replace(one, alone=one.alone or one.kind == "dec") for one in first)
        return Query(first, table, where, union=Query(second, table, make.make("bool", 2)))
    if shape == "window":
        return Query((ident, *[window(make) for _ in range(rng.randint(1, 2))]), table, where)
    if shape == "nested":
        inner = Query((ident, *several(2)), table, where)
        kept = [Node(one.kind, f"a.x{at}") for at, one in enumerate(inner.items)]
        # The inner query is part of the text, so that only the outer one shrinks.
        return Within(inner, Query(tuple(kept), "(@inner@) a", Node("bool", f"({kept[-1].ours} IS NOT NULL)")))
    other = [("b", one.name, one.type) for one in schemas["other"]]
    common = sorted(set(kinds) & set(Expressions(rng, other).kinds()))
    if not common:
        return Query((ident, *several(2)), table, where)
    kind = rng.choice(common)
    both = Expressions(rng, columns + other)
    alone = kind == "dec" and both.holds_wide_decimal()
    if shape == "in":
        inner = Expressions(rng, other).column(kind)
        test = Node("bool", f"($0 {rng.choice(['', 'NOT '])}IN (SELECT {inner.ours} FROM @other@ b))", (make.column(kind),), alone=alone)
        if kind == "float":
            test = Node("bool", test.ours.replace(inner.ours, f"{inner.ours} + 0e0"), (make.rid(test.kids[0]),))
        return Query((ident, *several(2)), table, test)
    a, b = make.rid(make.column(kind)), make.rid(Expressions(rng, other).column(kind))
    on = Node("bool", "($0 = $1)", (a, b), alone=alone)
    how = rng.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
    if how == "JOIN" and make.some(0.3):
        on = Node("bool", "($0 AND $1)", (on, both.make("bool", 1)))
    items = (ident, Node("int", 'b."id"'), *[both.make(rng.choice(both.kinds()), 1) for _ in range(2)])
    where = both.make("bool", 2) if make.some(0.3) else None
    return Query(items, f"@src@ a {how} @other@ b", where, on=on)


@dataclass(frozen=True)
class Within:
    """A query over the rows of another."""

    inner: Query
    outer: Query
    total: bool = False

    def text(self, dialect, sources):
        return self.outer.text(dialect, {}).replace("@inner@", self.inner.text(dialect, sources))

    def rounds(self):
        return self.inner.rounds() or self.outer.rounds()

    def is_alone(self):
        return self.inner.is_alone() or self.outer.is_alone()

    def smaller(self):
        yield self.inner
        for less in self.inner.smaller():
            if len(less.items) == len(self.inner.items):
                yield replace(self, inner=less)
        for less in self.outer.smaller():
            yield replace(self, outer=less)


def aggregate(make):
    """An aggregate; sums of floats only over values whose order matters for the last digits alone."""
    rng = make.rng
    kind = rng.choice(make.kinds())
    a = make.rid(make.make(kind, 1))
    only = ""
    kids = (a,)
    if make.some(0.15):
        only, kids = " FILTER (WHERE $1)", (a, make.make("bool", 1))
    turn = rng.randrange(6)
    if turn == 0:
        return Node("agg", "count(*)" + only.replace("$1", "$0"), kids[1:])
    if turn == 1:
        return Node("agg", "count($0)" + only, kids)
    if turn == 2:
        return Node("agg", "count(DISTINCT $0)", (a,))
    if turn in (3, 4) and kind != "bool":
        return Node("agg", f"{rng.choice(['min', 'max'])}($0)" + only, kids)
    if turn == 5 and kind == "str":
        return Node("agg", "string_agg($0, ',' ORDER BY a.\"id\")", (a,))
    if kind == "int":
        return Node("agg", "sum($0)" + only, (make.small(), *kids[1:]))
    if kind == "float":
        tame = Node("float", "CASE WHEN abs($0) < 1e6 THEN $0 END", (make.column("float"),))
        return Node("agg", f"{rng.choice(['sum', 'avg'])}($0)" + only, (tame, *kids[1:]), rounds=True)
    if kind == "bool":
        return Node("agg", f"{rng.choice(['bool_and', 'bool_or'])}($0)" + only, kids)
    if kind == "dec":
        short = make.column("dec", lambda kind: kind.precision <= 18)
        return Node("agg", "sum($0)" + only, (short, *kids[1:]))
    return Node("agg", f"{rng.choice(['min', 'max', 'count'])}($0)" + only, kids)


def window(make):
    rng = make.rng
    kind = rng.choice(make.kinds())
    a = make.rid(make.column(kind))
    by = f"PARTITION BY $1 " if make.some(0.5) else ""
    kids = (a, make.rid(make.column(rng.choice(make.kinds())))) if by else (a,)
    order = 'ORDER BY a."id"'
    turn = rng.randrange(5)
    if turn == 0:
        return Node("win", f"row_number() OVER ({by}{order})", kids)
    if turn == 1:
        return Node("win", f"{rng.choice(['lag', 'lead'])}($0) OVER ({by}{order})", kids)
    if turn == 2:
        rows = rng.choice(["ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING", "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"])
        return Node("win", f"count($0) OVER ({by}{order} {rows})", kids)
    if turn == 3:
        return Node("win", f"rank() OVER ({by}ORDER BY $0 NULLS LAST)", kids)
    return Node("win", f"{rng.choice(['first_value', 'last_value', 'max'])}($0) OVER ({by}{order})", kids)
