"""Prints one JSON object about Unsloth as it is installed: python -m tests.unsloth_cpu.facts FOLDER

unpatched   what engine.prepare says when TRL was not patched
unquantised what the engine says when Unsloth drops 4 bits (it does so without a GPU)
arguments   of the three Unsloth functions the engine calls
methods     of the generated trainer that CustomGRPOTrainer hooks, with the class that defines each
corrected   {loss type: arguments that UnslothGRPOConfig had changed and that were put back}
left        {loss type: arguments that differ after that}
vllm        arguments that the generated trainer changes when vLLM writes the completions, and that count
defaults    UnslothGRPOConfig's own defaults where TRL has others
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.unsloth_cpu import stand_in
from trainer.engine import interface

HOOKED = (
    "_prepare_inputs", "_generate_single_turn", "_generate_and_score_completions", "_calculate_rewards",
    "_get_per_token_logps_and_entropies", "compute_loss", "_get_train_sampler", "log", "training_step",
    "create_optimizer", "_save_checkpoint", "_load_from_checkpoint",
)  # fmt: skip


def main(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"unpatched": _unpatched(folder)}
    stand_in.install(str(folder / "cache"))
    import trl
    from unsloth import FastLanguageModel
    from unsloth.models.loader_utils import get_model_name

    functions: dict[str, Any] = {
        "name": get_model_name,
        "load": FastLanguageModel.from_pretrained,
        "lora": FastLanguageModel.get_peft_model,
    }
    found["arguments"] = {name: sorted(inspect.signature(call).parameters) for name, call in functions.items()}
    found["methods"] = {
        name: next((cls.__name__ for cls in trl.GRPOTrainer.__mro__ if name in vars(cls)), None) for name in HOOKED
    }
    found["unquantised"] = _unquantised(folder)
    return found | _configs(folder)


def _unpatched(folder: Path) -> str:
    """Under Unsloth's switch for the CPU, and with nothing else, it leaves TRL alone."""
    from trainer import presets
    from trainer.engine import unsloth_engine
    from trainer.errors import EngineError

    os.environ |= {"UNSLOTH_ALLOW_CPU": "1", "UNSLOTH_COMPILE_LOCATION": str(folder / "cache")}
    stand_in.answer_cuda_questions()
    try:
        unsloth_engine.prepare(presets.load("tiny"))
    except EngineError as error:
        return str(error)
    return "accepted"


def _vllm(folder: Path) -> list[str]:
    """Arguments that differ once the generated trainer has found a vLLM engine behind the model (its `__init__`)."""
    from trainer import plan as planning
    from trainer import presets
    from trainer.grpo import config

    spec = presets.load("qwen3-8b-80gb")
    plan = planning.make(spec, rows=1024)
    chosen = config.choose(spec, plan, folder, device="cpu", dtype="float32", engine="unsloth")
    wanted = config.expected(chosen)
    args = config.build(chosen)
    config.correct(args, wanted)
    if args.top_k in (None, 0):
        args.top_k = -1
    args.use_vllm, args.vllm_mode, args.vllm_enable_sleep_mode = True, "colocate", True
    assert args.router_aux_loss_coef == 0.0  # None would take the model's own, which Unsloth refuses
    return [name for name, _, _ in config.differences(args, wanted)]


def _unquantised(folder: Path) -> str:
    from trainer import presets
    from trainer.engine import unsloth_engine
    from trainer.errors import EngineError

    spec = presets.load("tiny-qlora", [f"model.name={folder / 'gemma'}", "model.warm_start=", "model.engine=unsloth"])
    try:
        unsloth_engine.load(spec, interface.Choice("unsloth", "cpu", "float32"))
    except EngineError as error:
        return str(error)
    return "accepted"


def _configs(folder: Path) -> dict[str, Any]:
    import trl

    from trainer import plan as planning
    from trainer import presets
    from trainer.grpo import config

    found: dict[str, Any] = {"corrected": {}, "left": {}}
    for loss in ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"):
        spec = presets.load("tiny", [f"grpo.loss_type={loss}", "grpo.scale_rewards=group"])
        chosen = config.choose(spec, planning.make(spec, rows=1024), folder, device="cpu", dtype="float32")
        wanted = config.expected(chosen)
        built = config.build(chosen)
        found["corrected"][loss] = [name for name, _, _ in config.correct(built, wanted)]
        found["left"][loss] = [name for name, _, _ in config.differences(built, wanted)]
    found["vllm"] = _vllm(folder)
    theirs = inspect.signature(trl.GRPOConfig.__init__).parameters
    ours = inspect.signature(config.stock(trl.GRPOConfig)).parameters
    found["defaults"] = [
        name for name, parameter in theirs.items() if name in ours and parameter.default != ours[name].default
    ]
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
