"""A rollout phase whose prompts a sampler chooses, in one round or several: what is written, kept and thrown away.

    with rounds.phase() as inputs:      writes and scores until the phase is full, or max_rounds were written
        super()._generate_and_score_completions(inputs)     is given what was written and what it was paid

TRL's dataloader goes on as the clock of the run; the rows it brings are left where they are. Groups without spread
teach nothing (DAPO, arXiv 2503.14476, eq. 11 keeps those alone whose completions are neither all right nor all wrong):
they are written anew, of other prompts, as long as there are rounds. Then groups that are remembered come in their
place (replay.py), and where there are none left they fill the batch.

Shapes: N completions of a phase; n of a round; K reward functions that TRL sees.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from trainer.grpo.replay import Replayed
from trainer.grpo.written import COMPLETION_IDS, COMPLETIONS, Written, followed, joined, part
from trainer.machine.json_files import read_json, write_json
from trainer.rewards.library.endpoint import UNITS
from trainer.run import checkpoints
from trainer.run.rollouts import Outcome, finite_or_none, outcome
from trainer.sampling.history import Seen
from trainer.sampling.sampler import Pick, Sampler


class Rounds:
    """trainer: a CustomGRPOTrainer. totals: (n, K) rewards -> (n,) as TRL sums them."""

    def __init__(self, trainer: Any, sampler: Sampler, totals: Callable[[Tensor], Tensor]) -> None:
        self.trainer, self.sampler, self.totals = trainer, sampler, totals
        self.settled: Written | None = None
        """What of the phase is trained on, while TRL asks for it."""
        self.kept_rows: list[int] = []
        """Rows of what the newest phase wrote that are trained on, in the order of the batch, and before those of
        groups that come again."""
        self.replayed = Replayed(trainer, sampler.settings) if sampler.settings.replay else None
        self._kept: Written | None = None

    @property
    def kept(self) -> Written:
        assert self._kept is not None, "a phase was written"
        return self._kept

    @property
    def has_several_sizes(self) -> bool:
        return self.sampler.settings.group_size != "fixed"

    def save(self, folder: Path) -> None:
        """All that the next phase follows from."""
        write_json(folder / checkpoints.SAMPLER, self.sampler.state())
        if self.replayed is not None:
            self.replayed.save(folder / checkpoints.REPLAY)

    def load(self, folder: Path) -> None:
        """Of a checkpoint; one without them was written before sampling was set, and --force goes on with it."""
        saved = read_json(folder / checkpoints.SAMPLER)
        if saved is not None:
            self.sampler.load(saved)
        if self.replayed is not None and (folder / checkpoints.REPLAY).exists():
            self.replayed.load(folder / checkpoints.REPLAY)

    @contextmanager
    def phase(self) -> Iterator[list[dict[str, Any]]]:
        """The rows of the data that a phase trains on. Inside, `settled` is what was written for them; afterwards TRL's
        metrics of rewards are those of everything that was written: of what is kept they would tell another story."""
        written = self._rounds()
        self.settled = self.kept
        try:
            yield self.kept.inputs
        finally:
            self.settled = None
        for name, value in self._rewards_of(written).items():
            self.trainer._metrics["train"][name][-1] = value
        self.trainer._written = written

    def _rounds(self) -> Written:
        """Write until every group of the phase has spread, or max_rounds were written."""
        group = self.trainer.num_generations
        wanted = self.trainer.args.per_device_train_batch_size * self.trainer.args.steps_per_generation
        before = {name: len(values) for name, values in self.trainer._metrics["train"].items()}
        rounds: list[Written] = []
        missing = wanted
        while missing and len(rounds) < self.sampler.settings.max_rounds:
            rounds.append(self._write(self.sampler.next(missing, self.trainer.state.global_step)))
            self.sampler.told(_seen(rounds[-1]))
            missing = (wanted - sum(each.completions_with_spread() for each in rounds)) // group * group
        written = joined(rounds)
        again = self._again(written, wanted)
        fresh = wanted - sum(len(each.inputs) for each in again)
        chosen = _chosen(written, fresh)
        self.kept_rows = [row for _, rows in chosen for row in rows]
        places = [place for place, _ in chosen]
        kept = part(written, self.kept_rows, [len(rows) for _, rows in chosen])
        kept.outcomes, kept.picked = [written.outcomes[i] for i in places], [written.picked[i] for i in places]
        self._kept = followed(kept, again) if again else kept
        self._one_value_a_phase(before, [len(each.inputs) for each in rounds])
        self._keep_tables(len(written.inputs), wanted - fresh)
        self._note(self._counted(written, len(rounds), wanted - fresh) | self.sampler.metrics())
        return written

    def _again(self, written: Written, wanted: int) -> list[Written]:
        """Groups of earlier phases, in the places of those without spread."""
        if self.replayed is None:
            return []
        lively = [i for i, each in enumerate(written.outcomes) if each.kind == "spread"]
        missing = wanted - written.completions_with_spread()
        return self.replayed.take(missing, [written.picked[i] for i in lively])

    def scored(self, output: dict[str, Any]) -> None:
        """What TRL made of a phase, before its rows are shuffled."""
        if self.replayed is not None:
            self._note(self.replayed.scored(output, self.kept))

    def _note(self, found: dict[str, float]) -> None:
        for name, value in found.items():
            self.trainer._metrics["train"][f"sampler/{name}"].append(float(value))

    def pass_rates(self, completions: int, look: Callable[[], None]) -> list[float]:
        """The share of `completions` for each row of the data that are right, as the policy is now. look: is called
        now and then, and may raise. What TRL notes of them is taken back, but for their tokens."""
        trainer = self.trainer
        at_once = max(1, trainer.args.per_device_train_batch_size * trainer.args.steps_per_generation // completions)
        rows = len(trainer.train_dataset)
        rates: list[float] = []
        trainer.model.train()  # TRL counts the tokens of a training alone
        for first in range(0, rows, at_once):
            look()
            picks = [Pick(row, completions) for row in range(first, min(rows, first + at_once))]
            rates += [(each.right or 0) / each.completions for each in _seen(self._write(picks))]
        for table in (trainer._metrics["train"], trainer._pending_metrics, trainer._pending_extra_logs):
            table.clear()
        return rates

    def _write(self, picks: Sequence[Pick]) -> Written:
        """One round."""
        trainer = self.trainer
        started = time.perf_counter()
        rows = [trainer.train_dataset[pick.row] for pick in picks]
        inputs = [dict(row) for row, pick in zip(rows, picks, strict=True) for _ in range(pick.completions)]
        prompts = [row["prompt"] for row in inputs]
        sizes = [pick.completions for pick in picks]
        trainer.is_uneven = set(sizes) != {trainer.num_generations}
        generated = trainer._generate(prompts)
        rewards = trainer._calculate_rewards(inputs, prompts, generated[COMPLETIONS], generated[COMPLETION_IDS])
        notes = trainer.reward_wrapper.notes()
        written = Written(inputs, generated, rewards, notes, sizes, picked=[pick.row for pick in picks])
        written.outcomes = self._judged(written)
        written.seconds = time.perf_counter() - started
        return written

    def _judged(self, written: Written) -> list[Outcome]:
        given, notes = finite_or_none(self.totals(written.rewards).tolist()), written.notes
        weighed = [c for c, w in zip(notes.objectives.values(), self.trainer.reward_weights, strict=False) if w]
        found = []
        for rows in written.rows_of_groups():
            parts = [[column[i] for i in rows] for column in weighed]
            if notes.step_rewards:
                parts = [[value for i in rows for value in notes.step_rewards[i]]]
            found.append(outcome([given[i] for i in rows], [notes.correct[i] for i in rows], parts))
        return found

    def _one_value_a_phase(self, before: dict[str, int], counts: Sequence[int]) -> None:
        """What TRL noted of each round becomes the mean over their completions, of costs the sum."""
        for table, there in ((self.trainer._metrics["train"], before), (self.trainer._pending_metrics, {})):
            for name, values in table.items():
                new = values[there.get(name, 0) :]
                if len(new) == len(counts) > 1:
                    values[there.get(name, 0) :] = [_over_rounds(name, new, counts)]

    def _keep_tables(self, count: int, again: int) -> None:
        """Of what reward functions noted beside each completion, that of the completions that TRL will table."""
        for values in self.trainer._pending_extra_logs.values():
            if len(values) == count:
                values[:] = [values[row] for row in self.kept_rows] + [None] * again

    def _counted(self, written: Written, rounds: int, again: int) -> dict[str, float]:
        """What was thrown away, in a phase that may have several rounds; and how many completions prompts got. again:
        completions that were written before."""
        found: dict[str, float] = {}
        if self.sampler.settings.max_rounds > 1:
            kept = set(self.kept_rows)
            lengths = [len(ids) for ids in written.generated[COMPLETION_IDS]]
            thrown = sum(length for row, length in enumerate(lengths) if row not in kept)
            lively = (written.completions_with_spread() + again) / (len(kept) + again)
            found = {
                "rounds": rounds,
                "thrown_frac": 1 - len(kept) / len(lengths),
                "thrown_tokens": thrown,
                "thrown_s": written.seconds * thrown / max(1, sum(lengths)),
                "kept_without_spread_frac": 1 - min(1.0, lively),
            }
        if self.replayed is not None:
            found["replayed_frac"] = again / (len(self.kept_rows) + again)
        if self.sampler.settings.skip_dead:
            found["filter_is_idle"] = self.sampler.filter_is_idle
        if self.has_several_sizes:
            found |= {"completions_min": min(written.sizes), "completions_max": max(written.sizes)}
        return found

    def _rewards_of(self, written: Written) -> dict[str, float]:
        """TRL's metrics of rewards, by their names."""
        totals = self.totals(written.rewards)
        dead = sum(each.kind != "spread" for each in written.outcomes)
        found = {
            "reward": totals.nanmean().item(),
            "reward_std": _nanstd(totals),
            "frac_reward_zero_std": dead / len(written.outcomes),
        }
        for place, name in enumerate(self.trainer.reward_func_names):
            column = written.rewards[:, place]
            found |= {f"rewards/{name}/mean": column.nanmean().item(), f"rewards/{name}/std": _nanstd(column)}
        return found


