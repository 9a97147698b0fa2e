"""Texts as a Parquet file, which other programs read column by column."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from corelm.errors import MissingDependencyError
from corelm.models.atomic_files import named_errors

SUFFIX = ".parquet"
ROWS = 2**14
"""The number of texts in a row group, the most in memory at a time."""


def check_installed() -> None:
    """Refuse to start without pyarrow.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"a .parquet file needs pyarrow ({error}); install it with: pip install "
            "'corelm[parquet]', or give a .jsonl file"
        ) from error


def convert(lines: Path, target: Path) -> None:
    """Write a Parquet file from lines of JSON, whole or not at all.

    Args:
        lines: the file that `TextFile` has written.
        target: the Parquet file.
    """
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema(
        [
            ("prompt", pa.string()),
            ("sample", pa.int64()),
            ("text", pa.string()),
            ("finish_reason", pa.string()),
            ("is_cut_off", pa.bool_()),
            ("tokens", pa.list_(pa.int32())),
        ]
    )
    new = target.with_name(f".{target.name}.new")
    try:
        with named_errors(target):
            with parquet.ParquetWriter(new, schema, compression="zstd") as writer:
                for rows in _groups(lines):
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            new.replace(target)
    finally:  # the lines are still there to write it again
        new.unlink(missing_ok=True)


def _groups(lines: Path) -> Iterator[list[dict[str, Any]]]:
    with open(lines, encoding="utf-8") as file:
        while rows := [json.loads(line) for line in islice(file, ROWS)]:
            yield rows
