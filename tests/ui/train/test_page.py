"""Train as `python app.py` serves it, asked as its script asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.ui.conftest import Server
from trainer.text import words

KO = words("ko")


def ask(server: Server, event: str, *changes: str, language: str = "en", **more: Any) -> dict[str, Any]:
    form = {"base": {"preset": "tiny"}, "changes": list(changes), "serial": 7, "turn": 8, "have": "en", **more}
    answer: dict[str, Any] = json.loads(server.call(event, language, json.dumps(form))[0])
    return answer


def test_a_new_browser_is_given_the_whole_form_in_its_language(server: Server) -> None:
    found = json.loads(server.call("check", "ko", "")[0])
    assert found["kind"] == "checked" and found["base"] == "tiny" and found["right"]
    html = found["still"]["html"]
    assert KO("train.question") in html and html.count('name="t-preset"') > 10
    assert KO("train.machine" if "train.machine" in KO else "train.start") in html
    assert 'data-key="optim.learning_rate"' in html and "Peak learning rate" not in html


def test_a_choice_shows_its_plan_values_and_command(server: Server) -> None:
    found = ask(server, "check", "optim.max_steps=5")
    assert (found["serial"], found["turn"], "still" in found) == (7, 8, False)
    assert found["values"]["optim.max_steps"] == "5" and found["before"]["optim.max_steps"] == "150"
    assert "Ready. Start creates tiny-2" in ask(server, "settle", "optim.max_steps=5")["verdict"]
    assert "One optimizer step" in found["plan"] and "32 prompts x 8 completions = 256 rollouts" in found["plan"]
    assert found["command"] == "python app.py --headless --preset tiny --set optim.max_steps=5"
    assert found["toml"].startswith("data:application/toml;base64,")


def test_every_problem_is_listed_beside_its_field_with_buttons(server: Server) -> None:
    found = ask(server, "check", "optim.learning_rate=5", "nowhere.key=1")
    assert not found["right"] and "at least 2 problems" in found["verdict"]
    assert {error["where"] for error in found["errors"]} == {"optim.learning_rate", "nowhere.key"}
    place = [error["where"] for error in found["errors"]].index("optim.learning_rate")
    assert found["ways"][place][0] == {"changes": [], "undo": ["optim.learning_rate"]}
    assert f'data-fix="{place}.0"' in found["verdict"] and found["values"]["optim.learning_rate"] == "5"


def test_a_refused_start_says_why_and_makes_no_run(server: Server) -> None:
    answer = ask(server, "start", "lora.r=0", language="ko", name="../up")
    assert answer["kind"] == "refused" and KO("train.problems_least_many", count=2) in answer["verdict"]
    assert sorted(path.name for path in server.outputs.iterdir()) == ["tiny-1"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"base": {"run": "../x"}}', '{"base": {"preset": "/etc/passwd"}}'])
def test_junk_starts_nothing(server: Server, text: str) -> None:
    answer = json.loads(server.call("start", "en", text)[0])
    assert answer["kind"] == "refused"
    assert [path.name for path in server.outputs.iterdir()] == ["tiny-1"]


def test_the_rows_are_shown_as_they_will_be_sent_and_stay_text(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    evil = "<img src=x onerror=alert(1)>${1+1}{{x}}"
    file.write_text("".join(json.dumps({"q": f"{evil} {n}", "a": str(n)}) + "\n" for n in range(40)))
    changes = [
        f"data.path={file}",
        "data.eval_path=",
        "model.warm_start=",
        "data.columns.prompt=q",
        "data.max_prompt_length=20",
    ]
    found = ask(server, "look", *changes)["html"]
    assert "no column answer" in found and 'data-column="answer"' in found
    found = ask(server, "look", *changes, "data.columns.answer=a")["html"]
    assert "40 rows to train on" in found and "40 of 40 are longer and are left out" in found
    assert evil not in found and "<img" not in found
    assert found.count('class="t-prompt"') == 3


def test_rows_of_the_hub_are_not_asked_for_by_themselves(server: Server) -> None:
    found = ask(server, "look", "data.path=", "data.name=someone/rows", "data.eval_path=")["html"]
    assert "is on the Hub" in found and 'data-ask="fetch"' in found


def test_rewards_are_tried_on_rows(server: Server) -> None:
    found = ask(server, "attempt", typed="<answer>x</answer><script>")["html"]
    assert (
        "No problems found" in found and '<tr data-what="gold" data-values="[1.0, 1.0]"><td>0</td>' in found
    )  # rows are counted as in the messages above
    assert "right answer" in found and "yours" in found and "&lt;script&gt;" in found and "<script>" not in found
    found = ask(server, "attempt", "reward.components.0.weight=0", "reward.components.1.weight=-1")["html"]
    assert "the reward of" in found
    assert "Fix at least 1 problem" in ask(server, "attempt", "lora.r=0")["html"]
