"""The fast path against plain TRL: generation, update and whole step, and time to the same held-out score.

    .venv/bin/python benchmarks/fast.py [--quick] [--device cuda] [--only TEXT] [--out FILE]

Both trainers have the same random model, rows, rewards, seed, batch and number of threads, and take their step in turn
in one process; the ratio is that of the seconds (on a CPU those of its one thread), the median of the pairs. Peak
memory is of two processes of their own. What is checked once before the first use (trainer/fast/check.py) is left out
of the ratios and told by itself. On a GPU, where Unsloth is installed, its own trainer takes the same step with the
same adapter in a process of its own (benchmarks/unsloth_step.py). The last line printed is one JSON object; exit code 1
when a floor is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import unsloth_step
from benchmarks.card import card
from benchmarks.learning import until_score
from benchmarks.random_models import EOS, Sizes, model, tokenizer


class Cell(NamedTuple):
    """prompt, completion: tokens; group: completions a prompt. floors: the least ratio of a phase. spread: lengths are
    drawn (log-normal, median 0.35 of the longest, sigma 0.7) instead of all the longest. quick: part of --quick.
    memory: peaks are compared as well. packed: no passes of prompts by themselves (trainer/fast/packed.py)."""

    prompt: int
    completion: int
    group: int
    prompts: int = 1
    kind: str = "qwen3"
    spread: bool = False
    beta: float = 0.0
    dead: float = 0.0
    lora: bool = False
    checkpointing: bool = False
    writes: bool = True
    pairs: int = 1
    quick: bool = False
    memory: bool = False
    packed: bool = False
    floors: dict[str, float] = {}  # noqa: RUF012  # read only

    @property
    def title(self) -> str:
        parts = [f"{self.kind} ({self.prompt},{self.completion},{self.group})"]
        parts += [f"x{self.prompts}"] if self.prompts > 1 else []
        parts += ["spread"] if self.spread else ["equal"]
        parts += [f"beta {self.beta}"] if self.beta else []
        parts += [f"{self.dead:.0%} dead"] if self.dead else []
        parts += ["LoRA"] if self.lora else []
        parts += ["checkpointing"] if self.checkpointing else []
        parts += ["packed"] if self.packed else []
        return " ".join(parts)


CELLS = (
    Cell(64, 64, 8, writes=False, pairs=5, quick=True, memory=True, floors={"update": 1.25}),
    Cell(768, 256, 8, writes=False, pairs=2, floors={"update": 2.2}),
    Cell(768, 256, 8, writes=False, spread=True, pairs=2, quick=True, memory=True, floors={"update": 2.8}),
    Cell(768, 256, 8, writes=False, spread=True, packed=True, floors={"update": 2.8}),
    Cell(2048, 762, 4, writes=False, memory=True, floors={"update": 2.0}),
    Cell(2048, 64, 8, writes=False, pairs=2, floors={"update": 5.0}),
    Cell(768, 256, 8, spread=True, beta=0.1, lora=True, pairs=2, floors={"generate": 1.6, "step": 2.0}),
    Cell(2048, 64, 8, spread=True, beta=0.1, lora=True, quick=True, floors={"generate": 4.0}),
    Cell(64, 64, 8, 8, lora=True, pairs=2),
    Cell(64, 64, 8, 8, lora=True, dead=0.5, pairs=2),
    Cell(64, 64, 8, 8, lora=True, dead=0.875, pairs=2, floors={"step": 3.5}),
    Cell(64, 64, 8, 8, lora=True, dead=0.875, spread=True, pairs=3, quick=True, floors={"step": 3.5}),
    Cell(64, 64, 8, 8, lora=True, beta=0.1, spread=True, pairs=2),
    Cell(16, 64, 2, 8, pairs=5, floors={"step": 0.97}),
    Cell(16, 64, 8, 2, pairs=5, quick=True, memory=True, floors={"step": 0.97}),
    Cell(768, 128, 8, 2, "gemma3", lora=True, checkpointing=True, spread=True, dead=0.5, memory=True),
    Cell(768, 256, 8, 1, "gemma3", writes=False, spread=True, pairs=2, floors={"update": 2.2}),
)
PHASES = ("generate", "reference", "update", "step")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="under four minutes")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--only", default="", help="cells whose title holds this text")
    parser.add_argument("--no-learning", action="store_true", help="leave out the time to the same held-out score")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--alone", nargs=2, metavar=("CELL", "WHOSE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone and given.alone[1] == "unsloth":
        unsloth_step.prepare()  # before TRL
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    sizes = Sizes(layers=16, hidden=2048, vocabulary=32000) if given.device == "cuda" else Sizes()
    if given.alone:
        print(json.dumps(alone(CELLS[int(given.alone[0])], given.alone[1], sizes, given.device)))
        return 0
    told = io.StringIO()
    say = _teller(told)
    say(card("fast", device=given.device, threads=1, quick=given.quick, **sizes._asdict()))
    began = time.monotonic()
    result = measure_all(given, sizes, say)
    say(f"took {(time.monotonic() - began) / 60:.1f} minutes")
    missed = [f"{cell['title']}: {name}" for cell in result["cells"] for name in cell["missed"]]
    missed += [f"{each['preset']}: to the same score" for each in result["learning"] if each["missed"]]
    say(json.dumps(result | {"missed": missed}))
    if given.out:
        given.out.write_text(told.getvalue(), encoding="utf-8")
    return 1 if missed else 0


def _teller(told: io.StringIO) -> Callable[[str], None]:
    def say(text: str) -> None:
        print(text, flush=True)
        told.write(text + "\n")

    return say


def measure_all(given: argparse.Namespace, sizes: Sizes, say: Callable[[str], None]) -> dict[str, Any]:
    cells = []
    beside = given.device == "cuda" and unsloth_step.is_there()
    columns = (*PHASES, "memory", *(["unsloth"] if beside else []))
    say(f"{'TRL : ours':52}" + "".join(f"{name:>11}" for name in (*columns, "check", "TRL step")))
    for number, cell in enumerate(CELLS):
        if (given.quick and not cell.quick) or given.only not in cell.title:
            continue
        found = compare(cell, sizes, given.device)
        if cell.memory and not given.quick:
            with ThreadPoolExecutor(2 if given.device == "cpu" else 1) as side_by_side:  # neither is timed
                each = side_by_side.map(lambda whose, n=number: process_of(n, whose, given.device), ("trl", "ours"))
                peaks = [process["peak_gib"] for process in each]
            found["memory"] = peaks[1] / peaks[0]
        if beside and cell.lora:
            found["unsloth"] = process_of(number, "unsloth", given.device)["step"] / found["ours_step_s"]
        found["missed"] = [name for name, floor in cell.floors.items() if found[name] < floor]
        found["missed"] += ["memory"] if found.get("memory", 0.0) > 1.05 else []
        shown = "".join(f"{found[name]:>10.2f}x" if name in found else f"{'-':>11}" for name in columns)
        say(f"{cell.title:52}{shown}{found['check_s']:>9.2f} s{found['trl_step_s']:>9.2f} s")
        cells.append({"title": cell.title, **found})
    learning = [] if given.no_learning or given.only else until_score(given.quick, say)
    return {"cells": cells, "learning": learning}


def compare(cell: Cell, sizes: Sizes, device: str) -> dict[str, Any]:
    """{phase: ratio}, median of the pairs; seconds of the check, of TRL's step and of ours."""
    ratios: dict[str, list[float]] = {}
    steps: dict[str, list[float]] = {"trl": [], "ours": []}
    with tempfile.TemporaryDirectory(prefix="fast_") as folder:
        check_s = one_step(cell, "ours", sizes, device, Path(folder), check=True).get("check", 0.0)  # and a warm-up
        for pair in range(cell.pairs):
            order = ("trl", "ours") if pair % 2 else ("ours", "trl")
            times = {whose: one_step(cell, whose, sizes, device, Path(folder), check=False) for whose in order}
            for name, seconds in times["trl"].items():
                if times["ours"].get(name, 0.0) > 1e-4 and name in PHASES:
                    ratios.setdefault(name, []).append(seconds / times["ours"][name])
            for whose, seconds_of in steps.items():
                seconds_of.append(times[whose]["step"])
    found: dict[str, Any] = {name: statistics.median(values) for name, values in ratios.items()}
    return found | {"check_s": check_s} | {f"{whose}_step_s": statistics.median(each) for whose, each in steps.items()}


