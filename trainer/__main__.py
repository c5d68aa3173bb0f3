"""python -m trainer runs | stop RUN [--force] | doctor"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainer", description="Look after runs.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("runs", help="list all runs with their state")
    stop = commands.add_parser("stop", help="save a checkpoint and stop a run")
    stop.add_argument("run", metavar="RUN")
    stop.add_argument("--force", action="store_true", help="end it at once, without saving")
    commands.add_parser("doctor", help="check this machine: packages, GPU, memory, disk, keys")
    given = parser.parse_args(arguments)

    from trainer import cli

    if given.command == "runs":
        return cli.exit_code(cli.runs)
    if given.command == "stop":
        return cli.exit_code(lambda: cli.stop(given.run, given.force))
    return cli.exit_code(cli.doctor)


if __name__ == "__main__":
    sys.exit(main())
