"""A case: tables in files, and one question about them that has one right answer."""

import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa

import compare
import files
import inferred
import program as programs
from program import Answer

# A sink whose files have the rows' own types, as those of a query have.
OUT = 'type = "parquet"\ntypes = "exact"'
# Errors that say what is so.
JUSTIFIED = [
    "there is no record to learn a schema from",
    "no column is left for the files",  # All are partition keys.
    # A debug assertion of DataFusion's where it prunes by `CAST(bool AS BIGINT) <> 1`; without it,
    # nothing is pruned.
    r"physical-expr-[0-9.]+/src/simplifier/mod.rs:64.*expressions have incompatible types",
    "too long to name a folder",
    # As in DuckDB: 38 digits are all that a decimal has.
    r"Decimal128\(38, \d+\)\. Overflowing on -?9{10}",
]
NO_ROWS = "no rows"
# What sinks are tried with.
USUAL = {"format": "parquet", "writer": "pyarrow"}


@dataclass
class Source:
    """A table, and how it is written."""

    table: pa.Table
    form: dict


@dataclass
class Case:
    """`sources` has `src` and perhaps `other`. The question is one of: `sink`, the keys of a sink
    through which the rows go and are read back; `query`; or neither, for the rows as they are."""

    sources: dict
    sink: dict | None = None
    query: object | None = None
    # Files of the case are here once it was asked.
    folder: Path | None = field(default=None, compare=False)


@dataclass
class Finding:
    """What isn't right."""

    kind: str
    what: str
    right: Answer | None = None
    seen: Answer | None = None

    def signature(self):
        """What tells kinds of findings apart, as far as a message can."""
        return f"{self.kind}: {compare.skeleton(self.what)[:40]}" if self.seen and self.seen.error else self.kind


