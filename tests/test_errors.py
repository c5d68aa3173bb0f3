"""A problem on its way through the event log, or from another process: it can be said whatever has become of it."""

from __future__ import annotations

import json

import pytest

from trainer.errors import Problem
from trainer.text import Message, words


def sent(problem: Problem) -> Problem:
    return Problem.read(json.loads(json.dumps(problem.stored())))


def test_a_problem_without_a_fix_is_a_warning_on_the_other_side_as_well() -> None:
    problem = Problem("launch.gone", name="tiny-1")
    assert not problem.fix
    again = Message.read(json.loads(json.dumps(sent(problem).message().stored())))
    assert str(again) == str(problem)


@pytest.mark.parametrize("values", [{}, {"other": 1}])
def test_a_part_whose_value_was_lost_is_said_as_it_was(values: dict[str, int]) -> None:
    """A log line drops numbers that are not finite, and another version may have named its values otherwise."""
    problem = Problem("launch.finished", name="tiny-1")
    lost = Problem.read(problem.stored() | {"values": values}).said(words("ko"))
    assert (lost.where, lost.fix) == (problem.where, problem.fix)
    assert lost.what == problem.said(words("ko")).what


def test_where_the_key_is_gone_it_is_said_as_it_was() -> None:
    problem = Problem("launch.finished", "a place", name="tiny-1")
    lost = Problem.read(problem.stored() | {"key": "of.another.version"})
    assert lost.said(words("ko")) == problem.said(words("en"))
