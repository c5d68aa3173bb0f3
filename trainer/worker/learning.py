"""The reward model of a run that goes on learning, and what the event log says of its rounds.

Imports torch and transformers; only the worker imports it.
"""

from __future__ import annotations

from trainer.grpo.learner import RewardLearner, Round
from trainer.plan import RunPlan
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.run.events import EventWriter
from trainer.run.records import AlertEvent
from trainer.spec import RunSpec


def of(spec: RunSpec, plan: RunPlan, wrapper: ComponentRewardWrapper, events: EventWriter) -> RewardLearner | None:
    """None where no reward model learns. wrapper: judges with the model that is to learn."""
    learning = spec.reward.learning
    if learning is None or plan.reward_model_every is None:
        return None

    def tell(found: Round) -> None:
        events.emit(_alert(found, learning.rule))

    return RewardLearner(wrapper, learning, plan.reward_model_every, spec.run.seed, tell)


def _alert(found: Round, rule: str) -> AlertEvent:
    if found.before is None or found.after is None:
        return AlertEvent.of("warn", "reward_model_idle", number=found.number, step=found.step, rule=rule)
    return AlertEvent.of(
        "info",
        "reward_model_round",
        number=found.number,
        step=found.step,
        new=found.new,
        replayed=found.replayed,
        loss_before=found.before[0],
        loss=found.after[0],
        before=found.before[1],
        after=found.after[1],
    )
