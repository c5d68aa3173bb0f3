"""What a spec allows and its author probably did not mean: warnings, shown by the plan and at the start of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from trainer.machine.project import PROJECT
from trainer.memory.embedded import knows_nothing
from trainer.presets import rates
from trainer.rewards.highest import lowest
from trainer.spec import Component, RunSpec, Sampling
from trainer.spec.reward import GROUP_JUDGE
from trainer.text import Message

# GSPO's paper (arXiv 2507.18071, section 5.1) clips the sequence ratio at 3e-4 and 4e-4; at 0.1
# and above nothing is ever clipped, because the ratio is a mean over the tokens.
GSPO_WIDE_EPSILON = 0.1
SUMMED_PER_TOKEN = ("bnpo", "dr_grpo", "dapo", "cispo")


def warnings(spec: RunSpec) -> list[Message]:
    """What is allowed and probably not what was meant; one sentence each, naming the key."""
    found = [*_sequence_level(spec), *_rate(spec), *_advantage(spec), *_sampling(spec)]
    biased = [
        f"generation.{key}"
        for key, off in (("top_p", 1.0), ("top_k", 0), ("min_p", None), ("repetition_penalty", 1.0))
        if getattr(spec.generation, key) != off
    ]
    if biased and not spec.is_supervised:
        found.append(Message("presets.advice.biased_sampling", keys=", ".join(biased)))
    if spec.grpo.multi_objective_aggregation == "normalize_then_sum" and spec.grpo.scale_rewards == "none":
        found.append(Message("presets.advice.gdpo_scales"))
    if not spec.data.has_held_out_rows and (spec.eval.at_start or spec.eval.at_end):
        found.append(Message("presets.advice.no_held_out_rows"))
    missing = {"rouge1", "bertscore", "exact_match"} - {leaf.function for leaf in spec.reward.leaves()}
    if spec.eval.answers and missing:
        found.append(Message("presets.advice.unscored_answers", names=", ".join(sorted(missing))))
    if spec.model.attn_implementation and spec.model.engine == "unsloth":
        found.append(Message("presets.advice.attention_ignored"))
    if spec.data.task is not None and "task" not in {leaf.function for leaf in spec.reward.leaves()}:
        found.append(Message("presets.advice.task_unjudged", task=spec.data.task))
    if spec.data.task is not None and spec.model.warm_start is None and knows_nothing(spec.model.name):
        found.append(Message("presets.advice.task_of_random_weights", model=spec.model.name))
    right = next((one for one in spec.reward.components if one.title == spec.reward.correct), None)
    if right is not None and right.weight * right.scale < 0:
        found.append(Message("presets.advice.right_costs", name=right.title, weight=f"{right.weight:g}"))
    correct = right or next(iter(spec.reward.leaves()))
    if correct.function == GROUP_JUDGE and correct.file is None and not spec.is_supervised:
        found.append(Message("presets.advice.right_is_relative", name=correct.title))
    warmed = spec.model.warm_start
    own = spec.data.path is not None and not Path(spec.data.path).is_relative_to(PROJECT / "presets")
    if warmed is not None and own and warmed.path == spec.data.path and knows_nothing(spec.model.name):
        found.append(Message("presets.advice.own_of_random_weights", model=spec.model.name))
    if spec.model.trust_remote_code:
        found.append(Message("presets.advice.remote_code"))
    return found


def _sequence_level(spec: RunSpec) -> Iterator[Message]:
    grpo = spec.grpo
    if grpo.importance_sampling_level == "sequence":
        if grpo.loss_type in SUMMED_PER_TOKEN:
            yield Message("presets.advice.gspo_sums_tokens", loss=grpo.loss_type)
        if grpo.epsilon >= GSPO_WIDE_EPSILON:
            yield Message("presets.advice.gspo_wide_clip", epsilon=f"{grpo.epsilon:g}")
    elif grpo.loss_type == "luspo":
        yield Message("presets.advice.luspo_by_token")
    if grpo.loss_type == "vespo" and grpo.importance_sampling_level != "token":
        yield Message("presets.advice.vespo_by_sequence")


def _rate(spec: RunSpec) -> Iterator[Message]:
    """A learning rate of whole weights is the commonest reason why a LoRA run does not learn."""
    usual, rate = rates.usual(spec), spec.optim.learning_rate
    far = usual.is_far(rate) if usual is not None else 0
    if usual is not None and far:
        values = {"rate": f"{rate:g}", "usual": f"{usual.rate:g}", "billions": usual.billions}
        key = "presets.advice.lora_rate_low" if far < 0 else "presets.advice.lora_rate_high"
        yield Message(key, **values, completions=usual.completions)


def _advantage(spec: RunSpec) -> Iterator[Message]:
    if spec.grpo.advantage != "maxrl":
        return
    least = lowest(spec.reward)
    if least is None:
        yield Message("presets.advice.maxrl_unknown")
    elif least < 0:
        yield Message("presets.advice.maxrl_below_zero", least=least)


def _sampling(spec: RunSpec) -> Iterator[Message]:
    """What each round judges by itself, and settings of [sampling] that nothing reads."""
    chosen = spec.sampling
    of_batch = [part.title for part in _parts(spec.reward.components) if part.clip_percentiles or part.normalise]
    if chosen.max_rounds > 1 and of_batch:
        yield Message("presets.advice.rounds_apart", names=of_batch, rounds=chosen.max_rounds)
    idle = [f"sampling.{key}" for keys, reads in _readers(spec) for key in keys if not reads and _is_set(chosen, key)]
    if idle:
        yield Message("presets.advice.sampling_idle", keys=idle)


def _readers(spec: RunSpec) -> tuple[tuple[tuple[str, ...], bool], ...]:
    """(keys of [sampling], does the run read them)."""
    chosen = spec.sampling
    by_level = chosen.curriculum != "off"
    return (
        (("difficulty", "difficulty_order"), chosen.curriculum == "column" or chosen.group_size == "spread"),
        (("measure",), chosen.curriculum == "pass_rate"),
        (("levels", "pace", "mix"), by_level),
        (("pass_bound",), by_level and chosen.pace == "success"),
        (("level_steps",), by_level and chosen.pace == "steps"),
        (("explore",), chosen.skip_dead),
        (("replay_steps",), chosen.replay > 0),
        (("min_generations", "max_generations", "weigh"), chosen.group_size != "fixed"),
        (("spread_threshold",), chosen.group_size == "threshold"),
    )


def _is_set(chosen: Sampling, key: str) -> bool:
    """To another value than the default: a spec that was stored names all of them."""
    default = Sampling.model_fields[key].get_default(call_default_factory=True)
    return bool(getattr(chosen, key) != default)


def _parts(components: Sequence[Component]) -> Iterator[Component]:
    """Components and what is inside sums."""
    for part in components:
        yield part
        yield from _parts(part.components)
