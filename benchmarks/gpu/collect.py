"""One run directory -> one JSON: where the seconds of a step went, how far generation is from its floor, peak memory.

    python benchmarks/gpu/collect.py RUN_FOLDER --preset gemma27b --engine unsloth [--out benchmarks/results]

Reads events.jsonl, plan.json, spec.json and env.json; needs no GPU and no torch. Memory in GiB (1024^3 bytes).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from trainer import launch, memory
from trainer.machine.gpu_models import gpu_model_named
from trainer.machine.json_files import read_json
from trainer.machine.project import PROJECT
from trainer.memory import known
from trainer.memory.shapes import ModelShape
from trainer.run.events import EventReader
from trainer.run.records import Event, GpuEvent, PlanEvent, RunFailedEvent, SpanEvent, SpanSeconds
from trainer.run.rundir import RunDir
from trainer.run.state import RunState, state_of

SPANS = (
    "transformers.generate",
    "_prepare_inputs",
    "_calculate_rewards",
    "_get_per_token_logps_and_entropies",
    "compute_loss",
    "backward",
    "optimizer",
)
TAIL_CHARACTERS = 3000


# ---- arithmetic


def bandwidth_gb_s(gpu_name: str | None) -> float | None:
    """Memory bandwidth of a GPU of that name, from its data sheet; None for one that is not in the table."""
    card = gpu_model_named(gpu_name)
    return card.bandwidth_gb_s if card else None


def weight_bytes_per_token(shape: ModelShape, *, load_in_4bit: bool, double_quant: bool, compute_bytes: int) -> float:
    """Bytes of weights that one decoding step must read, however many rows it decodes.

    linear_params * (nf4_bits / 8 or compute_bytes) + (vocab * hidden + norms) * compute_bytes

    The output embedding is read whole, of the input embedding only the rows of the tokens: with tied weights they are
    one matrix, untied the second is not counted. The KV cache is left out, so it is a floor.
    """
    each = memory.nf4_bits(double_quant) / 8 if load_in_4bit else compute_bytes
    return shape.linear_params() * each + (shape.vocab * shape.hidden + shape.small_params()) * compute_bytes


def floor_seconds(decode_steps: float, weight_bytes: float, gb_s: float) -> float:
    """Seconds of generation at the GPU's peak bandwidth: decode_steps * weight_bytes / bandwidth."""
    return decode_steps * weight_bytes / (gb_s * 1e9)


def median(values: Sequence[float | None]) -> float | None:
    """Median of the values that are there; None without one."""
    told = [value for value in values if value is not None]
    return statistics.median(told) if told else None


def ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


# ---- reading a run


def span_seconds(event: SpanEvent | None, name: str) -> float | None:
    """Seconds of all calls of a span in one step, children included; None where the step had none."""
    found = [span.total_s or 0.0 for span in _spans(event) if span.name == name]
    return sum(found) if found else None


def _spans(event: SpanEvent | None) -> list[SpanSeconds]:
    return (event.spans or []) if event is not None else []


def measured_steps(state: RunState) -> tuple[list[int], bool]:
    """(steps whose time counts, are they free of warm-up): without any other the last step stands for them."""
    warm = [step for step in state.steps if step not in state.warmup]
    return (warm, True) if warm else (state.steps[-1:], False)


def timings(state: RunState, events: Sequence[Event]) -> dict[str, Any]:
    """Medians over the measured steps: seconds of the step and of each span, generated tokens, decoding steps."""
    chosen, warm = measured_steps(state)
    at = {step: index for index, step in enumerate(state.steps)}
    spans = {event.step: event for event in events if isinstance(event, SpanEvent)}

    def column(name: str) -> list[float | None]:
        values = state.metrics.get(name)
        return [values[at[step]] if values else None for step in chosen]

    rows = {event.step: event.completions for event in state.rollouts}
    calls = [_calls(spans.get(step), "transformers.generate") for step in chosen]
    lengths, longest = column("train/completions/mean_length"), column("train/completions/max_length")
    return {
        "steps_done": state.last_step,
        "steps_measured": len(chosen),
        "free_of_warmup": warm,
        "step_s": median([state.seconds[at[step]] for step in chosen]),
        "first_step_s": state.seconds[0] if state.seconds else None,
        "spans_s": {name: median([span_seconds(spans.get(step), name) for step in chosen]) for name in SPANS},
        "completions_per_step": median([rows.get(step) for step in chosen]),
        "completion_tokens_mean": median(lengths),
        "clipped_frac": median(column("train/completions/clipped_ratio")),
        "generated_tokens": median([_times(rows.get(step), mean) for step, mean in zip(chosen, lengths, strict=True)]),
        # Every call decodes until its longest row ends.
        "decode_steps": median([_times(count, most) for count, most in zip(calls, longest, strict=True)]),
    }


