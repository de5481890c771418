"""Runs the program under test."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Longer than any case takes on a busy machine.
DEADLINE = 120


@dataclass
class Answer:
    """What came of one query or run: a table, or an error."""

    table: pa.Table | None = None
    error: str | None = None


class Program:
    def __init__(self, path):
        self.path = str(Path(path).resolve())
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("TIDEGATE_", "AWS_", "RUST_"))}

    def call(self, folder, *arguments):
        """Runs a command in a folder; what it wrote to stderr if it failed, else None."""
        try:
            done = subprocess.run(
                [self.path, *arguments],
                cwd=folder,
                env=self.environment | {"TMPDIR": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=DEADLINE,
            )
        except subprocess.TimeoutExpired:
            return f"internal error: it didn't end within {DEADLINE} s"
        if done.returncode == 0:
            return None
        said = done.stderr.decode(errors="replace").strip()
        if done.returncode < 0 or done.returncode > 4:
            return f"internal error: it ended with {done.returncode}: {said}"
        lines = said.splitlines()
        from_error = next((at for at, line in enumerate(lines) if line.startswith("error")), 0)
        return "\n".join(lines[from_error:])

    def query(self, folder, sql, name="answer.parquet"):
        path = Path(folder) / name
        path.unlink(missing_ok=True)
        error = self.call(folder, "query", "--quiet", sql, "--output", name)
        return Answer(error=error) if error else Answer(table=pq.read_table(path, partitioning=None))

    def run(self, folder, pipeline):
        """Runs a pipeline from its beginning; the error if it failed."""
        folder = Path(folder)
        (folder / "p.toml").write_text(pipeline)
        shutil.rmtree(folder / "state", ignore_errors=True)
        return self.call(folder, "run", "--quiet", "p.toml", "--state", "state")


def is_internal(error):
    """Whether an error is one that no input may lead to."""
    return any(mark in error for mark in ("internal error", "panicked", "overflowed its stack", "Internal error"))


def read_folder(folder):
    """What a sink wrote; None where it wrote no file."""
    paths = sorted(Path(folder).rglob("*.parquet"))
    tables = [pq.read_table(path, partitioning=None) for path in paths]
    return pa.concat_tables(tables) if tables else None