def one_step(cell: Cell, whose: str, sizes: Sizes, device: str, folder: Path, check: bool) -> dict[str, float]:
    """Seconds of each phase in one optimizer step of a new trainer."""
    trainer = make(cell, whose, sizes, device, folder)
    if whose == "ours" and cell.packed:
        trainer._prefixes = None
    if whose == "ours" and not check:
        trainer._checked = {"forward", "gradient"}
        trainer.decoding._fits = True
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    times: dict[str, float] = trainer.times
    return times


def alone(cell: Cell, whose: str, sizes: Sizes, device: str) -> dict[str, float]:
    """Of one step in this process: the seconds of its phases, and the GiB at the peak, of the GPU or of the process.
    Of Unsloth's trainer the second step, since the first one compiles."""
    from trainer.memory.measured import peak_gib

    with tempfile.TemporaryDirectory(prefix="fast_") as folder:
        for _ in range(2 if whose == "unsloth" else 1):
            times = one_step(cell, whose, sizes, device, Path(folder), check=True)
    return times | {"peak_gib": peak_gib()}


def process_of(number: int, whose: str, device: str) -> dict[str, float]:
    """What `alone` finds, in a process of its own."""
    command = [sys.executable, __file__, "--device", device, "--alone", str(number), whose]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def make(cell: Cell, whose: str, sizes: Sizes, device: str, folder: Path) -> Any:
    import torch
    from trl import GRPOTrainer

    from trainer.fast.decoding import Decoding
    from trainer.fast.update import FastUpdate
    from trainer.grpo.generation_guard import guard_generate
    from trainer.grpo.spans import Spans

    torch.set_num_threads(1)
    lengths = drawn_lengths(cell)
    bases = (Timed, FastUpdate, GRPOTrainer) if whose == "ours" else (Timed, GRPOTrainer)
    trainer_class = type("Measured", bases, {"cell": cell, "lengths": lengths, "clock": _clock(device)})
    given = arguments(cell, sizes, device, folder)
    if whose == "unsloth":
        given |= {"model": unsloth_step.taken_over(given, folder, cell.checkpointing), "peft_config": None}
    trainer = trainer_class(**given, **({"fast": "auto"} if whose == "ours" else {}))
    if whose != "ours":
        inner = trainer.model.generate
        trainer.model.generate = lambda **given: inner(**given, logits_processor=[Ending(lengths)])
    else:
        trainer.decoding = Decoding(draw=ending(lengths))
        guard_generate(trainer.model, Spans(), 1, trainer.decoding)
    return trainer


