"""Scoring of inference files against the right answers, and the best of the epochs.

The contest's figures are ROUGE-1, BERTScore and exact match (EM), each the mean over all rows of what the run's own
reward component of that function says, and their mean. A row that one of them cannot judge is an error: leaving it
out would flatter. Torch-free until a component brings torch.
"""

from __future__ import annotations

import hashlib
import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer import presets
from trainer.data import decoding, files
from trainer.data.rows import wanted
from trainer.data.shapes import mapped
from trainer.errors import DataError, InputError, Problem, RewardError, RunError
from trainer.evaluate.answers import asked, epoch_label
from trainer.machine.json_files import write_json
from trainer.machine.regular_files import read_file
from trainer.rewards import arithmetic, building
from trainer.rewards.calls import Call
from trainer.rewards.contract import Failure, Value
from trainer.rewards.gold import written
from trainer.rewards.in_process import Here
from trainer.run.events import EventReader
from trainer.run.records import PlanEvent, StepEvent
from trainer.run.rundir import NAME, RunDir, outputs_dir
from trainer.spec import Component, RunSpec
from trainer.text import Message, Words

FILE = re.compile(r"inference_epoch(\d+(?:\.\d+)?)\.json")
METRICS = {"rouge1": "rouge1", "bertscore": "bertscore", "em": "exact_match"}
"""{figure: function of the reward library}."""
FORMULA = {*METRICS.values(), "format_regex"}
"""What the contest's formula is made of. Other parts of a reward may ask a server, or look at more than the texts."""
HEADER = {"rouge1": "ROUGE-1", "bertscore": "BERTSCORE", "em": "EM"}
EXAMPLE = '[{"id": 0, "question": "...", "answer": "..."}]'
MAX_PROBLEMS = 10


@dataclass(frozen=True)
class EpochScore:
    """Means over the rows of one inference file. mean: (rouge1 + bertscore + em) / 3.

    reward: what the run would have given; None where its rewards have parts that are not of the contest (FORMULA).
    step: the optimizer step after which the file was written; None where the folder has no event log that says it.
    """

    epoch: str
    step: int | None
    rouge1: float
    bertscore: float
    em: float
    mean: float
    reward: float | None
    rows: int
    file: str