def _times(one: float | None, other: float | None) -> float | None:
    return one * other if one is not None and other is not None else None


def _calls(event: SpanEvent | None, name: str) -> int | None:
    return sum(span.calls or 0 for span in _spans(event) if span.name == name) or None


def generation(found: dict[str, Any], spec: Mapping[str, Any], gpu_name: str | None, dtype: str) -> dict[str, Any]:
    """Speed of generation and its share of the floor: 1.0 reads the weights once a token and does nothing else."""
    seconds = found["spans_s"]["transformers.generate"]
    model = spec["model"]
    shape, speed = known.of(model["name"]), bandwidth_gb_s(gpu_name)
    weight_bytes = None
    if shape is not None:
        weight_bytes = weight_bytes_per_token(
            shape,
            load_in_4bit=model["load_in_4bit"],
            double_quant=model["double_quant"],
            compute_bytes=4 if dtype == "float32" else 2,
        )
    told = weight_bytes is not None and speed is not None and found["decode_steps"] is not None
    floor = floor_seconds(found["decode_steps"], weight_bytes or 0, speed or 1) if told else None
    return {
        "tokens_per_s": ratio(found["generated_tokens"], seconds),
        "s_per_decode_step": ratio(seconds, found["decode_steps"]),
        "weight_bytes_per_token": weight_bytes,
        "bandwidth_gb_s": speed,
        "floor_s": floor,
        "share_of_floor": ratio(floor, seconds),
    }


def peak_memory(state: RunState, events: Sequence[Event], plan: Mapping[str, Any]) -> dict[str, Any]:
    """Measured peak beside the plan's estimate, which counts the CUDA context too.

    torch_gib: reserved by PyTorch (on a CPU: resident), without the CUDA context. nvml_gib: of the whole GPU, read once
    a second, with whatever else uses it. measured_gib is the larger of the two.
    """
    used = [event.used_gib for event in events if isinstance(event, GpuEvent) and event.used_gib is not None]
    seen = [value for value in (state.peak_memory_gib, max(used, default=None)) if value is not None]
    measured, planned = max(seen, default=None), plan.get("memory_total_gib")
    return {
        "measured_gib": measured,
        "torch_gib": state.peak_memory_gib,
        "nvml_gib": max(used, default=None),
        "nvml_first_gib": used[0] if used else None,
        "plan_gib": planned,
        "plan_generation_gib": plan.get("memory_generation_gib"),
        "plan_update_gib": plan.get("memory_update_gib"),
        "measured_to_plan": ratio(measured, planned),
    }


def probe(state: RunState) -> dict[str, Any] | None:
    """What the memory probe before step 1 said; None without one."""
    said = next((one for one in reversed(state.alerts) if one.title == "memory probe"), None)
    if said is None:
        return None
    before = {"generation_gib": said.generation_gib, "update_gib": said.update_gib}  # versions without keys
    return {"text": said.text} | {name: said.values.get(name, value) for name, value in before.items()}


