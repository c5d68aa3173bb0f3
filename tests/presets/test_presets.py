"""Presets: found, read, merged, refused with everything that is wrong, and complete."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import plan, presets
from trainer.data import sources
from trainer.errors import PresetError, SpecError
from trainer.presets import explain
from trainer.rewards.library import REWARDS
from trainer.spec import RunSpec

MINIMAL = """
[model]
name = "Qwen/Qwen3-0.6B"
[data]
path = "rows.jsonl"
[[reward.components]]
function = "exact_match"
"""
ALL = sorted(presets.PRESETS_DIR.rglob("*.toml"))
GPU_CLASSES = (8, 12, 16, 24, 48, 80)  # GB
ROOM_FRAC = 0.85  # of the GPU: activations may be 30 % off, and a screen takes its part
# The reference run's values are not ours to shrink: its estimate is allowed to be tight.
TIGHT = {"gemma27b": 0.95}
# Models that Unsloth 2026.10 has no entry for.
WITHOUT_UNSLOTH = {"smollm3-3b", "midm2-mini"}
# Models whose template thinks where it is not told otherwise.
THINKS = re.compile(r"qwen3(?!.*-2507)|smollm3", re.IGNORECASE)
ON_GPU = [info for info in presets.list_presets() if info.gpu is not None and info.gpu.key != "presets.gpu_none"]
FROM_HUB = [info.name for info in presets.list_presets() if presets.load(info.name).data.name is not None]
OWN_DATA = re.compile(r"python app\.py --dry-run --preset (\S+) (.*data\.path=my\.jsonl.*)")


def raw(text: str = "") -> dict[str, Any]:
    return tomllib.loads(text + MINIMAL)


def refused(values: dict[str, Any]) -> list[str]:
    with pytest.raises(SpecError) as caught:
        presets.parse(values, "mine.toml")
    return [str(problem) for problem in caught.value.problems]


def with_set(*overrides: str) -> list[str]:
    return refused(presets.merge(raw(), overrides))


# ---- every preset there is


def test_presets_were_found() -> None:
    assert len(ALL) == 43  # also those in sub-folders: none may drop out unnoticed
    assert len(presets.list_presets()) == len(ALL)
    assert [info.problems for info in presets.list_presets() if info.problems] == []


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_preset_loads_validates_and_plans(path: Path) -> None:
    spec = presets.load(path)
    made = plan.make(spec, rows=7473)
    assert made.completions_per_update > 0
    assert plan.RunPlan.model_validate_json(made.model_dump_json()) == made
    assert RunSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_every_assignment_has_its_reason(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    bare = [line for line in lines if "=" in line and not line.startswith("#") and " #" not in line]
    assert bare == []


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_header_says_gpu_command_and_whether_it_was_measured(path: Path) -> None:
    text = "\n".join(presets.header(path.read_text(encoding="utf-8")))
    assert "GPU:" in text
    assert f"--preset {path.stem}" in text
    assert "Measured:" in text or "unmeasured" in text


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_preset_is_in_the_readme(path: Path) -> None:
    assert f"`{path.stem}`" in (presets.PRESETS_DIR / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("info", ON_GPU, ids=lambda info: info.name)
def test_memory_estimate_fits_the_gpu_in_the_header(info: presets.PresetInfo) -> None:
    gpu_gb = gpu_class(info)
    spec = presets.load(info.name)
    made = plan.make(spec, None, gpu_total_gib=float(gpu_gb))
    assert spec.model.engine == ("transformers" if info.name in WITHOUT_UNSLOTH else "unsloth")
    assert made.memory_unknown is None
    assert made.memory_total_gib is not None
    assert made.memory_total_gib <= TIGHT.get(info.name, ROOM_FRAC) * gpu_gb


def gpu_class(info: presets.PresetInfo) -> int:
    found = re.fullmatch(r"(\d+) GB or more", str(info.gpu))
    assert found, info.gpu
    return int(found[1])


def test_every_gpu_class_has_a_preset() -> None:
    assert sorted({gpu_class(info) for info in ON_GPU}) == list(GPU_CLASSES)


@pytest.mark.parametrize("name", FROM_HUB)
def test_unmeasured_presets_say_so_and_hub_presets_plan_without_their_rows(name: str) -> None:
    made = plan.make(presets.load(name), None)
    assert made.rows is None
    assert made.optimizer_steps is not None
    lines = presets.header(presets.find(name).read_text(encoding="utf-8"))
    measured = any(line.startswith("Measured:") for line in lines)
    said = "unmeasured: no step time, peak memory or reward is known for this preset yet." in lines
    assert measured != said


@pytest.mark.parametrize("name", FROM_HUB)
def test_own_data_command_in_the_comments_works(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exact answer must be rewarded as well: a gold answer in which nothing is found would be 0 for ever."""
    ((preset, arguments),) = OWN_DATA.findall(presets.find(name).read_text(encoding="utf-8"))
    assert preset == name
    monkeypatch.chdir(tmp_path)
    rows = "".join(f'{{"prompt": "What is {n} + 1?", "answer": "{n + 1}"}}\n' for n in range(100))
    Path("my.jsonl").write_text(rows, encoding="utf-8")
    spec = presets.load(name, [word for word in arguments.split() if word != "--set"])
    assert sources.inspect(spec) == sources.Inspection(rows=90, eval_rows=10)
    assert plan.make(spec, 90).rows == 90
    assert rewarded(spec, "Three and four are seven.\n#### 7", "7") == [1.0, 1.0]


