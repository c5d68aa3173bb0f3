"""W&B exports of every form become runs; what is not known stays unknown; what is wrong is said."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trainer import launch
from trainer.__main__ import main
from trainer.errors import InputError, RunError
from trainer.run.records import KINDS
from trainer.run.rundir import RunDir, outputs_dir
from trainer.run.state import RunState, state_of
from trainer.run.status import LIVE
from trainer.run.summary import summary
from trainer.text import words
from trainer.tryit.chat import opened
from trainer.ui import elements
from trainer.ui.known_runs import KnownRuns
from trainer.ui.live import board, buttons, drawing, views
from trainer.ui.runs.views import cells
from trainer.wandb_import.bring import Imported, bring

GENERATE = "profiling/Time taken: CustomGRPOTrainer.transformers.generate"
Rows = list[dict[str, Any]]


def write_csv(path: Path, rows: Rows) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def numbered(*rows: dict[str, Any]) -> Rows:
    """Rows with W&B's own step, 2 s apart."""
    return [{"_step": n, "_timestamp": 1000.0 + 2 * n, "_runtime": 10.0 + 2 * n} | row for n, row in enumerate(rows)]


def history() -> Rows:
    """Two steps as TRL logs them: profiled calls first, each a row; W&B fills in the step before."""
    return numbered(
        {GENERATE: 3.0, "train/global_step": 0},
        {"train/reward": 0.5, "train/num_tokens": 100, "train/epoch": 0.1, "train/global_step": 1},
        {GENERATE: 4.0, "train/global_step": 1},
        {GENERATE: 0.5, "train/global_step": 1},
        {"train/reward": 0.75, "train/num_tokens": 220, "train/epoch": 0.2, "train/global_step": 2},
    )


def brought(path: Path, rows: Rows, **how: Any) -> tuple[Imported, RunState]:
    made = bring([write_json(path / "rows.json", rows)], **how)
    return made, state_of(made.rundir)


def started(made: Imported) -> dict[str, Any]:
    event = state_of(made.rundir).started
    assert event is not None
    found: dict[str, Any] = msgspec.to_builtins(event.imported)
    return found


# ---------------------------------------------------------------------------------- forms


def as_csv(path: Path) -> Path:
    return write_csv(path / "h.csv", history())


def as_csv_of_pandas(path: Path) -> Path:
    found = write_csv(path / "h.csv", [{"": n, **row} for n, row in enumerate(history())])
    found.write_bytes(b"\xef\xbb\xbf" + found.read_bytes())  # as a spreadsheet saves it again
    return found


def as_list(path: Path) -> Path:
    return write_json(path / "h.json", history())


def as_lines(path: Path) -> Path:
    found = path / "h.jsonl"
    found.write_text("".join(json.dumps(row) + "\n" for row in history()))
    return found


def as_object(path: Path) -> Path:
    return write_json(path / "h.json", {"run": "x", "history": history()})


def as_columns(path: Path) -> Path:
    """DataFrame.to_json()."""
    names = dict.fromkeys(name for row in history() for name in row)
    columns = {name: {str(n): row.get(name) for n, row in enumerate(history())} for name in names}
    return write_json(path / "h.json", columns)


def as_text(path: Path) -> Path:
    """Numbers as text, missing values by name."""
    names = dict.fromkeys(name for row in history() for name in row)
    return write_json(path / "h.json", [{name: str(row.get(name, "NaN")) for name in names} for row in history()])


@pytest.mark.parametrize("form", [as_csv, as_csv_of_pandas, as_list, as_lines, as_object, as_columns, as_text])
def test_every_form_of_a_history_gives_the_same_run(tmp_path: Path, form: Any) -> None:
    made = bring([form(tmp_path)])
    state = state_of(made.rundir)
    assert state.steps == [1, 2]
    assert state.metrics["train/reward"] == [0.5, 0.75]
    assert state.metrics[GENERATE] == [3.0, 4.5]
    assert (list(state.tokens_at), list(state.epochs), list(state.seconds)) == ([100, 220], [0.1, 0.2], [None, 6.0])
    assert "train/epoch" not in state.metrics
    assert (made.training.counted_by, state.groups) == ("train/global_step", {})


def panel(
    path: Path, metric: str, points: dict[int, Any], axis: str = "Step", runs: Sequence[str] = ("a - b",)
) -> Path:
    rows: Rows = []
    for step, value in points.items():
        row = {axis: step}
        for run in runs:
            row |= {f"{run} - {metric}": value, f"{run} - {metric}__MIN": -9, f"{run} - {metric}__MAX": 9}
        rows.append(row)
    return write_csv(path, rows)