def _clock(device: str) -> Callable[[], float]:
    if device == "cpu":
        return time.process_time
    import torch

    def synchronised() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return synchronised


def drawn_lengths(cell: Cell) -> Any:
    import torch

    rows = cell.group * cell.prompts
    if not cell.spread:
        return torch.full((rows,), cell.completion)
    random = torch.Generator().manual_seed(9)
    drawn = cell.completion * 0.35 * torch.exp(0.7 * torch.randn(rows, generator=random))
    return drawn.clamp(2, cell.completion).long()


class Ending:
    """Ends each row of an undivided batch at its length and not before: TRL's way, which keeps all rows."""

    def __init__(self, lengths: Any) -> None:
        self.lengths, self.written = lengths, 0

    def __call__(self, ids: Any, scores: Any) -> Any:
        self.written += 1
        scores[:, EOS] = -float("inf")
        scores[(self.lengths <= self.written).to(scores.device), EOS] = float("inf")
        return scores.nan_to_num(posinf=1e4)


def ending(lengths: Any) -> Callable[[Any, Any], Any]:
    """The same where rows leave: by the rows' numbers."""
    import torch

    from trainer.fast.decoding import draw

    written = torch.zeros_like(lengths)

    def drawn(probabilities: Any, rows: Any) -> Any:
        rows = rows.cpu()
        written[rows] += 1
        probabilities[:, EOS] = 0
        tokens = draw(probabilities, rows)
        return torch.where((written[rows] >= lengths[rows]).to(tokens.device), EOS, tokens)

    return drawn


