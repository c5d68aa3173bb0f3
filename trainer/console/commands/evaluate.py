"""python -m trainer evaluate: score the answers of every epoch and name the best"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.console.printing import put
from trainer.console.tables import put_table


def add(commands: Any) -> None:
    parser = commands.add_parser("evaluate", help="score the answers of every epoch and name the best")
    parser.add_argument("folder", metavar="DIR", help="a run, or a folder with inference_epochE.json files")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="right answers (default: the run's eval data)")
    parser.add_argument("--preset", metavar="NAME", help="whose rewards score (default: the run's, else malpyeong)")
    parser.set_defaults(call=evaluate)


def evaluate(folder: str, labels: Path | None, preset: str | None) -> int:
    """Score the inference files of a run, or of any folder, print the table and name the best epoch.

    labels: None takes the run's data.eval_path. preset: whose components score; None takes the run's, or malpyeong's.
    """
    from trainer import launch, text
    from trainer.evaluate import contest

    place, spec, labels, rows = contest.opened(folder, labels, preset)
    scores = contest.score_folder(place, rows, spec)
    contest.write_scores(place, scores, spec, labels)
    words = text.here()
    put_table(contest.table(scores, words))
    put(" ".join(map(words.said, contest.best_epoch(place, scores))))
    return launch.EXIT_FINISHED
