"""Rules across fields of a run spec, and the section [trl].

Each rule names the keys it reads, so that it is left out while one of them is already known to be
wrong. Arithmetic of batches and lengths is the plan's; what is legal but unwise is said by advice.

Imports the standard library, spec, explain and the (light) reward library. Knows nothing about files, devices or data.
"""

from __future__ import annotations

import inspect
import math
import re
import string
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.errors import Problem
from trainer.memory.shapes import BUILTIN, BUILTIN_CONFIGS
from trainer.rewards.library import REWARDS
from trainer.spec import FIXED, SET_ELSEWHERE, RunSpec, trl_homes, trl_table
from trainer.spec.choices import OPTIMIZERS, SCHEDULERS
from trainer.spec.explain import Path, nearest, shown

Check = Callable[[RunSpec], Iterator[Problem]]


@dataclass(frozen=True)
class Rule:
    keys: tuple[Path, ...]
    check: Check


_RULES: list[Rule] = []


def _rule(*keys: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        _RULES.append(Rule(tuple(tuple(key.split(".")) for key in keys), check))
        return check

    return register


def problems(spec: RunSpec, wrong: Sequence[Path] = ()) -> list[Problem]:
    """Every broken rule. `wrong`: keys that hold a stand-in, because what was typed is refused already."""
    return [
        problem
        for rule in _RULES
        if not any(_touches(key, bad) for key in rule.keys for bad in wrong)
        for problem in rule.check(spec)
        if not any(_touches(tuple(problem.where.split(".")), bad) for bad in wrong)
    ]


def _touches(key: Path, bad: Path) -> bool:
    shared = min(len(key), len(bad))
    return tuple(map(str, key[:shared])) == tuple(map(str, bad[:shared]))


# ---- model, adapters, data


@_rule("model.load_in_4bit", "lora.enabled")
def _four_bit_needs_lora(spec: RunSpec) -> Iterator[Problem]:
    if spec.model.load_in_4bit and not spec.lora.enabled:
        what = "is true with lora.enabled = false: only adapters can be trained on 4-bit weights"
        yield Problem("model.load_in_4bit", what, "lora.enabled = true, or model.load_in_4bit = false")


@_rule("model.name")
def _builtin_model_exists(spec: RunSpec) -> Iterator[Problem]:
    name = spec.model.name
    if name.startswith(BUILTIN) and name not in BUILTIN_CONFIGS:
        fix = f"one of: {', '.join(BUILTIN_CONFIGS)}"
        yield Problem("model.name", f"there is no built-in model {shown(name)}", fix)


@_rule("model.name", "model.warm_start")
def _warm_start_is_for_builtin_models(spec: RunSpec) -> Iterator[Problem]:
    if spec.model.warm_start is not None and not spec.model.name.startswith(BUILTIN):
        what = f"is only for a builtin/ model; model.name is {shown(spec.model.name)}"
        yield Problem("model.warm_start", what, "leave it out; on the command line: --set model.warm_start=")


@_rule("model.gradient_checkpointing", "model.engine")
def _unsloth_checkpointing_needs_unsloth(spec: RunSpec) -> Iterator[Problem]:
    if spec.model.gradient_checkpointing == "unsloth" and spec.model.engine != "unsloth":
        what = f'is "unsloth" with model.engine = "{spec.model.engine}"'
        yield Problem("model.gradient_checkpointing", what, "model.gradient_checkpointing = true")


@_rule("model.fast_inference", "model.engine", "lora.enabled")
def _fast_inference_serves_the_adapter(spec: RunSpec) -> Iterator[Problem]:
    """Unsloth hands vLLM the adapter by request; without one there is nothing to hand over."""
    if not spec.model.fast_inference:
        return
    if spec.model.engine != "unsloth":
        what = f'is true with model.engine = "{spec.model.engine}": Unsloth shares its weights with vLLM'
        yield Problem("model.fast_inference", what, 'model.engine = "unsloth"')
    if not spec.lora.enabled:
        what = "is true with lora.enabled = false: vLLM would go on with the untrained weights"
        yield Problem("model.fast_inference", what, "lora.enabled = true, or model.fast_inference = false")


@_rule("trl", "lora.enabled")
def _adapters_are_not_merged_each_step(spec: RunSpec) -> Iterator[Problem]:
    """TRL 1.14.2 `sync_weights` merges the adapter into the weights and unmerges it, at every generation."""
    if spec.trl.get("use_vllm") is True and spec.lora.enabled:
        what = "is true with LoRA: TRL merges the adapter into the weights each step, which rounds them more and more"
        yield Problem("trl.use_vllm", what, 'model.fast_inference = true with model.engine = "unsloth"')


@_rule("trl", "model.engine")
def _unsloth_has_no_router_loss(spec: RunSpec) -> Iterator[Problem]:
    if spec.model.engine == "unsloth" and spec.trl.get("router_aux_loss_coef"):
        what = f"is {shown(spec.trl['router_aux_loss_coef'])}; Unsloth can not compute the loss of a router"
        yield Problem("trl.router_aux_loss_coef", what, 'leave it out, or model.engine = "transformers"')


@_rule("model.dtype", "model.device", "model.load_in_4bit", "lora.enabled")
def _float16_can_be_trained(spec: RunSpec) -> Iterator[Problem]:
    """transformers' gradient scaler unscales float32 gradients only; TRL makes adapters of 4-bit weights bfloat16."""
    if spec.model.dtype == "float16":
        reasons = {
            'with model.device = "cpu": it overflows there within a few steps': spec.model.device == "cpu",
            "with model.load_in_4bit: TRL trains those adapters in bfloat16": spec.model.load_in_4bit,
            "with lora.enabled = false: whole weights can not be trained in it": not spec.lora.enabled,
        }
        for reason in (reason for reason, applies in reasons.items() if applies):
            yield Problem("model.dtype", f'is "float16" {reason}', 'model.dtype = "auto"')


@_rule("data.prompt_template", "model.warm_start")
def _templates_are_readable(spec: RunSpec) -> Iterator[Problem]:
    templates = {"data.prompt_template": spec.data.prompt_template}
    if spec.model.warm_start is not None:
        templates["model.warm_start.completion_template"] = spec.model.warm_start.completion_template
    for key, template in templates.items():
        fix = f'{key} = "... {{column}} ..."; a brace itself is written {{{{ or }}}}'
        try:
            fields = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
        except ValueError as error:
            yield Problem(key, f"is {shown(template)}: {error}", fix)
            continue
        if not fields:
            yield Problem(key, f"is {shown(template)}: it names no column, so every row would give the same text", fix)
        for name, width, conversion in fields:
            if not name or name.isdigit() or not name.isidentifier() or width or conversion:
                yield Problem(key, f"is {shown(template)}: {{{name}}} is more than the name of a column", fix)


@_rule("data.path", "data.name")
def _one_source_of_data(spec: RunSpec) -> Iterator[Problem]:
    data = spec.data
    if data.path is None and data.name is None:
        yield Problem(
            "data",
            "has neither path nor name",
            'data.path = "<file>.jsonl" or data.name = "<Hub id>"',
        )
    elif data.path is not None and data.name is not None:
        what = f"path is {shown(data.path)} and name is {shown(data.name)}: only one of them"
        yield Problem("data", what, "leave one out; on the command line: --set data.path=")


@_rule("data.name", "data.config", "data.eval_split")
def _hub_keys_need_a_hub_dataset(spec: RunSpec) -> Iterator[Problem]:
    for key in ("config", "eval_split"):
        if getattr(spec.data, key) is not None and spec.data.name is None:
            yield Problem(
                f"data.{key}",
                "belongs to a Hub dataset, and data.name is not set",
                f"leave data.{key} out",
            )


@_rule("data.eval_path", "data.eval_split", "data.eval_fraction")
def _one_source_of_held_out_rows(spec: RunSpec) -> Iterator[Problem]:
    chosen = [key for key in ("eval_path", "eval_split", "eval_fraction") if getattr(spec.data, key) is not None]
    if len(chosen) > 1:
        keys = " and ".join(f"data.{key}" for key in chosen)
        yield Problem("data", f"{keys} are set: held-out rows come from one of them", f"keep data.{chosen[0]}")


@_rule("data.path", "data.eval_path")
def _held_out_rows_are_not_training_rows(spec: RunSpec) -> Iterator[Problem]:
    if spec.data.eval_path is not None and spec.data.eval_path == spec.data.path:
        what = "is the training file: held-out rows must not be trained on"
        yield Problem("data.eval_path", what, "data.eval_fraction = 0.1 in its place")


@_rule("data.name", "data.split", "data.eval_split")
def _held_out_split_is_not_the_training_split(spec: RunSpec) -> Iterator[Problem]:
    if spec.data.eval_split is not None and spec.data.eval_split == spec.data.split:
        what = f"is {shown(spec.data.split)}, the training split: held-out rows must not be trained on"
        yield Problem("data.eval_split", what, "data.eval_fraction = 0.1 in its place")


def has_held_out_rows(spec: RunSpec) -> bool:
    data = spec.data
    return any(value is not None for value in (data.eval_path, data.eval_split, data.eval_fraction))


@_rule("data.eval_path", "data.eval_split", "data.eval_fraction", "eval.eval_steps")
def _evaluation_needs_rows(spec: RunSpec) -> Iterator[Problem]:
    if spec.eval.eval_steps is not None and not has_held_out_rows(spec):
        what = f"is {spec.eval.eval_steps}, and there are no held-out rows"
        yield Problem("eval.eval_steps", what, "data.eval_fraction = 0.1, or leave eval.eval_steps out")


# ---- reward


def _component_names(spec: RunSpec) -> list[str]:
    return [component.name or component.function for component in spec.reward.components]


@_rule("reward.components")
def _reward_functions_exist(spec: RunSpec) -> Iterator[Problem]:
    for place, component in enumerate(spec.reward.components):
        if component.function not in REWARDS:
            close = nearest(component.function, REWARDS)
            fix = f"did you mean {shown(close[0])}?" if close else f"known: {', '.join(REWARDS)}"
            what = f"no reward function is called {shown(component.function)}"
            yield Problem(f"reward.components.{place}.function", what, fix)


@_rule("reward.components")
def _params_fit_their_function(spec: RunSpec) -> Iterator[Problem]:
    for place, component in enumerate(spec.reward.components):
        if component.function in REWARDS:
            try:
                REWARDS[component.function](**component.params)
            except (TypeError, ValueError, re.error) as error:
                known = ", ".join(inspect.signature(REWARDS[component.function]).parameters)
                where = f"reward.components.{place}.params"
                yield Problem(where, f"do not fit {component.function}: {error}", f"known: {known}")


@_rule("reward.components")
def _component_names_differ(spec: RunSpec) -> Iterator[Problem]:
    for name, count in Counter(_component_names(spec)).items():
        if count > 1:
            what = f"{count} components are called {shown(name)}: their metrics would be one"
            yield Problem("reward.components", what, f'give one of them another name, e.g. name = "{name}_2"')


@_rule("reward.components")
def _some_component_counts(spec: RunSpec) -> Iterator[Problem]:
    if all(component.weight * component.scale == 0 for component in spec.reward.components):
        what = "every weight (or scale) is 0: all completions would be paid the same"
        yield Problem("reward.components", what, "reward.components.0.weight = 1")


@_rule("reward.components")
def _clips_are_ranges(spec: RunSpec) -> Iterator[Problem]:
    for place, component in enumerate(spec.reward.components):
        if component.clip is not None and not component.clip[0] < component.clip[1]:
            low, high = component.clip
            fix = f"clip = [{high:g}, {low:g}]" if low > high else "leave clip out"
            what = f"is [{low:g}, {high:g}]: the first number must be below the second"
            yield Problem(f"reward.components.{place}.clip", what, fix)


@_rule("reward.components", "reward.correct")
def _correct_names_a_component(spec: RunSpec) -> Iterator[Problem]:
    names = _component_names(spec)
    if spec.reward.correct is not None and spec.reward.correct not in names:
        close = nearest(spec.reward.correct, names) or names
        called = ", ".join(map(shown, names))
        what = f"is {shown(spec.reward.correct)}; the components are called {called}"
        yield Problem("reward.correct", what, f"reward.correct = {shown(close[0])}")


# ---- generation, objective, optimizer


@_rule("generation.steps_per_generation", "generation.generation_batch_size")
def _one_size_of_generation_batch(spec: RunSpec) -> Iterator[Problem]:
    steps, size = spec.generation.steps_per_generation, spec.generation.generation_batch_size
    if steps is not None and size is not None:
        what = f"steps_per_generation is {steps} and generation_batch_size is {size}: only one of them"
        yield Problem("generation", what, "leave generation.generation_batch_size out")


@_rule("grpo.epsilon", "grpo.epsilon_high")
def _upper_clip_is_not_below_the_lower(spec: RunSpec) -> Iterator[Problem]:
    low, high = spec.grpo.epsilon, spec.grpo.epsilon_high
    if high is not None and high < low:
        fix = f"grpo.epsilon_high = {low:g} or more"
        yield Problem("grpo.epsilon_high", f"is {high:g}, below grpo.epsilon = {low:g}", fix)


@_rule("grpo.delta", "grpo.epsilon", "grpo.epsilon_high")
def _cap_is_above_the_clip(spec: RunSpec) -> Iterator[Problem]:
    upper = spec.grpo.epsilon if spec.grpo.epsilon_high is None else spec.grpo.epsilon_high
    if spec.grpo.delta is not None and spec.grpo.delta <= 1 + upper:
        what = f"is {spec.grpo.delta:g}, must be above 1 + the upper clip = {1 + upper:g}"
        yield Problem("grpo.delta", what, "leave grpo.delta out, or grpo.delta = 4")


@_rule("optim.optim")
def _optimizer_exists(spec: RunSpec) -> Iterator[Problem]:
    yield from _one_of("optim.optim", spec.optim.optim, OPTIMIZERS)


@_rule("optim.lr_scheduler_type")
def _scheduler_exists(spec: RunSpec) -> Iterator[Problem]:
    yield from _one_of("optim.lr_scheduler_type", spec.optim.lr_scheduler_type, SCHEDULERS)


def _one_of(key: str, value: str, known: Sequence[str]) -> Iterator[Problem]:
    if value not in known:
        close = nearest(value, known)
        fix = f"{key} = {shown(close[0])}" if close else "one of " + ", ".join(known)
        yield Problem(key, f"is {shown(value)}, which transformers does not have", fix)


# ---- [trl]


def _kind(value: object) -> str:
    for kind, name in (
        (bool, "bool"),
        (int, "int"),
        (float, "float"),
        (str, "str"),
        (list, "list"),
        (dict, "dict"),
    ):
        if isinstance(value, kind):
            return name
    return "another kind"


_KIND_WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "list": "a list",
    "dict": "a table",
}


