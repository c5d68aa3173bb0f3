"""Rules of the rewards and of process supervision."""

from __future__ import annotations

import inspect
import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence

import regex  # type: ignore[import-untyped]

from trainer.errors import Problem
from trainer.presets.explain import nearest, shown
from trainer.presets.rules.registry import rule
from trainer.rewards.library import REWARDS
from trainer.spec import SUM, Component, RunSpec


def _placed(components: Sequence[Component], prefix: str = "reward.components") -> Iterator[tuple[str, Component]]:
    """(key, component) of every component, those inside sums too."""
    for place, component in enumerate(components):
        yield f"{prefix}.{place}", component
        yield from _placed(component.components, f"{prefix}.{place}.components")


@rule("reward.components")
def _sums_and_functions_are_told_apart(spec: RunSpec) -> Iterator[Problem]:
    for key, component in _placed(spec.reward.components):
        if component.function == SUM and component.file is None:
            if not component.components:
                yield Problem.plain(f"{key}.components", "a sum adds up nothing", f"[[{_table(key)}.components]]")
            if component.params:
                yield Problem.plain(f"{key}.params", "a sum takes no params", "give them to its components")
        elif component.components:
            what = f"belong to a sum, and function is {shown(component.function)}"
            yield Problem.plain(f"{key}.components", what, f'function = "{SUM}"')


def _table(key: str) -> str:
    return ".".join(step for step in key.split(".") if not step.isdigit())


def _library(spec: RunSpec) -> list[tuple[str, Component]]:
    """The components that name a function of the library."""
    found = _placed(spec.reward.components)
    return [(key, part) for key, part in found if part.file is None and part.function != SUM]


@rule("reward.components")
def _reward_functions_exist(spec: RunSpec) -> Iterator[Problem]:
    for key, component in _library(spec):
        if component.function not in REWARDS:
            close = nearest(component.function, REWARDS)
            fix = f"did you mean {shown(close[0])}?" if close else f"known: {', '.join(REWARDS)}"
            what = f"no reward function is called {shown(component.function)}"
            yield Problem.plain(f"{key}.function", what, f'{fix} (one of your own: file = "rewards.py")')


@rule("reward.components")
def _params_fit_their_function(spec: RunSpec) -> Iterator[Problem]:
    for key, component in _library(spec):
        if component.function in REWARDS:
            try:
                REWARDS[component.function](**component.params)
            except (TypeError, ValueError, re.error) as error:
                known = ", ".join(inspect.signature(REWARDS[component.function]).parameters)
                yield Problem.plain(f"{key}.params", f"do not fit {component.function}: {error}", f"known: {known}")


@rule("reward.components")
def _component_names_differ(spec: RunSpec) -> Iterator[Problem]:
    for name, count in Counter(part.title for _, part in _placed(spec.reward.components)).items():
        if name == "ComponentRewardWrapper":
            yield Problem.plain(
                "reward.components", f"one is called {name}, as the sum of all of them", 'name = "another"'
            )
        if count > 1:
            what = f"{count} components are called {shown(name)}: their metrics would be one"
            yield Problem.plain("reward.components", what, f'give one of them another name, e.g. name = "{name}_2"')


@rule("reward.components")
def _some_component_counts(spec: RunSpec) -> Iterator[Problem]:
    if all(component.weight * component.scale == 0 for component in spec.reward.components):
        what = "every weight (or scale) is 0: all completions would be paid the same"
        yield Problem.plain("reward.components", what, "reward.components.0.weight = 1")


@rule("reward.components")
def _clips_are_ranges(spec: RunSpec) -> Iterator[Problem]:
    for key, component in _placed(spec.reward.components):
        for name, clip in (("clip", component.clip), ("clip_percentiles", component.clip_percentiles)):
            if clip is not None and not clip[0] < clip[1]:
                low, high = clip
                fix = f"{name} = [{high:g}, {low:g}]" if low > high else f"leave {name} out"
                what = f"is [{low:g}, {high:g}]: the first number must be below the second"
                yield Problem.plain(f"{key}.{name}", what, fix)
        if component.clip_percentiles is not None and not all(0 <= p <= 100 for p in component.clip_percentiles):
            low, high = component.clip_percentiles
            what = f"is [{low:g}, {high:g}]: percentiles lie between 0 and 100"
            yield Problem.plain(f"{key}.clip_percentiles", what, "clip_percentiles = [5, 95]")


