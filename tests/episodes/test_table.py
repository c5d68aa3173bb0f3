"""trainer.episodes.table: what TRL is given in place of environments."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.episodes.made import host_of
from trainer.episodes.host import Host
from trainer.episodes.table import Table
from trainer.rewards.played import Played


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    made = host_of(tmp_path_factory.mktemp("table"))
    yield made
    made.close()


def stand_ins(table: Table, count: int) -> list[Any]:
    return [table.environment() for _ in range(count)]


def test_trl_sees_reset_and_the_tools_and_no_reward(host: Host) -> None:
    (one,) = stand_ins(Table(host, 42), 1)
    public = {name for name, _ in inspect.getmembers(one, inspect.ismethod) if not name.startswith("_")}
    assert public == {"reset", "step", "bad"}
    from transformers.utils import get_json_schema

    assert get_json_schema(one.step)["function"] == {
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
        one.step(by=1)
        if turn == 1:
            one.step(by=3)  # two calls in one turn
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
    one.step()
    assert table.seats[0].ratings == {}


def test_wrong_arguments_and_exceptions_are_told_to_the_model_and_lose_nothing(host: Host) -> None:
    table = Table(host, 42)
    (one,) = stand_ins(table, 1)
    table.begin("a", 1)
    one.reset()
    with pytest.raises(TypeError, match="unexpected keyword argument 'far'"):
        one.step(far=1)
    with pytest.raises(TypeError, match="missing a required argument: 'how'"):
        one.bad()
    with pytest.raises(Exception, match="ValueError: too far"):
        one.step(by=200)
    assert one.played() == Played(0.0)


def test_a_lost_episode_says_why_and_answers_no_more(tmp_path: Path) -> None:
    host = host_of(tmp_path)
    table = Table(host, 42)
    made = stand_ins(table, 2)
    table.begin("a", 2)
    for one in made:
        one.reset()
    with pytest.raises(Exception, match="NoneType where a text is expected"):
        made[0].bad(how="none")
    with pytest.raises(Exception, match="NoneType where a text is expected"):
        made[0].step()
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
    assert made[1].played() == Played() and made[1].go() == "1.0"
    host.close()
