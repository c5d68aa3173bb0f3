"""Records of a local file, one after another, each with the line it starts in.

JSONL: one object a line; blank lines are skipped. JSON: see json_array. CSV: see csv_rows. Parquet: the "line" is the
row, counted from 1. The suffix says the format; contents that contradict it are refused with the name that would fit.
Text is UTF-8 or marked as UTF-16, or in the encoding that is told (encodings.py).

Memory is bounded by the longest record (MAX_LINE bytes), for Parquet by its row groups.
No third-party package but pyarrow, for a Parquet file.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from trainer.data import encodings
from trainer.data.decoding import BOM, DECODER, Found, Record, an_object, decoded, lines, not_json
from trainer.errors import DataError, Problem

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_HEAD = 4096  # bytes that are looked at to tell what a file really is
_BINARY = {
    b"\x1f\x8b": "data.is_gzip",
    b"PK\x03\x04": "data.is_zip",
    b"\xd0\xcf\x11\xe0": "data.is_zip",  # a spreadsheet of before 2007
    b"%PDF": "data.is_pdf",
    b"\x89PNG": "data.is_picture",
    b"\xff\xd8\xff": "data.is_picture",
    b"GIF8": "data.is_picture",
}


def records(path: str | Path, key: str, encoding: str | None = None) -> Iterator[Found]:
    """Every record of a file. key: of the spec, for problems of the file as a whole. encoding: of a text that is not
    UTF-8; without one a likely one is proposed.

    Raises DataError for what is no readable regular file of a known format (a FIFO or device is not even opened), and
    for one that is changed, replaced or deleted while it is read.
    """
    path = Path(path)
    before = stamp(path, key)
    try:
        with path.open("rb") as file:
            yield from _found(file, path, encoding)
    except OSError as error:
        said = error.strerror or str(error)
        raise DataError(Problem("data.unreadable", key, path=str(path), said=said, key=key)) from error
    if stamp(path, key) != before:
        refuse_changed(str(path), key)


def _found(file: io.BufferedReader, path: Path, encoding: str | None) -> Iterator[Found]:
    suffix, head = path.suffix.lower(), file.peek(_HEAD)
    _refuse_contradiction(path, head)
    if suffix != ".parquet":
        file, said = encodings.as_utf8(file, path.name, encoding)
        if said is not None:
            yield said
        if encoding is None and (likely := encodings.of_wide(file.peek(_HEAD), f"{path.name}:1")):
            yield likely
            return
        _refuse_contradiction(path, file.peek(_HEAD))
    for found in _READERS[suffix](file, path.name):
        if isinstance(found, Problem) and found.key in ("data.not_utf8", "data.array_not_utf8"):
            likely = encodings.proposal(path, found.place)
            if likely is not None:
                yield likely  # one sentence about the file, not one about every line of it
                return
        yield found


def refuse_changed(name: str, key: str) -> NoReturn:
    raise DataError(Problem("data.changed", key, name=name))


def stamp(path: Path, key: str) -> tuple[int, int, int]:
    """What changes with a file's contents: inode, size, time of the last change. Raises DataError as records does."""
    typed = f"{key} " if key.startswith("-") else f"--set {key}="
    asked = {"path": str(path), "typed": typed, "start": f"{Path.cwd().name}/"}
    try:
        found = path.stat()
    except FileNotFoundError:
        raise DataError(Problem("data.no_file", key, **asked)) from None
    except (OSError, ValueError) as error:  # a loop of links, no permission, a name with NUL
        said = getattr(error, "strerror", None) or str(error)
        raise DataError(Problem("data.unreachable", key, said=said, **asked)) from error
    if not stat.S_ISREG(found.st_mode):
        folder = stat.S_ISDIR(found.st_mode)
        raise DataError(Problem("data.is_folder" if folder else "data.is_device", key, **asked))
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(Problem("data.suffix", key, name=path.name, seen=path.suffix or "-", known=list(SUFFIXES)))
    if not os.access(path, os.R_OK):
        raise DataError(Problem("data.forbidden", key, path=str(path), name=path.name))
    return found.st_ino, found.st_size, found.st_mtime_ns


def _refuse_contradiction(path: Path, head: bytes) -> None:
    """Raise DataError where the first bytes are those of another format than the suffix says."""
    where = f"{path.name}:1"
    for magic, key in _BINARY.items():
        if head.startswith(magic):
            raise DataError(Problem(key, where))
    if found := _contradiction(path.suffix.lower(), head):
        key, right = found
        raise DataError(Problem(key, where, name=f"{path.stem}{right}"))


def _contradiction(suffix: str, head: bytes) -> tuple[str, str] | None:
    """(key of the problem, suffix that would fit the contents)."""
    if (suffix == ".parquet") != head.startswith(b"PAR1"):
        return ("data.no_parquet", "") if suffix == ".parquet" else ("data.is_parquet", ".parquet")
    text = head.removeprefix(BOM).lstrip()
    first = text.partition(b"\n")[0].strip()
    if suffix == ".jsonl" and text.startswith(b"["):
        return "data.is_array", ".json"
    if suffix == ".jsonl" and first == b"{":
        return "data.is_spread", ".json"
    if suffix == ".jsonl" and re.match(rb'\s*(?:"[^"]*"|[A-Za-z_]\w*)\s*[,;\t]', first):
        return "data.is_csv", ".csv"
    if suffix in (".csv", ".tsv") and re.match(rb"[\[{]\s*[\[{\"\]}]", first):
        return "data.is_json", ".json" if first[:1] == b"[" else ".jsonl"
    return None


# ---- one reader a format


def _jsonl(file: BinaryIO, name: str) -> Iterator[Found]:
    try:
        for number, line in lines(file, name):
            if not line.strip():
                continue
            try:
                yield an_object(DECODER.decode(decoded(line, f"{name}:{number}")), number, name)
            except DataError as error:
                yield error.problems[0]
            except (ValueError, RecursionError) as error:
                yield not_json(error, f"{name}:{number}")
    except DataError as error:  # a line without end: nothing after it can be read
        yield error.problems[0]


def _json(file: BinaryIO, name: str) -> Iterator[Found]:
    from trainer.data.json_array import elements

    yield from elements(file, name)


def _csv(file: BinaryIO, name: str) -> Iterator[Found]:
    from trainer.data import csv_rows

    yield from csv_rows.records(file, name)


def _parquet(file: BinaryIO, name: str) -> Iterator[Found]:
    import pyarrow
    from pyarrow import parquet

    from trainer.data.csv_rows import numbered

    number = 0
    try:
        for batch in parquet.ParquetFile(file).iter_batches(batch_size=256):
            for columns in _listed(batch.rename_columns(numbered(batch.schema.names))):
                number += 1
                yield Record(number, columns)
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:  # a date beyond the year 9999, ...
        yield Problem("data.bad_parquet", f"{name}:{number + 1}", said=str(error).splitlines()[0])


def _listed(batch: Any) -> Iterator[dict[str, Any]]:
    """The rows of a batch, up to the one that Python has no values for. Raises what that row raises."""
    try:
        rows = batch.to_pylist()
    except (ValueError, OverflowError):
        rows = (row for place in range(batch.num_rows) for row in batch.slice(place, 1).to_pylist())
    yield from rows


_READERS: dict[str, Callable[[BinaryIO, str], Iterator[Found]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}