class Timed:
    """Seconds of each phase of a step, and the rollouts given where only the update is measured."""

    cell: Cell
    lengths: Any
    clock: Callable[[], float]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.times: dict[str, float] = {}
        super().__init__(*args, **kwargs)

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        clock = type(self).clock
        started = clock()
        yield
        self.times[name] = self.times.get(name, 0.0) + clock() - started

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        if self.cell.writes:
            with self.timed("generate"):
                return super()._generate_single_turn(prompt_ids, *args, **kwargs)  # type: ignore[misc]
        import torch

        random = torch.Generator().manual_seed(4)
        high = self.model.config.vocab_size  # type: ignore[attr-defined]
        return [torch.randint(3, high, (int(n),), generator=random).tolist() for n in self.lengths], None

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        import torch

        with contextlib.nullcontext() if torch.is_grad_enabled() else self.timed("reference"):
            return super()._get_per_token_logps_and_entropies(*args, **kwargs)  # type: ignore[misc]

    def _check(self, *args: Any, **kwargs: Any) -> None:
        with self.timed("check"):
            super()._check(*args, **kwargs)  # type: ignore[misc]

    def _prepare_inputs(self, *args: Any, **kwargs: Any) -> Any:
        with self.timed("prepare"):
            return super()._prepare_inputs(*args, **kwargs)  # type: ignore[misc]

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        with self.timed("step"):
            loss = super().training_step(*args, **kwargs)  # type: ignore[misc]
        self.times["update"] = self.times["step"] - self.times["prepare"]
        return loss


def arguments(cell: Cell, sizes: Sizes, device: str, folder: Path) -> dict[str, Any]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from trl import GRPOConfig

    random = torch.Generator().manual_seed(9)
    words = torch.randint(5, sizes.vocabulary, (cell.prompts, cell.prompt), generator=random).tolist()
    prompts = [" ".join(f"w{word}" for word in row) for row in words]
    alive = set(prompts[: cell.prompts - round(cell.dead * cell.prompts)])

    def reward(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [
            float(row % 5 + len(text) % 3) if prompts[row] in alive else 0.0 for row, text in enumerate(completions)
        ]

    rows = cell.group * cell.prompts
    each = rows if rows <= 16 else 8
    config = GRPOConfig(
        output_dir=str(folder),
        use_cpu=device == "cpu",
        bf16=device == "cuda",
        learning_rate=1e-5,
        per_device_train_batch_size=each,
        gradient_accumulation_steps=rows // each,
        num_generations=max(2, cell.group),
        max_completion_length=cell.completion,
        max_steps=1,
        report_to="none",
        save_strategy="no",
        gradient_checkpointing=cell.checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        disable_tqdm=True,
        seed=1,
        beta=cell.beta,
        loss_type="dapo",
        logging_steps=1,
        dataloader_pin_memory=False,
    )
    lora = LoraConfig(r=16, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM") if cell.lora else None
    return {
        "model": model(cell.kind, sizes, device),
        "reward_funcs": reward,
        "args": config,
        "train_dataset": Dataset.from_dict({"prompt": prompts}),
        "processing_class": tokenizer(sizes.vocabulary),
        "peft_config": lora,
    }


if __name__ == "__main__":
    sys.exit(main())