class Asker:
    """Asks the program, and compares what it answers."""

    def __init__(self, program, folder):
        self.program = program
        self.folder = Path(folder)
        self.count = 0
        self.asked = 0
        self.refused = {}
        self.minimising = False

    def fresh(self, case):
        """A new folder with the case's files."""
        self.count += 1
        folder = self.folder / str(self.count)
        folder.mkdir()
        case.folder = folder
        return {name: files.write(source.table, source.form, folder / name) for name, source in case.sources.items()}

    def ask(self, case):
        """The first thing that isn't right, or None."""
        written = self.fresh(case)
        self.asked += 1
        try:
            if case.query is not None:
                return self.ask_query(case, written)
            if case.sink is not None:
                return self.ask_sink(case, written["src"])
            return self.ask_rows(case, written["src"])
        finally:
            self.forget(case)

    def forget(self, case):
        shutil.rmtree(case.folder, ignore_errors=True)

    def ask_rows(self, case, written):
        """Whether the rows are those that were written: by a run, and by a query."""
        form = case.sources["src"].form
        seen = self.run(case, [("out", OUT, "src")])["out"]
        if finding := self.rows_differ("read by a run", form, written, seen):
            return finding
        if not files.can_be_queried(form):
            return None
        queried = self.program.query(case.folder, "SELECT * FROM 'src/'")
        if finding := self.rows_differ("read by a query", form, written, queried):
            return finding
        return self.two_differ("a run and a query", seen, queried) or self.texts_differ(case)

    def texts_differ(self, case):
        """Whether a run and a query write the same lines."""
        nested = any(pa.types.is_nested(kind) for kind in case.sources["src"].table.schema.types)
        formats = ["ndjson"] if nested else ["ndjson", "csv"]
        if self.run_to_sinks(case, [(name, f'type = "files"\nformat = "{name}"', "src") for name in formats]):
            return None
        for name in formats:
            error = self.program.call(case.folder, "query", "--quiet", "SELECT * FROM 'src/'", "--output", f"text.{name}")
            paths = sorted(path for path in (case.folder / name).rglob("*") if path.is_file())
            ran = b"".join(path.read_bytes() for path in paths)
            asked = b"" if error else (case.folder / f"text.{name}").read_bytes()
            # Several files have several headers, and their rows come in any order.
            ran, asked = (sorted(set(side.decode().split("\n"))) for side in (ran, asked))
            if paths and ran != asked:
                one = next(line for line in ran + asked if (line in ran) != (line in asked))
                other = min((line for line in asked if line not in ran), key=lambda line: line[:6] != one[:6], default="")
                return Finding(f"a run and a query as {name}", f"{error or ''}{one[:300]} became {other[:300]}")
        return None

    def rows_differ(self, kind, form, written, seen):
        if seen.error == NO_ROWS and written.num_rows == 0:
            return None
        if seen.error:
            # A value of another kind than the sample's is rejected.
            unseen = form.get("files", 1) > 8 and form.get("declared") is False and "rejected" in seen.error
            return self.refusal(kind, seen, written.num_rows == 0 or unseen)
        if form["format"] == "parquet":
            # INT96 has no zone, and other writers have other types.
            loose = form["writer"] != "pyarrow" or "int96" in form or "arrow_schema" in form
            what = compare.difference(written, seen.table, types=None if loose else "kind")
        elif form["declared"]:
            what = compare.difference(written, seen.table, types="kind")
        else:
            what = inferred.difference(written, seen.table, form["format"] == "csv")
        return Finding(kind, what, Answer(table=written), seen) if what else None

    def ask_sink(self, case, written):
        """Whether rows come back from what a sink makes of them."""
        form, sink = case.sources["src"].form, case.sink
        keys = "\n".join(f"{name} = {value}" for name, value in sink["keys"].items())
        failed = self.run_to_sinks(case, [("out", keys, "src")])
        if failed:
            return self.refusal("written by a sink", Answer(error=failed), False)
        if not any(path.is_file() for path in (case.folder / "out").rglob("*")):
            return None if written.num_rows == 0 else Finding("written by a sink", f"{written.num_rows} rows became none")
        if what := self.misread(case, sink, written):
            return Finding("written by a sink, as others read it", what, Answer(table=written))
        back = {"format": sink["format"], "declared": sink["format"] != "parquet"} | sink.get("csv", {})
        reader = Case({"src": Source(written, back)}, folder=case.folder)
        seen = self.run(reader, [("back", OUT, "src")], url="out")["back"]
        if sink.get("partition"):
            queried = self.program.query(case.folder, "SELECT * FROM 'out/'")
            return self.partitions_differ(written, queried, sink["partition"])
        if seen.error:
            return self.refusal("written by a sink and read back", seen, False)
        what = compare.difference(written, seen.table, types=None if sink["format"] == "parquet" else "kind")
        return Finding("written by a sink and read back", what, Answer(table=written), seen) if what else None

    def misread(self, case, sink, written):
        """What others see in a sink's files that isn't what was written."""
        if sink["format"] == "parquet" and "partition" not in sink:
            return compare.difference(written, programs.read_folder(case.folder / "out"), types=None)
        if sink["format"] in ("ndjson", "json"):
            tokens = files.read_json(case.folder / "out", sink["format"])
            columns = {name: [row.get(name) for row in tokens] for name in written.column_names}
            return inferred.unlike(columns, len(tokens), written, False)
        return None

    def partitions_differ(self, written, seen, name):
        if seen.error:
            return self.refusal("partitions read back", seen, False)
        text = lambda cells: [None if cell in (None, "") else getattr(cell, "text", cell) for cell in cells]
        right = text(files.cells(written[name]))
        if pa.types.is_boolean(written[name].type):
            right = [None if cell is None else str(cell).lower() for cell in right]
        by_id = lambda table: table.sort_by("id")
        names = [one for one in written.column_names if one != name] + [name]
        right_table = written.drop_columns([name]).append_column(name, pa.array(right, pa.string()))
        seen_table = seen.table
        if set(seen_table.column_names) == set(names):
            values = text(files.cells(seen_table[name]))
            values = [str(value).lower() if isinstance(value, bool) else value for value in values]
            seen_table = seen_table.drop_columns([name]).append_column(name, pa.array(values, pa.string()))
        what = compare.difference(by_id(right_table.select(names)), by_id(seen_table), types=None)
        return Finding("partitions read back", what, Answer(table=right_table), seen) if what else None

    def ask_query(self, case, written):
        """Whether a run, a query and DuckDB give the same rows."""
        ran = self.run_queries(case, [case.query])[0]
        return self.compare_answers(case, written, case.query, ran)

    def ask_queries(self, case, queries):
        """As `ask` for each of several queries, in one run; those that aren't right."""
        written = self.fresh(case)
        try:
            for query, ran in zip(queries, self.run_queries(case, queries)):
                self.asked += 1
                if finding := self.compare_answers(case, written, query, ran):
                    yield query, finding
        finally:
            self.forget(case)

    def schemas(self, case):
        """The schemas of the case's tables as a query sees them; None if it can't read one."""
        self.fresh(case)
        try:
            answers = {name: self.program.query(case.folder, f"SELECT * FROM '{name}/'") for name in case.sources}
            if any(answer.error for answer in answers.values()):
                return None
            return {name: answer.table.schema for name, answer in answers.items()}
        finally:
            self.forget(case)

    def compare_answers(self, case, written, query, ran):
        asked = self.program.query(case.folder, query.text("ours", {name: f"'{name}/'" for name in case.sources}))
        if finding := self.two_differ("a run and a query", ran, asked, query):
            return finding
        if query.is_alone():
            return None
        theirs = self.duckdb(case, written, query)
        if theirs.error:
            return None
        if asked.error:
            return self.refusal("a query that DuckDB answers", asked, False)
        what = compare.loose_difference(theirs.table, asked.table, ordered=query.total)
        return Finding("DuckDB and a query", what, theirs, asked) if what else None

    def two_differ(self, kind, ran, asked, query=None):
        if ran.error == NO_ROWS and asked.table is not None and asked.table.num_rows == 0:
            return None
        if ran.error and asked.error:
            return self.refusal("both", ran, True) or self.refusal("both", asked, True)
        failed = ran.error or asked.error
        if failed and any(re.search(pattern, failed, re.DOTALL) for pattern in JUSTIFIED):
            return None
        if ran.error or asked.error:
            which = "the run" if ran.error else "the query"
            return Finding(f"{kind}: one fails", f"only {which} fails: {ran.error or asked.error}", ran, asked)
        if query and query.rounds():
            what = compare.loose_difference(ran.table, asked.table)
        else:
            what = compare.difference(ran.table, asked.table, types="exact", ordered=query is not None and query.total)
        return Finding(kind, what, ran, asked) if what else None

    def duckdb(self, case, written, query):
        database = duckdb.connect()
        database.execute("SET threads = 1")
        database.execute("SET TimeZone = 'UTC'")
        for name in case.sources:
            table = written[name]
            if case.sources[name].form["format"] != "parquet" and not case.sources[name].form["declared"]:
                table = self.program.query(case.folder, f"SELECT * FROM '{name}/'").table
                if table is None:
                    return Answer(error="the table can't be read")
            # DuckDB crashes on some views.
            plain = [pa.string() if kind == pa.string_view() else kind for kind in table.schema.types]
            plain = pa.schema([one.with_type(kind) for one, kind in zip(table.schema, plain)])
            database.register("rows", table.cast(plain))
            database.execute(f"CREATE TABLE {name} AS SELECT * FROM rows")
            database.unregister("rows")
        try:
            sql = query.text("duckdb", {name: name for name in case.sources})
            return Answer(table=database.execute(sql).to_arrow_table())
        except duckdb.Error as error:
            return Answer(error=str(error))
        finally:
            database.close()

    def refusal(self, kind, answer, expected):
        """An error where none is known to be right, or one that is never right."""
        justified = any(re.search(pattern, answer.error, re.DOTALL) for pattern in JUSTIFIED)
        if programs.is_internal(answer.error) and not justified:
            return Finding("an internal error", answer.error, None, answer)
        justified = justified or expected
        if self.minimising:
            return None if justified else Finding(f"refused: {kind}", answer.error, None, answer)
        line = f"{kind}: {compare.skeleton(answer.error.splitlines()[0])}"
        self.refused[line] = self.refused.get(line, 0) + 1
        return None if justified else Finding(f"refused: {kind}", answer.error, None, answer)

    def run(self, case, sinks, url="src"):
        """Runs the rows into sinks, (name, keys, input), and reads what they have made."""
        error = self.run_to_sinks(case, sinks, url)
        if error:
            return {name: Answer(error=error) for name, _, _ in sinks}
        return {name: self.made(case, name) for name, _, _ in sinks}

    def made(self, case, name):
        """What a sink has made: without rows there is no file, and nothing says which types they have."""
        table = programs.read_folder(case.folder / name)
        return Answer(error=NO_ROWS) if table is None else Answer(table=table)

    def run_to_sinks(self, case, sinks, url="src"):
        text = source_text("src", case.sources["src"], url)
        return self.program.run(case.folder, header() + text + "".join(sink_text(*sink) for sink in sinks))

    def run_queries(self, case, queries):
        """The answers of `sql` transforms, all in one run if they succeed, else each in its own."""
        answers = self.run_transforms(case, queries)
        if answers is None and len(queries) == 1:
            return [Answer(error=self.error)]
        if answers is None:
            return [self.run_queries(case, [query])[0] for query in queries]
        return answers

    def run_transforms(self, case, queries):
        for at in range(len(queries)):
            shutil.rmtree(case.folder / f"out{at}", ignore_errors=True)
        self.error = self.program.run(case.folder, queries_pipeline(case, queries))
        if self.error:
            return None
        return [self.made(case, f"out{at}") for at in range(len(queries))]


