"""trainer.episodes.table: what TRL is given in place of environments."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.episodes.made import host_of
from trainer.episodes.host import Host, Raised
from trainer.episodes.table import Table
from trainer.errors import Problem, RewardError
from trainer.rewards.played import Played
from trainer.text import Message


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    made = host_of(tmp_path_factory.mktemp("table"))
    yield made
    made.close()


def stand_ins(table: Table, count: int) -> list[Any]:
    return [table.environment() for _ in range(count)]


def named(one: Any) -> set[str]:
    """As TRL calls what it finds."""
    methods = inspect.getmembers(one, inspect.ismethod)
    return {method.__name__ for name, method in methods if not name.startswith("_")}


def test_trl_sees_reset_and_the_tools_and_no_reward(host: Host) -> None:
    (one,) = stand_ins(Table(host, 42), 1)
    assert named(one) == {"reset", "step", "bad"}
    from transformers.utils import get_json_schema

    assert get_json_schema(one.tool_step)["function"] == {
        "name": "step",
        "description": "Go on.",
        "parameters": {"type": "object", "properties": {"by": {"type": "integer", "description": "How far."}}},
    }


def test_the_rows_of_a_group_begin_with_the_same_seed_and_others_with_others(host: Host) -> None:
    def seeds(run_seed: int, of: str) -> list[int]:
        table = Table(host, run_seed)
        made = stand_ins(table, 4)
        table.begin(of, 2)
        for one in made:
            one.reset(prompt="p")
        return [seat.seed for seat in table.seats]

    first = seeds(42, "step 0.0")
    assert first[0] == first[1] != first[2] == first[3]
    assert seeds(42, "step 0.0") == first
    assert not set(first) & {*seeds(42, "step 1.0"), *seeds(43, "step 0.0")}


def test_a_rating_is_of_the_turn_it_follows(host: Host) -> None:
    table = Table(host, 42, factor=1.0)
    (one,) = stand_ins(table, 1)
    table.begin("a", 1)
    one.reset()
    for turn in range(3):
        table.writing()
        one.tool_step(by=1)
        if turn == 1:
            one.tool_step(by=3)  # two calls in one turn
    assert table.seats[0].ratings == {0: 0.1, 1: 0.5, 2: 0.6}
    assert one.played() == Played(0.6)
    table.begin("b", 1)
    one.reset()
    assert table.seats[0].ratings == {} and one.played() == Played(0.0)


def test_nothing_is_rated_where_turns_are_not_compared(host: Host) -> None:
    table = Table(host, 42)
    (one,) = stand_ins(table, 1)
    table.begin("a", 1)
    one.reset()
    table.writing()
    one.tool_step()
    assert table.seats[0].ratings == {}


def test_wrong_arguments_and_exceptions_are_told_to_the_model_and_lose_nothing(host: Host) -> None:
    table = Table(host, 42)
    (one,) = stand_ins(table, 1)
    table.begin("a", 1)
    one.reset()
    with pytest.raises(TypeError, match="unexpected keyword argument 'far'"):
        one.tool_step(far=1)
    with pytest.raises(TypeError, match="missing a required argument: 'how'"):
        one.tool_bad()
    with pytest.raises(Exception, match="ValueError: too far"):
        one.tool_step(by=200)
    assert one.played() == Played(0.0)


def test_a_lost_episode_says_why_and_answers_no_more(tmp_path: Path) -> None:
    host = host_of(tmp_path)
    table = Table(host, 42)
    made = stand_ins(table, 2)
    table.begin("a", 2)
    for one in made:
        one.reset()
    with pytest.raises(Exception, match="NoneType where a text is expected"):
        made[0].tool_bad(how="none")
    with pytest.raises(Exception, match="NoneType where a text is expected"):
        made[0].tool_step()
    lost = made[0].played()
    assert lost.reward is None and "NoneType" in str(lost.lost)
    assert made[1].played() == Played(0.0)
    host.close()


def test_a_reset_that_raises_loses_its_row_and_not_the_run(tmp_path: Path) -> None:
    source = (
        "class Steps:\n  def reset(self, seed, answer): self.to = 1 / answer\n"
        "  def go(self) -> str:\n    'Go.'\n    return str(self.to)\n"
    )
    host = host_of(tmp_path, source=source)
    table = Table(host, 42)
    made = stand_ins(table, 2)
    table.begin("a", 1)
    assert [one.reset(answer=answer) for one, answer in zip(made, (0, 1), strict=True)] == [None, None]
    assert "ZeroDivisionError" in str(made[0].played().lost)
    assert made[1].played() == Played() and made[1].tool_go() == "1.0"
    host.close()


MOVES = '''
class Steps:
    def reset(self, seed): self.at = 0
    def played(self) -> str:
        """Play a stone."""
        self.at += 1
        if self.at == 2:
            raise ValueError("not there")
        return "done"
    def get_reward(self): return {0: 0.0, 1: 0.5, 2: 0.75}.get(self.at)
'''


def test_a_tool_may_have_any_name_and_what_it_earns_before_it_raises_is_of_its_turn(tmp_path: Path) -> None:
    host = host_of(tmp_path, source=MOVES)
    table = Table(host, 42, factor=1.0)
    (one,) = stand_ins(table, 1)
    assert named(one) == {"reset", "played"}
    table.begin("a", 1)
    one.reset()
    table.writing()
    assert one.tool_played() == "done"
    table.writing()
    with pytest.raises(Exception, match="not there"):
        one.tool_played()
    assert table.seats[0].ratings == {0: 0.5, 1: 0.75}
    table.writing()
    with pytest.raises(Exception, match="get_reward returned None where a number is expected"):
        one.tool_played()  # no rating: not a turn that has lost everything
    assert one.played().reward is None and "returned None" in str(one.played().lost)
    host.close()


def test_a_process_that_cannot_start_again_ends_the_run_and_is_not_tried_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, starts = host_of(tmp_path), []
    table = Table(host, 42)
    made = stand_ins(table, 2)
    table.begin("a", 2)
    for one in made:
        one.reset()
    table.writing()

    def start() -> Any:
        starts.append(1)
        raise RewardError(Problem("episodes.ended_at_start", "own.py", ending="exit code 4"))

    monkeypatch.setattr(host, "_start", start)
    host.close()
    for _ in range(2):
        with pytest.raises(RewardError):  # TRL tells it to the model
            made[0].tool_step()
    assert len(starts) == 1
    for ends in (table.writing, *(one.played for one in made)):
        with pytest.raises(RewardError, match="exit code 4"):
            ends()
    assert len(starts) == 1


def test_a_reward_that_nobody_can_ask_for_loses_its_row(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: Any) -> Any:
        raise Raised("KeyError: 0", Message("plain.text", text="raised KeyError: 0"))

    table = Table(host, 42)
    (one,) = stand_ins(table, 1)
    table.begin("a", 1)
    one.reset()
    monkeypatch.setattr(host, "ask", ask)
    assert str(one.played().lost) == "get_reward raised KeyError: 0"


def test_a_batch_begins_with_the_memory_of_the_one_before(tmp_path: Path) -> None:
    source = (
        "import gc\nclass Steps:\n  def reset(self, seed): pass\n"
        "  def count(self) -> str:\n    'Count.'\n    gc.collect()\n"
        "    return sum(type(one) is Steps for one in gc.get_objects())\n"
    )
    table = Table(host_of(tmp_path, source=source), 42)
    made = stand_ins(table, 3)
    for batch in ("a", "b"):
        table.begin(batch, 1)
        made[0].reset()
        assert made[0].tool_count() == "1"
        for one in made[1:]:
            one.reset()
        assert made[0].tool_count() == "3"
    table.close()
