"""Records of a local file, one after another, each with the line it starts in.

JSONL: one object a line; blank lines are skipped. JSON: see json_array. CSV: a header, then one record a row; comma,
semicolon or tab, whichever the header has most of; every value is text, an empty cell too. Parquet: the "line" is the
row, counted from 1. The suffix says the format; contents that contradict it are refused with the name that would fit.

Memory is bounded by the longest record (MAX_LINE bytes), for Parquet by its row groups.
Standard library only; pyarrow for a Parquet file.
"""

from __future__ import annotations

import csv
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from trainer.data.decoding import BOM, DECODER, MAX_LINE, Found, Record, _decoded, _refuse, an_object, not_json
from trainer.errors import DataError, Problem

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
_HEAD = 4096  # bytes that are looked at to tell what a file really is
_BINARY = {
    b"\x1f\x8b": "gzip: unpack it (gunzip) first",
    b"PK\x03\x04": "a zip archive or a spreadsheet: unpack it, or save the sheet as CSV",
    b"\xff\xfe": "UTF-16: save the file as UTF-8",
    b"\xfe\xff": "UTF-16: save the file as UTF-8",
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
        _refuse(key, f"{path} cannot be read: {error.strerror or error}", f"--set {key}=PATH of a readable file")
    if stamp(path, key) != before:
        refuse_changed(str(path), key)


def refuse_changed(name: str, key: str) -> NoReturn:
    _refuse(key, f"{name} was changed while it was read", "start again when nothing writes to it any more")


def stamp(path: Path, key: str) -> tuple[int, int, int]:
    """What changes with a file's contents: inode, size, time of the last change. Raises DataError as records does."""
    fix = f"--set {key}=PATH (relative paths start at {Path.cwd().name}/)"
    try:
        found = path.stat()
    except FileNotFoundError:
        _refuse(key, f"no file {path}", fix)
    except (OSError, ValueError) as error:  # a loop of links, no permission, a name with NUL
        _refuse(key, f"{path} cannot be read: {getattr(error, 'strerror', None) or error}", fix)
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, socket or device"
        _refuse(key, f"{path} is {kind}, not a file", fix)
    if path.suffix.lower() not in SUFFIXES:
        _refuse(key, f"{path.name} has the suffix {path.suffix or '(none)'}", f"one of: {', '.join(SUFFIXES)}")
    if not os.access(path, os.R_OK):
        _refuse(key, f"{path} may not be read by this user", f"chmod u+r {path.name}")
    return found.st_ino, found.st_size, found.st_mtime_ns


def _refuse_contradiction(path: Path, head: bytes) -> None:
    """Raise DataError where the first bytes are those of another format than the suffix says."""
    name, suffix = f"{path.name}:1", path.suffix.lower()
    for magic, what in _BINARY.items():
        if head.startswith(magic):
            _refuse(name, f"is {what.partition(':')[0]}", what.partition(":")[2].strip())
    if (suffix == ".parquet") != head.startswith(b"PAR1"):
        if suffix == ".parquet":
            _refuse(name, "is no Parquet file", "rename it to what it is: .jsonl, .json or .csv")
        _refuse(name, "is a Parquet file", f"rename it to {path.stem}.parquet")
    text = head.removeprefix(BOM).lstrip()
    first = text.partition(b"\n")[0].strip()
    if suffix == ".jsonl" and text.startswith(b"["):
        _refuse(name, "is a JSON array, not one object a line", f"rename it to {path.stem}.json")
    if suffix == ".jsonl" and first == b"{":
        fix = f"write each object in one line, or put them in [ ] and rename it to {path.stem}.json"
        _refuse(name, "is an object spread over several lines", fix)
    if suffix == ".jsonl" and re.match(rb'\s*(?:"[^"]*"|[A-Za-z_]\w*)\s*[,;\t]', first):
        _refuse(name, "looks like CSV", f"rename it to {path.stem}.csv")
    if suffix == ".csv" and re.match(rb"[\[{]\s*[\[{\"\]}]", first):
        _refuse(name, "looks like JSON", f"rename it to {path.stem}.{'json' if first[:1] == b'[' else 'jsonl'}")


def lines(file: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    """(number, line) without a byte order mark. Raises DataError at a line of more than MAX_LINE bytes."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            fix = "one record a line; is it a file without line ends?"
            _refuse(f"{name}:{number}", f"is longer than {MAX_LINE // 2**20} MiB", fix)
        yield number, line.removeprefix(BOM) if number == 1 else line


# ---- JSON values


# ---- one reader a format


def _jsonl(file: BinaryIO, name: str) -> Iterator[Found]:
    try:
        for number, line in lines(file, name):
            if not line.strip():
                continue
            try:
                yield an_object(DECODER.decode(_decoded(line, f"{name}:{number}")), number, name)
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
    numbered = ((number, _decoded(line, f"{name}:{number}")) for number, line in lines(file, name))
    try:
        start, first = next(((number, text) for number, text in numbered if text.strip()), (0, ""))
        if not start:
            return
        bare = re.sub(r'"[^"]*"', "", first)
        delimiter = max(",;\t", key=bare.count)  # the first of those that are equal
        header = next(csv.reader([first], delimiter=delimiter))
        if len(set(header)) != len(header) or not all(column.strip() for column in header):
            fix = f"a first line with the names of the columns, e.g. prompt{delimiter}answer"
            yield Problem.plain(f"{name}:{start}", f"has no name or one name twice in its header: {header}"[:200], fix)
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
            fix = 'a text with quotes is written "He said ""yes"""; every opening quote needs its end'
            yield Problem.plain(f"{name}:{line}", f"is not CSV: {error}", fix)
            return
        if not any(values):
            continue
        if len(values) != len(header):
            what = f"has {len(values)} cells, the header has {len(header)}"
            yield Problem.plain(f"{name}:{line}", what, "put a text that holds the delimiter in double quotes")
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
        yield Problem.plain(
            f"{name}:{number + 1}", f"is no Parquet: {str(error).splitlines()[0]}", "write the file again"
        )


_READERS: dict[str, Callable[[BinaryIO, str], Iterator[Found]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
