"""The Groups tab as the page serves it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.builders import began, step, write_run
from tests.ui.conftest import Server, look
from tests.ui.groups.made import HOSTILE, completion, line, run_with_groups
from trainer.run.rundir import RunDir
from trainer.text import words

EN = words("en")
RUN = "groups-1"


@pytest.fixture(scope="module")
def run(server: Server) -> Iterator[RunDir]:
    own = line("asked often", completions=[completion("mine", 1.0, advantage=1.0), completion("no", 0.0)])
    dead = line("dead one", completions=[completion(reward=0.0)] * 2, outcome="all_wrong", std=0.0, mean=0.0)
    yield run_with_groups(server.outputs, RUN, {1: [own, dead], 2: [line(HOSTILE)], 3: [dead, own]}, last=4)


def shown(server: Server, run: str = RUN, language: str = "en", **asked: Any) -> dict[str, str]:
    own = {name: asked.pop(name) for name in ("order", "kind", "cards", "search") if name in asked}
    given = json.dumps({"run": run, **asked}) if asked else ""
    values = look(server, "groups", run, language, asked=given, **own)
    return {name.partition(".")[2]: value for name, value in values.items() if name.startswith("groups.")}


def test_the_newest_step_is_shown_first(server: Server, run: RunDir) -> None:
    told = shown(server)
    assert "Step 3: 2 prompts, 2 completions each." in told["question"]
    assert "1 of the 2 groups taught nothing" in told["question"]
    assert 'data-step="3"' in told["strip"] and 'data-following="1"' in told["strip"]
    assert told["list"].count("<li>") == 2
    assert "asked often" in told["panel"] and told["completions"].count("<article") == 2


def test_a_chosen_step_and_group_are_shown(server: Server, run: RunDir) -> None:
    told = shown(server, step=1, group=1)
    assert "Step 1:" in told["question"] and "dead one" in told["panel"]
    assert "All two got the same reward. This group taught nothing." in told["panel"]
    assert 'data-following="0"' in told["strip"]


def test_a_step_that_is_not_there_shows_what_is_nearest(server: Server, run: RunDir) -> None:
    told = shown(server, step=4, group=99)
    assert "Step 4 has no completions of its own" in told["question"]
    assert "asked often" in told["panel"]


def test_lists_and_search_choose_what_is_listed(server: Server, run: RunDir) -> None:
    assert shown(server, kind="dead")["list"].count("<li>") == 1
    assert "asked often" not in shown(server, search="DEAD")["list"]
    assert EN("groups.list_none") in shown(server, search="nowhere")["list"]
    assert shown(server, search="nowhere")["completions"] == ""


def test_a_prompt_is_followed_through_its_steps(server: Server, run: RunDir) -> None:
    told = shown(server, step=3, group=1, follow=True)
    assert "This prompt through the run" in told["history"] and "mine" in told["history"]
    assert told["history"].count("<tr") == 3
    key = told["panel"].partition('data-key="')[2][:16]
    assert "asked often" in shown(server, step=1, follow=True, key=key)["panel"]


def test_texts_of_the_model_are_inert(server: Server, run: RunDir) -> None:
    told = shown(server, step=2)
    for value in told.values():
        assert "<img" not in str(value) and "<script" not in str(value) and "{{" not in str(value)
    assert "&lt;script&gt;" in told["panel"] and "U+202E" in told["panel"]


def test_korean_says_the_same(server: Server, run: RunDir) -> None:
    told, say = shown(server, language="ko", step=1), words("ko")
    assert say("groups.step", step="1", prompts=2, count=2) in told["question"]


def test_the_tabs_own_event_shows_at_once_what_a_tick_would(server: Server, run: RunDir) -> None:
    asked = json.dumps({"run": RUN, "step": 1, "group": 1})
    question, marks, listed, panel, history, completions = server.call(
        "groups", RUN, "en", asked, "spread", "all", "best", ""
    )
    told = shown(server, step=1, group=1)
    assert [question, marks, listed] == [told[name] for name in ("question", "strip", "list")]
    assert [panel, history, completions] == [told[name] for name in ("panel", "history", "completions")]


@pytest.mark.parametrize("name", ["../groups-1", "nowhere", "", "groups-1/../x", "a" * 65])
def test_no_other_name_is_read(server: Server, run: RunDir, name: str) -> None:
    answer = server.call("groups", name, "en", '{"step": 1}', "spread", "all", "best", "q")
    assert EN("page.run_none") in answer[0] and answer[5] == ""


def test_a_run_without_groups_says_why(server: Server) -> None:
    made = [write_run(server.outputs, f"none-{n}", [began(), *([step(1)] if n else [])]) for n in range(2)]
    spec = json.loads(made[1].spec.read_text())
    spec["log"] = {"rollouts": False}
    made[1].spec.write_text(json.dumps(spec))
    assert EN("groups.none_ever") in shown(server, "none-0")["question"]
    assert "log.rollouts = true" in shown(server, "none-1")["question"]
    assert shown(server, "none-1")["list"] == ""


def test_files_that_are_gone_or_damaged_are_named(server: Server) -> None:
    lost = run_with_groups(server.outputs, "lost-1", {1: [line()], 2: [line(), line("two")]})
    lost.rollouts_file(1).unlink()
    with lost.rollouts_file(2).open("a") as file:
        file.write('{"step": 2, "gro')
    assert "rollouts/step_000001.jsonl" in shown(server, "lost-1", step=1)["question"]
    told = shown(server, "lost-1", step=2)
    assert "1 damaged lines" in told["question"] and told["list"].count("<li>") == 2
