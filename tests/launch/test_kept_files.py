"""What was chosen on the page, or belongs to another run, is copied into a run's folder and found there later."""

from __future__ import annotations

import shutil
from pathlib import Path

from trainer import launch, presets
from trainer.launch import agreement
from trainer.machine.json_files import read_json
from trainer.run.rundir import RunDir, outputs_dir

ROWS = "".join(f'{{"prompt": "Reverse: {number:05d}", "answer": "{number:05d}"}}\n' for number in range(64))
REWARD = "def mine(completions, **columns):\n    return [0.0] * len(completions)\n"


def chosen(name: str, text: str) -> Path:
    place = launch.state_dir() / launch.CHOSEN / f"{len(text):016x}" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def created(rows: Path, *changes: str, name: str | None = None) -> RunDir:
    own = (f"data.path={rows}", "data.eval_path=", "data.eval_fraction=0.1", f"model.warm_start.path={rows}")
    spec = presets.load("tiny", [*own, "optim.max_steps=4", *changes])
    return launch.create("tiny", spec, launch.plan_here(spec, 57), name)


def test_a_run_keeps_what_was_chosen_for_it() -> None:
    rows, code = chosen("my rows.jsonl", ROWS), chosen("mine.py", REWARD)
    own = f'{{function = "mine", file = "{code}"}}, {{function = "mine", name = "b", file = "{code}"}}'
    run = created(rows, f"reward.components=[{own}]", "reward.correct=")
    shutil.rmtree(launch.state_dir() / launch.CHOSEN)
    spec = run.read_spec()
    assert spec.data.path == str(run.path / "files" / "my rows.jsonl")
    assert spec.model.warm_start is not None and spec.model.warm_start.path == spec.data.path
    assert {leaf.file for leaf in spec.reward.leaves()} == {str(run.path / "files" / "mine.py")}
    assert sorted(each.name for each in (run.path / "files").iterdir()) == ["mine.py", "my rows.jsonl"]
    agreed = agreement.agree(run, [], False)
    assert agreed.alerts == [] and agreed.hashes == (read_json(run.env) or {})["files"]


def test_files_of_the_same_name_do_not_meet_and_a_persons_own_stay_where_they_are(tmp_path: Path) -> None:
    rows, other = chosen("rows.jsonl", ROWS), chosen("rows.jsonl", ROWS.replace("Reverse", "Turn"))
    run = created(rows, f"model.warm_start.path={other}")
    spec = run.read_spec()
    assert spec.model.warm_start is not None
    assert Path(spec.model.warm_start.path).read_text() != Path(str(spec.data.path)).read_text() == ROWS
    own = tmp_path / "rows.jsonl"
    own.write_text(ROWS)
    run = created(own)
    assert run.read_spec().data.path == str(own) and not (run.path / "files").exists()


def test_a_clone_outlives_the_run_it_was_made_of() -> None:
    first = created(chosen("rows.jsonl", ROWS))
    second = created(Path(str(first.read_spec().data.path)))
    shutil.rmtree(first.path)
    assert Path(str(second.read_spec().data.path)).read_text() == ROWS


def test_a_run_that_was_moved_finds_its_own_files() -> None:
    run = created(chosen("rows.jsonl", ROWS))
    place = outputs_dir() / "moved"
    shutil.move(run.path, place)
    agreed = agreement.agree(RunDir(place), [], False)
    assert agreed.spec.data.path == str(place / "files" / "rows.jsonl")
    assert [alert.key for alert in agreed.alerts] == ["files_moved"]
