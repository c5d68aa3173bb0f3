"""trainer.episodes.host and child: real processes, real hangs, real exits."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.episodes.made import asked, host_of
from trainer.episodes.host import Host, Lost, Raised
from trainer.errors import RewardError


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    made = host_of(tmp_path_factory.mktemp("host"), deadline_s=20.0, memory_gib=1.0)
    yield made
    made.close()


def test_what_an_environment_offers_is_told(host: Host) -> None:
    assert host.described.name == "Steps" and host.described.has_reward
    assert [tool.name for tool in host.described.tools] == ["bad", "step"]
    step = host.described.tools[1]
    assert str(step.signature()) == "(self, *, by: int = 1)"
    assert step.doc.startswith("Go on.")


def test_each_slot_is_an_episode_of_its_own(host: Host) -> None:
    assert host.ask(0, asked("reset", seed=1, start=3, prompt="p")).text == " from 3"
    assert host.ask(1, asked("reset", seed=1)).text is None
    assert str(host.ask(0, asked("step", by=2)).text).startswith("5 ")
    assert host.ask(1, asked("step"), rated=True).rating == 0.1
    assert host.ask(0, asked("get_reward"), rated=True).rating == 0.5
    assert host.ask(0, asked("reset", seed=1)).text is None  # nothing is left of the episode before
    assert host.ask(0, asked("get_reward"), rated=True).rating == 0.0


def test_a_column_that_a_row_lacks_has_its_default(host: Host) -> None:
    assert host.ask(0, asked("reset", seed=1, start=None)).text is None
    assert str(host.ask(0, asked("step", by=2)).text).startswith("2 ")


def test_the_same_seeds_draw_the_same_also_from_the_generators_of_the_process(host: Host) -> None:
    said = []
    for slot in (0, 1):
        host.ask(slot, asked("reset", seed=7))
        said.append(str(host.ask(slot, asked("step", "7/2")).text))
    assert said[0] == said[1]
    assert str(host.ask(0, asked("step", "7/3")).text).split()[2] != said[0].split()[2]


def test_what_it_raises_is_told_and_the_episode_goes_on(host: Host) -> None:
    host.ask(0, asked("reset", seed=1))
    with pytest.raises(Raised, match="ValueError: too far"):
        host.ask(0, asked("step", by=101))
    with pytest.raises(Raised, match="TypeError"):
        host.ask(0, asked("step", by="far"))
    with pytest.raises(Raised, match="no_such"):
        host.ask(0, asked("step", no_such=1))
    assert str(host.ask(0, asked("step")).text).startswith("1 ")


@pytest.mark.parametrize(
    ("how", "why"),
    [("none", "NoneType where a text"), ("object", "object where a text"), ("long", "30000 characters")],
)
def test_an_answer_that_is_no_text_loses_the_episode(host: Host, how: str, why: str) -> None:
    host.ask(0, asked("reset", seed=1))
    with pytest.raises(Lost, match=why):
        host.ask(0, asked("bad", how=how))


def test_numbers_tables_and_flags_are_text(host: Host) -> None:
    host.ask(0, asked("reset", seed=1))
    assert host.ask(0, asked("bad", how="table")).text == '{"a": [1]}'
    assert host.ask(0, asked("bad", how="flag")).text == "true"


@pytest.mark.parametrize(
    ("at", "why"), [(13, "get_reward returned nan|returned nan where"), (14, "no luck"), (15, "returned str|'much'")]
)
def test_a_reward_that_is_none_loses_the_episode(host: Host, at: int, why: str) -> None:
    host.ask(0, asked("reset", seed=1, start=at))
    with pytest.raises(Lost, match=why):
        host.ask(0, asked("get_reward"), rated=True)
    host.ask(0, asked("reset", seed=1, start=at))
    with pytest.raises(Lost, match=why):
        host.ask(0, asked("step", by=101), rated=True)  # raises too, and who raises is rated


@pytest.mark.parametrize(
    ("how", "why"), [("hang", "longer than"), ("exit", "exit code 3"), ("grow", "1 GiB of memory, with all other")]
)
def test_one_that_takes_its_process_with_it_loses_its_own_episode_only(host: Host, how: str, why: str) -> None:
    for slot in (0, 1):
        host.ask(slot, asked("reset", seed=5, start=slot))
        host.ask(slot, asked("step", "5/2", by=4))
    with pytest.raises(Raised):
        host.ask(1, asked("step", "5/3", by=101))
    expected = [host.ask(slot, asked("step", "5/4")).text for slot in (0, 1)]
    for slot in (0, 1):
        host.ask(slot, asked("reset", seed=5, start=slot))
        host.ask(slot, asked("step", "5/2", by=4))
    deadline, host.deadline_s = host.deadline_s, 1.5 if how == "hang" else 20.0
    began = time.monotonic()
    with pytest.raises(Lost, match=why):
        host.ask(2, asked("reset", seed=1)) and host.ask(2, asked("bad", how=how))
    assert time.monotonic() - began < 15
    host.deadline_s = deadline
    host.relax()
    # The others are begun again, with the seeds they had.
    assert [host.ask(slot, asked("step", "5/4")).text for slot in (0, 1)] == expected


def test_every_hang_leaves_the_next_calls_less_time(tmp_path: Path) -> None:
    host = host_of(tmp_path, deadline_s=2.0)
    began = time.monotonic()
    for slot in range(3):
        host.ask(slot, asked("reset", seed=1))
        with pytest.raises(Lost):
            host.ask(slot, asked("bad", how="hang"))
    assert host.late == 3
    assert time.monotonic() - began < 2.0 + 1.0 + 0.7 + 6.0  # and three starts of the process
    host.close()


SLOW = '''
import os, time
class Steps:
    def reset(self, seed, marker):
        self.marker = marker
        if os.path.exists(marker + ".reset"):
            raise RuntimeError("not again")
    def wait(self, seconds: float) -> str:
        """Wait.

        Args:
            seconds: How long.
        """
        time.sleep(60 if os.path.exists(self.marker + ".wait") else seconds)
        return "waited"
'''


def hang(host: Host, slot: int, marker: str) -> str:
    """Why it was lost."""
    host.ask(slot, asked("reset", seed=1, marker=marker))
    with pytest.raises(Lost) as lost:
        host.ask(slot, asked("wait", seconds=60))
    return str(lost.value)


def test_what_is_played_again_has_the_time_it_had(tmp_path: Path) -> None:
    host, marker = host_of(tmp_path, source=SLOW, deadline_s=1.5), str(tmp_path / "marker")
    host.ask(0, asked("reset", seed=1, marker=marker))
    for _ in range(3):
        host.ask(0, asked("wait", seconds=0.4))
    assert hang(host, 1, marker) == "took longer than 1.5 s"
    assert hang(host, 2, marker) == "took longer than 0.75 s"
    # Three calls of 0.4 s, and this one may take 0.5 s.
    assert host.ask(0, asked("wait", seconds=0.0)).text == "waited"
    assert host.late == 2
    assert hang(host, 1, marker) == "took longer than 0.5 s"
    (tmp_path / "marker.wait").touch()
    with pytest.raises(Lost, match=r"longer than 1\.5 s"):
        host.ask(0, asked("wait", seconds=0.0))
    assert host.late == 3  # its own hang, of which no other knows anything
    host.close()


def test_a_reset_that_raises_when_it_is_played_again_loses_its_row(tmp_path: Path) -> None:
    host, marker = host_of(tmp_path, source=SLOW), str(tmp_path / "marker")
    host.ask(0, asked("reset", seed=1, marker=marker))
    host.close()
    (tmp_path / "marker.reset").touch()
    with pytest.raises(Lost, match="RuntimeError: not again") as lost:
        host.ask(0, asked("wait", seconds=0.0))
    assert lost.value.method == "reset"
    host.close()


def test_an_episode_that_nobody_has_begun_is_worth_nothing_known(host: Host) -> None:
    host.forget()
    with pytest.raises(Raised, match="KeyError"):
        host.ask(0, asked("get_reward"), rated=True)


def test_an_answer_that_nobody_waits_for_is_not_taken_for_another(host: Host) -> None:
    host.ask(0, asked("reset", seed=1))
    assert host._child is not None
    host._tasks += 1
    host._child.send("ask", host._tasks, 0, "1", "bad", {"how": "late"}, False)
    assert host.ask(0, asked("bad", how="newest")).text == "newest"


def test_chance_of_numpy_follows_from_the_seed_also_where_it_is_imported_late(tmp_path: Path) -> None:
    source = (
        "import random\nclass Steps:\n  def reset(self, seed): pass\n  def draw(self) -> str:\n    'Draw.'\n"
        "    import numpy\n    return f'{random.random()} {numpy.random.random()}'\n"
    )
    host, said = host_of(tmp_path, source=source), []
    for slot in (0, 1):
        host.ask(slot, asked("reset", seed=1))
        said += [host.ask(slot, asked("draw", "1/2")).text]
    host.close()
    assert said[0] == said[1]
    assert str(said[0]).startswith(str(random.Random("1/2").random()))  # whether or not numpy is there


def tool(signature: str, doc: str = "Go.\n\n    Args:\n        a: A.\n    ") -> str:
    return f"class Steps:\n  def reset(self): pass\n  def go({signature}):\n    {doc!r}"


BROKEN = {
    "class Steps: pass": "episodes.no_tools",
    "class Steps:\n  def __init__(self, size): pass": "episodes.not_made",
    "class Steps:\n  def reset(self): pass": "episodes.no_tools",
    tool("self, a: int").replace("reset", "_reset"): "episodes.no_reset",
    tool("self", ""): "episodes.no_docstring",
    tool("self, a: bytes"): "episodes.argument_type",
    tool("self, a"): "episodes.argument_type",
    tool("self, a: int", "Go."): "episodes.argument_untold",
    tool("self, *a: int"): "episodes.argument_unnamed",
    tool("self, a: 'Missing'"): "episodes.not_read",
    tool("self, a: int") + "\n  @property\n  def odd(self): raise ValueError('odd')": "episodes.not_read",
    "import enum, typing\nE = enum.Enum('E', 'x')\n" + tool("self, a: typing.Literal[E.x]"): "episodes.argument_type",
    tool("self, a: dict = {1: {2}}"): "episodes.argument_default",
    "import sys\nsys.exit(4)": "rewards.file_raised",
    "import os\nos._exit(4)": "episodes.ended_at_start",
    "class Other: pass": "episodes.no_class",
}


@pytest.mark.parametrize(("source", "key"), BROKEN.items(), ids=range(len(BROKEN)))
def test_a_class_that_is_no_environment_is_named(tmp_path: Path, source: str, key: str) -> None:
    with pytest.raises(RewardError) as raised:
        host_of(tmp_path, source=source)
    assert key in [problem.key for problem in raised.value.problems]
    assert str(raised.value)  # it has words


def test_arguments_with_and_without_defaults_stand_in_any_order(tmp_path: Path) -> None:
    host = host_of(
        tmp_path, source=tool("self, a: int = 1, *, b: int", "Go.\n\n    Args:\n        a: A.\n        b: B.")
    )
    assert str(host.described.tools[0].signature()) == "(self, *, a: int = 1, b: int)"
    host.close()


def test_a_class_that_cannot_be_read_is_named_with_its_error(tmp_path: Path) -> None:
    with pytest.raises(RewardError, match="Steps: cannot be read as an environment: NameError: name 'Missing'"):
        host_of(tmp_path, source=tool("self, a: 'Missing'"))
