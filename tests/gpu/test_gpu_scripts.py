"""GPU acceptance scripts: random models load as real ones do, results hold the numbers of the event log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import collect, parts, synthetic
from trainer import memory, presets
from trainer.machine.project import PROJECT
from trainer.memory import known
from trainer.memory.families import from_config
from trainer.memory.published import CONFIGS
from trainer.run.rundir import RunDir

PRESETS = parts.DEFAULT_PRESETS.split()
PROFILE = {"transformers.generate": 4.0, "_prepare_inputs": 5.0, "compute_loss": 1.0, "backward": 2.0}


def tiny(preset: str) -> dict[str, Any]:
    return parts.config_of(presets.load(preset), "tiny")


# ---- tokenizer and rows


def test_tokenizer_has_the_vocabulary_and_gives_texts_and_tokens_back() -> None:
    tokenizer = synthetic.make_tokenizer(2000)
    assert len(tokenizer) == 2000
    for text in ("Reason step by step. #### 1,000\n", "aaaaaaab zzzz", "d\u00e9j\u00e0 vu"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    words = list(range(1900, 1950))
    assert tokenizer(tokenizer.decode(words))["input_ids"] == words
    with pytest.raises(ValueError, match="a vocabulary of 100"):
        synthetic.make_tokenizer(100)


@pytest.mark.parametrize("preset", PRESETS)
def test_rows_fill_the_prompt_to_its_limit(preset: str, tmp_path: Path) -> None:
    setup = parts.Setup(tmp_path, "cpu", "tiny")
    spec = presets.load(preset, parts.overrides(parts.Part(preset, "transformers"), setup, 1))
    path = parts.rows_file(setup, preset)
    assert synthetic.write_rows(path, spec, synthetic.make_tokenizer(1024), 4) == parts.TINY_PROMPT
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({row["question"] for row in rows}) == 4
    assert all("#### 42" in row["answer"] for row in rows)


# ---- models


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Gemma 3 in NF4, as files."""
    import torch

    from benchmarks.gpu import make_models

    folder = tmp_path_factory.mktemp("models") / "gemma"
    make_models.write_model(folder, tiny("gemma27b"), device="cpu", dtype=torch.float32, nf4=True)
    return folder