class Scorer:
    """The figures by the components of one spec; models load once. Raises RunError when a component is missing."""

    def __init__(self, spec: RunSpec) -> None:
        self.reward = spec.reward
        self.metrics = {figure: _component(spec, function) for figure, function in METRICS.items()}
        leaves = spec.reward.leaves()
        self.has_reward = spec.reward.supervision == "outcome" and all(
            leaf.function in FORMULA and leaf.file is None for leaf in leaves
        )
        used = leaves if self.has_reward else self.metrics.values()
        self.functions = {leaf.title: building.make(leaf) for leaf in used}

    def score(self, path: Path, labels: Sequence[Mapping[str, Any]], step: int | None = None) -> EpochScore:
        """The figures of one inference file; labels: see read_labels.

        Raises RunError for a file that does not fit the labels, InputError where a component cannot judge them.
        """
        texts = answers_to(labels, path)
        columns = self._columns(labels)
        values = {name: self._judged(name, texts, columns, path.name) for name in self.functions}
        found = {figure: statistics.fmean(values[part.title]) for figure, part in self.metrics.items()}
        label = FILE.fullmatch(path.name)
        return EpochScore(
            epoch=label[1] if label else path.stem,
            step=step,
            **found,
            mean=statistics.fmean(found.values()),
            reward=self._reward(values) if self.has_reward else None,
            rows=len(texts),
            file=path.name,
        )

    def _columns(self, labels: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
        """Columns that every label has; accepted answers that are not given are found in the model answers."""
        columns = {name: [row[name] for row in labels] for name in labels[0] if all(name in row for row in labels)}
        exact = self.functions[self.metrics["em"].title]
        if "answer" in columns and exact.answer is not None:
            for name in set(exact.columns) - columns.keys():
                columns[name] = [exact.answer(written(text)) for text in columns["answer"]]
        return columns

    def _judged(self, name: str, texts: list[str], columns: Mapping[str, list[Any]], file: str) -> list[float]:
        function = self.functions[name]
        missing = [column for column in function.columns if column not in columns]
        if missing:
            raise DataError(Problem("evaluate.no_column", "--labels", column=missing[0], component=name))
        arguments = {column: columns[column] for column in function.columns}
        try:
            answer = Here({name: function}).run([Call(name, len(texts), {"completions": texts, **arguments})])[name]
        except RewardError as error:  # of a model that cannot be loaded: nothing of the score can be had
            raise InputError(error.problems) from error
        known = [value for value in answer.values if isinstance(value, float)]
        if len(known) < len(texts):
            row, said = next((row, value) for row, value in enumerate(answer.values) if not isinstance(value, float))
            where = {"file": file, "row": row, "component": name}
            if isinstance(said, Failure):
                raise InputError(Problem("evaluate.not_judged", **where, said=said.why))
            raise InputError(Problem("evaluate.no_value", **where))
        return known

    def _reward(self, values: Mapping[str, Sequence[Value]]) -> float:
        totals = arithmetic.total(self.reward.components, values, training=False)
        return statistics.fmean(value for value in totals if isinstance(value, float)) / self.reward.divide_by


def score_folder(folder: Path, labels: Sequence[Mapping[str, Any]], spec: RunSpec) -> list[EpochScore]:
    """The score of every inference_epochE.json in the folder, by epoch, without the labels whose prompts the run left
    out as too long. Raises what Scorer.score does, and RunError when there is none."""
    found = inference_files(folder)
    if not found:
        raise RunError(Problem("evaluate.no_files", folder.name, folder=str(folder)))
    labels = _asked_for(labels, next(iter(found.values())), too_long(folder))
    for path in found.values():  # the last file's mistake is not worth waiting for
        answers_to(labels, path)
    scorer, steps = Scorer(spec), steps_of(folder)
    return [scorer.score(path, labels, steps.get(label)) for label, path in found.items()]


def too_long(folder: Path) -> int:
    """Held-out rows that the run left out because of their length, as its event log has it; 0 without one."""
    log = RunDir(folder).events
    plans = [event for event in EventReader(log).stream() if isinstance(event, PlanEvent)]
    return int((plans[-1].data or {}).get("eval_dropped", 0)) if plans else 0


def _asked_for(labels: Sequence[Mapping[str, Any]], path: Path, dropped: int) -> Sequence[Mapping[str, Any]]:
    """The labels that have an answer, where no more have none than the run left out; else all."""
    known = {str(entry.get("id", row)) for row, entry in enumerate(_entries(path))} if dropped else set()
    named = [{"id": row, **label} for row, label in enumerate(labels)]
    asked = [label for label in named if str(label["id"]) in known]
    return asked if asked and len(labels) - len(asked) <= dropped else labels


def inference_files(folder: Path) -> dict[str, Path]:
    """{label: file} by epoch."""
    found = {match[1]: path for path in folder.iterdir() if (match := FILE.fullmatch(path.name)) and path.is_file()}
    return {label: found[label] for label in sorted(found, key=float)}


def best(scores: Sequence[EpochScore]) -> EpochScore:
    """Of the highest mean; of equals the earlier epoch, which has drifted less from the model before training."""
    return max(scores, key=lambda score: score.mean)  # max takes the first of equals


def read_labels(path: Path, spec: RunSpec) -> list[dict[str, Any]]:
    """Rows of a JSONL, JSON, CSV or Parquet file, columns renamed as data.columns says. Raises DataError."""
    records = list(files.records(path, "--labels", spec.data.encoding))
    problems = [record for record in records if isinstance(record, Problem)]
    if problems:
        raise DataError(problems[:MAX_PROBLEMS])
    asked = wanted(spec, "data.eval_path")
    rows = [
        mapped(record.columns, spec.data, asked).columns for record in records if isinstance(record, decoding.Record)
    ]
    if not rows:
        raise DataError(Problem("evaluate.no_rows", "--labels", path=str(path)))
    return rows


def write_scores(folder: Path, scores: Sequence[EpochScore], spec: RunSpec, labels: Path) -> Path:
    """Write scores.json, which trainer.run.best reads. labels: the file they came from."""
    path = RunDir(folder).scores
    parts = {figure: _component(spec, function) for figure, function in METRICS.items()}
    metrics = {figure: {"function": part.function, "params": part.params} for figure, part in parts.items()}
    write_json(
        path,
        {
            "labels": {"file": labels.name, "sha256": hashlib.sha256(labels.read_bytes()).hexdigest()},
            "metrics": metrics | {"mean": f"({' + '.join(METRICS)}) / {len(METRICS)}"},
            "epochs": [asdict(score) for score in scores],
            "best": asdict(best(scores)),
        },
    )
    return path


def steps_of(folder: Path) -> dict[str, int]:
    """{label of an epoch: optimizer step} as the event log of a run has it; empty for a folder without one."""
    log = RunDir(folder).events
    steps = [event for event in EventReader(log).stream() if isinstance(event, StepEvent)]
    return {epoch_label(event.epoch): event.step for event in steps if event.epoch is not None}


def _component(spec: RunSpec, function: str) -> Component:
    """The component whose function that is. Raises RunError unless there is one, or several with the same params."""
    found = [leaf for leaf in spec.reward.leaves() if leaf.function == function and leaf.file is None]
    if not found:
        raise RunError(Problem("evaluate.no_component", "reward.components", function=function))
    if any(leaf.params != found[0].params for leaf in found):
        said = {"function": function, "count": len(found)}
        raise RunError(Problem("evaluate.components_differ", "reward.components", **said))
    return found[0]


def answers_to(labels: Sequence[Mapping[str, Any]], path: Path) -> list[str]:
    """The answer to each label, matched by id, else by the number of the row.

    Raises RunError naming the rows that are missing, too many, there twice, or of another question.
    """
    answers: dict[str, dict[str, Any]] = {}
    problems = []
    for row, entry in enumerate(_entries(path)):
        name = str(entry.get("id", row))
        if name in answers:
            problems.append(Problem("evaluate.id_twice", file=path.name, row=row, id=name))
        answers[name] = entry
    wanted = {str(label.get("id", row)): label for row, label in enumerate(labels)}
    for name, label in wanted.items():
        if name not in answers:
            problems.append(Problem("evaluate.no_answer", file=path.name, id=name))
        elif not _same_question(answers[name], label):
            seen = str(answers[name].get("question"))[:60]
            problems.append(Problem("evaluate.other_question", file=path.name, id=name, seen=seen))
    for name in answers.keys() - wanted.keys():
        problems.append(Problem("evaluate.no_label", file=path.name, id=name, rows=len(labels)))
    if len(wanted) < len(labels):
        problems.append(Problem("evaluate.label_twice", "--labels"))
    if problems:
        raise RunError(problems[:MAX_PROBLEMS])
    return [answers[name]["answer"] for name in wanted]


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(read_file(path))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(Problem("evaluate.not_json", path.name, said=str(error))) from error
    if not isinstance(entries, list) or not entries:
        raise RunError(Problem("evaluate.no_list", path.name, example=EXAMPLE))
    for row, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("answer"), str):
            raise RunError(Problem("evaluate.no_text", file=path.name, row=row))
    return entries


