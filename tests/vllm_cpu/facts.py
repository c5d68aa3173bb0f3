"""Prints one JSON object about an adapter that vLLM serves by request: python -m tests.vllm_cpu.facts FOLDER

dtype      what the engine computes in
ranks      the ranks vLLM makes room for
problems   what preflight has against vLLM with a setting, or none: {setting: [where, key of the problem]}
doctor     what doctor says of vLLM
tokens     {"base" | "adapter": [greedy completions by transformers + PEFT, by vLLM]}
apart      largest difference of a log-probability of those completions, in nats
base       were the trained model's base weights, bit by bit, and vLLM's completions without the adapter the same after
           all syncs as before?
evidence   of the policy probe
stale      what the policy probe says when vLLM goes on with the first adapter
loaded     numbers of the adapters that vLLM holds in the end, and the number of syncs
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, get_args

PROMPTS = [[1, 4, 70, 71, 72, 2, 5], [1, 4, 73, 2, 5], [1, 4, 80, 81, 82, 83, 84, 2, 5]]
TOKENS = 12


def main(folder: Path) -> dict[str, Any]:
    from vllm.config.lora import MaxLoRARanks

    trainer = _trainer(folder)
    found: dict[str, Any] = _machine() | {"ranks": get_args(MaxLoRARanks)}
    engine = trainer.vllm_generation
    found["dtype"] = str(engine.llm.llm_engine.model_config.dtype)
    before = _base_weights(trainer), _by_vllm(engine, None)
    _shake(trainer)
    trainer.vllm_generation.sync_weights()
    found |= _compared(trainer)
    found |= _probed(trainer)
    after = _base_weights(trainer), _by_vllm(engine, None)
    found["base"] = _same(before[0], after[0]) and before[1] == after[1]
    found["loaded"] = [sorted(engine.llm.llm_engine.list_loras()), engine.request.lora_int_id]
    return found


def _machine() -> dict[str, Any]:
    from trainer import plan as planning
    from trainer import presets
    from trainer.machine import environment
    from trainer.preflight import doctor, machine

    found = {}
    for preset, key in (("tiny-qlora", "model.load_in_4bit"), ("tiny", "trl.vllm_enable_sleep_mode"), ("tiny", "")):
        spec = presets.load(preset, ["trl.use_vllm=true", *([f"{key}=true"] if key else [])])
        problems = machine.problems(spec, planning.make(spec, rows=64), has_gpu=False)
        found[key] = [[problem.where, problem.key] for problem in problems]
    of_vllm = doctor.check_vllm(doctor.installed_versions(doctor.VLLM), with_gpu=False)
    assert environment.vllm_is_for_cpus()
    return {"problems": found, "doctor": [[str(each.seen), each.state] for each in of_vllm]}


def _trainer(folder: Path) -> Any:
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM

    from tests.builders import tiny_model, tiny_trainer

    model, tokenizer = tiny_model()
    model.save_pretrained(folder / "tiny")  # vLLM reads a folder
    tokenizer.save_pretrained(folder / "tiny")
    trainer, _ = tiny_trainer(
        folder / "trainer",
        model=AutoModelForCausalLM.from_pretrained(folder / "tiny"),
        peft_config=LoraConfig(r=5, lora_alpha=20, target_modules="all-linear", task_type="CAUSAL_LM"),
        use_vllm=True,
        vllm_max_model_length=64,
    )
    return trainer


def _shake(trainer: Any) -> None:
    """B is all zeros at first: an adapter that changes something."""
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)


def _compared(trainer: Any) -> dict[str, Any]:
    engine = trainer.vllm_generation
    tokens, apart = {}, 0.0
    for name, request in (("base", None), ("adapter", engine.request)):
        by_vllm = _by_vllm(engine, request)
        by_peft = [_by_peft(trainer, prompt, with_adapter=request is not None) for prompt in PROMPTS]
        tokens[name] = [[ids for ids, _ in by_peft], [ids for ids, _ in by_vllm]]
        apart = max(
            apart, *(abs(a - b) for one, two in zip(by_peft, by_vllm, strict=True) for a, b in _pairs(one, two))
        )
    return {"tokens": tokens, "apart": apart}


def _pairs(one: Any, two: Any) -> Any:
    return zip(one[1], two[1], strict=True)


def _by_vllm(engine: Any, request: Any) -> list[tuple[list[int], list[float]]]:
    """(tokens, log-probability of each) of the greedy completion of each prompt."""
    from vllm import SamplingParams

    sampling = SamplingParams(temperature=0, max_tokens=TOKENS, min_tokens=TOKENS, logprobs=0)
    prompts = [{"prompt_token_ids": ids} for ids in PROMPTS]
    answers = type(engine.llm).generate(engine.llm, prompts, sampling, use_tqdm=False, lora_request=request)
    found = []
    for answer in answers:
        (written,) = answer.outputs
        logps = [of_token[token].logprob for token, of_token in zip(written.token_ids, written.logprobs, strict=True)]
        found.append((list(written.token_ids), logps))
    return found


def _by_peft(trainer: Any, prompt: list[int], with_adapter: bool) -> tuple[list[int], list[float]]:
    from contextlib import nullcontext

    import torch

    model = trainer.accelerator.unwrap_model(trainer.model).eval()
    ids = torch.tensor([prompt])
    with torch.no_grad(), nullcontext() if with_adapter else model.disable_adapter():
        made = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=TOKENS,
            min_new_tokens=TOKENS, output_scores=True, return_dict_in_generate=True,
        )  # fmt: skip
    tokens = made.sequences[0, len(prompt) :].tolist()
    return tokens, [float(row[0].log_softmax(-1)[token]) for row, token in zip(made.scores, tokens, strict=True)]


def _probed(trainer: Any) -> dict[str, Any]:
    from tests.builders import rows
    from trainer.errors import EngineError
    from trainer.grpo import policy_sync

    found: dict[str, Any] = {"evidence": policy_sync.check(trainer, rows())}
    trainer.vllm_generation.sync_weights()  # the probe's own noise was the last that vLLM was given
    trainer.vllm_generation.sync_weights = lambda: None
    try:
        policy_sync.check(trainer, rows())
        found["stale"] = "accepted"
    except EngineError as error:
        found["stale"] = str(error)
    return found


def _base_weights(trainer: Any) -> dict[str, Any]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items() if "lora_" not in name}


def _same(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return all(value.equal(two[name]) for name, value in one.items())


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
