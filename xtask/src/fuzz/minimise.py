"""Makes a case smaller as long as the same kind of thing is wrong with it."""

import re
import time
from dataclasses import replace

import pyarrow as pa

from cases import Source

# How long one case may take; what is found then is small enough to read.
SECONDS = 40


def minimise(asker, case, finding):
    """The smallest case that was found, and what is wrong with it."""
    asker.minimising = True
    end = time.monotonic() + SECONDS
    smaller, tried = True, set()
    while smaller and time.monotonic() < end:
        smaller = False
        for candidate in candidates(case):
            if time.monotonic() > end:
                break
            if (key := fingerprint(candidate)) in tried:
                continue
            tried.add(key)
            try:
                found = asker.ask(candidate)
            except Exception:
                continue  # It isn't a case any more.
            if found is not None and found.signature() == finding.signature():
                case, finding, smaller = candidate, found, True
                break
    asker.minimising = False
    return case, finding


def essence(case, finding):
    """What a small case is about: words of its query or keys of its sink, types, options."""
    words = re.findall(r"[A-Za-z_]{2,}|[<>=!+*/%|-]+", case.query.text("ours", {})) if case.query else []
    kinds = {str(kind) for source in case.sources.values() for kind in source.table.schema.types}
    options = {key for source in case.sources.values() for key in source.form}
    return finding.kind, sorted(set(words)), sorted(kinds), sorted(options), sorted(case.sink["keys"]) if case.sink else []


def fingerprint(case):
    """What tells candidates apart: rows are told apart by their first column."""
    sources = [(name, one.table.column(0).to_pylist(), one.table.column_names, one.form) for name, one in case.sources.items()]
    return repr((sources, case.sink, case.query and case.query.text("ours", {})))


def candidates(case):
    for name, source in case.sources.items():
        for table in fewer_rows(source.table):
            yield with_source(case, name, Source(table, source.form))
    if case.query is not None:
        for query in case.query.smaller():
            sources = case.sources
            if "other" in sources and "@other@" not in query.text("ours", {}):
                sources = {"src": sources["src"]}
            yield replace(case, query=query, sources=sources)
    for name, source in case.sources.items():
        for table in fewer_columns(source.table):
            if case.sink and case.sink.get("partition") not in (None, *table.column_names):
                continue
            yield with_source(case, name, Source(table, source.form))
        for key in source.form:
            if key not in ("format", "writer", "declared"):
                form = {one: value for one, value in source.form.items() if one != key}
                yield with_source(case, name, Source(source.table, form))
    if case.sink:
        for part in ("keys", "csv"):
            for key in case.sink.get(part, {}):
                if key in ("type", "format", "partition_by"):
                    continue
                less = {one: value for one, value in case.sink[part].items() if one != key}
                if (part, key) == ("keys", "csv"):
                    yield replace(case, sink={**case.sink, "keys": less, "csv": {}})
                elif part == "keys":
                    yield replace(case, sink={**case.sink, "keys": less})


def with_source(case, name, source):
    return replace(case, sources=case.sources | {name: source})


def fewer_rows(table):
    """Halves, quarters, … and at last without one row."""
    rows = table.num_rows
    if rows == 0:
        return
    size = rows
    while size > 0:
        for start in range(0, rows, size):
            yield pa.concat_tables([table.slice(0, start), table.slice(start + size)]).combine_chunks()
        if rows > 64 and size <= rows // 16:
            return  # Another round goes on with what is left.
        size //= 2


def fewer_columns(table):
    for name in table.column_names[1:]:
        yield table.drop_columns([name])
