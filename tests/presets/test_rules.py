"""Rules across fields: each refused case says what to type, each unwise one warns."""

from __future__ import annotations

from typing import Any

import pytest

from tests import latin
from trainer import presets
from trainer.errors import SpecError
from trainer.presets import advice, rules
from trainer.spec import FIXED, RunSpec

BASE: dict[str, Any] = {
    "model": {"name": "Qwen/Qwen3-0.6B"},
    "data": {"path": "rows.jsonl"},
    "reward": {"components": [{"function": "exact_match"}]},
}


def spec(*overrides: str) -> RunSpec:
    return presets.parse(presets.merge(BASE, overrides), "mine.toml")


RANKS = (
    '{function = "llm_group_judge", params = {model = "m", base_url = "http://localhost/v1", prompt = "{completions}"}}'
)


REFUSED: list[tuple[str, list[str], str]] = [
    ("4-bit weights without adapters", ["model.load_in_4bit=true", "lora.enabled=false"],
     "model.load_in_4bit: is true with lora.enabled = false"),
    ("warm start of a Hub model", ['model.warm_start={path = "w.jsonl"}'],
     "model.warm_start: is only for a model that is made here"),
    ("Unsloth's checkpointing without Unsloth",
     ["model.gradient_checkpointing=unsloth"],
     "model.gradient_checkpointing = true"),
    ("vLLM without Unsloth", ["model.fast_inference=true"], 'model.engine = "unsloth"'),
    ("vLLM without an adapter", ["model.fast_inference=true", "model.engine=unsloth", "lora.enabled=false"],
     "model.fast_inference: is true with lora.enabled = false"),
    ("an adapter merged into the weights at each step", ["trl.use_vllm=true", "trl.vllm_mode=server"],
     'trl.vllm_mode = "colocate"'),
    ("TRL's vLLM under Unsloth", ["trl.use_vllm=true", "model.engine=unsloth"], "model.fast_inference = true"),
    ("base weights that vLLM drops", ["trl.use_vllm=true", "trl.vllm_enable_sleep_mode=true"],
     "a sync brings the adapter only"),
    ("groups that come again and are corrected by another policy",
     ["sampling.replay=16", "trl.use_vllm=true"], "trl.vllm_importance_sampling_correction = false"),
    ("groups that come again whose steps are compared",
     ["sampling.replay=16", "reward.supervision=process", "reward.components.0.per_step=true"],
     'sampling.replay'),
    ("an adapter of a rank vLLM has no room for", ["trl.use_vllm=true", "lora.r=600"], "lora.r = 512"),
    ("a router's loss under Unsloth", ["trl.router_aux_loss_coef=0.001", "model.engine=unsloth"],
     "trl.router_aux_loss_coef: is 0.001"),
    ("two sources of data", ["data.name=openai/gsm8k"], "data: path is \"rows.jsonl\" and name is"),
    ("a Hub configuration without a Hub dataset", ["data.config=main"], "leave data.config out"),
    ("a Hub split without a Hub dataset", ["data.eval_split=test"], "leave data.eval_split out"),
    ("two sources of held-out rows", ["data.eval_path=e.jsonl", "data.eval_fraction=0.1"],
     "data.eval_path and data.eval_fraction are set"),
    ("held-out rows that are the training rows", ["data.path=r.jsonl", "data.eval_path=r.jsonl"],
     "data.eval_path: is the training file"),
    ("an unknown reward", ["reward.components.0.function=exact_mach"],
     'no reward function is called "exact_mach"  ->  did you mean "exact_match"?'),
    ("a reward like none", ["reward.components.0.function=zzz"], "known: exact_match"),
    ("more completions than letters", [f"reward.components.0={RANKS}", "generation.num_generations=32"],
     "generation.num_generations: is 32, and llm_group_judge ranks at most 26"),
    ("groups that may grow beyond the letters",
     [f"reward.components.0={RANKS}", "generation.num_generations=16", "sampling.group_size=spread"],
     "sampling.max_generations: is 32"),
    ("steps that are ranked among whole completions",
     [f"reward.components.0={RANKS}", "reward.components.0.per_step=true", "reward.supervision=process"],
     "compares whole completions of a group  ->  leave it out"),
    ("two components of one name",
     ['reward.components=[{function = "exact_match"}, {function = "exact_match"}]'],
     '2 components are called "exact_match"'),
    ("weights that are all 0", ["reward.components.0.weight=0"], "every weight (or scale) is 0"),
    ("a clip the wrong way round", ["reward.components.0.clip=[1, 0]"], "clip = [0, 1]"),
    ("a clip of one point", ["reward.components.0.clip=[1, 1]"], "leave clip out"),
    ("a condition on nobody", ["reward.components.0.only_if=rouge"],
     'no component is called "rouge"; they are called "exact_match"'),
    ("half a condition", ["reward.components.0.only_if=exact_match >"],
     '"exact_match >" is neither a component\'s name nor a bound on it'),
    ("a condition on a name that joins",
     ['reward.components=[{function = "exact_match", name = "a<b"}, '
      '{function = "exact_match", only_if = "a<b"}]'],
     'the name "a<b" cannot stand in a condition'),
    ("a condition on itself", ["reward.components.0.only_if=exact_match >= 1"],
     "depends on itself: exact_match -> exact_match"),
    ("a part paid by the sum it is in",
     ['reward.components=[{function = "sum", components = [{function = "exact_match", only_if = "sum"}]}]'],
     "depends on itself: exact_match -> sum -> exact_match"),
    ("GDPO by TRL's key", ["trl.multi_objective_aggregation=normalize_then_sum"],
     "use grpo.multi_objective_aggregation"),
    ("a correct component that is not there", ["reward.correct=exact"],
     'reward.correct = "exact_match"'),
    ("two sizes of a generation batch",
     ["generation.steps_per_generation=2", "generation.generation_batch_size=16"],
     "only one of them"),
    ("an upper clip below the lower", ["grpo.epsilon_high=0.1"], "grpo.epsilon_high = 0.2 or more"),
    ("a cap inside the clip", ["grpo.delta=1.1"], "must be above 1 + the upper clip = 1.2"),
    ("an optimizer that is not there", ["optim.optim=adamm"], "which transformers does not have"),
    ("a reference that is in no checkpoint", ["trl.sync_ref_model=true"], "a resumed run would differ"),
    ("float16 on a CPU", ["model.dtype=float16", "model.device=cpu"], "it overflows there"),
    ("float16 whole weights", ["model.dtype=float16", "lora.enabled=false"], "whole weights cannot be trained"),
    ("float16 adapters on 4 bits", ["model.dtype=float16", "model.load_in_4bit=true"], 'model.dtype = "auto"'),
    ("a template with an open brace", ["data.prompt_template={prompt"], "data.prompt_template: is"),
    ("a template with a conversion", ["data.prompt_template={prompt!z}"], "more than the name of a column"),
    ("a template with a width", ["data.prompt_template={prompt:>99999999999}"], "more than the name of a column"),
    ("a template by number", ["data.prompt_template={0}"], "more than the name of a column"),
    ("a template with an attribute", ["data.prompt_template={prompt.__class__}"], "more than the name of a column"),
    ("a template without a column", ["data.prompt_template=hello"], "every row would give the same text"),
    ("an unknown argument of TRL", ["trl.adam_epsilo=1e-8"], "did you mean trl.adam_epsilon?"),
    ("an argument with a key of its own", ["trl.learning_rate=1e-5"], "use optim.learning_rate"),
    ("an argument another key decides", ["trl.bf16=true"], "use model.dtype"),
    ("an argument with one right value", ["trl.logging_steps=10"],
     "trl.logging_steps: is 10, must be 1: the event log holds one step event"),
    ("a chat template as an argument of it", ['trl.chat_template_kwargs={chat_template = "x"}'],
     "trl.chat_template_kwargs.chat_template: the trainer itself gives this argument"),
    ("an argument of another function", ["trl.chat_template_kwargs.add_generation_prompt=false"], "leave it out"),
    ("arguments of the template as text", ["trl.chat_template_kwargs=no-think"], "table"),
    ("true for the number 1", ["trl.logging_steps=true"], "must be 1"),
    ("text for a number", ["trl.adam_epsilon=small"], 'is "small", must be a number'),
    ("a whole number that is not whole", ["trl.dataloader_num_workers=1.5"], "a whole number"),
    ("a number that is none", ["trl.adam_epsilon=nan"], "must be a finite number"),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "text"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_is_refused(overrides: list[str], text: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec(*overrides)
    assert text in str(caught.value)
    (problem,) = caught.value.problems
    assert latin.left_in(problem) == [] and problem.key != "plain"


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.load_in_4bit=true"],
        ["model.name=builtin/tiny-qwen3", 'model.warm_start={path = "w.jsonl"}'],
        ["model.gradient_checkpointing=unsloth", "model.engine=unsloth"],
        ["grpo.epsilon=3e-4", "grpo.epsilon_high=4e-4"],
        ["grpo.delta=4"],
        ["reward.correct=exact_match"],
        [
            'reward.components=[{function = "sum", only_if = "form", components = [{function = "exact_match"},'
            ' {function = "format_regex", name = "form", params = {pattern = "a"}}]}]'
        ],
        ["reward.components.0.clip=[0, 1]"],
        ["trl.adam_epsilon=1"],
        ["data.prompt_template={{literal}} {prompt}"],
        ["model.dtype=float16", "model.device=cuda"],
        ["trl.use_vllm=true", "lora.r=512"],
        ["trl.use_vllm=true", "sampling.replay=16", "trl.vllm_importance_sampling_correction=false"],
        ["trl.use_vllm=true", "lora.enabled=false", "trl.vllm_mode=server"],
        ["eval.eval_steps=10", "data.eval_fraction=0.1"],
        [f"trl.{key}={str(value).lower()}" for key, (value, _) in FIXED.items()],
    ],
    ids=str,
)
def test_is_accepted(overrides: list[str]) -> None:
    assert rules.problems(spec(*overrides)) == []


