"""Prints one JSON object about episodes under Unsloth: python -m tests.unsloth_cpu.episodes FOLDER

run         of a run: turns of each completion of its first batch, calls of tools a completion, [loss, gradient's norm]
            of each step, and of each micro-batch [completions with a tool's answer, tokens outside tool_mask]
padding     of the batch below: padding before each prompt
against     {loss type: {beta: {part of the batch: [Unsloth's loss, TRL's loss, distance of the gradients]}}}, of
            advantages of turns; the distance is in units of TRL's gradient
single      that distance without tools and with an advantage a completion: what float16 weights alone make of it
tools       the distance from Unsloth's own gradient with other advantages for tokens of tools, and without tool_mask
dead        {loss type: [rows that Unsloth's loss is given, distance from all rows, distance from TRL]}, advantages (B,)
            with a group that has none
cut         what is said where max_seq_length is too small
"""

from __future__ import annotations

import json
import sys
from importlib import util
from pathlib import Path
from typing import Any

from tests.unsloth_cpu import stand_in
from trainer.engine import interface

PARTS = {"all": slice(0, 8), "padded": slice(0, 4), "mixed": slice(2, 6)}
Inputs = dict[str, Any]


def main(folder: Path) -> dict[str, Any]:
    stand_in.install(str(folder / "cache"))
    from trainer.episodes.host import Host
    from trainer.episodes.own import Recipe

    host = Host(Recipe.of("guess", None), 20.0, 0.0)
    try:
        model, tokenizer = _model(folder)
        found: dict[str, Any] = {"run": _run(folder / "run", host, model, tokenizer)}
        trainer, _ = _trainer(folder / "ours", host, model, tokenizer)
        _calling(trainer)
        stock, _ = _trainer(folder / "stock", host, model, tokenizer, base=_stock_class(), fast="off")
        batch = _batch(trainer, stock)
        found["padding"] = (batch["prompt_mask"] == 0).sum(dim=1).tolist()
        found |= _against(trainer, stock, batch)
        found |= {"tools": _of_tools(trainer, batch), "dead": _dead(trainer, stock, batch), "cut": _cut(trainer)}
        return found
    finally:
        host.close()


def _model(folder: Path) -> tuple[Any, Any]:
    from trainer import presets
    from trainer.engine import unsloth_engine

    overrides = (f"model.name={folder / 'tools'}", "model.warm_start=", "model.load_in_4bit=false", "lora.r=4",
                 "model.engine=unsloth", "model.attn_implementation=eager", "model.max_seq_length=128")  # fmt: skip
    loaded = unsloth_engine.load(presets.load("tiny-qlora", overrides), interface.Choice("unsloth", "cpu", "float32"))
    return loaded.model, loaded.tokenizer


def _stock_class() -> type:
    """TRL's own class: its file once more, because Unsloth has put its class in the place of it."""
    import trl.trainer.grpo_trainer as patched

    spec = util.spec_from_file_location("trl.trainer.grpo_trainer_as_it_is", patched.__file__)
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    stock: type = module.GRPOTrainer
    assert "_compute_loss" in vars(stock)
    return stock


def _trainer(folder: Path, host: Any, model: Any, tokenizer: Any, **options: Any) -> tuple[Any, Any]:
    from tests.builders import tiny_trainer
    from trainer.episodes.table import Table
    from trainer.spec import Component, Reward

    found = Component(function="environment", name="found", weight=2.0)
    short = Component(function="format_regex", name="short", params={"pattern": "(?s).{0,40}"})
    prompts = ["a" * (1 + 5 * (row % 3)) + str(row) for row in range(16)]
    settings: dict[str, Any] = {
        "reward": Reward(components=[found, short], divide_by=4.0),
        "data": [{"prompt": [{"role": "user", "content": text}], "answer": "a"} for text in prompts],
        "max_completion_length": 64,
        "max_tool_calling_iterations": 2,
        "temperature": 1.5,
        "beta": 0.1,
        "gradient_accumulation_steps": 1,
        "steps_per_generation": 2,  # the second update is off-policy: old log-probabilities are computed
        "per_device_train_batch_size": 4,
        "use_bias_correction_kl": False,  # with it Unsloth bounds the KL of a token, and TRL does not
    }
    table = Table(host, 42, 0.5)
    return tiny_trainer(folder, model=model, tokenizer=tokenizer, episodes=table, **settings | options)


