"""Train a language model with GRPO on one GPU: opens the page; --headless does without it."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="app.py", description=__doc__)
    add = parser.add_argument
    add("--headless", action="store_true", help="train without a browser")
    add("--preset", metavar="NAME|FILE", help="a preset's name, or the path of a .toml")
    add("--set", metavar="SECTION.KEY=VALUE", action="append", default=[], help="change a value")
    add("--name", help="name of the new run; else the preset's with a number")
    add("--resume", metavar="RUN", help="go on with a run that was stopped, failed or lost")
    add("--checkpoint", metavar="best|N|latest", help="of --resume: go back to it (default: latest)")
    add("--dry-run", action="store_true", help="print the plan of a run and stop")
    add("--list-presets", action="store_true", help="list the presets and stop")
    add("--host", default="127.0.0.1", help="address the page listens on (default: %(default)s)")
    add("--port", type=int, default=7860, help="port of the page (default: %(default)s)")
    add("--auth", metavar="USER:PASSWORD", help="ask for it before showing the page")
    given = parser.parse_args(arguments)

    if given.resume and (given.preset or given.set or given.name):
        parser.error("--resume goes on with what the run was started with: no --preset, --set, --name")
    if given.checkpoint and not given.resume:
        parser.error("--checkpoint says where --resume RUN goes on")
    if (given.headless or given.dry_run) and not (given.preset or given.resume or given.list_presets):
        parser.error("--headless and --dry-run need --preset NAME or --resume RUN; see --list-presets")
    if given.dry_run and given.resume:
        parser.error("--dry-run shows the plan of a new run: it needs --preset")
    page = not (given.headless or given.dry_run or given.list_presets)
    if page and (given.preset or given.resume or given.set or given.name):
        parser.error("on the page a run is chosen by click; with these flags add --headless")

    from trainer.console.commands import train
    from trainer.console.exit_code import exit_code  # after the flags are parsed: --help waits for nothing

    def run() -> int:
        if given.list_presets:
            return train.show_presets()
        if given.dry_run:
            return train.dry_run(given.preset, given.set)
        if given.resume:
            return train.resume(given.resume, given.checkpoint)
        if given.headless:
            return train.headless(given.preset, given.set, given.name)
        from trainer.ui import serve

        return serve(host=given.host, port=given.port, auth=given.auth)

    return exit_code(run)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # while the commands are being imported
        sys.exit(130)