def test_charts_are_merged_on_their_axis_and_their_bands_left_out(tmp_path: Path) -> None:
    files = [
        panel(tmp_path / "1.csv", "train/reward", {10: 0.5, 20: 0.75}),
        panel(tmp_path / "2.csv", GENERATE, {4: 1.0, 8: 2.0, 17: 5.0}),
        panel(tmp_path / "3.csv", "train/global_step", {10: 1, 20: 2}),
    ]
    made = bring(files)
    state = state_of(made.rundir)
    assert (state.steps, made.run) == ([1, 2], "a - b")
    assert state.metrics == {"train/reward": [0.5, 0.75], GENERATE: [3.0, 5.0]}


def test_a_chart_over_the_step_of_the_training_shows_profiles_one_step_early(tmp_path: Path) -> None:
    axis = "train/global_step"
    reward = panel(tmp_path / "1.csv", "train/reward", {1: 0.5, 2: 0.75}, axis)
    early = panel(tmp_path / "2.csv", GENERATE, {0: 3.0, 1: 4.0}, axis)
    state = state_of(bring([reward, early], name="early").rundir)
    assert (state.steps, list(state.metrics[GENERATE])) == ([1, 2], [3.0, 4.0])
    in_place = panel(tmp_path / "3.csv", GENERATE, {1: 3.0, 2: 4.0}, axis)
    state = state_of(bring([reward, in_place], name="in-place").rundir)
    assert (state.steps, list(state.metrics[GENERATE])) == ([1, 2], [3.0, 4.0])


def test_one_run_of_a_chart_of_several_is_chosen(tmp_path: Path) -> None:
    file = panel(tmp_path / "1.csv", "train/reward", {1: 0.5}, runs=("first", "Group: second - b"))
    with pytest.raises(InputError, match=r"1\.csv: has 2 runs: 'first', 'Group: second - b'  ->  --run 'first'"):
        bring([file])
    made = bring([file], run="Group: second - b")
    assert (made.run, made.rundir.name) == ("Group: second - b", "Group-second---b-1")
    with pytest.raises(InputError, match="has no run 'third'  ->  one of: 'first'"):
        bring([file], run="third")


def test_a_step_of_its_own_counts_where_the_training_says_none(tmp_path: Path) -> None:
    made, state = brought(tmp_path, [{"_step": n, "reward": n / 10} for n in range(3)])
    assert (made.training.counted_by, state.steps, made.notes) == ("_step", [0, 1, 2], [])
    made, state = brought(tmp_path, [{"Step": n, "train/reward": 1.0} for n in (4, 9, 13)])
    assert state.steps == [4, 9, 13]
    assert "counts calls of wandb.log" in str(made.notes[0])


# ---------------------------------------------------------------------------------- values and names


def test_what_is_no_number_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = history()
    rows[1] |= {"train/kl": "NaN", "train/x": "Infinity", "completions": {"_type": "table-file"}, "note": "1_0"}
    rows[4] |= {"train/kl": 0.25, "train/flag": True, "system.gpu.0.temp": 60, "train/gone": ""}
    made, state = brought(tmp_path, rows)
    assert state.metrics["train/kl"] == [None, 0.25]
    assert set(state.metrics) == {"train/reward", "train/num_tokens", "train/kl", GENERATE}
    assert made.ignored == {
        "no_number": 3,
        "system": 1,
        "not_finite": 2,
    } == started(made)["ignored"]  # fmt: skip


def test_a_table_that_was_flattened_is_no_metric(tmp_path: Path) -> None:
    rows = history()
    rows[1] |= {"completions._type": "table-file", "completions.nrows": 4, "completions.size": 812}
    made, state = brought(tmp_path, rows)
    assert set(state.metrics) == {"train/reward", "train/num_tokens", GENERATE}
    assert made.ignored == {"media": 3}


def test_names_of_a_plain_log_get_the_prefix_they_have_in_w_and_b(tmp_path: Path) -> None:
    row = {"reward": 1.0, "completions/mean_length": 9.0, "rewards/exact/mean": 0.5, "eval_reward": 0.25, "mine": 7.0}
    _, state = brought(tmp_path, [{"global_step": 3, **row}])
    names = {"train/reward", "train/completions/mean_length", "train/rewards/exact/mean", "mine"}
    assert (state.steps, set(state.metrics), state.evals[0].reward) == ([3], names, 0.25)


