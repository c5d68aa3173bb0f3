"""A form as a browser sends it: what it comes to, what is refused, what a click can mend."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import latin
from trainer import launch, presets
from trainer.errors import SpecError, TrainerError
from trainer.machine import gpu
from trainer.run.rundir import RunDir, outputs_dir
from trainer.text import words
from trainer.ui import actions as shared
from trainer.ui.train import actions, fixes, views
from trainer.ui.train import form as forms
from trainer.ui.train.actions import Checked
from trainer.ui.train.fixes import Way
from trainer.ui.train.form import Form
from trainer.ui.train.tab import TrainTab

EN = words("en")
MakeRun = Callable[..., RunDir]
ROWS = "".join(json.dumps({"question": f"What is {n} + 1?", "label": str(n + 1)}) + "\n" for n in range(64))


def checked(*changes: str, preset: str = "tiny", name: str | None = None) -> Checked:
    return actions.check(Form("preset", preset, changes=changes, name=name))


def mended(found: Checked, way: Way) -> Checked:
    form = found.form
    return actions.check(Form(form.kind, form.base, form.file, way.applied(form.changes), form.name))


# ---------------------------------------------------------------------------------- reading it


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "7", "null", '"x"', "{}", '{"base": "tiny"}', '{"base": {"preset": 3}}', '{"base": {}, "changes": []}',
     '{"base": {"preset": "tiny"}, "changes": "x"}', '{"base": {"preset": "tiny"}, "changes": [1]}',
     '{"base": {"preset": "tiny"}, "name": 7}', '{"base": {"preset": "\\ud800"}}', "\ud800", "[" * 50_000,
     "x" * 200_000,
     json.dumps({"base": {"preset": "tiny"}, "changes": ["a=1"] * 501})],
)  # fmt: skip
def test_what_is_no_form_is_refused_in_words(text: str) -> None:
    with pytest.raises(TrainerError):
        form, _ = forms.read(text)
        forms.source(form)


def test_an_empty_form_is_a_new_one_but_starts_nothing() -> None:
    assert forms.read("")[0] == Form("preset", "tiny")
    with pytest.raises(SpecError):
        forms.read("", must_be_there=True)


def test_tables_may_be_typed_as_json_too() -> None:
    change = 'reward.components.0.params={"extract": "(a)", "deep": {"b": [1, 2]}}'
    form, _ = forms.read(json.dumps({"base": {"preset": "tiny"}, "changes": [change]}))
    assert form.changes == ('reward.components.0.params={extract = "(a)", deep = {b = [1, 2]}}',)


# ---------------------------------------------------------------------------------- checking it


def test_a_preset_as_it_is_can_start() -> None:
    found = checked()
    assert not found.problems and found.plan is not None and "One optimizer step" in views.answer(found, EN)["plan"]
    assert found.next_name == "tiny-1"
    assert found.command == "python app.py --headless --preset tiny"


def test_every_problem_of_a_form_is_listed_and_nothing_is_written() -> None:
    found = checked("optim.learning_rate=5", "nowhere.key=1", name="../up")
    told = " ".join(str(problem) for problem in found.problems)
    assert all(key in told for key in ("optim.learning_rate", "nowhere", "../up"))
    assert found.plan is None and found.toml == ""
    with pytest.raises(ValueError, match="learning_rate"):
        actions.start(found.form)
    assert not outputs_dir().exists()


def test_only_presets_of_the_list_are_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.toml"
    secret.write_text("password = hunter2")
    found = checked(preset=str(secret))
    assert len(found.problems) == 1 and "hunter2" not in str(found.problems)


def test_the_command_says_the_same_as_the_page() -> None:
    found = checked("optim.max_steps=5", "data.system_prompt=a 'b'", name="mine")
    assert not found.problems
    assert shlex.split(found.command)[2:] == [
        *("--headless", "--preset", "tiny", "--set", "optim.max_steps=5"),
        *("--set", "data.system_prompt=a 'b'", "--name", "mine"),
    ]
    assert presets.load("tiny", found.form.changes) == found.spec


def test_recipes_lie_below_what_is_changed_by_hand_and_both_are_shown() -> None:
    sent = {"base": {"preset": "tiny"}, "recipes": ["dapo", "rloo"], "changes": ["grpo.epsilon_high=0.3"]}
    found = actions.check(forms.read(json.dumps(sent))[0])
    assert not found.problems and found.spec == presets.load("tiny", found.form.changes, ["dapo", "rloo"])
    assert shlex.split(found.command)[5:] == [
        *("--recipe", "dapo", "--recipe", "rloo", "--set", "grpo.epsilon_high=0.3"),
    ]
    answer = views.answer(found, EN)
    assert answer["before"]["grpo.epsilon_high"] == "0.28" and answer["values"]["grpo.epsilon_high"] == "0.3"
    assert "not set -&gt; 0.28, but set by hand to 0.3" in answer["recipe_changes"]
    assert "&quot;group_mean&quot; -&gt; &quot;rloo&quot;" in answer["recipe_changes"]
    assert views.answer(checked(), EN)["recipe_changes"] == ""


def test_a_recipe_against_what_a_preset_keeps_is_a_problem_of_its_field() -> None:
    form = forms.read(json.dumps({"base": {"preset": "gspo"}, "recipes": ["dapo"]}))[0]
    places = [problem.place for problem in actions.check(form).problems]
    assert {"grpo.loss_type", "grpo.epsilon", "grpo.epsilon_high"} <= set(places)


def test_only_recipes_of_the_list_are_read(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[grpo]\nbeta = 0.5\n")
    for recipes in ([str(own)], "dapo", [7], [["dapo"]]):
        with pytest.raises(SpecError):
            forms.read(json.dumps({"base": {"preset": "tiny"}, "recipes": recipes}))


def test_a_clone_of_a_run_knows_its_recipes(make_run: MakeRun) -> None:
    spec = presets.load("tiny", ["grpo.beta=0.5"], ["dapo"])
    plan = launch.plan_here(spec, 4000)
    RunDir.create(outputs_dir(), "of-dapo", spec, plan, {})
    found = actions.check(forms.read(json.dumps({"base": {"run": "of-dapo"}, "recipes": ["rloo"]}))[0])
    assert found.spec is not None and list(found.spec.recipes) == ["dapo", "rloo"]
    assert found.spec.grpo.mask_truncated_completions and found.spec.grpo.advantage == "rloo"
    assert "set by hand to 0.5" in views.answer(found, EN)["recipe_changes"]


def test_a_name_that_is_taken_is_a_problem(make_run: MakeRun) -> None:
    make_run("mine")
    assert "exists already" in str(checked(name="mine").problems[0])


def test_a_large_file_is_not_read_whole_while_somebody_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.ui.train.rows.LIVE_BYTES", 100)
    monkeypatch.setattr("trainer.ui.train.rows.FIRST_ROWS", 10)
    file = tmp_path / "rows.jsonl"
    file.write_text(ROWS.replace("question", "prompt").replace("label", "answer") + '{"broken": 1}\n')
    found = checked(f"data.path={file}", "data.eval_path=", "model.warm_start=")
    assert not found.problems and found.plan is not None
    assert found.plan.rows is None and found.data is None
    with pytest.raises(TrainerError, match="has no column"):  # it is read whole before a run is made
        actions.start(found.form)
    assert not outputs_dir().exists()


# ---------------------------------------------------------------------------------- what it starts from


def test_a_chat_template_is_a_problem_or_a_warning_of_the_form(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{}")
    (tmp_path / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }")
    form = Form("preset", "tiny", changes=(f"model.name={tmp_path}", "model.warm_start="))
    assert [problem.key for problem in actions.check(form).problems] == ["template.syntax"]
    (tmp_path / "chat_template.jinja").write_text("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}")
    checked = actions.check(form)
    assert checked.plan is not None and "template.no_turn" in [said.key for said in checked.plan.warnings]


def test_the_settings_of_a_run_are_a_base_with_changes() -> None:
    plan = checked().plan
    assert plan is not None
    run = RunDir.create(outputs_dir(), "tiny-7", presets.load("tiny"), plan, {})
    found = actions.check(Form("run", "tiny-7", changes=("optim.learning_rate=1e-5",)))
    assert not found.problems and found.spec is not None
    expected = run.read_spec()
    assert found.spec == expected.model_copy(
        update={"optim": expected.optim.model_copy(update={"learning_rate": 1e-5})}
    )
    assert found.next_name == "tiny-8"
    assert found.command.endswith("--preset tiny.toml")


def test_a_run_whose_settings_can_not_be_read_is_no_base(make_run: MakeRun) -> None:
    for text in ("{", "{}", '{"model": 3}'):
        run = (
            make_run("broken-1")
            if not (outputs_dir() / "broken-1").exists()
            else RunDir.open(outputs_dir(), "broken-1")
        )
        run.spec.write_text(text)
        found = actions.check(Form("run", "broken-1"))
        assert found.problems and found.spec is None


@pytest.mark.parametrize("name", ["../up", "no-such-run", "", "/etc", "a" * 300, "tiny\n", "\0"])
def test_a_run_that_is_none_is_no_base(name: str) -> None:
    found = actions.check(Form("run", name))
    assert found.problems and found.spec is None


def test_a_saved_toml_is_loaded_as_the_same_settings() -> None:
    first = checked("optim.max_steps=5")
    found = actions.check(Form("toml", first.toml, "mine.toml"))
    assert not found.problems and found.spec == first.spec
    assert found.next_name == "mine-1"


def test_a_relative_path_in_an_upload_is_refused_with_the_file_it_may_mean() -> None:
    text = (presets.PRESETS_DIR / "tiny.toml").read_text()
    found = actions.check(Form("toml", text, "tiny.toml"))
    assert {problem.where for problem in found.problems} >= {"data.path", "data.eval_path", "model.warm_start.path"}
    for ways in fixes.ways(found):
        found = mended(found, ways[0])
    assert not found.problems
    assert found.spec == presets.load("tiny")


@pytest.mark.parametrize("text", ["a = ", "[model", "x" * 70_000, "\0", "a = 1\na = 2"])
def test_an_upload_that_is_no_toml_is_refused(text: str) -> None:
    found = actions.check(Form("toml", text, "x.toml"))
    assert found.problems[0].where == "x.toml" and found.spec is None


def test_reward_code_that_came_through_the_page_is_not_run(tmp_path: Path) -> None:
    place = launch.state_dir() / "page" / "abc"
    place.mkdir(parents=True)
    (place / "mine.py").write_text("def reward(completions, **kwargs): return [1.0 for _ in completions]")
    (tmp_path / "link.py").symlink_to(place / "mine.py")
    for path in (place / "mine.py", tmp_path / "link.py", place / ".." / "abc" / "mine.py"):
        components = f'reward.components=[{{function = "reward", file = "{path}"}}]'
        found = checked(components, "reward.correct=")
        assert "what browsers send" in found.problems[0].what, path
    own = tmp_path / "own.py"
    own.write_text((place / "mine.py").read_text())
    assert not checked(f'reward.components=[{{function = "reward", file = "{own}"}}]', "reward.correct=").problems


# ---------------------------------------------------------------------------------- mending it


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        (("optim.learning_rate=5",), ()),
        (("optim.optim=adamw_8bitt",), ()),
        (("grpo.loss_type=dapoo",), ()),
        (("generation.num_generations=7",), ()),
        (("optim.per_device_train_batch_size=100000",), ("optim.per_device_train_batch_size=48",)),
        (("model.max_seq_length=20",), ()),
        (("data.columns.answer=x",), ("data.columns.answer=answer",)),
        (("optim.learning_rat=0.1",), ("optim.learning_rate=0.1",)),
        (("trl.learning_rat=0.1",), ("optim.learning_rate=0.1",)),
        (("model.load_in_4bit=true",), ()),
        (("grpo.epsilon_high=0.1",), ()),
        (("data.name=someone/rows",), ("data.path=",)),
        (
            ('reward.components=[{function = "exact_mach"}]', "reward.correct="),
            ("reward.components.0.function=exact_match",),
        ),
        (('reward.components=[{function = "length_penalty"}]', "reward.correct="), ()),
        (("data.path=no-such-file.jsonl",), ()),
        (("nowhere.key=1",), ()),
    ],
)
def test_every_way_mends_its_problem(changes: tuple[str, ...], first: tuple[str, ...]) -> None:
    found = checked(*changes)
    assert len({problem.what for problem in found.problems}) == 1
    (way, *others), *_ = fixes.ways(found)
    assert way.changes == first and (first or way.undo)
    for each in (way, *others):
        after = mended(found, each)
        assert found.problems[0] not in after.problems
        assert not after.problems


def test_two_problems_are_mended_one_by_one() -> None:
    found = checked("optim.learning_rate=5", "lora.r=0")
    assert len(found.problems) == 2
    found = mended(found, fixes.ways(found)[0][0])
    assert len(found.problems) == 1
    assert not mended(found, fixes.ways(found)[0][0]).problems


def test_a_way_is_offered_though_it_brings_others_to_light() -> None:
    found = checked(
        "optim.learning_rate=abc",
        "generation.num_generations=7",
        "optim.per_device_train_batch_size=3",
        "data.path=/nope/x.jsonl",
    )
    assert found.held_back and "at least 1 problem" in views.readiness(found, [[]], EN)
    assert len(found.problems) == 1
    ways = fixes.ways(found)[0]
    assert ways
    after = mended(found, ways[0])
    assert after.is_built and found.problems[0] not in after.problems and after.problems


def test_every_problem_has_its_buttons_until_all_are_mended() -> None:
    found = checked(
        *("optim.learning_rate=abc", "optim.max_steps=-3", "generation.num_generations=7", "grpo.beta=1e9"),
        *("optim.per_device_train_batch_size=3", "data.path=/nope/x.jsonl", "generation.top_p=2"),
    )
    for _ in range(len(found.form.changes)):
        if found.problems:
            ways = fixes.ways(found)
            assert all(ways)
            found = mended(found, ways[0][0])
    assert not found.problems


def test_what_the_preset_had_comes_first_and_nothing_is_offered_twice() -> None:
    found = checked("optim.learning_rate=abc", "grpo.beta=1e9")
    shown = {error["where"]: error["html"] for error in views.answer(found, EN)["errors"]}
    buttons = re.findall(r"<button[^>]*>([^<]*)<", shown["optim.learning_rate"])
    assert buttons == ["Back to 0.0003", "Use the default, 1e-06"]
    assert re.findall(r"<button[^>]*>([^<]*)<", shown["grpo.beta"]) == ["Back to 0", "Use 100"]
    assert "is 1e9, must be" in shown["grpo.beta"]


def test_what_this_machine_refuses_is_said_before_start_with_buttons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "chosen", lambda: None)
    found = checked(preset="qwen3-8b")
    assert [problem.where for problem in found.problems] == ["model.device", "model.engine"]
    assert found.plan is not None and found.toml and "Ready" not in views.answer(found, EN)["verdict"]
    ways = fixes.ways(found)
    assert all(ways) and "model.engine=transformers" in ways[1][0].changes
    for place, of_one in enumerate(ways):
        assert found.problems[place] not in mended(found, of_one[0]).problems


def test_a_sound_form_needs_no_mending() -> None:
    assert fixes.ways(checked()) == []


def test_columns_of_a_file_that_are_called_otherwise_are_proposed(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(ROWS.replace("label", "Answer").replace("question", "Prompt"))
    found = checked(f"data.path={file}", "data.eval_path=", "model.warm_start=")
    for _ in range(3):
        if not found.problems:
            break
        ways: list[Any] = [each for each in fixes.ways(found) if each]
        found = mended(found, ways[0][0])
    assert not found.problems
    assert {"data.columns.prompt=Prompt", "data.columns.answer=Answer"} <= set(found.form.changes)


def test_a_file_in_another_encoding_is_read_by_one_click(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(("prompt,answer\n" + "".join(f"{n}번째 도시는?,서울{n}\n" for n in range(64))).encode("cp949"))
    found = checked(f"data.path={file}", "data.eval_path=", "model.warm_start=")
    [ways] = fixes.ways(found)
    assert ways[0] == Way(("data.encoding=cp949",))
    assert not mended(found, ways[0]).problems


def test_a_column_of_any_name_is_mended_by_one_click(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(ROWS.replace('"label"', '"meta\\nlabel"'))
    found = checked(f"data.path={file}", "data.eval_path=", "model.warm_start=", "data.columns.prompt=frage")
    for _ in range(2):
        ways: list[Any] = [each for each in fixes.ways(found) if each]
        found = mended(found, ways[0][0])
    assert not found.problems
    assert {'data.columns.answer="meta\\nlabel"', "data.columns.prompt=question"} <= set(found.form.changes)


def test_a_fault_of_ours_is_an_answer_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fault(form: Form, how: str | None = None) -> Checked:
        raise RuntimeError("nobody thought of it")

    monkeypatch.setattr(actions, "check", fault)
    monkeypatch.setattr(actions, "start", fault)
    sent = json.dumps({"base": {"preset": "tiny"}, "serial": 3, "turn": 4, "have": "en"})
    for text in (TrainTab.checked("en", sent), TrainTab.started("en", sent)[0], TrainTab.attempt("en", sent)):
        found = json.loads(text)
        assert (found["serial"], found["turn"]) == (3, 4)
        assert "RuntimeError: nobody thought of it" in found.get("verdict", found.get("html"))
    assert json.loads(TrainTab.checked("en", sent))["kind"] == "broken"
    assert "still" in json.loads(TrainTab.checked("ko", sent))
    assert "Traceback" in capsys.readouterr().err


def test_the_name_of_a_run_is_mended_by_no_setting() -> None:
    found = checked(name="../up")
    assert fixes.ways(found) == [[]]
    assert 'data-rename="up-1"' in views.readiness(found, [[]], EN)


def test_a_name_that_is_taken_comes_with_one_that_is_free(make_run: MakeRun) -> None:
    make_run("mine-3")
    html = views.readiness(checked(name="mine-3"), [[]], EN)
    assert 'data-rename="mine-4"' in html and "Use mine-4" in html


# ---------------------------------------------------------------------------------- in Korean


@pytest.mark.parametrize(
    "change",
    [
        "optim.learning_rate=5", "optim.lerning_rate=1", "model.load_in_4bit=true", "optim.optim=zzz",
        "reward.components.0.function=exact_mach", "trl.logging_steps=10", "grpo.delta=1.1",
        "optim.per_device_train_batch_size=6", "model.max_seq_length=10", "data.prompt_template={0}",
    ],
)  # fmt: skip
def test_what_is_wrong_and_what_to_type_is_said_in_korean(change: str) -> None:
    say = words("ko")
    found = actions.check(Form("preset", "tiny", changes=(change,)))
    assert found.problems
    shown = re.sub(r"<[^>]+>", " ", views.readiness(found, [[] for _ in found.problems], say))
    assert latin.in_text(shown) == []
    in_english = views.answer(actions.check(found.form), EN)
    assert views.answer(found, say)["ways"] == in_english["ways"]  # what a click changes is the same in every language


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_number_is_shown_as_it_was_typed(language: str) -> None:
    say = words(language)
    found = actions.check(Form("preset", "tiny", changes=("optim.learning_rate=1e9",)))
    shown = views.readiness(found, [[]], say)
    assert "1e9" in shown and "1000000000" not in shown


def test_a_file_of_the_preset_that_lacks_a_renamed_column_can_be_left_out(tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    own.write_text("question,solution\n" + "".join(f"word {n},{n}\n" for n in range(40)))
    renamed = ("data.columns.prompt=question", "data.columns.answer=solution")
    found = checked(f"data.path={own}", "data.eval_path=", *renamed)
    assert {problem.where for problem in found.problems} == {"reverse_train.jsonl:1"}
    assert "--set model.warm_start= leaves this file out" in str(found.problems[0])
    (way, *_) = fixes.ways(found)[0]
    assert way.changes == ("model.warm_start=",) and not mended(found, way).problems


# ---------------------------------------------------------------------------------- beside another run


def test_a_second_run_on_a_device_is_asked_about_and_then_waits_or_trains_beside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[bool] = []
    queued: list[str] = []
    monkeypatch.setattr(launch.queue, "beside", lambda spec, outputs: ["busy-1"])
    monkeypatch.setattr(launch.queue, "add", lambda run: queued.append(run.name))
    monkeypatch.setattr(launch, "start", lambda run, beside: begun.append(beside))
    monkeypatch.setattr(shared, "started", lambda child: None)
    sent = {"base": {"preset": "tiny"}, "changes": [], "name": "", "serial": 1}
    answer = json.loads(TrainTab.started("en", json.dumps(sent))[0])
    assert answer["kind"] == "refused" and "busy-1 is training now" in answer["verdict"]
    assert 'data-how="queue"' in answer["verdict"] and 'data-how="beside"' in answer["verdict"]
    assert not outputs_dir().exists() or not list(outputs_dir().iterdir())
    for how in ("queue", "beside"):
        answer = json.loads(TrainTab.started("en", json.dumps(sent | {"how": how}))[0])
        assert answer["kind"] == "started"
    assert (queued, begun) == (["tiny-1"], [True])


def test_without_another_run_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[bool] = []
    monkeypatch.setattr(launch, "start", lambda run, beside: begun.append(beside))
    monkeypatch.setattr(shared, "started", lambda child: None)
    actions.start(Form("preset", "tiny"))
    assert begun == [False]