def test_neither_path_nor_name_is_refused() -> None:
    with pytest.raises(SpecError, match="data: has neither path nor name"):
        presets.parse(BASE | {"data": {}}, "mine.toml")


def test_training_split_is_not_the_held_out_split() -> None:
    data = {"name": "openai/gsm8k", "split": "test", "eval_split": "test"}
    with pytest.raises(SpecError, match="the training split"):
        presets.parse(BASE | {"data": data}, "mine.toml")


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["grpo.importance_sampling_level=sequence"], 'GSPO uses loss_type = "grpo"'),
        (["grpo.importance_sampling_level=sequence", "grpo.loss_type=grpo"],
         "GSPO uses epsilon = 3e-4"),
        (["grpo.loss_type=luspo"], '"luspo" is meant for'),
        (["generation.top_p=0.9"], "generation.top_p: completions are not samples of the policy"),
        (["generation.min_p=0.1", "generation.top_k=5"], "generation.top_k, generation.min_p"),
        ([], "No held-out rows"),
        (["model.trust_remote_code=true"], "runs Python code"),
        (["reward.correct=exact_match", "reward.components.0.weight=-5"], "right answers become less likely"),
        ([f"reward.components.0={RANKS}"], "The component llm_group_judge tells right from wrong and ranks"),
        (["sampling.max_rounds=3", "reward.components.0.clip_percentiles=[5, 95]"], "exact_match: clip_percentiles"),
        (["sampling.max_rounds=3", "reward.components.0.normalise=true"], "each round is a batch of its own"),
        (["sampling.levels=8", "sampling.explore=0.9"], "sampling.levels, sampling.explore: nothing reads it"),
        (["sampling.replay_steps=3"], "sampling.replay_steps: nothing reads it"),
        (["sampling.group_size=spread", "sampling.spread_threshold=0.3"], "sampling.spread_threshold: nothing"),
    ],
)  # fmt: skip
def test_is_warned_of(overrides: list[str], text: str) -> None:
    assert text in "\n".join(map(str, advice.warnings(spec(*overrides))))


