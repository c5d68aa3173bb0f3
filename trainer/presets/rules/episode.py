"""Rules of the section `episode`: which environments there are, how plans make a group, and what episodes and plans
cannot be combined with."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.episodes.library import ENVIRONMENTS
from trainer.errors import Problem
from trainer.machine import addresses
from trainer.memory.embedded import BUILTIN_CONFIGS, WITH_TOOLS
from trainer.presets.explain import nearest, shown
from trainer.presets.rules.registry import rule
from trainer.spec import Component, RunSpec
from trainer.spec.episode import REMOTE
from trainer.spec.reward import ENVIRONMENT
from trainer.text import Message

KNOWN = (*ENVIRONMENTS, REMOTE)


@rule("episode.environment", "episode.file")
def _environment_exists(spec: RunSpec) -> Iterator[Problem]:
    name, file = spec.episode.environment, spec.episode.file
    if name is None and file is not None:
        yield Problem("presets.file_without_environment", "episode.file")
    if name is None or file is not None or name in KNOWN:
        return
    close = nearest(name, KNOWN)
    near = Message("presets.fix.did_you_mean", name=shown(close[0])) if close else None
    near = near or Message("presets.fix.known", names=", ".join(KNOWN))
    yield Problem("presets.no_such_environment", "episode.environment", name=shown(name), near=near)


@rule("episode.environment", "episode.file", "episode.url")
def _server_has_an_address(spec: RunSpec) -> Iterator[Problem]:
    episode = spec.episode
    if not episode.is_remote:
        if episode.url is not None:
            yield Problem("presets.url_without_server", "episode.url")
        return
    if episode.url is None:
        yield Problem("presets.server_without_url", "episode.url")
    elif not addresses.is_plain(episode.url):
        yield Problem("presets.url_no_address", "episode.url", seen=shown(episode.url))


@rule("episode.environment", "model.name")
def _builtin_model_has_tools(spec: RunSpec) -> Iterator[Problem]:
    """Of other models it is known when their tokenizer is loaded."""
    name = spec.model.name
    if spec.episode.is_on and name in BUILTIN_CONFIGS and name != WITH_TOOLS:
        yield Problem("presets.builtin_without_tools", "model.name", name=name)


@rule("episode.environment", "reward.components")
def _environments_are_paid_in_episodes(spec: RunSpec) -> Iterator[Problem]:
    if not spec.episode.is_on and any(map(_reads_environment, spec.reward.leaves())):
        yield Problem("presets.reward_without_episode", "reward.components", known=", ".join(KNOWN))


@rule(
    "episode.environment",
    "run.method",
    "data.chat",
    "sampling",
    "reward.supervision",
    "eval",
    "trl",
    "model.fast_inference",
    "model.engine",
    "model.max_seq_length",
)
def _episodes_are_played_by_trls_loop(spec: RunSpec) -> Iterator[Problem]:
    """What writes completions in another way, or several times, does not begin environments."""
    if not spec.episode.is_on:
        return
    others = (
        ("data.chat", spec.data.chat, True),
        ("eval.pass_at", spec.eval.pass_at, []),
        ("eval.answers", spec.eval.answers, False),
        *_written_in_another_way(spec),
    )
    for key, seen, only in others:
        if seen != only:
            yield Problem("presets.not_with_episodes", key, seen=shown(seen), plain=_typed(only))
    if spec.model.engine == "unsloth" and spec.model.max_seq_length is None:
        # Unsloth needs a bound, and the sum of the two lengths does not count what a template says of the tools.
        least = spec.data.max_prompt_length + spec.generation.max_completion_length
        yield Problem("presets.episodes_without_bound", "model.max_seq_length", least=least)


def _written_in_another_way(spec: RunSpec) -> tuple[tuple[str, object, object], ...]:
    """(key, its value, the only one that goes) of what writes completions itself, several times or apart."""
    plain = type(spec.sampling)()
    return (
        ("run.method", spec.run.method, "grpo"),
        ("reward.supervision", spec.reward.supervision, "outcome"),
        ("reward.learning", None if spec.reward.learning is None else "set", None),
        *((f"sampling.{key}", getattr(spec.sampling, key), getattr(plain, key)) for key in _OF_SAMPLING),
        ("model.fast_inference", spec.model.fast_inference, False),
        ("trl.use_vllm", spec.trl.get("use_vllm", False), False),
        (
            "trl.use_transformers_continuous_batching",
            spec.trl.get("use_transformers_continuous_batching", False),
            False,
        ),
    )


_OF_SAMPLING = ("curriculum", "max_rounds", "replay", "skip_dead", "group_size")


@rule(
    "episode.environment",
    "episode.baseline",
    "reward.components",
    "grpo.advantage",
    "grpo.multi_objective_aggregation",
    "grpo.importance_sampling_level",
    "grpo.loss_type",
)
def _turns_are_compared_in_one_way(spec: RunSpec) -> Iterator[Problem]:
    """What a turn has earned is a difference of the environment's reward: it must count as it is."""
    if not spec.episode.is_on or spec.episode.baseline != "turn":
        return
    paying = [component for component in spec.reward.components if _reads_environment(component)]
    if len(paying) != 1 or sum(map(_reads_environment, spec.reward.leaves())) != 1:
        yield Problem("presets.turns_unpaid", "episode.baseline")
    for one in paying:
        changed = {"clip": one.clip, "clip_percentiles": one.clip_percentiles, "only_if": one.only_if}
        names = [name for name, value in changed.items() if value is not None] + ["normalise"] * one.normalise
        if names:
            yield Problem("presets.turns_changed", "reward.components", name=one.title, keys=names)
    grpo = spec.grpo
    for key, seen, only in (
        ("advantage", grpo.advantage, "group_mean"),
        ("multi_objective_aggregation", grpo.multi_objective_aggregation, "sum_then_normalize"),
    ):
        if seen != only:
            yield Problem("presets.not_with_turns", f"grpo.{key}", seen=shown(seen), plain=only)
    if grpo.importance_sampling_level == "sequence" and grpo.loss_type not in ("cispo", "vespo"):
        yield Problem("presets.loss_of_whole_episodes", "grpo.importance_sampling_level", loss=shown(grpo.loss_type))


