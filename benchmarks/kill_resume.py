"""Kill training with SIGKILL at random moments, resume it, and compare the final weights with an uninterrupted run.

    .venv/bin/python benchmarks/kill_resume.py --kills 20
    .venv/bin/python benchmarks/kill_resume.py --kills 20 --preset tiny-stages
    .venv/bin/python benchmarks/kill_resume.py --kills 5 --set sampling.max_rounds=3 sampling.skip_dead=true

Real workers, real checkpoints, preset `tiny` made shorter: several epochs, a checkpoint every second step, so that
kills land while loading, in a step, while saving and while evaluating. Runs go to a temporary folder. The last line
printed is one JSON object. Exit code 1 unless every kill was resumed and every chain ended with the same weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.card import card
from trainer import launch
from trainer.errors import TrainerError
from trainer.run import checkpoints
from trainer.run.rundir import RunDir
from trainer.run.state import state_of

SHORT = [
    "optim.max_steps=80",
    "optim.per_device_train_batch_size=32",
    "data.max_rows=44",  # 11 steps an epoch: kills land in eight epochs, the last one is not whole
    "checkpoint.save_steps=2",
    "checkpoint.save_total_limit=2",
    "eval.max_rows=16",
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings beside those of the preset")
    given = parser.parse_args()
    print(card("kill_resume", preset=given.preset, kills=given.kills, settings=" ".join(given.set)))
    with tempfile.TemporaryDirectory(prefix="kill_resume_") as folder:
        os.environ["ONEGRPO_OUTPUTS"] = folder
        spec, plan = launch.prepare(given.preset, [*SHORT, *given.set])

        warm = launch.create(given.preset, spec, plan, "warm")  # fills the model cache
        finish(warm)
        reference = launch.create(given.preset, spec, plan, "reference")
        started = time.monotonic()
        reference = finish(reference)
        seconds = time.monotonic() - started
        wanted = weights_hash(reference)
        print(f"uninterrupted: {seconds:.1f} s, weights {wanted[:16]}")

        draw = random.Random(given.seed)
        kills = 0
        chains: list[dict[str, Any]] = []
        moments: list[int] = []
        while kills < given.kills:
            run = launch.create(given.preset, spec, plan, f"chain-{len(chains) + 1}")
            run, done = chain(run, draw, seconds, given.kills - kills, moments)
            kills += done["kills"]
            chains.append(done | {"same": done["resumed"] and weights_hash(run) == wanted})
            print(f"{run.name}: {done['kills']} kills, {done['attempts']} attempts, same weights: {chains[-1]['same']}")
            for each in run.path.parent.glob(f"chain-{len(chains)}*"):
                shutil.rmtree(each, ignore_errors=True)  # its report may still be written
    resumed = sum(one["kills"] for one in chains if one["resumed"])
    result = {
        "kills": kills,
        "resumed": resumed,
        "chains": len(chains),
        "chains_same_weights": sum(one["same"] for one in chains),
        "killed_at_step_median": statistics.median(moments) if moments else None,
        "weights_sha256": wanted,
    }
    print(json.dumps(result))
    return 0 if resumed == kills and result["chains_same_weights"] == len(chains) else 1


def chain(
    run: RunDir, draw: random.Random, seconds: float, most: int, moments: list[int]
) -> tuple[RunDir, dict[str, int | bool]]:
    """Kill and resume one run, with the stages after it, until it is through or `most` kills are spent.

    The last run, and what was done with all of them.
    """
    kills, attempts = 0, 1
    worker: launch.WorkerHandle | launch.NextAttempt = launch.start(run)
    while True:
        wait(worker, draw.uniform(0.2, 1.0) * seconds if kills < most else 600)
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            while worker.poll() is None:
                time.sleep(0.01)
            kills += 1
            moments.append(state_of(run).last_step)
        if launch.status_of(run) == "finished":
            after = launch.chain.go_on(run)
            if after is None:
                return run, {"kills": kills, "attempts": attempts, "resumed": True}
            run, worker = after, worker_of(after)
            continue
        try:
            worker = launch.resume(run)
        except TrainerError as error:
            print(f"{run.name}: {error}", file=sys.stderr)
            return run, {"kills": kills, "attempts": attempts, "resumed": False}
        attempts += 1
        if attempts > kills + 2:  # it ended by itself, and not well
            print(run.log_file(worker.attempt).read_text()[-2000:], file=sys.stderr)
            return run, {"kills": kills, "attempts": attempts, "resumed": False}


def worker_of(run: RunDir) -> launch.NextAttempt:
    """Of a stage that was just started, by this process or by the one that the stage before left."""
    while (found := launch.next_attempt(run, 0)) is None:
        time.sleep(0.01)
    return found


def wait(worker: launch.WorkerHandle | launch.NextAttempt, seconds: float) -> None:
    end = time.monotonic() + seconds
    while worker.poll() is None and time.monotonic() < end:
        time.sleep(0.01)


def finish(run: RunDir) -> RunDir:
    """Train it and the stages after it; the last run."""
    worker: launch.WorkerHandle | launch.NextAttempt = launch.start(run)
    while True:
        wait(worker, 600)
        if launch.status_of(run) != "finished":
            sys.exit(run.log_file(worker.attempt).read_text()[-3000:])
        after = launch.chain.go_on(run)
        if after is None:
            return run
        run, worker = after, worker_of(after)


def weights_hash(run: RunDir) -> str:
    """sha256 over the weight files of the last checkpoint."""
    newest, _ = checkpoints.newest_verified(run.checkpoints)
    assert newest is not None, run
    digest = hashlib.sha256()
    for path in sorted(newest.path.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
