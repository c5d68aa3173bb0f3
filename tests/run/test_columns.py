"""Columns read like lists of float | None, tables stay aligned."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trainer.run.columns import Column, Table

VALUES: list[float | None] = [None, 1.0, 2.5, None, -3.0]


def test_a_column_reads_like_the_list_it_was_made_of() -> None:
    column = Column(VALUES)
    assert column == VALUES and column == Column(VALUES)
    assert list(column) == VALUES and list(reversed(column)) == VALUES[::-1]
    assert [column[place] for place in range(-5, 5)] == VALUES + VALUES
    assert (column[1:4], column[-2:], column[::2]) == (VALUES[1:4], VALUES[-2:], VALUES[::2])
    assert (len(column), bool(Column()), 2.5 in column, None in column) == (5, False, True, True)
    assert column != VALUES[:-1]
    with pytest.raises(IndexError):
        column[5]


def test_what_is_no_number_is_none_and_whole_numbers_come_back_as_floats() -> None:
    column = Column()
    values: list[Any] = ["1", None, [], math.nan, 10**400, 3, True, 0.5]
    for value in values:
        column.append(value)
    assert column == [None, None, None, None, None, 3.0, 1.0, 0.5]
    assert isinstance(column[5], float)


def test_values_are_taken_back_from_the_end() -> None:
    column = Column(VALUES)
    assert column.pop() == -3.0
    column.cut(2)
    assert column == [None, 1.0]
    column.append(2.0)
    assert column == [None, 1.0, 2.0]


def test_rows_with_other_names_keep_the_columns_aligned() -> None:
    table = Table()
    rows: list[Any] = [{"a": 1}, {"a": 2, "b": 3}, {"b": 4, "a": 5}, None, {"a": "x", "b": 6}, {"c": 7}, {"a": 8}]
    for row in rows:
        table.append(row)
    assert table == {
        "a": [1, 2, 5, None, None, None, 8],
        "b": [None, 3, 4, None, 6, None, None],
        "c": [None, None, None, None, None, 7, None],
    }
    table.cut(4)
    table.append({"a": 9})
    table.add({"b": 1.0, "d": 2.0})
    table.add({"b": 0.5})
    table.append({"a": 10})
    assert table == {
        "a": [1, 2, 5, None, 9, 10],
        "b": [None, 3, 4, None, 1.5, None],
        "c": [None] * 6,
        "d": [None] * 4 + [2, None],
    }


def test_a_hundred_thousand_steps_are_eight_bytes_each() -> None:
    column = Column(float(n) for n in range(100_000))
    assert column.values.itemsize * len(column) == 800_000