def test_nf4_gemma_loads_with_plain_transformers_and_generates(gemma: Path, tmp_path: Path) -> None:
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from benchmarks.gpu import make_models

    plain_folder = tmp_path / "plain"
    make_models.write_model(plain_folder, tiny("gemma27b"), device="cpu", dtype=torch.float32, nf4=False)
    plain = AutoModelForCausalLM.from_pretrained(plain_folder)
    model, info = AutoModelForCausalLM.from_pretrained(gemma, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    linear = {name: one for name, one in model.model.layers.named_modules() if isinstance(one, torch.nn.Linear)}
    assert len(linear) == 6 * 7
    for name, module in linear.items():
        assert isinstance(module, Linear4bit), name
        weight, exact = dequantize_4bit(module.weight.data, module.weight.quant_state), plain.model.layers
        wanted = exact.get_submodule(name).weight
        assert torch.nn.functional.cosine_similarity(weight.flatten(), wanted.flatten(), dim=0) > 0.99, name

    # The names transformers itself gives to the same content. It cannot save a model it has loaded from NF4 files.
    quantised = AutoModelForCausalLM.from_pretrained(plain_folder, quantization_config=model.config.quantization_config)
    quantised.save_pretrained(tmp_path / "saved")
    index = json.loads((gemma / "model.safetensors.index.json").read_text())["weight_map"]
    assert set(index) == names_in(tmp_path / "saved")

    ids = torch.tensor([AutoTokenizer.from_pretrained(gemma)("aaaaaaab")["input_ids"]])
    for module in linear.values():
        module.support_avx512bf16_for_cpu = False  # as the engine does
    assert model.generate(ids, max_new_tokens=4, min_new_tokens=4, do_sample=False).shape == (1, ids.shape[1] + 4)


def names_in(folder: Path) -> set[str]:
    from safetensors import safe_open

    found: set[str] = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            found |= set(tensors.keys())
    return found


def test_same_seed_same_bytes_and_nothing_is_left_behind(gemma: Path, tmp_path: Path) -> None:
    import torch

    from benchmarks.gpu import make_models

    again = tmp_path / "again"
    make_models.write_model(again, tiny("gemma27b"), device="cpu", dtype=torch.float32, nf4=True)
    files = sorted(file.name for file in gemma.glob("*.safetensors"))
    assert len(files) == 7
    assert all((gemma / file).read_bytes() == (again / file).read_bytes() for file in files)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


@pytest.mark.parametrize("name", ["gemma-3-27b", "gemma-3-1b", "qwen3-1.7b", "qwen3-8b", "qwen2.5-3b", "llama-3.2-3b"])
def test_configuration_has_the_shape_the_estimate_is_made_for(name: str) -> None:
    import torch

    from benchmarks.gpu import make_models

    sizes = CONFIGS[name].get("text_config", CONFIGS[name])
    config = make_models.config_of(sizes, synthetic.make_tokenizer(1024), torch.bfloat16)
    assert from_config(config.to_dict(), source="") == from_config(sizes, source="")


# ---- what is run


@pytest.mark.parametrize("size", ["full", "tiny"])
@pytest.mark.parametrize("engine", ["unsloth", "transformers"])
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_take_the_changes(preset: str, engine: str, size: str, tmp_path: Path) -> None:
    part, setup = parts.Part(preset, engine), parts.Setup(tmp_path, "cuda", size)
    spec = presets.load(preset, parts.overrides(part, setup, 3))
    assert (spec.model.engine, spec.data.name, spec.data.eval_split) == (engine, None, None)
    assert spec.optim.max_steps == (2 if (engine, size) == ("transformers", "full") else 3)
    assert spec.log.exact_spans and not spec.log.mirrors and not spec.eval.at_start
    assert parts.HALF_OF_ALL in [one.params.get("pattern") for one in spec.reward.components]
    assert parts.cap_s(part) < 300


# ---- results


def step_events(step: int, seconds: float, factor: float, warmup: bool) -> list[dict[str, Any]]:
    spans = [
        {"name": name, "parent": None, "calls": 1, "total_s": value * factor, "self_s": 0.0, "ok": True}
        for name, value in PROFILE.items()
    ]
    lengths = {"train/completions/mean_length": 90.0, "train/completions/max_length": 100.0}
    return [
        {"kind": "rollouts", "step": step, "file": "x", "groups": 1, "completions": 4},
        {"kind": "step", "step": step, "of": 5, "seconds": seconds, "metrics": lengths | {"train/loss": 0.5}},
        {"kind": "span", "step": step, "spans": spans, "warmup": warmup},
        {"kind": "gpu", "used_gib": 10.0 + step, "total_gib": 80.0, "utilization_frac": 1.0},
    ]


def plan_event(**plan: Any) -> dict[str, Any]:
    return {"kind": "plan", "plan": plan, "data": {"longest_prompt_tokens": 500}, "engine": "unsloth"} | {
        "device": "cuda",
        "dtype": "bfloat16",
        "trainer_class": "CustomGRPOTrainer",
        "trainer_bases": ["a.B"],
    }


def test_result_holds_medians_without_warm_up(make_run: Callable[..., RunDir]) -> None:
    events = [
        {"kind": "run_started", "pid": 1, "pid_started": "0", "boot_id": ""},
        plan_event(memory_total_gib=16.0, gpu_name="NVIDIA H200"),
        {"kind": "alert", "level": "info", "title": "memory probe", "text": "peak", "update_gib": 9.0},
        *step_events(1, 60.0, 9.0, True),
        *step_events(2, 50.0, 8.0, True),
        *step_events(3, 10.0, 1.0, False),
        *step_events(4, 11.0, 2.0, False),
        *step_events(5, 12.0, 3.0, False),
        {"kind": "run_finished", "step": 5, "seconds": 150.0, "tokens": 1, "peak_memory_gib": 12.0},
    ]
    run = make_run("bench-1", *events)
    result = collect.collect(run, preset="p", engine="unsloth", changed=["a.b=1"])
    assert (result["status"], result["gpu"], result["steps_done"]) == ("finished", "NVIDIA H200", 5)
    assert (result["steps_measured"], result["free_of_warmup"], result["step_s"]) == (3, True, 11.0)
    spans = {name: 2.0 * value for name, value in PROFILE.items()}
    assert result["spans_s"] == dict.fromkeys(collect.SPANS) | spans
    assert result["generated_tokens"] == 4 * 90 and result["decode_steps"] == 100
    assert result["generation"]["tokens_per_s"] == pytest.approx(360 / 8.0)
    shape = known.of("builtin/tiny-qwen3")
    assert shape is not None
    weights = (shape.linear_params() + shape.vocab * shape.hidden + shape.small_params()) * 2
    assert result["generation"]["weight_bytes_per_token"] == weights
    assert result["generation"]["share_of_floor"] == pytest.approx(100 * weights / 4800e9 / 8.0)
    assert result["memory"]["measured_gib"] == 15.0 and result["memory"]["torch_gib"] == 12.0
    assert result["memory"]["measured_to_plan"] == pytest.approx(15 / 16)
    assert result["memory_probe"] == {"text": "peak", "generation_gib": None, "update_gib": 9.0}
    assert result["trainer_bases"] == ["a.B"]
    assert "problems" not in result
    assert json.loads(json.dumps(result)) == result and "finished" in collect.table([result])


def test_result_of_a_run_that_failed_says_why(make_run: Callable[..., RunDir]) -> None:
    problem = {"where": "model.name", "what": f"broken in {PROJECT}/x", "fix": ""}
    run = make_run(
        "bench-2",
        plan_event(),
        *step_events(1, 60.0, 9.0, True),
        {"kind": "run_failed", "step": 1, "error": "E", "problems": [problem], "traceback_tail": "T", "exit_code": 1},
    )
    run.log_file(1).write_text("the end of the log")
    result = collect.collect(run, preset="p", engine="unsloth", output_tail="said")
    assert (result["status"], result["step_s"], result["free_of_warmup"]) == ("failed", 60.0, False)
    assert result["problems"][0]["what"] == "broken in ./x"
    assert (result["log_tail"], result["output_tail"]) == ("the end of the log", "said")
    assert result["generation"]["share_of_floor"] is None
    assert collect.collect(run, preset="p", engine="e", outcome="timeout")["status"] == "timeout"


def test_result_of_a_run_that_never_began(tmp_path: Path) -> None:
    result = collect.collect(RunDir(tmp_path / "none"), preset="p", engine="e", output_tail="error: no such preset")
    assert (result["status"], result["steps_done"], result["output_tail"]) == (
        "not started",
        0,
        "error: no such preset",
    )
    path = collect.write(result, tmp_path)
    assert path.name == "gpu-p-e.json" and json.loads(path.read_text()) == result


def test_floor_of_gemma_27b() -> None:
    """16 GB a token: 4.8 ms on an H100; unknown GPUs have no floor."""
    gemma = known.published("gemma-3-27b")
    assert gemma is not None
    weights = collect.weight_bytes_per_token(gemma, load_in_4bit=True, double_quant=True, compute_bytes=2)
    assert weights == pytest.approx(16e9, rel=0.02)
    assert collect.bandwidth_gb_s("NVIDIA H100 80GB HBM3") == 3350 and collect.bandwidth_gb_s("GeForce 256") is None
    assert collect.floor_seconds(762, weights, 3350) == pytest.approx(3.7, abs=0.1)
    assert memory.nf4_bits(True) < memory.nf4_bits(False)


# ---- the real thing


@pytest.mark.gpu
@pytest.mark.timeout(600)
@pytest.mark.parametrize("engine", ["unsloth", "transformers"])
def test_engine_trains_the_small_model_on_the_gpu(engine: str, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHON": sys.executable, "WORK": str(tmp_path / "work"), "ENGINES": engine}
    environment |= {"PRESETS": "qwen3-1.7b", "DEVICE": "cuda", "SIZES": "full", "STEPS": "2", "BUDGET_S": "400"}
    command = [str(PROJECT / "benchmarks" / "gpu" / "run.sh"), str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    result = json.loads((tmp_path / "out" / f"gpu-qwen3-1.7b-{engine}.json").read_text())
    assert (result["status"], result["engine_found"], result["steps_done"]) == ("finished", engine, 2)
    assert result["grad_norm"] > 0
