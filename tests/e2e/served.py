"""The page as `python app.py` serves it in Korean, with files and runs of which something is wrong.

World asks it as a browser would and hands back what the page shows, as HTML or text.
"""

from __future__ import annotations

import html
import json
import string
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.builders import began, checkpoint, finished, step, write_run
from tests.report import synthetic
from tests.ui.conftest import Server, end_server, look, start_server
from trainer.machine.json_files import write_json
from trainer.machine.process import Identity
from trainer.run.rundir import RunDir
from trainer.text import words
from trainer.ui.runs.panel import Wish

EN = words("en")
SESSION = "one-browser"  # that of all cases but for those that look at a tab
TITLE = "Mine alone"  # of the runs made here
ENGLISH = "this was said in English"  # stored beside a key, for who does not know it
_NUMBERS = ("number", "percent", "points", "plain", "gib", "times", "duration")  # forms of trainer/text/words.py


@dataclass
class World:
    """The served page, files of data and rewards, and runs in every state."""

    server: Server
    files: dict[str, Path]

    # ---- Train

    def check(self, *changes: str, **more: Any) -> dict[str, Any]:
        base = {"preset": "tiny"}
        return self._train("check", {"base": base, "changes": list(changes), "have": "ko", **more})

    def ask(self, event: str, *changes: str, **more: Any) -> dict[str, Any]:
        return self._train(event, {"base": {"preset": "tiny"}, "changes": list(changes), "have": "ko", **more})

    def _train(self, event: str, form: Any) -> dict[str, Any]:
        text = form if isinstance(form, str) else json.dumps(form)
        answer: dict[str, Any] = json.loads(self.server.call_as(SESSION, event, "ko", text)[0])
        return answer

    def refused(self, *changes: str, **more: Any) -> str:
        """What the form says of these changes; there is something to say."""
        found = self.check(*changes, **more)
        assert found["kind"] == "refused" or not found["right"], "nothing is refused"
        return shown(found)

    def planned(self, *changes: str, preset: str = "tiny") -> str:
        """Plan and warnings of settings that are allowed."""
        found = self.check(*changes, base={"preset": preset})
        return shown(found)

    def junk(self, text: str) -> str:
        return shown(self._train("start", text))

    # ---- the other tabs

    def said(self, event: str, *given: Any) -> str:
        """All texts an event of the page answers with."""
        return "\n".join(texts(self.server.call_as(SESSION, event, *given)))

    def wish(self, do: str, run: str = "", **more: Any) -> str:
        return self.said("wish", Wish(do, run=run, **more).text, run, "ko", "", "")

    def tab(self, name: str, run: str) -> str:
        told = look(self.server, name, run, "ko")
        hidden = [key for key in told if key.endswith("came")]  # names of requests, for the script
        return "\n".join(texts([value for key, value in told.items() if key not in hidden]))

    def report(self, run: str) -> str:
        """The report as the page shows it: a whole file in a frame of its own."""
        told = self.said("report", run, "ko")
        inner = told.partition('srcdoc="')[2].partition('"')[0]
        return html.unescape(inner) if inner else told

    def tried(self, run: str, prompt: str = "x", temperature: Any = 0, tokens: Any = 8, seed: Any = 0) -> str:
        return self.said("try_ask", run, "ko", "", {}, prompt, temperature, tokens, "", seed)


def shown(answer: dict[str, Any]) -> str:
    """All HTML of an answer of Train: values and commands are no words of the page."""
    pieces = [answer.get(name, "") for name in ("verdict", "plan", "html", "note", "rewards")]
    pieces += [error["html"] for error in answer.get("errors", ())]
    return "\n".join(map(str, pieces))


def texts(value: Any) -> Iterator[str]:
    """Every string in an answer of Gradio that is shown to a person."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("__type__", "value_is_json", "props", "name", "elem_id"):
                yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


def served(folder: Path, pages: Path | None) -> Iterator[World]:
    """A server on this folder, ended afterwards."""
    (folder / "outputs").mkdir()
    files = {**_data_files(folder), **_reward_files(folder)}
    make_runs(folder / "outputs")
    environment = {
        **{"LANG": "ko_KR.UTF-8", "LC_ALL": "", "LC_MESSAGES": "", "PATH": str(folder), "LLAMA_CPP": ""},
        **{"UNSLOTH_LLAMA_CPP_PATH": str(folder), "HF_TOKEN": "", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder)},
    }
    with _somebody(folder / "outputs" / "going"):
        server = start_server(folder, pages, **environment)
        yield World(server, files)
        end_server(server)


@contextmanager
def _somebody(path: Path) -> Iterator[None]:
    """A process that this run's worker could be: nothing is asked of it here."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"]) as process:
        identity = Identity.of(process.pid)
        assert identity is not None
        write_json(RunDir(path).identity, identity.stored() | {"t": 100.0})
        try:
            yield
        finally:
            process.kill()