def test_seconds_of_another_class_are_kept_and_read_as_ours(tmp_path: Path) -> None:
    theirs = GENERATE.replace("Custom", "Unsloth")
    _, state = brought(tmp_path, numbered({theirs: 3.0}, {"train/reward": 1.0, "train/global_step": 1}))
    assert state.metrics[theirs] == state.metrics[GENERATE] == [3.0]


def test_seconds_of_a_step_come_from_the_trainer_before_they_come_from_the_clock(tmp_path: Path) -> None:
    rows = history()
    rows[4]["train/step_time"] = 5.5
    assert brought(tmp_path, rows)[1].seconds == [None, 5.5]
    for row in rows:
        row.pop("train/step_time", None)
        row.pop("_timestamp"), row.pop("_runtime")
    assert brought(tmp_path, rows)[1].seconds == [None, None]


def test_spread_and_dead_groups_are_not_made_of_what_may_mean_something_else(tmp_path: Path) -> None:
    row = {"train/reward": 1.0, "train/reward_std": 0.1, "train/frac_reward_zero_std": 0.5, "train/global_step": 1}
    _, state = brought(tmp_path, numbered(row))
    assert state.groups == {}
    assert state.metrics["train/frac_reward_zero_std"] == [0.5]


def test_what_our_own_mirror_sent_comes_back_as_it_was(tmp_path: Path) -> None:
    row = {"train/reward": 1.0, "group/std": 0.25, "group/dead_frac": 0.5, "time/step_seconds": 7.0, GENERATE: 3.0}
    rows = numbered(
        {"eval/reward": 0.1, "eval/correct_frac": 0.2, "eval/global_step": 0, "train/global_step": 0},
        row | {"train/global_step": 1, "eval/reward": 0.3, "eval/global_step": 1},
        row | {"train/global_step": 2},
    )
    _, state = brought(tmp_path, rows)
    assert (state.steps, list(state.seconds), list(state.metrics[GENERATE])) == ([1, 2], [7.0, 7.0], [3.0, 3.0])
    assert state.groups == {"group_std": [0.25, 0.25], "dead_frac": [0.5, 0.5]}
    assert [(e.at, e.step, e.reward) for e in state.evals] == [("before", 0, 0.1), ("during", 1, 0.3)]


# ---------------------------------------------------------------------------------- which step


def test_evaluations_are_events_and_what_was_profiled_in_them_is_no_steps(tmp_path: Path) -> None:
    evaluated = {"eval/reward": 0.4, "eval/rewards/exact/mean": 0.3, "eval/runtime": 9.0, "eval/loss": 0.1}
    rows = [*history(), {GENERATE: 99.0}, {**evaluated, "train/epoch": 0.2, "train/global_step": 2}]
    rows += [{GENERATE: 6.0}, {"train/reward": 1.0, "train/global_step": 3}]
    made, state = brought(tmp_path, numbered(*rows))
    (event,) = state.evals
    assert (event.at, event.step, event.reward, event.seconds) == ("during", 2, 0.4, 9.0)
    assert event.components == {"exact": 0.3}
    assert state.metrics[GENERATE] == [3.0, 4.5, 6.0]
    assert state.seconds[2] == 4.0  # since the evaluation, not since step 2
    assert made.ignored == {"of_evaluations": 1, "in_evaluations": 1}


def test_a_step_said_again_after_a_resume_has_the_later_word(tmp_path: Path) -> None:
    rows = [*history(), {GENERATE: 50.0}, {"train/reward": 0.25, "train/global_step": 2}]
    rows += [{GENERATE: 6.0}, {"train/reward": 0.9, "train/global_step": 3}]
    made, state = brought(tmp_path, numbered(*rows))
    assert (state.steps, list(state.metrics["train/reward"])) == ([1, 2, 3], [0.5, 0.25, 0.9])
    assert state.metrics[GENERATE] == [3.0, 4.5, 6.0]
    assert state.seconds == [None, None, 4.0]
    assert made.ignored == {"around_resume": 1, "twice": 1}


def test_rows_in_any_order_are_put_in_the_order_they_were_logged_in(tmp_path: Path) -> None:
    _, state = brought(tmp_path, list(reversed(history())))
    assert (state.steps, list(state.metrics[GENERATE])) == ([1, 2], [3.0, 4.5])