def queries_pipeline(case, queries):
    """A pipeline with a transform for each query; its rows go to `out0`, `out1`, …"""
    used = lambda query: [name for name in case.sources if f"@{name}@" in query.text("ours", {})]
    # A source that nothing takes from must be readable too.
    names = [name for name in case.sources if any(name in used(query) for query in queries)]
    text = header() + "".join(source_text(name, case.sources[name], name) for name in names)
    for at, query in enumerate(queries):
        sql = files.toml_text(query.text("ours", {name: name for name in names}))
        text += f'[transforms.t{at}]\ntype = "sql"\ninputs = {json.dumps(used(query))}\nquery = {sql}\n'
        text += sink_text(f"out{at}", OUT, f"t{at}")
    return text


def header():
    return 'name = "fuzz"\n'


def source_text(name, source, url):
    lines = [f"[sources.{name}]", 'type = "files"', f'url = "{url}"', f'format = "{source.form["format"]}"']
    return "\n".join(lines + files.keys(source.form, source.table)) + "\n"


def sink_text(name, keys, takes):
    return f'[sinks.{name}]\ninputs = ["{takes}"]\nurl = "{name}"\n{keys}\n'


def sink(rng, table):
    """A sink that the rows of a table can go through."""
    kinds = table.schema.types
    plain = [one.name for one in table.schema if can_be_key(one.type)]
    formats = ["parquet", "portable", "partitioned"]
    if not any(files.holds_map(kind) for kind in kinds):
        formats += ["ndjson", "json"]
    if not any(pa.types.is_nested(kind) for kind in kinds):
        formats += ["csv", "csv"]
    chosen = rng.choice(formats)
    if chosen == "partitioned" and plain:
        name = rng.choice(plain)
        keys = {"type": '"parquet"', "types": '"exact"', "partition_by": f"[{files.toml_text(name)}]"}
        return {"format": "parquet", "keys": keys, "partition": name}
    if chosen in ("parquet", "portable", "partitioned"):
        types = "portable" if chosen == "portable" else "exact"
        codec = rng.choice(["zstd", "snappy", "gzip", "lz4", "none"])
        return {"format": "parquet", "keys": {"type": '"parquet"', "types": f'"{types}"', "compression": f'"{codec}"'}}
    keys = {"type": '"files"', "format": f'"{chosen}"'}
    if rng.random() < 0.3:
        keys["compression"] = rng.choice(['"gzip"', '"zstd"'])
    made = {"format": chosen, "keys": keys}
    if chosen == "csv" and rng.random() < 0.6:
        options = {}
        if rng.random() < 0.5:
            options["delimiter"] = rng.choice([";", "\t", "|", "x"])
        if rng.random() < 0.3:
            options["quote"] = "'"
        if rng.random() < 0.5:
            options["null"] = rng.choice(["NULL", "\\N", "-"])
        if rng.random() < 0.3:
            options["header"] = False
        made["csv"] = options
        inner = ", ".join(f"{name} = {json.dumps(value)}" for name, value in options.items())
        keys["csv"] = f"{{ {inner} }}"
    return made


def can_be_key(kind):
    """Types whose text a folder's name tells."""
    return pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_boolean(kind) or pa.types.is_date(kind)