def _calling(trainer: Any) -> None:
    """What is sampled decides whether a tool is called and with what."""
    inner = trainer._generate_single_turn

    def write(ids: Any, *args: Any, **kwargs: Any) -> Any:
        sampled, logprobs = inner(ids, *args, **kwargs)
        calls = [f"<call>guess number={1 + row[0] % 7}</call><end>" for row in sampled]
        last = ["x" * (1 + row[0] % 4) + "<end>" for row in sampled]
        texts = [call if row[-1] % 3 else end for row, call, end in zip(sampled, calls, last, strict=True)]
        return [trainer._tokenizer(text=text)["input_ids"] for text in texts], logprobs

    trainer._generate_single_turn = write


def _run(folder: Path, host: Any, model: Any, tokenizer: Any) -> list[Any]:
    trainer, recorder = _trainer(folder, host, model, tokenizer)
    _calling(trainer)
    told = []
    inner = trainer.compute_loss

    def watched(of: Any, inputs: Inputs, *args: Any, **kwargs: Any) -> Any:
        outside = (inputs["tool_mask"] == 0) & (inputs["completion_mask"] == 1)
        shown = zip(inputs["completion_ids"], outside, strict=True)
        answered = sum("<tool>" in trainer._tokenizer.decode(ids[row]) for ids, row in shown)
        told.append([answered, int(outside.sum())])
        return inner(of, inputs, *args, **kwargs)

    trainer.compute_loss = watched
    trainer.train()
    turns = [len(row) for row in recorder.batches[0][1].turns]
    logs = [logs for _, logs, _ in recorder.steps]
    return [turns, logs[0]["tools/call_frequency"], [[step["loss"], step["grad_norm"]] for step in logs], told]


def _batch(trainer: Any, stock: Any) -> Inputs:
    """Two prompts of unlike length, four completions each. What TRL's loss needs in its own columns has the prefix
    stock_; the weights are moved afterwards, so that no ratio and no KL is trivial."""
    import torch
    from trl.trainer.utils import use_adapter

    for each in (trainer, stock):
        each.current_gradient_accumulation_steps = 1
        each.model.train()
    rows = [trainer.train_dataset[place] for place in (0, 2) for _ in range(4)]
    batch: Inputs = trainer._generate_and_score_completions(rows)
    ids, mask = (torch.cat([batch[f"prompt_{of}"], batch[f"completion_{of}"]], 1) for of in ("ids", "mask"))
    kept = batch["completion_ids"].shape[1]
    bare = stock.accelerator.unwrap_model(stock.model)
    with torch.no_grad():
        batch["stock_old"] = stock._get_per_token_logps_and_entropies(stock.model, ids, mask, kept, batch_size=8)[0]
        with use_adapter(bare, adapter_name="ref" if "ref" in bare.peft_config else None):  # as TRL has its reference
            batch["stock_ref"] = stock._get_per_token_logps_and_entropies(stock.model, ids, mask, kept, batch_size=8)[0]
        noise = torch.Generator().manual_seed(1)
        for weight in bare.parameters():
            if weight.requires_grad:
                weight.add_(0.02 * torch.randn(weight.shape, generator=noise))
    return batch


def _gradient(trainer: Any, batch: Inputs, part: slice = slice(None), **changes: Any) -> tuple[float, Any]:
    """(loss, gradient) of one of the two, each with the log-probabilities in its own columns."""
    import torch

    given = batch | changes
    if not trainer._packs_left:
        given = given | {"old_per_token_logps": given["stock_old"], "ref_per_token_logps": given["stock_ref"]}
    absent = {"stock_old", "stock_ref"} | (set() if trainer.beta else {"ref_per_token_logps"})
    given = {
        name: value[part] if isinstance(value, torch.Tensor) and value.dim() else value
        for name, value in given.items()
        if name not in absent and value is not None
    }
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, given)
    loss.backward()
    gradient = torch.cat([value.grad.flatten() for value in trainer.model.parameters() if value.grad is not None])
    return float(loss.detach()), gradient


