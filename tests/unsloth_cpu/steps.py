"""Prints one JSON object about process supervision under Unsloth: python -m tests.unsloth_cpu.steps FOLDER

A process of its own: facts.py imports Unsloth before its compiler is off, and compiling takes longer than all of this.

run         of a run: the gradient's norm at each step, and whether a completion had several steps
packed      of the batch below: padding before each prompt, and tokens of each completion
losses      {loss type: {part of the batch: [[loss, gradient's norm] with advantages (B,), the same with (B, T)]}}
told_apart  do advantages that differ inside a row give another gradient than their mean?
unaligned   what Unsloth's loss says of advantages (B, T) as TRL has them
rloo        of a generation batch with grpo.advantage = "rloo": the rewards, and the advantages the loss is given
dead        {loss type: [[loss, gradient's norm] of a batch with a group without advantage, the same with run.fast off,
            cosine of both gradients]}, and what no row with an advantage gives
sampled     of each rollout phase of a sampler: [rounds, sizes of the groups, those that are trained on, loss, norm]
replayed    with weights that stay: [share that came again, of that the share whose ratio is not 1] of each phase, and
            [loss, gradient's norm] of each batch with the kept log-probabilities and with those of now
grouped     {run.fast: [micro-batches in which Unsloth was asked to share prompts, those in which it found groups]}
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.unsloth_cpu import stand_in
from trainer.engine import interface

LOSSES = ("grpo", "cispo", "sapo", "vespo")  # the ways in which an advantage enters
# Rows with padding and without, and those without alone: old log-probabilities stay as wide as the whole batch's.
LAYOUTS: list[bool] = []  # of each micro-batch: did Unsloth find whole groups in it?
PARTS = {"all": slice(0, 8), "longest": slice(4, 8)}


def main(folder: Path) -> dict[str, Any]:
    stand_in.install(str(folder / "cache"))
    import torch
    from unsloth.utils import prefix_grouper

    inner = prefix_grouper.build_group_layout

    def counted(*args: Any, **kwargs: Any) -> Any:
        found = inner(*args, **kwargs)
        LAYOUTS.append(found is not None)
        return found

    prefix_grouper.build_group_layout = counted  # before its first use: Unsloth's loss keeps the function

    model = _model(folder)
    trainer, recorder = _trainer(folder, model)
    trainer.train()
    several = any(len(steps) > 1 for _, batch in recorder.batches for steps in batch.steps)
    facts: dict[str, Any] = {"run": [[logs["grad_norm"] for _, logs, _ in recorder.steps], several]}
    inputs = _batch(trainer)
    mask = inputs["completion_mask"]
    facts["packed"] = [(inputs["prompt_mask"] == 0).sum(dim=1).tolist(), mask.sum(dim=1).tolist()]
    given = torch.linspace(-1, 1, 8)
    facts["losses"] = {}
    for loss in LOSSES:
        trainer.loss_type = trainer.args.loss_type = loss
        facts["losses"][loss] = {
            name: [
                _loss(trainer, inputs, advantages, part)[0] for advantages in (given, given[:, None].expand(mask.shape))
            ]
            for name, part in PARTS.items()
        }
    trainer.loss_type = trainer.args.loss_type = "grpo"
    differing = torch.randn(mask.shape, generator=torch.Generator().manual_seed(0)) * mask
    apart, mean = (
        _loss(trainer, inputs, advantages, PARTS["all"])[1]
        for advantages in (differing, differing.sum(1) / mask.sum(1))
    )
    facts["told_apart"] = not torch.allclose(apart, mean, rtol=1e-2, atol=1e-5)
    trainer._packs_left = False
    try:
        _loss(trainer, inputs, differing, PARTS["all"])
        facts["unaligned"] = "accepted"
    except RuntimeError as error:
        facts["unaligned"] = str(error)
    facts["rloo"] = _rloo(folder, model)
    facts["dead"] = _dead(folder, model)
    facts["sampled"] = _sampled(folder, model)
    facts["replayed"] = _replayed(folder, model)
    facts["grouped"] = {fast: _grouped(folder, model, fast) for fast in ("auto", "off")}
    return facts


def _dead(folder: Path, model: Any) -> dict[str, Any]:
    import torch

    from tests.builders import HALF, tiny_trainer
    from trainer.fast.reasons import why_not
    from trainer.fast.saying import OFF

    trainer, _ = tiny_trainer(folder / "dead", model=model, reward=HALF, temperature=1.5)
    inputs = _batch(trainer)
    advantages = torch.tensor([0.0] * 4 + [1.0, -0.5, 0.0, -0.5])
    found: dict[str, Any] = {}
    for loss in (*LOSSES, "dr_grpo", "dapo", "luspo"):
        trainer.loss_type = trainer.args.loss_type = loss
        pair = []
        for fast in (why_not(trainer), OFF):
            trainer.fast = fast
            pair.append(_loss(trainer, inputs, advantages, PARTS["all"]))
        (ours, mine), (theirs, gradient) = pair
        found[loss] = [ours, theirs, float(torch.cosine_similarity(mine, gradient, dim=0))]
    trainer.fast = why_not(trainer)
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, inputs | {"advantages": advantages * 0})
    loss.backward()
    found["none"] = float(loss.detach())
    return found


def _grouped(folder: Path, model: Any, fast: str) -> list[int]:
    """Counts the calls of Unsloth's own function; two micro-batches of two groups of four a window."""
    from tests.builders import HALF, tiny_trainer

    trainer, _ = tiny_trainer(
        folder / fast, model=model, reward=HALF, fast=fast, gradient_accumulation_steps=2, max_steps=3, temperature=1.5
    )
    LAYOUTS.clear()
    trainer.train()
    return [len(LAYOUTS), sum(LAYOUTS)]


