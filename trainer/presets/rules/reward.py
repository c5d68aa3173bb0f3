"""Rules of the rewards and of process supervision."""

from __future__ import annotations

import inspect
import re
import string
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence

import regex  # type: ignore[import-untyped]

from trainer.errors import Problem, reason
from trainer.memory.embedded import BUILTIN, BUILTIN_CONFIGS
from trainer.presets.explain import nearest, shown
from trainer.presets.rules.registry import rule
from trainer.rewards.library import REWARDS
from trainer.rewards.library.group_judge import LETTERS
from trainer.spec import SUM, Component, RunSpec
from trainer.spec.reward import GROUP_JUDGE
from trainer.text import Message


@rule("reward.components")
def _sums_and_functions_are_told_apart(spec: RunSpec) -> Iterator[Problem]:
    for key, component in spec.reward.placed():
        if component.function == SUM and component.file is None:
            if not component.components:
                yield Problem("presets.empty_sum", f"{key}.components", table=_table(key))
            if component.params:
                yield Problem("presets.params_of_a_sum", f"{key}.params")
        elif component.components:
            yield Problem("presets.parts_without_sum", f"{key}.components", function=shown(component.function))


def _table(key: str) -> str:
    return ".".join(step for step in key.split(".") if not step.isdigit())


def _library(spec: RunSpec) -> list[tuple[str, Component]]:
    """The components that name a function of the library."""
    found = spec.reward.placed()
    return [(key, part) for key, part in found if part.file is None and part.function != SUM]


@rule("reward.components")
def _reward_functions_exist(spec: RunSpec) -> Iterator[Problem]:
    for key, component in _library(spec):
        if component.function not in REWARDS:
            close = nearest(component.function, REWARDS)
            near = Message("presets.fix.did_you_mean", name=shown(close[0])) if close else None
            near = near or Message("presets.fix.known", names=", ".join(REWARDS))
            yield Problem("presets.no_such_reward", f"{key}.function", name=shown(component.function), near=near)


@rule("reward.components")
def _params_fit_their_function(spec: RunSpec) -> Iterator[Problem]:
    for key, component in _library(spec):
        if component.function in REWARDS:
            try:
                REWARDS[component.function](**component.params)
            except (TypeError, ValueError, re.error) as error:
                known = ", ".join(inspect.signature(REWARDS[component.function]).parameters)
                values = {"function": component.function, "said": reason(error)}
                yield Problem("presets.params_do_not_fit", f"{key}.params", known=known, **values)


@rule("reward.components", "reward.learning")
def _a_built_in_judge_has_to_learn(spec: RunSpec) -> Iterator[Problem]:
    for key, part in _library(spec):
        name = str(part.params.get("model", ""))
        if not name.startswith(BUILTIN) or part.function not in ("reward_model", "process_reward_model"):
            continue
        place = f"{key}.params.model"
        if name not in BUILTIN_CONFIGS:
            yield Problem("presets.no_builtin_model", place, name=shown(name), known=", ".join(BUILTIN_CONFIGS))
        elif part is not spec.reward.learner:
            yield Problem("presets.judge_knows_nothing", place, name=name, title=shown(part.title))


@rule("reward.components", "generation.num_generations", "sampling.group_size", "sampling.max_generations")
def _a_ranked_group_has_a_letter_each(spec: RunSpec) -> Iterator[Problem]:
    most = spec.sampling.most(spec.generation.num_generations)
    ranks = any(part.function == GROUP_JUDGE for _, part in _library(spec))
    if ranks and most > len(LETTERS):
        several = spec.sampling.group_size != "fixed"
        place = "sampling.max_generations" if several else "generation.num_generations"
        yield Problem("presets.group_without_letters", place, seen=most, function=GROUP_JUDGE, most=len(LETTERS))


@rule("reward.components")
def _component_names_differ(spec: RunSpec) -> Iterator[Problem]:
    for name, count in Counter(part.title for _, part in spec.reward.placed()).items():
        if name == "ComponentRewardWrapper":
            yield Problem("presets.name_of_the_total", "reward.components", name=name)
        if count > 1:
            yield Problem("presets.one_name_twice", "reward.components", count=count, name=name)


@rule("reward.components")
def _some_component_counts(spec: RunSpec) -> Iterator[Problem]:
    if all(component.weight * component.scale == 0 for component in spec.reward.components):
        yield Problem("presets.no_weight", "reward.components")


@rule("reward.components")
def _clips_are_ranges(spec: RunSpec) -> Iterator[Problem]:
    for key, component in spec.reward.placed():
        for name, clip in (("clip", component.clip), ("clip_percentiles", component.clip_percentiles)):
            if clip is not None and not clip[0] < clip[1]:
                low, high = clip
                reason = "presets.clip_range_reversed" if low > high else "presets.clip_range_empty"
                yield Problem(reason, f"{key}.{name}", low=low, high=high, name=name)
        if component.clip_percentiles is not None and not all(0 <= p <= 100 for p in component.clip_percentiles):
            low, high = component.clip_percentiles
            yield Problem("presets.no_percentiles", f"{key}.clip_percentiles", low=low, high=high)


_UNSAYABLE = re.compile(r"[<>]|\sand\s")
"""In a name of a component: what it would mean in a condition."""