def collect(
    rundir: RunDir,
    *,
    preset: str,
    engine: str,
    outcome: str | None = None,
    changed: Sequence[str] = (),
    output_tail: str = "",
) -> dict[str, Any]:
    """Everything worth keeping of a run. outcome: what the caller knows better than the log ("timeout")."""
    state = state_of(rundir)
    events = EventReader(rundir.events).read()
    spec, env = read_json(rundir.spec) or {"model": {"name": ""}}, read_json(rundir.env) or {}
    announced = state.trained or PlanEvent()
    plan = state.plan or read_json(rundir.plan) or {}
    on_gpu = announced.device != "cpu"
    gpus = [gpu["name"] for gpu in env.get("gpus", [])]
    gpu_name = (plan.get("gpu_name") or (gpus[0] if gpus else None)) if on_gpu else None
    status: str = outcome or (launch.status_of(rundir) if rundir.spec.is_file() else "not started")
    found = timings(state, events)
    result = {
        "preset": preset,
        "engine": engine,
        "status": status,
        "gpu": gpu_name,
        "date": date.today().isoformat(),
        "commit": env.get("commit") or os.environ.get("COMMIT"),
        "python": env.get("python"),
        "versions": env.get("packages", {}),
        "driver": next((gpu.get("driver") for gpu in env.get("gpus", [])), None),
        "device": announced.device,
        "dtype": announced.dtype,
        "engine_found": announced.engine,
        "trainer_class": announced.trainer_class,
        "trainer_bases": announced.trainer_bases,
        "changed": list(changed),
        "max_prompt_length": spec.get("data", {}).get("max_prompt_length"),
        "longest_prompt_tokens": (announced.data or {}).get("longest_prompt_tokens"),
        "max_completion_length": spec.get("generation", {}).get("max_completion_length"),
        "load_s": next((event.seconds for event in state.phases if event.name == "load"), None),
        **found,
        "generation": generation(found, spec, gpu_name, str(announced.dtype)) if spec["model"]["name"] else {},
        "memory": peak_memory(state, events, plan),
        "memory_probe": probe(state),
        "alerts": [f"{one.level}: {one.title}: {one.text}" for one in state.alerts],
        "grad_norm": (state.metrics.get("train/grad_norm") or [None])[-1],
        "loss": (state.metrics.get("train/loss") or [None])[-1],
    }
    if status != "finished":
        result |= failure(rundir, state, output_tail)
    cleaned: dict[str, Any] = json.loads(without_places(json.dumps(result), spec["model"]["name"]))
    return cleaned


def failure(rundir: RunDir, state: RunState, output_tail: str) -> dict[str, Any]:
    """Why a run is not finished: what it said, and the ends of its log and of the command's output."""
    log = rundir.log_file(max(1, rundir.newest_attempt()))
    tail = log.read_text(encoding="utf-8", errors="replace")[-TAIL_CHARACTERS:] if log.is_file() else ""
    final = state.final if isinstance(state.final, RunFailedEvent) else RunFailedEvent()
    return {
        "problems": final.problems or [],
        "traceback_tail": final.traceback_tail or "",
        "last_phase": state.phase,
        "log_tail": tail,
        "output_tail": output_tail[-TAIL_CHARACTERS:],
    }


def without_places(text: str, model: str = "") -> str:
    """The text without this machine's folders: a result is published."""
    places = {
        model: "MODEL",
        os.environ.get("SITE", ""): "SITE",
        sys.prefix: "PYTHON",
        sys.base_prefix: "PYTHON",
        str(PROJECT): ".",
        os.environ.get("WORK", ""): "WORK",
        tempfile.gettempdir(): "TMP",
        str(Path.home()): "~",
    }
    for place, name in places.items():
        if len(place) > 1:
            text = text.replace(place, name)
    return text


# ---- showing


def write(result: dict[str, Any], out: Path) -> Path:
    """gpu-<preset>-<engine>.json in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"gpu-{result['preset']}-{result['engine']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="ascii")
    return path


def short(result: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of the table, for the last line."""
    generate = result["spans_s"]["transformers.generate"]
    return {
        "preset": result["preset"],
        "engine": result["engine"],
        "status": result["status"],
        "steps": result["steps_done"],
        "step_s": result["step_s"],
        "generate_s": generate,
        "tokens_per_s": result["generation"].get("tokens_per_s"),
        "share_of_floor": result["generation"].get("share_of_floor"),
        "peak_gib": result["memory"]["measured_gib"],
        "peak_to_plan": result["memory"]["measured_to_plan"],
    }


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """One line a run."""
    heads = ("preset", "engine", "status", "steps", "step s", "gen s", "tok/s", "of floor", "peak GiB", "of plan")
    lines: list[tuple[str, ...]] = [heads]
    for result in results:
        lines.append(tuple(_cell(value) for value in short(result).values()))
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines)


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return "-" if value is None else str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="a run's folder, outputs/<run>")
    parser.add_argument("--preset", required=True)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--out", type=Path, default=PROJECT / "benchmarks" / "results")
    given = parser.parse_args()
    result = collect(RunDir(given.run), preset=given.preset, engine=given.engine)
    write(result, given.out)
    print(table([result]))
    print(json.dumps(short(result)))
    return 0 if result["status"] == "finished" else 1


if __name__ == "__main__":
    sys.exit(main())
