"""python -m trainer runs | stop RUN [--force] | export RUN --to KIND | doctor"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainer", description="Look after runs.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("runs", help="list all runs with their state")
    stop = commands.add_parser("stop", help="save a checkpoint and stop a run")
    stop.add_argument("run", metavar="RUN")
    stop.add_argument("--force", action="store_true", help="end it at once, without saving")
    _add_export(commands)
    commands.add_parser("doctor", help="check this machine: packages, GPU, memory, disk, keys")
    given = parser.parse_args(arguments)

    from trainer import cli

    if given.command == "runs":
        return cli.exit_code(cli.runs)
    if given.command == "stop":
        return cli.exit_code(lambda: cli.stop(given.run, given.force))
    if given.command == "export":
        options = {key: value for key, value in vars(given).items() if key not in ("command", "run", "to")}
        return cli.exit_code(lambda: cli.export(given.run, given.to, **options))
    return cli.exit_code(cli.doctor)


def _add_export(commands: Any) -> None:
    """The options carry the names that trainer.export.export takes. Those not typed are left out: it has the defaults,
    and one that was typed can be refused where it means nothing."""
    left_out = argparse.SUPPRESS
    export = commands.add_parser("export", help="make a checkpoint loadable by others", argument_default=left_out)
    export.add_argument("run", metavar="RUN")
    export.add_argument("--to", required=True, choices=("adapter", "merged", "gguf", "hub"))
    export.add_argument("--checkpoint", metavar="N|latest", help="step of the checkpoint (default: latest)")
    export.add_argument("--out", type=Path, metavar="FOLDER", help="default: exports/KIND-STEP of the run")
    export.add_argument("--dtype", choices=("bfloat16", "float32"), help="of merged (default: bfloat16)")
    export.add_argument("--quant", dest="quants", nargs="+", metavar="TYPE", help="of gguf (default: q8_0)")
    export.add_argument("--repo", metavar="USER/NAME", help="of hub")
    export.add_argument("--upload", choices=("adapter", "merged"), help="to hub; default: the adapter if there is one")
    visible = export.add_mutually_exclusive_group()
    visible.add_argument(
        "--private", action="store_true", default=left_out, help="of hub: a private repository (default)"
    )
    public = "of hub: anybody may see the repository"
    visible.add_argument("--public", dest="private", action="store_false", default=left_out, help=public)


if __name__ == "__main__":
    sys.exit(main())