def _same_question(entry: Mapping[str, Any], label: Mapping[str, Any]) -> bool:
    """A label with a prompt in place of a question fits the prompt that was rendered from it."""
    said = str(entry.get("question", "")).strip()
    if "question" in label:
        return said == str(label["question"]).strip()
    return (asked(label.get("prompt")) or "").strip() in said


def opened(name: str, labels: Path | None, preset: str | None) -> tuple[Path, RunSpec, Path, list[dict[str, Any]]]:
    """(folder, spec, file of the labels, its rows) of a run's name under outputs, or of a path.

    Without `labels` those of the run's data.eval_path, as many as it evaluates on. Raises InputError of some kind when
    one of them is not to be had.
    """
    folder = outputs_dir() / name
    if not (NAME.fullmatch(name) and folder.is_dir()):
        folder = Path(name)
    if not folder.is_dir():
        RunDir.open(outputs_dir(), name)  # says which runs there are
    own = RunDir(folder).read_spec() if RunDir(folder).spec.is_file() else None
    spec = own if own is not None and preset is None else presets.load(preset or "malpyeong")
    used = own.eval.max_rows if own is not None else None  # the run has answered the first rows only
    if labels is not None:
        return folder, spec, labels, read_labels(labels, spec)[:used]
    if own is None or own.data.eval_path is None:
        raise DataError(Problem("evaluate.no_labels", "--labels", name=name))
    path = Path(own.data.eval_path)
    return folder, spec, path, read_labels(path, own)[:used]


def table(scores: Sequence[EpochScore], words: Words) -> list[list[str]]:
    """A header and one line an epoch; columns that no epoch has are left out."""
    columns = ("epoch", "step", *METRICS, "mean", "reward")
    shown = [name for name in columns if any(getattr(score, name) is not None for score in scores)]
    winner = best(scores)
    lines = [[*(HEADER.get(name) or words(f"console.scores.column_{name}") for name in shown), ""]]
    for score in scores:
        values = [getattr(score, name) for name in shown]
        cells = [
            f"{value:.4f}" if isinstance(value, float) else "-" if value is None else str(value) for value in values
        ]
        lines.append([*cells, words("evaluate.best_mark") if score is winner else ""])
    return lines


def best_epoch(folder: Path, scores: Sequence[EpochScore]) -> list[Message]:
    """Sentences that name the best epoch, where its weights are, and how many rows were left out if any were."""
    winner, run = best(scores), RunDir(folder)
    kept = [run.epoch_folder(winner.epoch), *([] if winner.step is None else [run.checkpoint(winner.step)])]
    there = next((path for path in kept if path.is_dir()), None)
    values: dict[str, Any] = {
        "epoch": winner.epoch,
        "among": Message("evaluate.best_of", count=len(scores)) if len(scores) > 1 else Message("evaluate.only_one"),
        "mean": winner.mean,
        "rows": winner.rows,
        "where": Message("evaluate.weights_in", path=str(there)) if there else Message("evaluate.weights_gone"),
    }
    if winner.step is None:
        said = [Message("evaluate.best_epoch", **values)]
    else:
        said = [Message("evaluate.best_epoch_step", **values, step=winner.step)]
    missing = too_long(folder)
    return [*said, Message("evaluate.left_out", count=missing)] if missing else said
