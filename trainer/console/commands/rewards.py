"""python -m trainer rewards check: try reward functions on real rows before training"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """The options carry the names that `check` takes."""
    parser = commands.add_parser("rewards", help="try reward functions on real rows before training")
    checked = parser.add_subparsers(dest="what", required=True).add_parser("check", help="what each gives for what")
    checked.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", help="your own Python file (default: the preset's)"
    )
    checked.add_argument("--function", dest="functions", nargs="+", default=(), metavar="NAME", help="default: all")
    checked.add_argument("--data", type=Path, metavar="FILE", help="rows to try them on (default: the preset's)")
    checked.add_argument("--preset", metavar="NAME", help="its data, its prompts and, without FILE, its rewards")
    checked.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    checked.add_argument("--rows", type=_up_to_100, default=3, metavar="N", help="1 to 100 (default: %(default)s)")
    checked.add_argument(
        "--text", dest="texts", nargs="+", default=(), metavar="TEXT", help="completions of yours to try"
    )
    checked.set_defaults(call=check)


def _up_to_100(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 100")
    return int(text)


def check(
    file: Path | None,
    *,
    functions: Sequence[str],
    data: Path | None,
    preset: str | None,
    overrides: Sequence[str],
    rows: int,
    texts: Sequence[str],
) -> int:
    """Try rewards on rows of data; exit code 1 when they cannot be used."""
    from trainer import launch
    from trainer.console import trying

    spec = trying.spec_of(file, functions, data, preset, overrides)
    return launch.EXIT_FINISHED if trying.run(spec, rows, texts, sys.stdout) else launch.EXIT_FAILED
