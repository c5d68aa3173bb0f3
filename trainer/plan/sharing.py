"""What the fast path (trainer/fast) will do for a run, as far as its spec says before a model is there.

    of(spec, batch, unsloth, on_gpu) -> Sharing     what applies, and how many different prompts are left

The run itself asks the model and tries the path on its own rows (trainer.fast.reasons `why_not`, trainer.fast.check).
This is for the estimates of memory and time, and for the plan card. Pure functions.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer.memory import known
from trainer.plan.batches import Batch
from trainer.spec import RunSpec
from trainer.spec.choices import IN_BACKWARD
from trainer.text import Message

CALL = {"cpu": 64, "gpu": 512}
"""As trainer.fast.update has it: what a call of the model costs in tokens."""


@dataclass(frozen=True)
class Sharing:
    """why_*: None where that part applies, else the key below `fast.why` of what keeps it away.

    writes: each prompt is read once for its completions. at_once: different prompts of a micro-batch at most; opened:
    those whose layers are kept at the same time. window: those of an accumulation window, and rows: its completions.
    group: completions of a prompt, on average where sampling.group_size gives groups several sizes.

    With sampling.max_rounds a round never has more rows than a phase, and what is kept of them is one phase: rounds
    need no more memory than a phase does.
    """

    writes: bool
    why_not_shared: str | None
    why_not_skipped: str | None
    group: int
    at_once: int
    opened: int
    window: int
    rows: int
    saves: bool
    """Enough prompts are the same for an update to share them."""

    @property
    def shares(self) -> bool:
        return self.why_not_shared is None and self.saves

    def parts(self) -> list[Message]:
        """One sentence each, in the words that the run will say at its start."""
        if self.why_not_shared == "off":
            return [Message("fast.why.off")]
        times = round(self.rows / self.window)
        if self.writes and self.shares and times == self.group:
            found = [Message("fast.plan.both", times=times)]
        else:
            found = [Message("fast.plan.writes", times=self.group)] if self.writes else []
            found += self._of_the_update(times)
        if self.why_not_skipped is None:
            return [*found, Message("fast.skipped")]
        return [*found, Message("fast.not_skipped", why=Message(f"fast.why.{self.why_not_skipped}"))]

    def _of_the_update(self, times: int) -> list[Message]:
        if self.why_not_shared in ("reentrant", "layerwise"):  # trainer.fast.saying PACKED
            return [Message("fast.packed", why=Message(f"fast.why.{self.why_not_shared}"))]
        if self.why_not_shared is not None:
            return [Message("fast.not_shared", why=Message(f"fast.why.{self.why_not_shared}"))]
        if not self.saves:
            return [Message("fast.not_shared", why=Message("fast.why.little"))]
        return [Message("fast.plan.shared", times=times) if times > 1 else Message("fast.shared")]


def of(spec: RunSpec, batch: Batch, unsloth: bool, on_gpu: bool) -> Sharing:
    weighed = _entropy_term(spec)
    ordered = not weighed and spec.grpo.loss_type != "bnpo"  # else TRL's order stays
    whole = whole_groups(batch.accumulation, batch.steps_per_generation)
    prompts, rows = max(1, batch.prompts_per_phase), batch.micro * min(batch.accumulation, batch.steps_per_generation)
    several = spec.sampling.group_size != "fixed"
    least = spec.sampling.min_generations if several else None
    # The groups that are kept of several rounds may all be small ones.
    most = batch.completions_per_phase // least if least and spec.sampling.max_rounds > 1 else prompts
    at_once = prompts_at_once(batch.micro, batch.group, most, ordered and whole, least)
    if not ordered:
        opened = min(most, rows)  # each may come again until the window ends
    elif whole and not several and (batch.micro % batch.group == 0 or batch.group % batch.micro == 0):
        opened = at_once
    else:  # a prompt goes on in the next micro-batch, and with it all that were read together
        opened = min(most, 2 * at_once)
    different = prompts if whole else min(prompts, rows)
    # A prompt that the next micro-batch reads too is paid for by the window, and costs this one no call of its own.
    spans = rows > different and (at_once == 1 or not (ordered and whole))
    saved = (batch.micro - (0 if spans else at_once)) * spec.data.max_prompt_length
    return Sharing(
        writes=spec.run.fast == "auto" and not (unsloth or spec.model.fast_inference or spec.trl.get("use_vllm")),
        why_not_shared=_why_not_shared(spec, batch, unsloth),
        why_not_skipped=_why_not_skipped(spec, unsloth, weighed),
        group=batch.group,
        at_once=at_once,
        opened=opened,
        window=different,
        rows=rows,
        saves=saved >= (1 if spans else 2) * CALL["gpu" if on_gpu else "cpu"],
    )


def whole_groups(accumulation: int, steps_per_generation: int) -> bool:
    """Does every accumulation window hold all completions of its prompts? TRL shuffles a generation batch as a whole,
    so a smaller window gets some of each."""
    return accumulation % steps_per_generation == 0


def prompts_at_once(micro: int, group: int, prompts: int, whole: bool, least: int | None = None) -> int:
    """Different prompts in a micro-batch at most. prompts: of the generation batch. whole: rows of a prompt lie
    together, and all of them in one accumulation window. least: rows of the smallest group, where sizes differ."""
    if not whole:
        return min(micro, prompts)
    if least is not None:  # a group ends anywhere: the last row of one, small ones, the first row of the next
        return min(micro, prompts, (micro - 1) // least + 2)
    if group % micro == 0:
        return 1
    return micro // group if micro % group == 0 else min(prompts, (micro - 1) // group + 2)


def _why_not_shared(spec: RunSpec, batch: Batch, unsloth: bool) -> str | None:
    shape = known.of(spec.model.name)
    reentrant = bool(spec.model.gradient_checkpointing) and _reentrant(spec)
    layerwise = spec.optim.optim in IN_BACKWARD
    found = {
        "off": spec.run.fast == "off",
        "unsloth": unsloth,
        "liger": spec.trl.get("use_liger_kernel") is True,
        "processes": batch.devices > 1,
        "router": _router(spec),
        "dropout": spec.lora.enabled and spec.lora.dropout > 0,
        "layers": shape is not None and any(kind.state for kind in shape.kinds),
        "untried": reentrant and layerwise,
        "reentrant": reentrant,
        "layerwise": layerwise,
    }
    return next((why for why, applies in found.items() if applies), None)


def _why_not_skipped(spec: RunSpec, unsloth: bool, weighed: bool) -> str | None:
    found = {
        "off": spec.run.fast == "off",
        "beta": spec.grpo.beta > 0,
        "entropy": weighed,
        "router": _router(spec),
        "unsloth": unsloth and spec.grpo.loss_type == "bnpo",
    }
    return next((why for why, applies in found.items() if applies), None)


def _entropy_term(spec: RunSpec) -> bool:
    bonus = bool(spec.trl.get("entropy_coef")) or spec.trl.get("use_adaptive_entropy") is True
    return bonus or spec.trl.get("top_entropy_quantile", 1.0) < 1


def _reentrant(spec: RunSpec) -> bool:
    chosen = spec.trl.get("gradient_checkpointing_kwargs")
    return isinstance(chosen, dict) and chosen.get("use_reentrant") is True


def _router(spec: RunSpec) -> bool:
    """None takes the model's own coefficient, which those with experts have."""
    shape = known.of(spec.model.name)
    return shape is not None and shape.experts > 0 and spec.trl.get("router_aux_loss_coef") != 0
