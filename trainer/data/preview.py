"""Some rows as they will be sent, without a tokenizer: for a page and for trying rewards out. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from trainer.data import files, sources
from trainer.data.decoding import Found, Record
from trainer.data.keys import TRAIN
from trainer.data.render import Renderer, with_prompt
from trainer.data.survey import Feed, Survey, of_file, survey
from trainer.errors import DataError, Problem
from trainer.spec import RunSpec

MOST_SAMPLED = 500
"""First rows of each feed among which samples are looked for."""


@dataclass(frozen=True)
class Sample:
    """A row's prompt as it will be sent. where: file:line. own: its messages stand in the row, and are not made."""

    where: str
    prompt: Any
    own: bool

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(str(message["role"]) for message in self.prompt) if isinstance(self.prompt, list) else ()


@dataclass(frozen=True)
class Glance:
    """The first rows of a run's data, looked at as if there were no others."""

    rows: list[dict[str, Any]]
    """Training rows, every column, `prompt` rendered as messages (data.chat) or text."""
    found: Survey
    is_all: bool
    """The data has no other rows."""


def preview(spec: RunSpec, count: int = 8) -> list[dict[str, Any]]:
    """The first `count` of `rows`. Raises as it does."""
    return list(islice(rows(spec), count))


def rows(spec: RunSpec) -> Iterator[dict[str, Any]]:
    """The training rows: every column, `prompt` rendered as messages (data.chat) or text.

    Raises DataError with all that sources.inspect refuses, and for a dataset that is not on this machine.
    """
    train, held_out = sources.feeds(spec)
    if train is None:
        raise DataError(_on_the_hub(spec))
    return _rendered(spec, train, survey(spec, train, held_out))


def glance(spec: RunSpec, most: int, records: Sequence[Found] | None = None) -> Glance:
    """At most `most` records of each file, or the given ones of a dataset that is not on this machine.

    Raises DataError with what is wrong with these rows, and for a Hub dataset without `records`.
    """
    train, held_out = sources.feeds(spec)
    if records is not None:
        train = Feed(
            spec.data.name or "rows", "data.name", lambda: iter(records), min(most, spec.data.max_rows or most)
        )
    elif spec.data.path is not None:
        train = of_file(spec, spec.data.path, "data.path", min(most, spec.data.max_rows or most))
    if train is None:
        raise DataError(_on_the_hub(spec))
    train.limit = min(most, spec.data.max_rows or most)
    if held_out is not None:
        held_out.limit = most
    found = survey(spec, train, held_out)
    is_all = records is None and len(found.roles) < most
    return Glance(list(_rendered(spec, train, found)), found, is_all)


def samples(spec: RunSpec, *feeds: Feed | None, most: int = 8) -> list[Sample]:
    """Prompts of the first rows: two, the longest, and one of every other order of roles; without few-shot examples."""
    made = {"few_shot": ""} if spec.data.few_shot is not None else {}
    found: list[Sample] = []
    longest = None
    for feed in filter(None, feeds):
        for row in islice(feed.rows(spec), MOST_SAMPLED):
            prompt = with_prompt(row.columns | made, spec.data)["prompt"]
            one = Sample(f"{feed.name}:{row.line}", prompt, isinstance(row.columns.get("prompt"), list))
            if len(found) < 2 or (len(found) < most and all(one.roles != each.roles for each in found)):
                found.append(one)
            elif longest is None or len(str(prompt)) > len(str(longest.prompt)):
                longest = one
    return [*found, longest] if longest is not None else found


def first_records(path: str, count: int, encoding: str | None = None) -> list[dict[str, Any]]:
    """The first sound records of a file as they stand in it. Raises DataError for what is no readable file."""
    found = islice(files.records(path, "data.path", encoding), 10 * count)
    return [dict(each.columns) for each in islice((each for each in found if isinstance(each, Record)), count)]


def _rendered(spec: RunSpec, train: Feed, found: Survey) -> Iterator[dict[str, Any]]:
    renderer = Renderer(spec, found.pool)
    rows = (row for row, role in zip(train.rows(spec), found.roles, strict=True) if role == TRAIN)
    return (renderer.row(row.columns) for row in rows)


def _on_the_hub(spec: RunSpec) -> Problem:
    return Problem("data.on_hub", "data.name", name=spec.data.name)
