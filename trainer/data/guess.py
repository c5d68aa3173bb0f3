"""How a file of rows is written and which of its columns are what: guessed from its first records, to be shown.

No library. Column names are known in the languages that people name columns in; without a known name the texts decide.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from trainer.data import encodings, files, shapes
from trainer.data.csv_rows import delimiter_of
from trainer.data.decoding import EXAMPLE, Record
from trainer.errors import DataError, Problem
from trainer.spec import Data

LOOKED_AT = 500
"""Records that are read."""
PROMPTS = (
    *("prompt", "question", "query", "problem", "instruction", "input", "task", "request", "text", "source"),
    *("frage", "aufgabe", "anfrage", "eingabe", "question", "pregunta", "domanda", "pergunta"),
    *("프롬프트", "질문", "문제", "문항", "입력", "질의", "지문", "問題", "質問", "问题"),
)
ANSWERS = (
    *(
        "answer",
        "gold",
        "solution",
        "output",
        "response",
        "target",
        "label",
        "reply",
        "completion",
        "result",
        "expected",
    ),
    *("antwort", "lösung", "ergebnis", "ausgabe", "respuesta", "réponse", "reponse", "risposta", "resposta"),
    *("정답", "모범답안", "답변", "해답", "답", "출력", "응답", "결과", "答え", "回答", "答案"),
)
TESTS = ("tests", "test", "test_list", "test_cases", "asserts", "테스트")
NUMBERING = ("id", "no", "nr", "num", "number", "index", "idx", "key", "nummer", "번호", "순번", "연번", "番号")


@dataclass(frozen=True)
class Table:
    """encoding: what data.encoding has to say; None for UTF-8 and what is marked. delimiter: of a CSV file, else ""."""

    records: list[dict[str, Any]]
    encoding: str | None = None
    delimiter: str = ""


@dataclass(frozen=True)
class Columns:
    """Names as they stand in the file; `prompt` and `answer` also where every run finds them by itself. None where
    there is none."""

    prompt: str | None
    answer: str | None
    tests: str | None = None
    mapped: tuple[tuple[str, str], ...] = ()
    """(ours, theirs) of what is called otherwise."""


def table(path: str, key: str = "data.path") -> Table:
    """The first sound records. Raises DataError for what is no readable file, or holds none."""
    found, problems = _first(path, key, None)
    encoding = next((each.values["encoding"] for each in problems if each.key == "data.looks_like"), None)
    if encoding is not None:
        found, problems = _first(path, key, str(encoding))
    if not found:
        raise DataError(problems or [Problem("data.no_rows", key, name=Path(path).name, example=EXAMPLE)])
    return Table(found, encoding, delimiter(path, encoding))


def _first(path: str, key: str, encoding: str | None) -> tuple[list[dict[str, Any]], list[Problem]]:
    looked = list(islice(files.records(path, key, encoding), LOOKED_AT))
    problems = [each for each in looked if isinstance(each, Problem)]
    return [dict(each.columns) for each in looked if isinstance(each, Record)], problems[:3]


def delimiter(path: str, encoding: str | None) -> str:
    """Of a table of text; "" of any other file. Raises OSError and DataError."""
    if not path.lower().endswith((".csv", ".tsv")):
        return ""
    with open(path, "rb") as raw:
        file, _ = encodings.as_utf8(raw, Path(path).name, encoding)
        return delimiter_of(line.decode("utf-8", "replace") for line in file)


def columns(records: Sequence[dict[str, Any]]) -> Columns:
    """Which are which. What every run finds by itself (shapes.py) is left to it."""
    first = records[0]
    made = shapes.mapped(first, Data(), ("prompt", "answer")).columns
    free = [name for name in first if not _numbers(name, records)]
    tests = _named(free, TESTS, loosely=False)
    free = [name for name in free if name != tests]
    prompt = "prompt" if "prompt" in made else _named(free, PROMPTS)
    answer = "answer" if "answer" in made else _named([name for name in free if name != prompt], ANSWERS)
    if prompt is None:
        prompt = _asking([name for name in free if name != answer], records)
    if answer is None:
        after = free[free.index(prompt) + 1 :] if prompt in free else []
        answer = next((name for name in [*after, *free] if name != prompt), None)
    pairs = {"prompt": prompt, "answer": answer, "tests": tests}
    mapped = tuple((ours, theirs) for ours, theirs in pairs.items() if theirs not in (None, ours))
    return Columns(prompt, answer, tests, mapped)


def values(records: Sequence[dict[str, Any]], ours: str, theirs: str | None) -> list[Any]:
    """What the rows hold in a column, under our name or theirs."""
    data = Data() if theirs in (None, ours) else Data(columns={ours: str(theirs)})
    return [shapes.mapped(row, data, ("prompt", "answer")).columns.get(ours) for row in records]


def _named(names: Sequence[str], known: Sequence[str], loosely: bool = True) -> str | None:
    """The column with the likeliest name: the same word, then one of its words, then a part of it where a script puts
    no blanks between words."""
    ranked = []
    for place, word in enumerate(known):
        for name in names:
            plain = re.sub(r"[\s_\-.]+", " ", name.strip().casefold())
            if plain == word.replace("_", " "):
                ranked.append((0, place, name))
            elif loosely and word in plain.split():
                ranked.append((1, place, name))
            elif loosely and not word.isascii() and word in plain:
                ranked.append((2, place, name))
    return min(ranked, key=lambda each: each[:2])[2] if ranked else None


def _numbers(name: str, records: Sequence[dict[str, Any]]) -> bool:
    """Does a column number the rows? Of a column whose name says what it is only the name is asked."""
    plain = name.strip().casefold()
    if plain in NUMBERING:
        return True
    if plain in (*PROMPTS, *ANSWERS) or len(records[0]) < 3:
        return False
    texts = [str(row.get(name)).strip() for row in records]
    return len(texts) > 2 and any(texts == [str(start + place) for place in range(len(texts))] for start in (0, 1))


def _asking(names: Sequence[str], records: Sequence[dict[str, Any]]) -> str | None:
    """The column that asks: most of its texts end so; else the first of texts that differ."""

    def texts(name: str) -> list[str]:
        return [str(row.get(name) or "").strip() for row in records]

    asking = {name: sum(text.endswith(("?", "\uff1f")) for text in texts(name)) for name in names}
    best = max(asking, key=lambda name: asking[name], default=None)
    if best is not None and 3 * asking[best] >= len(records):
        return best
    distinct = [name for name in names if 2 * len(set(texts(name))) >= len(records)]
    return next(iter(distinct or names), None)