def _data_files(folder: Path) -> dict[str, Path]:
    row = '{"prompt": "a", "answer": "b"}\n'
    made = {
        "not json": "prompt,answer\n",
        "half a line": row + '{"prompt": "a", "ans',
        "no rows": "",
        "no column": '{"question": "a", "answer": "b"}\n',
        "a list in it": row + "[1, 2]\n",
        "leaks": row * 20,
        "bytes": row + '{"prompt": "\\ud800", "answer": NaN}\n',
        "wrong kind": row + '{"prompt": {"x": 1}, "answer": 5}\n',
    }
    for name, text in made.items():
        (folder / f"{name.replace(' ', '_')}.jsonl").write_text(text, "utf-8")
    return {name: folder / f"{name.replace(' ', '_')}.jsonl" for name in made}


def _reward_files(folder: Path) -> dict[str, Path]:
    head = "def reward(completions, **kwargs):\n    "
    made = {
        "raises": f"{head}raise ValueError('x')\n",
        "too few": f"{head}return [1.0]\n",
        "no function": "other = 1\n",
        "no module": "import not_there_at_all\n",
        "says text": f"{head}return ['x' for _ in completions]\n",
        "prints and sleeps": f"import time\n{head}time.sleep(0.7)\n    return [1.0 for _ in completions]\n",
    }
    found = {}
    for name, text in made.items():
        found[name] = folder / f"{name.replace(' ', '_')}.py"
        found[name].write_text(text, "utf-8")
    found["uploaded"] = folder / "state" / "page" / "abc" / "mine.py"
    found["uploaded"].parent.mkdir(parents=True)
    found["uploaded"].write_text(f"{head}return [1.0 for _ in completions]\n", "utf-8")
    return found


def make_runs(outputs: Path) -> None:
    """A run for every way to end, one with every alert, one with everything a rule may find."""
    steps = [step(number) for number in range(1, 5)]
    checkpoints = outputs / "saved" / "checkpoints"
    write_run(outputs, "done", finished(4), TITLE)
    saved = write_run(outputs, "saved", [*finished(4)[:-3], checkpoint(4), *finished(4)[-2:]], TITLE)
    (checkpoints / "checkpoint-4").mkdir(parents=True)
    (checkpoints / "checkpoint-4" / "MANIFEST.json").write_text("{}")
    (saved.exports / "merged-4").mkdir(parents=True)
    write_run(outputs, "stopped", [began(), *steps, _end("run_stopped", checkpoint=None, reason="SIGTERM")], TITLE)
    write_run(outputs, "paused", [began(), *steps, _end("run_paused", checkpoint="checkpoint-4")], TITLE)
    write_run(outputs, "lost", [began(), *steps], TITLE)
    write_run(outputs, "going", [began(), *steps], TITLE).control.mkdir(exist_ok=True)
    write_run(outputs, "failed", [began(), *steps, _failed(list(_problems()))], TITLE)
    write_run(outputs, "failed-old", [began(), *steps, _failed([])], TITLE)
    write_run(outputs, "alerts", [began(), *steps, *_alerts(), *finished(4)[-1:]], TITLE)
    origin: dict[str, Any] = {
        "from": "wandb",
        "files": ["x.csv"],
        "known": ["grpo.beta"],
        "run": None,
        "gpu": None,
        "ignored": {},
    }
    write_run(outputs, "imported", [began() | {"imported": origin | {"counted_by": "_step"}}, *steps], TITLE)
    broken = write_run(outputs, "broken", finished(4), TITLE)
    broken.spec.write_text('{"none": 1}')
    synthetic.make_run(outputs, "long", steps=80)


def _end(kind: str, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "step": 4, "seconds": 9.0, **fields}


def _failed(problems: list[Any]) -> dict[str, Any]:
    return _end("run_failed", error="ValueError", problems=problems, exit_code=1, traceback_tail="", retry=False)


def _keys(table: str, part: str) -> list[str]:
    """Keys of the texts `<table>.<key>.<part>`."""
    found = sorted(key for key in EN.keys() if key.startswith(f"{table}.") and key.endswith(f".{part}"))  # noqa: SIM118
    return [key.removeprefix(f"{table}.").removesuffix(f".{part}") for key in found]


def _problems() -> Iterator[dict[str, Any]]:
    """Of every key there is, as a worker that failed would have stored them."""
    for key in _keys("problem", "what"):
        if key != "plain":
            texts_of = [
                EN(f"problem.{key}.{part}") for part in ("where", "what", "fix") if f"problem.{key}.{part}" in EN
            ]
            yield {"where": "here", "what": ENGLISH, "fix": "", "key": key, "place": "", "values": _values(texts_of)}


def _alerts() -> Iterator[dict[str, Any]]:
    """Of every key there is, of every level."""
    for place, key in enumerate(_keys("alert", "text")):
        values = _values([EN(f"alert.{key}.title"), EN(f"alert.{key}.text")])
        level = ("info", "warn", "error")[place % 3]
        yield {"kind": "alert", "level": level, "key": key, "values": values, "title": "there", "text": ENGLISH}


def _values(found: list[str]) -> dict[str, Any]:
    """Something for every value of these texts, of the kind its form asks for."""
    values: dict[str, Any] = {}
    for text in found:
        for _, name, form, _ in string.Formatter().parse(text):
            if name:
                values[name] = _value(form or "")
    return values


def _value(form: str) -> Any:
    if form in ("list", "or"):
        return ["x1"]
    if form == "word":
        return "step"
    is_number = form in _NUMBERS or (form != "quoted" and form[-1:] in tuple("fgd,%e"))
    return 3 if is_number else "x1"