def test_a_step_logged_for_ten_has_a_tenth_of_the_profiled_seconds(tmp_path: Path) -> None:
    rows: Rows = []
    for step in (10, 20, 30):
        rows += [{GENERATE: 2.0} for _ in range(10)] + [{"train/reward": 1.0, "train/global_step": step}]
    _, state = brought(tmp_path, numbered(*rows))
    assert state.metrics[GENERATE] == [2.0, 2.0, 2.0]
    assert state.seconds == [None, 2.2, 2.2]


def test_profiled_seconds_of_steps_that_an_export_left_out_go_to_none(tmp_path: Path) -> None:
    rows: Rows = []
    for step in (1, 2, 7, 8):
        rows += [{GENERATE: float(step)}, {"train/reward": 1.0, "train/global_step": step}]
    made, state = brought(tmp_path, numbered(*rows))
    assert state.metrics[GENERATE] == [1.0, 2.0, None, 8.0]
    assert state.seconds == [None, 4.0, None, 4.0]
    assert made.ignored == {"left_out_steps": 1}


def test_profiled_seconds_alone_are_summed_by_the_step_they_name(tmp_path: Path) -> None:
    rows = [{GENERATE: seconds, "train/global_step": step} for step, seconds in ((0, 3.0), (1, 4.0), (1, 0.5))]
    _, state = brought(tmp_path, numbered(*rows))
    assert (state.steps, [*state.metrics], list(state.metrics[GENERATE])) == ([0, 1], [GENERATE], [3.0, 4.5])


def test_seconds_after_the_last_step_belong_to_none(tmp_path: Path) -> None:
    made, state = brought(tmp_path, numbered(*history(), {GENERATE: 99.0}))
    assert state.metrics[GENERATE] == [3.0, 4.5]
    assert made.ignored == {"after_last": 1}


# ---------------------------------------------------------------------------------- the run directory


def test_events_happened_when_they_happened_and_there_is_no_last_one(tmp_path: Path) -> None:
    made, state = brought(tmp_path, history(), gpu="4090")
    events = [json.loads(line) for line in made.rundir.events.read_text().splitlines()]
    assert [(event["kind"], event["t"]) for event in events] == [
        ("run_started", 990.0),
        ("plan", 990.0),
        ("step", 1002.0),
        ("step", 1008.0),
    ]
    assert {event["kind"] for event in events} <= KINDS.keys()
    assert (state.final, state.steps_total, summary(state, made.rundir)["wall_seconds"]) == (None, None, 18.0)
    assert events[1]["plan"] == {"gpu_name": "RTX 4090"}  # of a batch that is not known nothing is computed
    assert started(made) | {"known": []} == {
        "from": "wandb",
        "files": ["rows.json"],
        "known": [],
        "run": None,
        "gpu": "RTX 4090",
        "ignored": {},
        "counted_by": "train/global_step",
    }


def test_without_settings_nothing_is_claimed_and_the_spec_is_valid(tmp_path: Path) -> None:
    rows = [
        row | {"train/rewards/exact/mean": 1.0, "train/rewards/ComponentRewardWrapper/mean": 1.0} for row in history()
    ]
    made, _ = brought(tmp_path, rows, overrides=["grpo.beta=0.04"])
    spec = made.rundir.read_spec()
    assert (spec.model.name, spec.data.path) == ("unknown", "unknown")
    assert [leaf.title for leaf in spec.reward.leaves()] == ["exact"]
    assert (spec.grpo.beta, made.known) == (0.04, ["grpo.beta"])
    assert spec.title == "W&B: rows"


def test_of_a_preset_every_key_that_it_says_is_known(tmp_path: Path) -> None:
    made, state = brought(tmp_path, history(), preset="gemma27b", overrides=["optim.weight_decay=0.1"])
    known = {"grpo.beta", "generation.num_generations", "reward.components", "data.columns", "optim.weight_decay"}
    assert known <= set(made.known)
    assert "optim.adam_beta1" not in made.known  # a default of ours
    assert (state.plan or {})["completions_per_update"] == 4


