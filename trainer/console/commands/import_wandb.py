"""python -m trainer import-wandb: a history exported from W&B becomes a run"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.console.printing import put

if TYPE_CHECKING:
    from trainer.text import Words


def add(commands: Any) -> None:
    """The options carry the names that trainer.wandb_import.bring takes."""
    parser = commands.add_parser("import-wandb", help="make a run of a history exported from W&B, to report on it")
    parser.add_argument("paths", type=Path, nargs="+", metavar="FILE", help="CSV or JSON; several charts of one run")
    parser.add_argument("--name", metavar="NAME", help="of the run (default: its name in W&B, or the file's)")
    parser.add_argument("--run", metavar="NAME", help="which run of a chart that shows several")
    parser.add_argument("--preset", metavar="NAME", help="the settings it was made with")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--config", dest="config_file", type=Path, metavar="FILE", help="config.yaml of the W&B run")
    parser.add_argument("--gpu", metavar="NAME", help="the card it ran on, such as 4090, for the floor of its times")
    parser.set_defaults(call=import_wandb)


def import_wandb(paths: Sequence[Path], **options: Any) -> int:
    """Make a run directory of an exported W&B history and say what was in it; options as trainer.wandb_import.bring."""
    from trainer import launch, text
    from trainer.text import forms
    from trainer.wandb_import import bring

    made, say = bring.bring(paths, **options), text.here().under("wandb_import")
    told, name = made.training, made.rundir.name
    first, last = (told.steps[0].number, told.steps[-1].number) if told.steps else (0, 0)
    counts = {"steps": len(told.steps), "first": first, "last": last, "column": told.counted_by}
    put(forms.printable(say("made", run=name, **counts)))
    if told.evals:
        put(say("evaluations", count=len(told.evals)))
    put(forms.printable(say("metrics", names=", ".join(told.metrics))))
    for line in _known(made.known, say):
        put(line)
    for kind, count in made.ignored.items():
        put(say("left_out", count=count, what=say(f"ignored.{kind}")))
    for note in made.notes:
        put(forms.printable(say("note", text=note)))
    put(f"python -m trainer report {name}")
    return launch.EXIT_FINISHED


def _known(keys: Sequence[str], say: Words) -> Iterator[str]:
    """Which settings are known; those of [trl] are counted."""
    ours = [key for key in keys if not key.startswith("trl.")]
    yield say("known", keys=", ".join(ours)) if ours else say("known_none")
    if len(keys) > len(ours):
        yield say("known_trl", count=len(keys) - len(ours))
