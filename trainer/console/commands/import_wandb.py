"""python -m trainer import-wandb: a history exported from W&B becomes a run"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


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
    from trainer import launch
    from trainer.text import forms
    from trainer.wandb_import import bring

    made = bring.bring(paths, **options)
    told, name = made.training, made.rundir.name
    first, last = (told.steps[0].number, told.steps[-1].number) if told.steps else (0, 0)
    said = f"{len(told.steps)} steps, {first} to {last}, counted by {told.counted_by}"
    evaluations = f", {len(told.evals)} evaluations" if told.evals else ""
    print(f"{forms.printable(name)}: {said}{evaluations}")
    print(f"metrics: {forms.printable(', '.join(told.metrics))}")
    ours = [key for key in made.known if not key.startswith("trl.")]
    more = f" and {len(made.known) - len(ours)} of [trl]" if len(made.known) > len(ours) else ""
    print(f"settings that are known: {', '.join(ours) or 'none; --preset, --config or --set say them'}{more}")
    for what, count in made.ignored.items():
        print(f"left out: {count} {what}")
    for note in made.notes:
        print(f"note: {forms.printable(note)}")
    print(f"python -m trainer report {name}")
    return launch.EXIT_FINISHED
