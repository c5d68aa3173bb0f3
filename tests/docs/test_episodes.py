"""docs/episodes.md: the environment and the settings of the page as they stand there, and its table of advantages."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from pathlib import Path

import pytest
import torch

from tests.docs.reading import page
from trainer import preflight, presets
from trainer.episodes import check
from trainer.episodes.host import Asked, Host
from trainer.episodes.own import Recipe
from trainer.grpo import levels, turns

PAGE = page("docs/episodes.md")
SOURCE = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
SETTINGS = re.search(r"\n((?:    .*\n|\n)*?    \[episode\]\n(?:    .*\n|\n)+)", PAGE)
BASE = """
[model]
name = "builtin/tiny-tools"
[data]
path = "rows.jsonl"
"""


def test_the_environment_of_the_page_works_as_it_stands(tmp_path: Path) -> None:
    assert SOURCE is not None and SETTINGS is not None
    assert len(SOURCE[1].splitlines()) <= 20
    (tmp_path / "countdown.py").write_text(SOURCE[1], encoding="utf-8")
    row = {"prompt": "Play."}
    assert f"`{json.dumps(row)}`" in PAGE
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    preset = tmp_path / "mine.toml"
    preset.write_text(BASE + textwrap.dedent(SETTINGS[1]), encoding="utf-8")
    spec = presets.load(preset)
    assert spec.episode.file == str(tmp_path / "countdown.py")
    assert list(preflight.rewards.problems(spec)) == []
    assert preflight.rewards.tried(spec) == []
    host = Host(Recipe.of("Countdown", spec.episode.file), 10.0, 4.0)
    assert not check.trial(host, [row]).notes
    assert host.ask(0, Asked("1", "reset", {"seed": 1, **row})).text == " The heap has 8."
    said = [host.ask(0, Asked("1", "take", {"count": count})).text for count in (3, 1)]
    assert said == ["I take one, 4 are left", "I take one, 2 are left"]
    assert host.ask(0, Asked("1", "take", {"count": 2}), True).text == "you won"
    assert host.ask(0, Asked("1", "get_reward", {}), True).rating == 1.0
    host.close()


def test_the_table_of_the_page_is_what_the_trainer_works_out() -> None:
    lines = [line.split("|")[2:-1] for line in PAGE.splitlines() if re.match(r"\| (found|not found|half)", line)]
    cells = [[float(cell) if cell.strip() else None for cell in line] for line in lines]
    assert len(cells) == 4
    rewards = [[value for value in row[:2] if value is not None] for row in cells]
    z = turns.normalised(turns.table(rewards), 4, "none", exact=True)
    for columns, found in ((slice(2, 4), z), (slice(4, 6), turns.credited(z))):
        for row, values in zip(cells, found, strict=True):
            for cell, value in zip(row[columns], values, strict=True):
                assert cell is None or value.item() == pytest.approx(cell)
    assert torch.equal(turns.credited(z[:, :1]), z[:, :1])


def test_the_table_of_plans_is_what_the_trainer_works_out() -> None:
    lines = [line.split("|")[2:-1] for line in PAGE.splitlines() if line.startswith("| plan ")]
    cells = torch.tensor([[float(cell) for cell in line] for line in lines])
    means, values = levels.compared(cells[:, 0].contiguous(), 2, 2, "none")
    assert cells.shape == (4, 4) and torch.equal(means.repeat_interleave(2), cells[:, 1])
    assert torch.allclose(values, cells[:, 2:])


def test_the_file_may_be_named_after_set(tmp_path: Path) -> None:
    assert SOURCE is not None
    (tmp_path / "countdown.py").write_text(SOURCE[1], encoding="utf-8")
    assert tomllib.loads(BASE)["model"]["name"] == "builtin/tiny-tools"
    spec = presets.load("tiny-guess", ["episode.environment=Countdown", f"episode.file={tmp_path / 'countdown.py'}"])
    assert spec.episode.environment == "Countdown" and spec.episode.file == str(tmp_path / "countdown.py")


def test_every_environment_of_the_library_has_its_row() -> None:
    from trainer.episodes.library import ENVIRONMENTS

    rows = re.findall(r"^\| `(\w+)` \| `\w+\(", PAGE, re.MULTILINE)
    assert rows == list(ENVIRONMENTS)