@rule("reward.components", "reward.correct")
def _correct_names_a_component(spec: RunSpec) -> Iterator[Problem]:
    names = [part.title for _, part in _placed(spec.reward.components)]
    if spec.reward.correct is not None and spec.reward.correct not in names:
        close = nearest(spec.reward.correct, names) or names
        called = ", ".join(map(shown, names))
        what = f"is {shown(spec.reward.correct)}; the components are called {called}"
        yield Problem.plain("reward.correct", what, f"reward.correct = {shown(close[0])}")


@rule("reward.gold_template")
def _gold_template_is_readable(spec: RunSpec) -> Iterator[Problem]:
    template, fix = spec.reward.gold_template, 'reward.gold_template = "{answer}"; a brace itself is {{ or }}'
    try:
        fields = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        yield Problem.plain("reward.gold_template", f"is {shown(template)}: {error}", fix)
        return
    for name, width, conversion in fields:
        if not (name or "").isidentifier() or width or conversion:
            what = f"is {shown(template)}: {{{name}}} is more than the name of a column"
            yield Problem.plain("reward.gold_template", what, fix)


@rule("reward.components", "reward.supervision")
def _steps_are_judged_with_process_supervision(spec: RunSpec) -> Iterator[Problem]:
    for key, part in _placed(spec.reward.components):
        reads = _reads_steps(part)
        if part.per_step and (part.components or reads):
            what = "is true, and the function judges steps by itself" if reads else "is true for a sum"
            yield Problem.plain(
                f"{key}.per_step", what, "leave it out" if reads else "give it to the components of the sum"
            )
        elif spec.reward.supervision != "process" and (part.per_step or reads):
            where, what = (f"{key}.per_step", "is true") if part.per_step else (key, f"{part.function} judges steps")
            what += f" with reward.supervision = {shown(spec.reward.supervision)}"
            yield Problem.plain(where, what, 'reward.supervision = "process"')


def _reads_steps(component: Component) -> bool:
    try:
        return component.file is None and "steps" in REWARDS[component.function](**component.params).from_trainer
    except (KeyError, TypeError, ValueError, re.error):  # said by the rules of functions and params
        return False


@rule("reward.step_split")
def _step_split_is_an_expression(spec: RunSpec) -> Iterator[Problem]:
    try:
        regex.compile(spec.reward.step_split)
    except regex.error as error:
        what = f"is {shown(spec.reward.step_split)}, no regular expression: {error}"
        yield Problem.plain("reward.step_split", what, 'reward.step_split = "line"')
        return
    if regex.search(spec.reward.step_split, "") is not None:
        what = f"is {shown(spec.reward.step_split)}, which matches where nothing stands: every letter would be a step"
        yield Problem.plain("reward.step_split", what, 'reward.step_split = "line"')


@rule("reward.components", "reward.supervision")
def _somebody_judges_steps(spec: RunSpec) -> Iterator[Problem]:
    """A file of one's own may read steps; what cannot be known is not refused."""
    parts = [part for _, part in _placed(spec.reward.components)]
    if spec.reward.supervision == "process" and not any(
        part.per_step or part.file is not None or _reads_steps(part) for part in parts
    ):
        what = 'is "process", and no component judges steps: it would be the same as "outcome"'
        yield Problem.plain("reward.supervision", what, "reward.components.0.per_step = true")


@rule("reward.supervision", "grpo.importance_sampling_level", "grpo.loss_type", "trl")
def _the_loss_tells_steps_apart(spec: RunSpec) -> Iterator[Problem]:
    """TRL 1.14.2 `_compute_loss`: one ratio a completion multiplies the mean of its advantages, and no token has its
    own, except in the losses that multiply by log-probabilities. `normalize_then_sum` knows no steps.
    """
    if spec.reward.supervision != "process":
        return
    level, loss = spec.grpo.importance_sampling_level, spec.grpo.loss_type
    if level == "sequence" and loss not in ("cispo", "vespo"):
        what = (
            f'is "sequence" with reward.supervision = "process": the loss {shown(loss)} would see one mean of all steps'
        )
        yield Problem.plain("grpo.importance_sampling_level", what, 'grpo.importance_sampling_level = "token"')
    if spec.trl.get("multi_objective_aggregation", "sum_then_normalize") != "sum_then_normalize":
        what = f'is {shown(spec.trl["multi_objective_aggregation"])} with reward.supervision = "process"'
        yield Problem.plain("trl.multi_objective_aggregation", what, "leave it out")