GOLD = "She has 3 + 4 = <<3+4=7>>7 eggs.\n#### 7"  # the form of GSM8K's answers


@pytest.mark.parametrize("name", FROM_HUB)
def test_rewards_tell_right_wrong_and_shapeless_apart(name: str) -> None:
    spec = presets.load(name)
    assert rewarded(spec, "Three and four are seven.\n#### 7", GOLD) == [1.0, 1.0]
    assert rewarded(spec, "First I wrote #### 9, but:\n#### $7\n", GOLD) == [1.0, 1.0]
    assert rewarded(spec, "Three and four are eight.\n#### 8", GOLD) == [0.0, 1.0]
    assert rewarded(spec, "The answer is 7.", GOLD) == [0.0, 0.0]
    assert rewarded(spec, "", GOLD) == [0.0, 0.0]


def rewarded(spec: RunSpec, text: str, gold: str) -> list[float | None]:
    """Value of each component, before its weight."""
    parts = spec.reward.components
    completion = [{"role": "assistant", "content": text}]
    columns = {"prompts": [""], "completions": [completion], "answer": [gold]}
    return [REWARDS[part.function](**part.params)(**columns)[0] for part in parts]


def test_gpt_oss_is_paid_for_both_forms_its_completions_may_have() -> None:
    """Channels decoded as one text without their markers, or the final channel alone."""
    spec = presets.load("gpt-oss-20b")
    assert rewarded(spec, "analysisAdd: 3+4=7. End with ####.assistantfinal#### 7", GOLD) == [1.0, 1.0]
    assert rewarded(spec, "#### 7", GOLD) == [1.0, 1.0]
    assert rewarded(spec, "analysisAdd: 3+4=7, so #### 7 will be", GOLD) == [1.0, 0.0]


@pytest.mark.parametrize("name", FROM_HUB)
def test_thinking_is_chosen_where_there_is_any_and_nothing_biases_the_samples(name: str) -> None:
    spec = presets.load(name)
    assert ("enable_thinking" in spec.trl.get("chat_template_kwargs", {})) == bool(THINKS.search(spec.model.name))
    assert [warning for warning in plan.make(spec, None).warnings if "bias" in str(warning)] == []


