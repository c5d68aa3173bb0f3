"""Runs whose every text is an attempt on the reader's browser, and a server that hears it when one of them works.

What a model writes, what a data set holds and what an error says reach the page unread. Each piece below asks for a
picture of the canary's, or sets `window.canary`, or opens a dialog, in another way.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.report.synthetic import make_run
from trainer.run.rundir import RunDir

PIECES = (
    '<img src="URL/img" onerror="window.canary=\'img\'">',
    "<script>window.canary='script'</script>",
    "</script><script src=URL/script></script>",
    "</textarea></pre></td></select><svg onload=\"window.canary='svg'\"><image href=URL/svg></svg>",
    "\"'><img src=URL/quote onerror=alert(1)>",
    "<iframe srcdoc=\"<img src='URL/frame'>\"></iframe>",
    "<a href=\"javascript:window.canary='link'\">press</a>",
    "<style>@import url(URL/style);*{background:url(URL/back)}</style><link rel=stylesheet href=URL/sheet>",
    "<details open ontoggle=\"window.canary='toggle'\">",
    "<input autofocus onfocus=\"window.canary='focus'\">",
    "<meta http-equiv=refresh content='0;url=URL/refresh'><base href=URL/>",
    "![picture](URL/markdown.png)",
    "[press](javascript:window.canary='markdown')",
    "{{7*7}} {{constructor.constructor('window.canary=1')()}} {@html '<img src=URL/svelte>'}",
    "${window.canary='template'} ${alert(1)} `${7*7}`",
    "$\\href{javascript:window.canary=1}{x}$ $$\\includegraphics{URL/latex}$$",
    "&lt;img src=URL/twice onerror=alert(1)&gt; &#60;img src=URL/number&#62;",
    "\u202e\u0000\u200b]]></svg><![CDATA[",
)
# Words the program itself looks at; everything else in an event is text of somebody.
OWN_WORDS = frozenset({"kind", "file", "outcome", "at", "state", "level", "boot_id", "pid_started", "parent"})
COMPONENT = "<img src=URL/name onerror=alert(2)>"


@dataclass
class Canary:
    """Answers every request with a picture and remembers its path."""

    port: int
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def text(self) -> str:
        return " ".join(self.pieces())

    def pieces(self) -> list[str]:
        return [piece.replace("URL", self.url) for piece in PIECES]


@contextmanager
def listening() -> Iterator[Canary]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "image/svg+xml")
            self.end_headers()
            self.wfile.write(b'<svg xmlns="http://www.w3.org/2000/svg"/>')

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Canary(server.server_port, asked)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_poisoned(outputs: Path, name: str, canary: Canary, end: str = "run_finished") -> RunDir:
    """A whole run, each text of it with all pieces; end: its last event, "run_failed" with a cause."""
    made = make_run(outputs, name, steps=12, rows=16, end=None)
    run, poison = made.rundir, canary.text()
    last = {"kind": end, "step": 12, "seconds": 1.0, "peak_memory_gib": 1.0, "tokens": 9, "t": 2000.0, "attempt": 1}
    if end == "run_failed":
        problem = {"where": "where", "what": "what", "fix": "fix"}
        last |= {"error": "ValueError", "problems": [problem], "traceback_tail": "line", "exit_code": 1, "retry": False}
    alert = {"kind": "alert", "t": 1990.0, "attempt": 1, "level": "warn", "title": "title", "text": "text"}
    lines = [json.loads(line) for line in run.events.read_text("utf-8").splitlines()]
    told = [_soiled(line, poison) for line in [*lines, alert, last]]
    component = COMPONENT.replace("URL", canary.url)
    run.events.write_text("".join(_renamed(json.dumps(line), component) + "\n" for line in told), "utf-8")
    for file in run.rollouts.iterdir():
        groups = [_soiled(json.loads(line), poison) for line in file.read_text("utf-8").splitlines()]
        file.write_text("".join(_renamed(json.dumps(group), component) + "\n" for group in groups), "utf-8")
    spec = json.loads(run.spec.read_text("utf-8"))
    spec["title"] = poison
    spec["model"]["name"] = f"evil/{canary.pieces()[0]}"
    spec["data"]["path"] = f"{canary.pieces()[4]}.jsonl"
    run.spec.write_text(_renamed(json.dumps(spec), component), "utf-8")
    run.env.write_text(json.dumps({"packages": {poison: poison}, "system": poison, "commit": poison}), "utf-8")
    run.log_file(1).write_text("\n".join(canary.pieces()), "utf-8")
    run.read_spec()  # else it would not be shown at all, and prove nothing
    return run


def _soiled(value: Any, poison: str, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _soiled(inner, poison, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_soiled(inner, poison, key) for inner in value]
    return f"{value} {poison}" if isinstance(value, str) and key not in OWN_WORDS else value


def _renamed(line: str, component: str) -> str:
    """The component "format" is called by another name everywhere."""
    escaped = json.dumps(component)[1:-1]
    return line.replace('"format"', f'"{escaped}"').replace("rewards/format/", f"rewards/{escaped}/")
