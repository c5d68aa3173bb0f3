"""Records of a local file, one after another, each with the line it starts in.

JSONL: one object a line; blank lines are skipped. JSON: see json_array. CSV: a header, then one record a row; comma,
semicolon or tab, whichever the header has most of; every value is text, an empty cell too. Parquet: the "line" is the
row, counted from 1. The suffix says the format; contents that contradict it are refused with the name that would fit.

Memory is bounded by the longest record (MAX_LINE bytes), for Parquet by its row groups.
No third-party package but pyarrow, for a Parquet file.
"""

from __future__ import annotations

import csv
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from trainer.data.decoding import BOM, DECODER, MAX_LINE, Found, Record, an_object, decoded, not_json
from trainer.errors import DataError, Problem

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
_HEAD = 4096  # bytes that are looked at to tell what a file really is
_BINARY = {
    b"\x1f\x8b": "data.is_gzip",
    b"PK\x03\x04": "data.is_zip",
    b"\xff\xfe": "data.is_utf16",
    b"\xfe\xff": "data.is_utf16",
}


def records(path: str | Path, key: str) -> Iterator[Found]:
    """Every record of a file. key: of the spec, for problems of the file as a whole.

    Raises DataError for what is no readable regular file of a known format (a FIFO or device is not even opened), and
    for one that is changed, replaced or deleted while it is read.
    """
    path = Path(path)
    before = stamp(path, key)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            file.seek(0)
            _refuse_contradiction(path, head)
            yield from _READERS[path.suffix.lower()](file, path.name)
    except OSError as error:
        said = error.strerror or str(error)
        raise DataError(Problem("data.unreadable", key, path=str(path), said=said, key=key)) from error
    if stamp(path, key) != before:
        refuse_changed(str(path), key)


def refuse_changed(name: str, key: str) -> NoReturn:
    raise DataError(Problem("data.changed", key, name=name))


def stamp(path: Path, key: str) -> tuple[int, int, int]:
    """What changes with a file's contents: inode, size, time of the last change. Raises DataError as records does."""
    asked = {"path": str(path), "key": key, "start": f"{Path.cwd().name}/"}
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
    if suffix == ".csv" and re.match(rb"[\[{]\s*[\[{\"\]}]", first):
        return "data.is_json", ".json" if first[:1] == b"[" else ".jsonl"
    return None


def lines(file: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    """(number, line) without a byte order mark. Raises DataError at a line of more than MAX_LINE bytes."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise DataError(Problem("data.line_long", f"{name}:{number}", most=MAX_LINE // 2**20))
        yield number, line.removeprefix(BOM) if number == 1 else line


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
    csv.field_size_limit(MAX_LINE)
    numbered = ((number, decoded(line, f"{name}:{number}")) for number, line in lines(file, name))
    try:
        start, first = next(((number, text) for number, text in numbered if text.strip()), (0, ""))
        if not start:
            return
        bare = re.sub(r'"[^"]*"', "", first)
        delimiter = max(",;\t", key=bare.count)  # the first of those that are equal
        header = next(csv.reader([first], delimiter=delimiter))
        if len(set(header)) != len(header) or not all(column.strip() for column in header):
            example = f"prompt{delimiter}answer"
            yield Problem("data.csv_header", f"{name}:{start}", header=str(header)[:160], example=example)
            return
        texts = (text for _, text in numbered)
        yield from _csv_rows(csv.reader(texts, delimiter=delimiter, strict=True), header, name, start)
    except DataError as error:
        yield error.problems[0]


def _csv_rows(reader: Any, header: list[str], name: str, start: int) -> Iterator[Found]:
    """reader: a csv.reader, placed after the header, which is line `start`."""
    while True:
        line = start + int(reader.line_num) + 1  # a record starts after the one before
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Problem("data.not_csv", f"{name}:{line}", said=str(error), example='"He said ""yes"""')
            return
        if not any(values):
            continue
        if len(values) != len(header):
            yield Problem("data.csv_cells", f"{name}:{line}", cells=len(values), wanted=len(header))
        else:
            yield Record(line, dict(zip(header, values, strict=True)))


def _parquet(file: BinaryIO, name: str) -> Iterator[Found]:
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        for batch in parquet.ParquetFile(file).iter_batches(batch_size=256):
            for columns in batch.to_pylist():
                number += 1
                yield Record(number, columns)
    except (pyarrow.ArrowException, OSError) as error:
        yield Problem("data.bad_parquet", f"{name}:{number + 1}", said=str(error).splitlines()[0])


_READERS: dict[str, Callable[[BinaryIO, str], Iterator[Found]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