def test_gspo_is_the_batch_guide_on_one_gpu() -> None:
    spec = presets.load("gspo")
    made = plan.make(spec, 7473)
    assert (made.prompts_per_phase, made.num_generations, made.completions_per_phase) == (64, 8, 512)
    assert (made.completions_per_update, made.updates_per_phase) == (16, 32)
    assert made.per_device_train_batch_size == 1
    assert not made.on_policy
    assert (spec.grpo.importance_sampling_level, spec.grpo.loss_type) == ("sequence", "grpo")
    assert (spec.grpo.epsilon, spec.grpo.epsilon_high, spec.grpo.beta) == (3e-4, 4e-4, 0.0)
    assert spec.optim.learning_rate == 1e-6
    # Published for whole weights; said, as LoRA takes more.
    assert [warning.key for warning in made.warnings] == ["presets.advice.lora_rate_low"]


def test_gemma27b_holds_the_values_of_the_reference_run() -> None:
    spec = presets.load("gemma27b")
    assert spec.model.name == "unsloth/gemma-3-27b-it-unsloth-bnb-4bit"
    assert spec.generation.num_generations == 4
    assert spec.generation.max_completion_length == 762
    assert spec.data.max_prompt_length == 2048
    assert spec.optim.learning_rate == 5e-7
    assert spec.grpo.beta == 0.1
    assert spec.optim.per_device_train_batch_size == 1
    assert spec.log.mirrors == ["wandb"]
    assert plan.make(spec, None).prompts_per_update == 1


def test_list_shows_model_and_gpu() -> None:
    info = next(info for info in presets.list_presets() if info.name == "gemma27b")
    assert info.model == "unsloth/gemma-3-27b-it-unsloth-bnb-4bit"
    assert str(info.gpu) == "24 GB or more"
    assert info.problems == ()


def test_list_shows_what_is_wrong_with_a_broken_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.toml").write_text("# Broken\n[model\n")
    monkeypatch.setattr(presets, "PRESETS_DIR", tmp_path)
    (info,) = presets.list_presets()
    assert info.title == "Broken"
    assert "broken.toml:2" in str(info.problems[0])


# ---- find and read


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(PresetError, match=r"gema27b.*did you mean .*gemma27b"):
        presets.find("gema27b")


def test_any_toml_file_is_a_preset(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(MINIMAL)
    assert presets.find(str(mine)) == mine
    assert presets.load(mine).model.name == "Qwen/Qwen3-0.6B"


def test_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match="there is no such file"):
        presets.find(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("[model]\nname: x\n", ":2:5", "write key = value, not key: value"),
        ("[model]\nload_in_4bit = True\n", ":2:16", "small letters"),
        ("[model]\nname = Qwen\n", ":2:8", "put text in quotes"),
        ("[model]\nrevision = None\n", ":2:12", "TOML has no None"),
        ("[model\n", ":1:7", "not TOML"),
        ("a = 1\na = 2\n", ":2:6", "Cannot overwrite a value"),
        ('a = "open', ":1:", "not TOML"),
    ],
)
def test_syntax_error_has_file_line_and_column(tmp_path: Path, text: str, where: str, what: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(PresetError) as caught:
        presets.read(path)
    assert f"{path}{where}" in str(caught.value)
    assert what in str(caught.value)


def test_file_that_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b'[model]\nname = "M\xfcller"\n')
    with pytest.raises(PresetError, match=r"latin\.toml:2: is not UTF-8"):
        presets.read(path)


# ---- --set


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("optim.learning_rate=1e-5", ("optim", "learning_rate"), 1e-5),
        ("grpo.loss_type=dr_grpo", ("grpo", "loss_type"), "dr_grpo"),
        ('grpo.loss_type="dr_grpo"', ("grpo", "loss_type"), "dr_grpo"),
        ("model.load_in_4bit=true", ("model", "load_in_4bit"), True),
        ("model.revision=1234567", ("model", "revision"), "1234567"),
        ("model.revision=12e4567", ("model", "revision"), "12e4567"),
        ("data.config=2024-01-01", ("data", "config"), "2024-01-01"),
        ("data.prompt_template={prompt} = ?", ("data", "prompt_template"), "{prompt} = ?"),
        ("lora.target_modules=['q_proj']", ("lora", "target_modules"), ["q_proj"]),
        ("trl.adam_epsilon=1e-6", ("trl", "adam_epsilon"), 1e-6),
        ("title=Mine", ("title",), "Mine"),
    ],
)
def test_override_takes_a_toml_value_or_bare_text(override: str, key: tuple[str, ...], value: object) -> None:
    here: Any = presets.merge(raw(), [override])
    for step in key:
        here = here[step]
    assert here == value


