"""Do the embedded presets learn, whatever the seed? Each seed makes the model, its warm start and the sampling anew.

    .venv/bin/python benchmarks/tiny_seeds.py --presets tiny tiny-qlora --seeds 1 2 3

Runs `app.py --headless` to the end for every preset and seed, one after the other; command_s is from the command to its
end, with the warm start. The last line printed is one JSON object. Exit code 1
unless in every run reward rose by 0.3 (last ten steps over first ten) and the greedy held-out reward by 0.2.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks.card import card  # noqa: E402

REWARD_GAIN, EVAL_GAIN = 0.3, 0.2
COLUMNS = ("reward_first", "reward_last", "eval_before", "eval_after", "correct_before", "correct_after", "command_s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="+", default=["tiny", "tiny-qlora"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    given = parser.parse_args()
    print(card("tiny_seeds", presets=" ".join(given.presets), seeds=given.seeds))
    print(f"{'preset':16}{'seed':>5}" + "".join(f"{name:>16}" for name in COLUMNS))
    runs = []
    with tempfile.TemporaryDirectory(prefix="tiny_seeds_") as outputs:
        for preset in given.presets:
            for seed in given.seeds:
                run = train(preset, seed, outputs)
                print(f"{preset:16}{seed:>5}" + "".join(f"{run[name]:>16.3f}" for name in COLUMNS), flush=True)
                runs.append({"preset": preset, "seed": seed, **{name: run[name] for name in COLUMNS}})
    reward_gain = min(run["reward_last"] - run["reward_first"] for run in runs)
    eval_gain = min(run["eval_after"] - run["eval_before"] for run in runs)
    seconds = max(run["command_s"] for run in runs)
    print(
        json.dumps({"reward_gain_min": reward_gain, "eval_gain_min": eval_gain, "seconds_max": seconds, "runs": runs})
    )
    return 0 if reward_gain >= REWARD_GAIN and eval_gain >= EVAL_GAIN else 1


def train(preset: str, seed: int, outputs: str) -> dict[str, Any]:
    """The summary of one run, and how long it took. Exits when it did not finish."""
    command = [sys.executable, str(PROJECT / "app.py"), "--headless", "--preset", preset]
    command += ["--set", f"run.seed={seed}", "--set", f"model.warm_start.seed={seed}"]
    environment = {**os.environ, "ONEGRPO_OUTPUTS": outputs}
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, text=True, capture_output=True)
    if done.returncode != 0:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    took_s = time.perf_counter() - started
    return {**json.loads(done.stdout.splitlines()[-1]), "command_s": took_s}


if __name__ == "__main__":
    sys.exit(main())
