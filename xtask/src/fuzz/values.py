"""Differential fuzzing of values: what `cargo xtask fuzz values` runs.

    values.py PROGRAM --seed N (--cases N | --minutes N) [--first N] [--keep DIR] [--ignore REGEX]

A case is a random table (`tables.py`), written in a random way (`files.py`). It is read by a run and
by a query, goes through a sink and back, and is asked random SQL (`sql.py`) by a run, a query and
DuckDB (`cases.py`). What differs is made smaller (`minimise.py`) and kept as a folder in which
`repro.sh` shows it. The same seed gives the same cases; `--first` begins at a later one.
"""

import argparse
import random
import re
import shlex
import sys
import tempfile
import time
from pathlib import Path

import compare
import files
import minimise
import sql
import tables
from cases import OUT, USUAL, Asker, Case, Source, header, queries_pipeline, sink, sink_text, source_text
from program import Program

QUERIES = 6
MOST_ALIKE = 12


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--cases", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep", default="fuzz-found")
    parser.add_argument("--ignore", default="(?!)")
    arguments = parser.parse_args()
    end = time.monotonic() + arguments.minutes * 60 if arguments.minutes else None
    found = {}
    case = arguments.first
    with tempfile.TemporaryDirectory(prefix="tidegate-fuzz-") as folder:
        asker = Asker(Program(arguments.program), folder)
        while (time.monotonic() < end) if end else (case < arguments.first + (arguments.cases or 0)):
            one_case(asker, arguments, case, found)
            case += 1
    cases = case - arguments.first
    wrong = sum(map(len, found.values()))
    print(f"{cases} cases of the seed {arguments.seed}, {asker.asked} questions: {wrong} wrong")
    for line, count in sorted(asker.refused.items(), key=lambda item: -item[1])[:30]:
        print(f"  refused {count}×  {line}")
    sys.exit(1 if found else 0)


def one_case(asker, arguments, number, found):
    """Asks all that is asked of a case. Findings that are alike when they are small are shown once,
    and of those that are alike at first sight not all are made small."""
    for case, finding in questions(asker, random.Random(f"{arguments.seed}/{number}")):
        if re.search(arguments.ignore, f"{finding.kind}: {finding.what}"):
            continue
        alike = found.setdefault(finding.signature(), [])
        alike.append(None)
        if len(alike) > MOST_ALIKE:
            continue
        case, finding = minimise.minimise(asker, case, finding)
        essence = minimise.essence(case, finding)
        if essence in alike:
            continue
        alike[-1] = essence
        name = f"{arguments.seed}-{number}-{sum(map(len, found.values()))}"
        kept = keep(asker, case, finding, Path(arguments.keep) / name)
        print(f"case {number}: {finding.kind}: {finding.what[:600]}\n  {kept}", flush=True)


def questions(asker, rng):
    table = tables.table(rng, nesting=rng.random() < 0.5)
    source = Source(table, files.form(rng, table))
    sources = {"src": source}
    rows, through = Case(sources), Case({"src": Source(table, USUAL)}, sink=sink(rng, table))
    for case in (rows, through):
        if finding := asker.ask(case):
            yield case, finding
    if not files.can_be_queried(source.form):
        return
    if rng.random() < 0.4:
        small = tables.table(rng, nesting=False, most=4)
        form = files.form(rng, small)
        if files.can_be_queried(form):
            sources = sources | {"other": Source(small, form)}
    schemas = asker.schemas(Case(sources))
    if schemas is None:
        return
    queries = [sql.query(rng, schemas) for _ in range(QUERIES)]
    for query, finding in asker.ask_queries(Case(sources), queries):
        yield Case(sources, query=query), finding


def keep(asker, case, finding, folder):
    """Writes a folder that shows the finding."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in case.sources.items():
        files.write(source.table, source.form, folder / name)
    out, commands = "out", []
    pipeline = header() + source_text("src", case.sources["src"], "src")
    if case.query is not None:
        out = "out0"
        pipeline = queries_pipeline(case, [case.query])
        query = case.query.text("ours", {name: f"'{name}/'" for name in case.sources})
        (folder / "query.sql").write_text(query + "\n")
        (folder / "duckdb.sql").write_text(case.query.text("duckdb", {name: name for name in case.sources}) + "\n")
        commands.append("$TIDEGATE query - --format ndjson < query.sql")
    elif case.sink is not None:
        pipeline += sink_text("out", "\n".join(f"{name} = {value}" for name, value in case.sink["keys"].items()), "src")
    else:
        pipeline += sink_text("out", OUT, "src")
        commands.append("$TIDEGATE query \"SELECT * FROM 'src/'\" --format ndjson")
    commands.insert(0, f"rm -rf {out} state; $TIDEGATE run p.toml --state state")
    commands.insert(1, f"$TIDEGATE query \"SELECT * FROM '{out}/'\" --format ndjson")
    (folder / "p.toml").write_text(pipeline)
    program = f"TIDEGATE=${{TIDEGATE:-{shlex.quote(asker.program.path)}}}"
    script = ["#!/bin/sh", f"# {finding.kind}: {finding.what.splitlines()[0][:300]}", 'cd "$(dirname "$0")"', program, *commands]
    (folder / "repro.sh").write_text("\n".join(script) + "\n")
    forms = "".join(f"{name}: {source.form}\n{source.table.schema}\n" for name, source in case.sources.items())
    (folder / "finding.txt").write_text(f"{finding.kind}\n{finding.what}\n\n{forms}")
    for name, answer in (("right", finding.right), ("seen", finding.seen)):
        if answer is not None:
            text = answer.error or "\n".join(compare.shown(row, answer.table) for row in compare.rows(answer.table))
            (folder / f"{name}.txt").write_text(text + "\n")
    return folder


if __name__ == "__main__":
    main()