CONFIG = """wandb_version: 1

_wandb:
  desc: null
  value: {cli_version: 0.31.0}
num_generations: {desc: null, value: 4}
per_device_train_batch_size: {value: 1}
gradient_accumulation_steps: {value: 4}
beta: {value: 0.1}
learning_rate: {value: 5.0e-07}
max_prompt_length: {value: 2048}
max_completion_length: {value: 762}
max_steps: {value: -1}
scale_rewards: {value: true}
epsilon_high: {value: null}
bf16: {value: true}
output_dir: {value: /home/somebody/out}
temperature: {value: hot}
_name_or_path: {value: unsloth/gemma-3-27b-it}
peft_config:
  value: {default: {r: 16, lora_alpha: 32, target_modules: [q_proj, v_proj], task_type: CAUSAL_LM}}
quantization_config: {value: {load_in_4bit: true, bnb_4bit_use_double_quant: true}}
"""


def test_the_config_of_w_and_b_tells_what_it_can(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    made, state = brought(tmp_path, history(), config_file=file)
    spec = made.rundir.read_spec()
    assert spec.model.name == "unsloth/gemma-3-27b-it"
    assert (spec.generation.num_generations, spec.generation.max_completion_length) == (4, 762)
    assert (spec.grpo.beta, spec.optim.learning_rate, spec.data.max_prompt_length) == (0.1, 5e-7, 2048)
    assert (spec.lora.r, spec.lora.alpha, spec.lora.target_modules) == (16, 32, ["q_proj", "v_proj"])
    assert (spec.grpo.scale_rewards, spec.model.load_in_4bit, spec.model.dtype) == ("group", True, "bfloat16")
    unknown = {"optim.max_steps", "generation.temperature", "data.path", "reward.components"}
    assert not unknown & set(made.known)
    assert made.ignored == {"config": 1}
    assert (state.plan or {})["prompts_per_update"] == 1.0
    assert "somebody" not in made.rundir.spec.read_text()


def test_the_config_of_our_own_mirror_is_the_spec(tmp_path: Path, make_run: Any) -> None:
    spec = json.loads(make_run("mine").spec.read_text())
    made, _ = brought(tmp_path, history(), config_file=write_json(tmp_path / "c.json", {"spec": spec, "plan": {}}))
    assert made.rundir.read_spec().model_dump(exclude={"title"}) == make_run("m").read_spec().model_dump(
        exclude={"title"}
    )


def test_a_batch_that_is_impossible_here_is_said_and_not_planned(tmp_path: Path) -> None:
    config = {"num_generations": 4, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 1}
    made, state = brought(tmp_path, history(), config_file=write_json(tmp_path / "c.json", config))
    assert state.plan == {"gpu_name": None}
    assert str(made.notes[0]).startswith("no plan for these settings: ")
    assert "generation.num_generations" in made.known


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **fields: Any) -> None:
        raise OSError("full")

    monkeypatch.setattr("trainer.run.events.EventWriter.emit", full)
    with pytest.raises(OSError, match="full"):
        brought(tmp_path, history())
    assert list(outputs_dir().iterdir()) == []


# ---------------------------------------------------------------------------------- what is wrong