def _rloo(folder: Path, model: Any) -> list[list[float]]:
    from tests.builders import tiny_trainer
    from trainer.spec import Component, Reward

    reward = Reward(components=[Component(function="format_regex", params={"pattern": "(?s).{0,5}"})])
    rloo: dict[str, Any] = {"advantage": "rloo", "scale_rewards": "none", "loss_type": "dr_grpo"}
    trainer, recorder = tiny_trainer(folder / "rloo", model=model, reward=reward, temperature=1.5, **rloo)
    given = _batch(trainer)["advantages"]
    return [list(recorder.batches[-1][1].rewards), given.tolist()]


def _sampled(folder: Path, model: Any) -> list[list[Any]]:
    """Two prompts of four on average; old and reference log-probabilities, which Unsloth pads as the whole batch."""
    from tests.builders import HALF, rows, tiny_trainer

    sampling = {"max_rounds": 3, "group_size": "spread", "max_generations": 6}
    options: dict[str, Any] = {"beta": 0.05, "steps_per_generation": 2, "per_device_train_batch_size": 4}
    options |= {"data": rows(3), "reward": HALF, "temperature": 1.5, "max_steps": 6}
    trainer, recorder = tiny_trainer(folder / "sampled", model=model, sampling=sampling, **options)
    trainer.train()
    phases = [logs for _, logs, _ in recorder.steps if "sampler/rounds" in logs]
    return [
        [logs["sampler/rounds"], list(batch.sizes), sum(batch.trained or [True] * 8), logs["loss"], logs["grad_norm"]]
        for logs, (_, batch) in zip(phases, recorder.batches, strict=True)
    ]


def _replayed(folder: Path, model: Any) -> dict[str, Any]:
    """Prompts of unlike length: each phase has the log-probabilities in other columns."""
    from tests.builders import HALF, rows, tiny_trainer
    from trainer.grpo.replay import OLD

    rare = HALF.components[0].model_copy(update={"params": {"pattern": ".*[a-h]"}})
    options: dict[str, Any] = {"reward": HALF.model_copy(update={"components": [rare]}), "temperature": 1.5}
    options |= {"learning_rate": 0.0, "max_steps": 8, "data": rows(16), "gradient_accumulation_steps": 1}
    trainer, recorder = tiny_trainer(folder / "replayed", model=model, sampling={"replay": 16}, **options)
    given: list[dict[str, Any]] = []
    inner = trainer.compute_loss

    def watched(of: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        given.append(inputs)
        return inner(of, inputs, *args, **kwargs)

    trainer.compute_loss = watched
    trainer.train()
    trainer.compute_loss = inner
    found: dict[str, Any] = {"phases": [], "losses": []}
    for inputs, (_, logs, _) in zip(given, recorder.steps, strict=True):
        found["phases"].append([logs["sampler/replayed_frac"], logs.get("sampler/replay_outside_frac")])
        plain = {name: value for name, value in inputs.items() if name != OLD}
        if inputs["advantages"].any():
            both = [_loss(trainer, each, inputs["advantages"], slice(None))[0] for each in (inputs, plain)]
            found["losses"].append(both)
    return found


def _model(folder: Path) -> Any:
    from trainer import presets
    from trainer.engine import unsloth_engine

    overrides = (f"model.name={folder / 'gemma'}", "model.warm_start=", "model.load_in_4bit=false",
                 "model.engine=unsloth", "model.attn_implementation=eager", "lora.r=4")  # fmt: skip
    loaded = unsloth_engine.load(presets.load("tiny-qlora", overrides), interface.Choice("unsloth", "cpu", "float32"))
    return loaded.model


def _trainer(folder: Path, model: Any) -> Any:
    """(CustomGRPOTrainer over Unsloth's, what watches it): two updates to a generation batch, rewards for steps."""
    from tests.builders import STEPS, tiny_trainer

    return tiny_trainer(
        folder / "steps",
        model=model,
        reward=STEPS,
        beta=0.05,
        temperature=1.5,
        steps_per_generation=2,
        per_device_train_batch_size=4,
    )


def _batch(trainer: Any) -> dict[str, Any]:
    """Eight rows: two prompts of unlike length, completions of unlike length, old and reference log-probabilities."""
    trainer.current_gradient_accumulation_steps = 1
    trainer.eos_token_ids = trainer.generation_config.eos_token_id = list(range(40, 60))
    rows = [trainer.train_dataset[place] for place in (8, 11) for _ in range(4)]
    batch: dict[str, Any] = trainer._generate_and_score_completions(rows)
    return batch


def _loss(trainer: Any, inputs: dict[str, Any], advantages: Any, part: slice) -> tuple[list[float], Any]:
    """([loss, norm of its gradient], gradient)"""
    import torch

    trainer.model.zero_grad()
    given = inputs | {"advantages": advantages}
    given = {name: value[part] if value.dim() else value for name, value in given.items()}
    loss = trainer.compute_loss(trainer.model, given)
    loss.backward()
    gradient = torch.cat([value.grad.flatten() for value in trainer.model.parameters() if value.grad is not None])
    return [float(loss.detach()), float(gradient.norm())], gradient


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