def test_override_reaches_into_lists() -> None:
    merged = presets.merge(raw(), ["reward.components.0.weight=2", "reward.components.0.params.a=1"])
    assert merged["reward"]["components"][0] == {
        "function": "exact_match",
        "weight": 2,
        "params": {"a": 1},
    }


def test_override_does_not_change_what_it_was_given() -> None:
    before = raw()
    presets.merge(before, ["optim.max_steps=4", "reward.components.0.weight=2"])
    assert before == raw()


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("optim.lerning_rate=1", "did you mean optim.learning_rate?"),
        ("optm.learning_rate=1", "it is called optim.learning_rate"),
        ("learning_rate=1", "it is called optim.learning_rate"),
        ("optim.beta=1", "it is called grpo.beta"),
        ("grpo.vllm_mode=x", "it is called trl.vllm_mode"),
        ("optim.learning_rate", "--set optim.learning_rate=1e-6"),
        ("=1", "not of the form"),
        ("reward.components.3.weight=1", "has no number 3: there are 1 of them"),
        ("reward.components.weight=1", "reward.components.0.weight"),
        ("optim=3", "must be a table"),
    ],
)
def test_override_that_makes_no_sense_is_refused(override: str, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        presets.parse(presets.merge(raw(), [override]), "mine.toml")
    assert text in str(caught.value)


def test_paths_belong_to_the_preset_and_after_set_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    (folder / "mine.toml").write_text(MINIMAL)
    monkeypatch.chdir(tmp_path)
    spec = presets.load(folder / "mine.toml", ["data.eval_path=held.jsonl"])
    assert spec.data.path == str(folder / "rows.jsonl")
    assert spec.data.eval_path == str(tmp_path / "held.jsonl")


# ---- refused, in words


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ('optim.learning_rate="1e-5"',
         'is "1e-5", must be a number, above 0 and at most 1  ->  '
         "optim.learning_rate = 1e-5 (without quotes)"),
        ("optim.learning_rate=0", "must be a number, above 0"),
        ("optim.learning_rate=-1", "must be a number, above 0"),
        ("optim.learning_rate=nan", "is nan"),
        ("optim.learning_rate=inf", "is inf"),
        ("optim.max_steps=2.0", "optim.max_steps = 2"),
        ("optim.max_steps=0", "at least 1"),
        ("optim.max_steps=true", "is true, must be a whole number"),
        ("optim.num_train_epochs=0", "above 0"),
        ("optim.optim=adamw8bit", 'optim.optim = "adamw_8bit"'),
        ("optim.lr_scheduler_type=cosin", 'optim.lr_scheduler_type = "cosine"'),
        ("generation.num_generations=1", "at least 2 and at most 1024  ->  "
         "generation.num_generations = 2"),
        ("generation.num_generations=0", "generation.num_generations = 2"),
        ("generation.temperature=0", "above 0"),
        ("generation.top_p=2", "generation.top_p = 1"),
        ("grpo.beta=-1", "grpo.beta = 0"),
        ("grpo.loss_type=gspo", "must be one of"),
        ("grpo.num_iterations=0", "at least 1"),
        ("model.engine=unslot", 'model.engine = "unsloth"'),
        ("model.load_in_4bit=True", "model.load_in_4bit = true (without quotes)"),
        ("model.gradient_checkpointing=3", 'true or false, or "unsloth"'),
        ("lora.dropout=1.5", "below 1"),
        ("lora.target_modules=[1]", "lora.target_modules.0: is 1"),
        ("checkpoint.save_steps=0", "checkpoint.save_steps = 1"),
        ("run.seed=-1", "run.seed = 0"),
        ("run.seed=1099511627776", "below 4294967296"),
        ("data.name=3", "data"),
        ("reward.components.0.clip=[0,1,2]", "must be a list of 2 numbers"),
        ("reward.components=[]", "with at least 1 of them"),
    ],
)  # fmt: skip
def test_wrong_value_is_named_with_its_rule_and_what_to_type(override: str, text: str) -> None:
    assert text in "\n".join(with_set(override))


