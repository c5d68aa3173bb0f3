"""python -m trainer COMMAND: look after runs. The commands are in trainer.console.commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from trainer.console.commands import COMMANDS


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainer", description="Look after runs.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in COMMANDS:
        command.add(commands)
    given = vars(parser.parse_args(arguments))
    call = given.pop("call")
    options = {name: value for name, value in given.items() if name not in ("command", "what")}

    from trainer.console.exit_code import exit_code  # after the flags are parsed: --help waits for nothing

    return exit_code(lambda: call(**options))


if __name__ == "__main__":
    sys.exit(main())