@rule("episode.plans", "episode.implementations", "episode.max_plan_length", "generation")
def _plans_make_a_group(spec: RunSpec) -> Iterator[Problem]:
    episode, generation = spec.episode, spec.generation
    plans, ways = episode.plans, episode.implementations
    if plans is None and ways is None:
        return
    if plans is None or ways is None:
        missing = "plans" if plans is None else "implementations"
        yield Problem("presets.half_of_plans", f"episode.{missing}")
        return
    group = generation.num_generations
    if group != plans * ways:
        product = plans * ways
        yield Problem(
            "presets.plans_group", "generation.num_generations", seen=group, plans=plans, ways=ways, product=product
        )
    if episode.max_plan_length >= generation.max_completion_length:
        most = generation.max_completion_length
        yield Problem("presets.plans_too_long", "episode.max_plan_length", seen=episode.max_plan_length, most=most)


@rule(
    "episode.plans",
    "episode.implementations",
    "episode.environment",
    "run.method",
    "sampling",
    "reward.supervision",
    "grpo",
    "trl",
    "model.fast_inference",
    "model.engine",
)
def _plans_are_written_by_transformers_and_compared_in_one_way(spec: RunSpec) -> Iterator[Problem]:
    if not spec.episode.has_plans:
        return
    grpo = spec.grpo
    others = (
        ("episode.environment", spec.episode.environment, None),
        ("grpo.advantage", grpo.advantage, "group_mean"),
        ("grpo.multi_objective_aggregation", grpo.multi_objective_aggregation, "sum_then_normalize"),
        *_written_in_another_way(spec),
    )
    for key, seen, only in others:
        if seen != only:
            yield Problem("presets.not_with_plans", key, seen=shown(seen), plain=_typed(only))
    if spec.model.engine == "unsloth":
        yield Problem("presets.not_with_plans", "model.engine", seen=shown("unsloth"), plain="transformers")
    if grpo.importance_sampling_level == "sequence" and grpo.loss_type not in ("cispo", "vespo"):
        yield Problem("presets.loss_of_whole_plans", "grpo.importance_sampling_level", loss=shown(grpo.loss_type))


def _reads_environment(component: Component) -> bool:
    return component.function == ENVIRONMENT and component.file is None


def _typed(value: object) -> str:
    """As it is written after --set."""
    return "" if value in ([], None) else str(value).lower() if isinstance(value, bool) else str(value)