@pytest.mark.parametrize(
    "overrides",
    [
        ["reward.components.0.clip_percentiles=[5, 95]"],
        ["sampling.max_rounds=3"],
        ["sampling.curriculum=column", "sampling.levels=8", "sampling.mix=0.1", "sampling.difficulty=hard"],
        ["sampling.levels=4", "sampling.measure=4"],  # as they are
        ["sampling.skip_dead=true", "sampling.explore=0.9"],
    ],
    ids=str,
)
def test_of_sampling_nothing_else_is_warned_of(overrides: list[str]) -> None:
    keys = {warning.key for warning in advice.warnings(spec(*overrides))}
    assert not keys & {"presets.advice.rounds_apart", "presets.advice.sampling_idle"}


def test_published_gspo_is_not_warned_of() -> None:
    gspo = ["grpo.importance_sampling_level=sequence", "grpo.loss_type=grpo", "grpo.epsilon=3e-4",
            "grpo.epsilon_high=4e-4", "data.eval_fraction=0.1", "optim.learning_rate=2e-5"]  # fmt: skip
    assert advice.warnings(spec(*gspo)) == []


def test_a_reward_says_its_formula_in_words() -> None:
    assert presets.load("malpyeong").reward.formula() == "(bertscore + exact_match + 0.5 x (format + 3 x rouge1)) / 3"
    assert presets.load("tiny").reward.formula() == "correct + 0.5 x format"