def _distance(one: Any, other: Any) -> float:
    return float((one - other).norm() / other.norm())


def _set(loss: str, beta: float, *trainers: Any) -> None:
    for each in trainers:
        each.loss_type = each.args.loss_type = loss
        each.beta = each.args.beta = beta


def _of_turns(batch: Inputs) -> Any:
    """(B, T): advantages that differ between turns, as the trainer lays them over the tokens."""
    import torch

    from trainer.grpo import turns

    masks = zip(batch["tool_mask"].tolist(), batch["completion_mask"].sum(1).tolist(), strict=True)
    places = [turns.spans(mask[:length]) for mask, length in masks]
    values = torch.randn(len(places), max(map(len, places)), generator=torch.Generator().manual_seed(3))
    return turns.over_tokens(values, places, batch["tool_mask"].shape[1])


def _against(trainer: Any, stock: Any, batch: Inputs) -> dict[str, Any]:
    import torch

    given = _of_turns(batch)
    found: dict[str, Any] = {}
    for loss in ("grpo", "dapo"):
        found[loss] = {}
        for beta in (0.0, 0.1):
            _set(loss, beta, trainer, stock)
            found[loss][str(beta)] = {}
            for name, part in PARTS.items():
                (ours, mine), (theirs, gradient) = (
                    _gradient(each, batch, part, advantages=given) for each in (trainer, stock)
                )
                found[loss][str(beta)][name] = [ours, theirs, _distance(mine, gradient)]
    _set("grpo", 0.0, trainer, stock)
    plain = {"advantages": torch.linspace(-1, 1, 8), "tool_mask": None}
    (_, mine), (_, gradient) = (_gradient(each, batch, **plain) for each in (trainer, stock))
    return {"against": found, "single": _distance(mine, gradient)}


def _of_tools(trainer: Any, batch: Inputs) -> list[float]:
    _set("grpo", 0.1, trainer)
    given = _of_turns(batch)
    _, gradient = _gradient(trainer, batch, advantages=given)
    others = given + 100.0 * (1 - batch["tool_mask"])
    changed, unmasked = {"advantages": others}, {"advantages": others, "tool_mask": None}
    return [_distance(_gradient(trainer, batch, **changes)[1], gradient) for changes in (changed, unmasked)]


def _dead(trainer: Any, stock: Any, batch: Inputs) -> dict[str, list[float]]:
    import torch

    from trainer.fast import unsloths
    from trainer.fast.reasons import why_not
    from trainer.fast.saying import OFF

    rows: list[int] = []
    inner = unsloths.without

    def counted(inputs: Inputs, live: list[int], loss_type: str) -> Inputs:
        rows.append(len(live))
        return inner(inputs, live, loss_type)

    unsloths.without = counted
    given = {"advantages": torch.tensor([0.0] * 4 + [1.0, -0.5, 0.0, -0.5])}
    found = {}
    for loss in ("grpo", "dapo"):
        _set(loss, 0.0, trainer, stock)
        trainer.fast = why_not(trainer)
        mine = _gradient(trainer, batch, **given)[1]
        trainer.fast = OFF
        whole, gradient = (_gradient(each, batch, **given)[1] for each in (trainer, stock))
        found[loss] = [rows[-1], _distance(mine, whole), _distance(mine, gradient)]
    return found


def _cut(trainer: Any) -> str:
    from trainer.errors import EngineError

    trainer.model.max_seq_length = 70
    try:
        trainer._generate_and_score_completions([trainer.train_dataset[2]] * 4 + [trainer.train_dataset[0]] * 4)
    except EngineError as error:
        return str(error)
    return "accepted"


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
