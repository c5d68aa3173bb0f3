"""The table of the reward library in docs/rewards.md is the library: every function, with its params and defaults."""

from __future__ import annotations

import inspect
import re

import pytest

from tests.docs.reading import page, parts
from trainer.rewards.library import REWARDS


def table(text: str) -> dict[str, str]:
    """{function: the cell with its params} of the table of the library."""
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|", parts(text)["The library"], re.MULTILINE)
    return dict(rows)


def params(function: str) -> set[str]:
    return set(inspect.signature(REWARDS[function]).parameters)


def told(cell: str) -> set[str]:
    """Names in a cell: `scale` ([0, 10]), `tokens` (`word`; or `syllable`) are scale and tokens."""
    return set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", cell)))


def wrong(text: str) -> list[str]:
    """Functions and params that only the library or only the text has."""
    listed = table(text)
    found = sorted(listed.keys() ^ REWARDS.keys())
    for function, cell in listed.items():
        if function in REWARDS and "as `" not in cell:
            found += [f"{function}.{name}" for name in sorted(told(cell) ^ params(function))]
    return found


def test_the_table_has_every_function_and_param_and_no_other() -> None:
    assert wrong(page("docs/rewards.md")) == []


def test_what_refers_to_another_row_has_its_params() -> None:
    for function, cell in table(page("docs/rewards.md")).items():
        if other := re.search(r"as `(\w+)`", cell):
            assert params(function) == params(other.group(1))


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("| `overlong` |", "| `overlang` |", ["overlang", "overlong"]),
        ("`max_tokens`, `buffer` |", "`max_tokens`, `rest` |", ["overlong.buffer", "overlong.rest"]),
    ],
)
def test_a_wrong_table_is_found(old: str, new: str, found: list[str]) -> None:
    text = page("docs/rewards.md")
    assert old in text
    assert wrong(text.replace(old, new)) == found
