"""The counts of a plan in one line: what is written and trained on, and how often. No gradio."""

from __future__ import annotations

from trainer.plan import RunPlan
from trainer.spec.methods import SUPERVISED
from trainer.text import Words


def counted(made: RunPlan, say: Words) -> str:
    if made.method in SUPERVISED:
        return _of_examples(made, say)
    updates = say("train.updates", count=made.updates_per_phase)
    if made.phases_per_update > 1:
        updates = say("train.phases", count=made.phases_per_update)
    sizes = {"prompts": made.prompts_per_phase, "group": made.num_generations, "all": made.completions_per_phase}
    told = [say("train.rollouts_mean" if made.least_generations else "train.rollouts", **sizes), updates]
    if made.optimizer_steps is not None:
        told.append(say("train.steps", count=made.optimizer_steps))
    if made.rows is not None:
        told.append(say("train.rows", count=made.rows))
    return " \u00b7 ".join(told)


def _of_examples(made: RunPlan, say: Words) -> str:
    """Of supervised training: what is written first, examples an update, steps."""
    told = []
    if made.written_first is not None:
        told.append(say("train.written_first", count=made.written_first))
    told.append(say("train.examples", count=made.completions_per_update))
    if made.optimizer_steps is not None:
        told.append(say("train.steps", count=made.optimizer_steps))
    if made.epochs is not None:
        told.append(say("train.epochs", count=f"{made.epochs:.3g}"))
    if made.rows is not None:
        told.append(say("train.rows", count=made.rows))
    return " \u00b7 ".join(told)
