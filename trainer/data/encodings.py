"""Which encoding a text file has, and its bytes as UTF-8. No third-party package.

UTF-8, and UTF-16 and UTF-32 with their mark, are known by looking. Any other encoding can only be guessed: the guess is
proposed with what the file reads like in it, and the file is read when data.encoding says so.
"""

from __future__ import annotations

import codecs
import io
import re
from pathlib import Path
from typing import BinaryIO

from trainer.data.decoding import BOM
from trainer.errors import DataError, Problem
from trainer.text import Message

MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHUNK = 2**18
_LINE_END = re.compile(r"\r\n?|\n")
_SHOWN = 40  # characters of a line in its guessed encoding
_FOREIGN = re.compile(r"[^\x00-\x7f]")
_RUN = re.compile(r"[^\x00-\x7f]{3,}")
_EASTERN = (
    ("cp949", "[\uac00-\ud7a3]", 0.85, range(0xB0, 0xC9)),
    ("cp932", "[\u3040-\u30ff]", 0.2, range(0)),
    ("gb18030", "[\u4e00-\u9fff]", 0.9, range(0xB0, 0xD8)),
)
"""(encoding, its script, the share of it among the letters, first bytes of the common characters among them)."""
_WESTERN = ("cp1252", "mac_roman")
# A letter of Western Europe stands among ASCII letters. Small before capital, or a sign inside a word, is no language.
_IN_WORD = re.compile(r"(?<=[A-Za-z])[^\x00-\x7f]|[^\x00-\x7f](?=[A-Za-z])")
_ODD = re.compile(r"(?<=[a-z])(?:[\xc0-\xde\u0160\u017d\u0178]|[^\w\s\x00-\x7f\u2018\u2019\xb7](?=[a-z]))|[\x80-\x9f]")


def as_utf8(file: io.BufferedReader, name: str, told: str | None) -> tuple[io.BufferedReader, Message | None]:
    """(the file as UTF-8, what there is to say about it). told: data.encoding, for a file that is not UTF-8."""
    head = file.peek(4)
    marked = next((encoding for mark, encoding in MARKS if head.startswith(mark)), None)
    if marked is not None:
        return _recoded(file, name, marked), Message("data.note.marked", place=name, encoding=marked.upper())
    if told is None or head.startswith(BOM):
        return file, None
    if _is_utf8(file):
        return file, Message("data.note.is_utf8", place=name, encoding=told)
    return _recoded(file, name, told), None


def _recoded(file: BinaryIO, name: str, encoding: str) -> io.BufferedReader:
    return io.BufferedReader(_Recoded(file, name, encoding), _CHUNK)


def _is_utf8(file: BinaryIO) -> bool:
    """Whether it is UTF-8 with characters beyond ASCII, which hardly any text in another encoding is by chance."""
    beyond, _ = _first_chunk_that_is_not(file)
    file.seek(0)
    return beyond is None


def _first_chunk_that_is_not(file: BinaryIO) -> tuple[bytes | None, bool]:
    """(the first piece that is not UTF-8, whether it is the file's first). The last one, when all is ASCII; None for
    UTF-8 beyond ASCII."""
    decoder, is_ascii, chunk, first = codecs.getincrementaldecoder("utf-8")(), True, b"", True
    for number, chunk in enumerate(iter(lambda: file.read(_CHUNK), b"")):
        first = number == 0
        try:
            is_ascii &= decoder.decode(chunk).isascii()
        except UnicodeDecodeError:
            return chunk, first
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return chunk, first
    return (chunk, first) if is_ascii else (None, first)


class _Recoded(io.RawIOBase):
    """The bytes of a file in another encoding as UTF-8. Raises DataError at the line that is not in that encoding."""

    def __init__(self, file: BinaryIO, name: str, encoding: str) -> None:
        self._file, self._name, self._encoding = file, name, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._rest, self._line, self._ended = b"", 1, False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._rest and not self._ended:
            self._rest = self._more()
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

    def _more(self) -> bytes:
        chunk = self._file.read(_CHUNK)
        self._ended = not chunk
        try:
            text = self._decoder.decode(chunk, self._ended)
            found = text.encode()
        except UnicodeError as error:
            before = b"" if isinstance(error, UnicodeEncodeError) else chunk[: getattr(error, "start", 0)]
            line = self._line + len(_LINE_END.findall(before.decode(self._encoding, "ignore")))
            raise DataError(Problem("data.not_encoded", f"{self._name}:{line}", encoding=self._encoding)) from error
        self._line += len(_LINE_END.findall(text))
        return found


# ---- guessing


def of_wide(head: bytes, where: str) -> Problem | None:
    """What to type for UTF-16 without its mark, of which every other byte of an ASCII character is NUL."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if 16 * max(even, odd) <= len(head) or 16 * min(even, odd) > max(even, odd):
        return None
    return _proposed(head[: len(head) // 2 * 2], "utf-16-le" if odd > even else "utf-16-be", where)


def proposal(path: Path, where: str) -> Problem | None:
    """What to type for a file that is not UTF-8; None when nothing is likely. where: file:line of what is not."""
    with path.open("rb") as file:
        chunk, first = _first_chunk_that_is_not(file)
    # A piece of a larger file may begin and end inside a character: whole lines only.
    found = (chunk or b"").splitlines(keepends=True)
    sample = b"".join(found[not first : len(found) - (len(chunk or b"") == _CHUNK)] or found)
    encoding = guessed(sample)
    return _proposed(sample, encoding, where) if encoding else None


def _proposed(sample: bytes, encoding: str, where: str) -> Problem:
    """With a piece of what it reads like: whoever knows the file can tell."""
    text = sample.decode(encoding, "replace")
    line = next((line for line in text.splitlines() if not line.isascii()), text.partition("\n")[0])
    place = _FOREIGN.search(line)
    start = max(0, place.start() - _SHOWN // 2) if place else 0
    return Problem("data.looks_like", where, encoding=encoding, reads=line[start : start + _SHOWN].strip())


def guessed(sample: bytes) -> str | None:
    """The likely encoding of bytes that are not UTF-8; None when none is likely."""
    broken = sample.decode("utf-8", "replace")
    if 2 * broken.count("\ufffd") < len(_FOREIGN.findall(broken)):
        return None  # UTF-8 with damage in it
    for encoding, script, share, common in _EASTERN:
        text = _decoded(sample, encoding)
        letters = [letter for letter in _FOREIGN.findall(text) if letter.isalpha()]
        # Two bytes of a Western text make a character now and then, seldom a common one.
        usual = sum(raw[0] in common and raw[-1] >= 0xA1 for raw in (letter.encode(encoding) for letter in letters))
        is_usual = not common or usual >= 0.6 * len(letters)
        if letters and is_usual and len(re.findall(script, text)) >= share * len(letters):
            return encoding
    western = {encoding: text for encoding in _WESTERN if (text := _decoded(sample, encoding))}
    if not western:
        return None
    likely = min(western, key=lambda encoding: len(_ODD.findall(western[encoding])))
    foreign = _FOREIGN.findall(western[likely])
    if 4 * sum(map(len, _RUN.findall(western[likely]))) > len(foreign):
        return None  # bytes of another script
    letters = [letter for letter in foreign if letter.isalpha()]
    return likely if 2 * len(_IN_WORD.findall(western[likely])) >= len(letters) else None


def _decoded(sample: bytes, encoding: str) -> str:
    try:
        return sample.decode(encoding)
    except UnicodeDecodeError:
        return ""
