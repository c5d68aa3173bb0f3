"""Draw a finished run as its terminal showed it: the picture in docs/commands.md.

.venv/bin/python tools/picture.py RUN docs/tiny.svg
"""

import io
import json
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

sys.path.insert(0, str(Path(__file__).parent.parent))

from trainer.console import lines
from trainer.machine.json_files import read_json
from trainer.run.records import EvalEvent, RunFinishedEvent, StepEvent
from trainer.run.rundir import RunDir, outputs_dir
from trainer.run.state import RunFollower
from trainer.run.summary import summary
from trainer.text import words as in_language

SHOWN = 6  # steps at the start and at the end
WIDTH = 178


def main(run: str, target: str) -> None:
    rundir = RunDir.open(outputs_dir(), run)
    follower = RunFollower(rundir)
    words = in_language("en")
    console = Console(record=True, width=WIDTH, file=io.StringIO())

    def say(text: str, style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=False, overflow="ellipsis", no_wrap=True)

    say(f"$ python app.py --headless --preset {run.rpartition('-')[0]}", "bold")
    for line in lines.header(rundir, read_json(rundir.plan) or {}, words):
        say(line.replace(str(rundir.path), f"outputs/{run}"), "dim")
    events = follower.read()
    state = follower.state
    last = state.last_step
    for event in events:
        if isinstance(event, StepEvent):
            index = state.steps.index(event.step)
            if index < SHOWN or event.step > last - SHOWN:
                say(lines.step_line(state, index, rundir.read_spec().grpo.beta, words))
            elif index == SHOWN:
                say(f"... {last - 2 * SHOWN} steps ...", "dim")
        elif text := lines.event_line(event, words):
            for line in text.splitlines():
                say(line, "green" if isinstance(event, EvalEvent | RunFinishedEvent) else "cyan")
    found = summary(state, rundir)
    kept = {
        key: round(value, 3) if isinstance(value, float) else value for key, value in found.items() if key != "path"
    }
    console.print(Text(json.dumps(kept)), soft_wrap=False)
    Path(target).parent.mkdir(exist_ok=True)
    svg = console.export_svg(title=f"one-gpu grpo: {run}")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # a picture loads nothing from elsewhere
    Path(target).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