def test_missing_sections_say_what_to_write() -> None:
    problems = refused({})
    assert any(line.startswith("model: the section is missing in mine.toml") for line in problems)
    assert any(line.startswith("data: ") for line in problems)
    assert any("[[reward.components]]" in line for line in problems)


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        '[model]\nname = "m"\nload_in_4bit = true\n[lora]\nenabled = false\n[data]\n[optim]\n'
        'learning_rate = "1e-5"\nlerning_rate = 3\nweight_decay = '
        "nan\n[generation]\nnum_generations = 1\n"
        '[grpo]\nepsilon = 0.3\nepsilon_high = 0.1\nbeta = "a"\n[trl]\nadam_epsilo = 1\n'
        '[[reward.components]]\nfunction = "exact_mach"\n'
    )
    with pytest.raises(SpecError) as caught:
        presets.load(path, ["optm.x=1"])
    where = {problem.where for problem in caught.value.problems}
    assert where == {
        "optm.x", "model.load_in_4bit", "data", "optim.learning_rate", "optim.lerning_rate",
        "optim.weight_decay", "generation.num_generations", "grpo.epsilon_high", "grpo.beta",
        "trl.adam_epsilo", "reward.components.0.function",
    }  # fmt: skip
    assert caught.value.exit_code == 2


def test_refused_key_hides_rules_that_read_it() -> None:
    problems = refused(presets.merge(raw(), ["grpo.epsilon=-1", "grpo.epsilon_high=0.1"]))
    assert len(problems) == 1


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    key=st.sampled_from(["title", "model", "reward", *explain.all_keys(), "reward.components.0"]),
    junk=JUNK,
)
def test_no_value_of_any_kind_escapes_as_a_traceback(key: str, junk: Any) -> None:
    here: Any = (values := raw())
    *parents, last = [int(step) if step.isdecimal() else step for step in key.split(".")]
    for step in parents:
        here = here[step] if isinstance(step, int) else here.setdefault(step, {})
    here[last] = junk
    try:
        presets.parse(values, "mine.toml")
    except SpecError as error:
        assert all(problem.where and problem.what for problem in error.problems)


# ---- quick, and without the heavy packages


def test_load_and_plan_import_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from trainer import plan, presets\n"
        "from trainer.plan import card\n"
        "from trainer.text import words\n"
        "spec = presets.load('gemma27b'); card.render(spec, plan.make(spec, 7473), words('ko'))\n"
        "heavy = {'torch', 'trl', 'transformers', 'unsloth', 'datasets', 'gradio', 'numpy', 'sympy', 'httpx'}\n"
        "print(heavy & set(sys.modules))\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_names_of_optimizers_and_schedules_are_those_of_transformers() -> None:
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    from trainer.spec import choices

    assert set(choices.OPTIMIZERS) == {name.value for name in OptimizerNames}
    assert set(choices.SCHEDULERS) == {name.value for name in SchedulerType}


def test_an_override_without_a_value_takes_the_key_out() -> None:
    spec = presets.load("tiny", ["model.warm_start=", "optim.max_steps="])
    assert spec.model.warm_start is None
    assert spec.optim.max_steps is None


def test_a_required_key_that_an_override_took_out_is_not_said_to_be_missing_in_the_file() -> None:
    with pytest.raises(SpecError) as caught:
        presets.load("tiny", ["model.name="])
    told = "model.name: is needed, and --set model.name= removed it  ->  leave --set model.name= out"
    assert [str(problem) for problem in caught.value.problems] == [told]
    assert presets.load("tiny", ["model.name=", "model.name=builtin/tiny-qwen3"]).model.name == "builtin/tiny-qwen3"