def _seen(written: Written) -> list[Seen]:
    found = []
    for row, rows, judged in zip(written.picked, written.rows_of_groups(), written.outcomes, strict=True):
        known = [flag for i in rows if (flag := written.notes.correct[i]) is not None]
        found.append(Seen(row, len(rows), sum(known) if known else None, judged.std, judged.kind))
    return found


def _chosen(written: Written, wanted: int) -> list[tuple[int, range]]:
    """Groups of `wanted` completions, as they were written: of each its place and its rows. Those with spread, then
    others; the last one is cut."""
    groups = list(enumerate(written.rows_of_groups()))
    ordered = sorted(groups, key=lambda group: written.outcomes[group[0]].kind != "spread")
    parts: list[tuple[int, range]] = []
    for place, rows in ordered:
        parts.append((place, rows[: wanted - sum(len(part) for _, part in parts)]))
    return sorted(((place, rows) for place, rows in parts if rows), key=lambda each: each[0])


def _over_rounds(name: str, values: Sequence[float], counts: Sequence[int]) -> float:
    kind = name.rpartition("/")[2]
    if kind.startswith(("min", "max")):
        return (min if kind.startswith("min") else max)(values)
    if kind in UNITS:  # of a judge: what has to be paid
        return sum(values)
    return sum(value * count for value, count in zip(values, counts, strict=True)) / sum(counts)


def _nanstd(values: Tensor) -> float:
    """Of the sample (n - 1), as TRL's."""
    known = values[~values.isnan()]
    return known.std().item() if len(known) > 1 else 0.0