def broken(path: Path, name: str, content: str | bytes) -> Path:
    file = path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("Step,train/reward\n", "has no rows"),
        ("[]", "has no rows"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"PAR1\xff", "is Parquet  ->  pandas.read_parquet('x.csv')"),
        ('{"a": 1}\n{"a": \n', ":2: is not JSON"),
        ("[1, 2]", "is JSON, but not a list of rows"),
        ("time,train/reward\n1,2\n", "no column gives the step; it has 'time', 'train/reward'"),
        ("Name,State,train/reward\nx,finished,1\n", "is a table of runs, one row a run, not a history"),
        ('Relative Time (Process),"x - train/reward"\n1,2\n', "set the x axis of the chart to Step"),
        (
            "_step,rewrd,other\n1,2,3\n",
            "no training metric is in it; it has 'rewrd', 'other'  ->  did you mean train/",
        ),
        ("_step,train/reward\n1,NaN\n", "no training metric is in it; it has no column of numbers"),
        ('_step,train/reward\n1,"' + "x" * 200_000 + '"\n', "is not CSV: field larger than field limit"),
    ],
)
def test_a_file_that_is_no_history_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | bytes, said: str
) -> None:
    file = broken(tmp_path, "x.csv", content)
    assert main(["import-wandb", str(file)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.startswith("error: ") and "Traceback" not in error
    assert not outputs_dir().exists()


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = as_csv(tmp_path)
    asked = ["--gpu", "4O90", "--preset", "gema27b", "--config", "c.yaml", "--run", "x"]
    assert main(["import-wandb", str(good), str(tmp_path / "none.csv"), *asked]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        "--gpu",
        "--config",
        "--run",
        str(tmp_path / "none.csv"),
        "preset gema27b",
    ]
    assert "did you mean: RTX 4090" in lines[0]
    assert "did you mean gemma27b" in lines[-1]


def test_charts_of_two_runs_or_two_axes_are_not_mixed(tmp_path: Path) -> None:
    one = panel(tmp_path / "1.csv", "train/reward", {1: 0.5}, runs=("one",))
    two = panel(tmp_path / "2.csv", "train/loss", {1: 0.5}, runs=("two",))
    with pytest.raises(InputError, match=r"2\.csv: is from run 'two', the files before it from 'one'"):
        bring([one, two])
    three = panel(tmp_path / "3.csv", "train/loss", {1: 0.5}, "train/global_step", runs=("one",))
    with pytest.raises(InputError, match="which steps belong together is not known"):
        bring([one, three])


def test_a_bad_setting_config_or_name_is_refused(tmp_path: Path) -> None:
    file = as_csv(tmp_path)
    with pytest.raises(InputError, match=r"grpo\.beta"):
        bring([file], overrides=["grpo.betta=0.1"])
    with pytest.raises(InputError, match="is neither YAML nor JSON"):
        bring([file], config_file=broken(tmp_path, "c.yaml", "a: [1"))
    with pytest.raises(InputError, match="is not a config"):
        bring([file], config_file=broken(tmp_path, "c.yaml", "- 1"))
    with pytest.raises(InputError, match="there is no such file"):
        bring([file], config_file=tmp_path / "none.yaml")
    bring([file], name="taken")
    with pytest.raises(RunError, match="run taken: exists already"):
        bring([file], name="taken")
    with pytest.raises(RunError, match="run name"):
        bring([file], name="../out")


# ---------------------------------------------------------------------------------- commands and the page


def test_the_command_says_what_was_found_and_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = history()
    rows[1]["note"] = "text"
    file = write_csv(tmp_path / "wandb_export_2025-06-15T10_00_00.000+09_00.csv", rows)
    assert main(["import-wandb", str(file), "--name", "theirs", "--set", "grpo.beta=0.1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "theirs: 2 steps, 1 to 2, counted by train/global_step",
        f"metrics: {GENERATE}, train/num_tokens, train/reward",
        "known settings: grpo.beta",
        "left out: 1 cells that are not numbers",
        "python -m trainer report theirs",
    ]
    assert main(["runs"]) == 0
    assert "theirs  imported  W&B: wandb_export" in capsys.readouterr().out


@pytest.fixture
def theirs(tmp_path: Path) -> RunDir:
    return bring([as_csv(tmp_path)], name="theirs", preset="gemma27b").rundir


def test_an_imported_run_can_not_be_resumed_stopped_exported_or_talked_to(
    theirs: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.status_of(theirs) == "imported"
    assert "imported" not in LIVE
    refused = "run theirs: was imported: it was trained elsewhere.*  ->  python -m trainer report theirs"
    for refuse in (launch.resume, launch.start, launch.stop):
        with pytest.raises(RunError, match=refused):
            refuse(theirs)
    with pytest.raises(RunError, match=refused):
        launch.resume(theirs, checkpoint="best")
    with pytest.raises(RunError, match=refused), opened(theirs, None, None, say=print):
        pass
    assert main(["stop", "theirs"]) == main(["export", "theirs", "--to", "adapter"]) == 2
    assert capsys.readouterr().err.count("was trained elsewhere") == 2
    assert not list(theirs.logs.iterdir())


def test_the_page_says_that_a_run_is_imported(theirs: RunDir) -> None:
    with KnownRuns().look("theirs") as seen:
        assert views.sentences(seen, words("en"))[0] == (
            "Imported: 2 steps of a run that was trained elsewhere. How it ended is not known."
        )
        assert views.sentences(seen, words("ko"))[0].startswith("\uac00\uc838\uc628 \uae30\ub85d\uc785\ub2c8\ub2e4")
        assert dict(views.facts(seen, words("en"), now=1e9))["Phase"] == "not known"
        assert not buttons.resume(seen, words("en")).on
        assert not buttons.stop(seen, words("en")).on
        assert len(views.step_lines(seen, words("en"))) == 2
        assert board.Boards().of(seen, drawing.view(seen.state.steps, None, None, None), words("en"))
    (row,) = KnownRuns().table().rows
    assert row.status == "imported"
    assert cells(row, words("en"))[1] == "imported"
    assert "g-imported" in elements.dot(row.status)