@rule("reward.components")
def _conditions_name_other_components(spec: RunSpec) -> Iterator[Problem]:
    nodes = {part.title: part for _, part in spec.reward.placed()}
    needs: dict[str, list[str]] = {name: [inner.title for inner in part.components] for name, part in nodes.items()}
    wrong = False
    for key, part in spec.reward.placed():
        place, seen = f"{key}.only_if", shown(part.only_if)
        asked = next((name for name in nodes if name in (part.only_if or "") and _UNSAYABLE.search(name)), None)
        if asked is not None:
            wrong = True
            yield Problem("presets.condition_unsayable", place, seen=seen, name=shown(asked))
            continue
        try:
            named = [condition.name for condition in part.conditions()]
        except ValueError as error:
            wrong = True
            yield Problem(
                "presets.condition_unreadable", place, seen=seen, part=shown(str(error)), name=next(iter(nodes))
            )
            continue
        needs[part.title] += named
        for name in (name for name in named if name not in nodes):
            wrong = True
            others = [other for other in nodes if other != part.title]
            close = (nearest(name, others) or others or [part.title])[0]
            values = {"seen": seen, "part": shown(name), "names": ", ".join(map(shown, nodes)), "near": close}
            yield Problem("presets.condition_of_nobody", place, **values)
    # A sum needs what it adds up, a condition what it looks at: one that comes back to itself has no beginning.
    for key, part in spec.reward.placed():
        circle = None if wrong or part.only_if is None else _way_back(part.title, needs)
        if circle:
            yield Problem("presets.condition_in_a_circle", f"{key}.only_if", circle=" -> ".join(circle))


def _way_back(start: str, needs: Mapping[str, Sequence[str]]) -> list[str] | None:
    """The shortest way from a component to itself."""
    ways, seen = deque([[start]]), set[str]()
    while ways:
        way = ways.popleft()
        for name in needs[way[-1]]:
            if name == start:
                return [*way, start]
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return None


@rule("reward.components", "reward.correct")
def _correct_names_a_component(spec: RunSpec) -> Iterator[Problem]:
    names = [part.title for _, part in spec.reward.placed()]
    if spec.reward.correct is not None and spec.reward.correct not in names:
        close = nearest(spec.reward.correct, names) or names
        called = ", ".join(map(shown, names))
        seen = shown(spec.reward.correct)
        yield Problem(
            "presets.correct_is_no_component", "reward.correct", seen=seen, names=called, near=shown(close[0])
        )


@rule("reward.gold_template")
def _gold_template_is_readable(spec: RunSpec) -> Iterator[Problem]:
    template = spec.reward.gold_template
    try:
        fields = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        yield Problem("presets.gold_template_unreadable", "reward.gold_template", seen=shown(template), said=str(error))
        return
    for name, width, conversion in fields:
        if not (name or "").isidentifier() or width or conversion:
            values = {"seen": shown(template), "field": f"{{{name}}}"}
            yield Problem("presets.gold_template_field", "reward.gold_template", **values)


@rule("reward.components", "reward.supervision")
def _steps_are_judged_with_process_supervision(spec: RunSpec) -> Iterator[Problem]:
    for key, part in spec.reward.placed():
        reads = _reads_steps(part)
        if part.per_step and (part.components or reads):
            yield Problem("presets.judges_steps_itself" if reads else "presets.per_step_of_a_sum", f"{key}.per_step")
        elif spec.reward.supervision != "process" and part.per_step:
            yield Problem("presets.per_step_of_outcomes", f"{key}.per_step", supervision=spec.reward.supervision)
        elif part.per_step and part.function == GROUP_JUDGE and part.file is None:
            yield Problem("presets.per_step_of_a_group", f"{key}.per_step", function=part.function)
        elif spec.reward.supervision != "process" and reads:
            values = {"function": part.function, "supervision": spec.reward.supervision}
            yield Problem("presets.steps_of_outcomes", key, **values)


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
        seen = shown(spec.reward.step_split)
        yield Problem("presets.step_split_unreadable", "reward.step_split", seen=seen, said=str(error))
        return
    if regex.search(spec.reward.step_split, "") is not None:
        yield Problem("presets.step_split_matches_nothing", "reward.step_split", seen=shown(spec.reward.step_split))


@rule("reward.components", "reward.supervision")
def _somebody_judges_steps(spec: RunSpec) -> Iterator[Problem]:
    """A file of one's own may read steps; what cannot be known is not refused."""
    parts = [part for _, part in spec.reward.placed()]
    if spec.reward.supervision == "process" and not any(
        part.per_step or part.file is not None or _reads_steps(part) for part in parts
    ):
        yield Problem("presets.no_step_is_judged", "reward.supervision")


@rule("reward.supervision", "grpo.importance_sampling_level", "grpo.loss_type", "grpo.multi_objective_aggregation")
def _the_loss_tells_steps_apart(spec: RunSpec) -> Iterator[Problem]:
    """TRL 1.14.2 `_compute_loss`: one ratio a completion multiplies the mean of its advantages, and no token has its
    own, except in the losses that multiply by log-probabilities. `normalize_then_sum` knows no steps.
    """
    if spec.reward.supervision != "process":
        return
    level, loss = spec.grpo.importance_sampling_level, spec.grpo.loss_type
    if level == "sequence" and loss not in ("cispo", "vespo"):
        yield Problem("presets.loss_of_whole_sequences", "grpo.importance_sampling_level", loss=shown(loss))
    if spec.grpo.multi_objective_aggregation != "sum_then_normalize":
        seen = shown(spec.grpo.multi_objective_aggregation)
        yield Problem("presets.aggregation_of_steps", "grpo.multi_objective_aggregation", seen=seen)