@_rule("trl")
def _trl_arguments(spec: RunSpec) -> Iterator[Problem]:
    for key, value in spec.trl.items():
        problem = _trl_argument(key, value)
        if problem is not None:
            yield problem


def _trl_argument(key: str, value: Any) -> Problem | None:
    where, home = f"trl.{key}", trl_homes().get(key)
    if home is None:
        close = nearest(key, trl_table())
        fix = f"did you mean {trl_homes()[close[0]]}?" if close else ""
        return Problem(where, "TRL's GRPOConfig has no such argument", fix)
    if key in SET_ELSEWHERE or home != where:
        return Problem(where, f"is set by {home}", f"leave it out of [trl] and use {home}")
    if key in FIXED:
        right, reason = FIXED[key]
        if value != right or isinstance(value, bool) != isinstance(right, bool):
            return Problem(where, f"is {shown(value)}, must be {shown(right)}: {reason}", f"leave {where} out")
        return None
    kinds = trl_table()[key]
    kind = _kind(value)
    if kind not in kinds and not (kind == "int" and "float" in kinds):
        words = " or ".join(_KIND_WORDS[name] for name in kinds if name in _KIND_WORDS)
        return Problem(where, f"is {shown(value)}, must be {words}")
    if isinstance(value, float) and not math.isfinite(value):
        return Problem(where, f"is {value}, must be a finite number")
    return None
