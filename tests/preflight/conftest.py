"""Specs, model folders and machines for the checks before a run."""

from __future__ import annotations

import http.server
import importlib.util
import json
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from trainer import plan as planning
from trainer import preflight
from trainer.errors import Problem, SpecError
from trainer.machine import gpu
from trainer.spec import RunSpec

A100 = gpu.GPU(0, "GPU-1", "NVIDIA A100", 80.0, 1.0, 0.0, (8, 0), "580.1")
CONFIG = {
    "model_type": "qwen3",
    "architectures": ["Qwen3ForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 128,
}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No GPU, an empty cache, and a user who is not logged in, whatever this machine has."""
    monkeypatch.setattr(gpu, "chosen", lambda: None)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_HUB_CACHE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "chosen", lambda: A100)


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """packages(vllm=True, flash_attn=False): what can be imported, over what really can."""
    real = importlib.util.find_spec

    def say(**there: bool) -> None:
        def find_spec(name: str, package: str | None = None) -> Any:
            return (object() if there[name] else None) if name in there else real(name, package)

        monkeypatch.setattr(importlib.util, "find_spec", find_spec)

    return say


@pytest.fixture
def make_spec(spec: RunSpec) -> Callable[..., RunSpec]:
    """make_spec(model={...}, optim={...}): the small spec with other values."""

    def make(**sections: dict[str, Any]) -> RunSpec:
        values = spec.model_dump()
        for name, section in sections.items():
            values[name] = values[name] | section
        return RunSpec.model_validate(values)

    return make


@pytest.fixture
def look() -> Callable[[RunSpec], list[Problem]]:
    """All problems that check finds; every one of them with something to type, on one line."""

    def all_problems(spec: RunSpec) -> list[Problem]:
        plan = planning.make(spec, rows=100)
        try:
            preflight.check(spec, plan)
        except SpecError as error:
            assert all(problem.fix and "\n" not in str(problem) for problem in error.problems)
            return error.problems
        return []

    return all_problems


def safetensors(size: int = 64) -> bytes:
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size)


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """make_model("name", **{"file": content or None}): a whole model's folder with these files changed."""

    def make(name: str = "model", **changes: Any) -> Path:
        files: dict[str, Any] = {
            "config.json": CONFIG,
            "model.safetensors": safetensors(),
            "tokenizer.json": {},
            "tokenizer_config.json": {},
        }
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for file, content in (files | changes).items():
            if content is not None:
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                (folder / file).write_bytes(data)
        return folder

    return make


@pytest.fixture
def make_cached(tmp_path: Path, make_model: Callable[..., Path]) -> Callable[..., Path]:
    """make_cached("owner/name", "commit", **files): the model in the local Hub cache, as its branch main."""

    def make(name: str, commit: str = "c0ffee", **changes: Any) -> Path:
        repository = Path("hf/hub") / f"models--{name.replace('/', '--')}"
        refs = tmp_path / repository / "refs"
        refs.mkdir(parents=True, exist_ok=True)
        (refs / "main").write_text(commit)
        return make_model(str(repository / "snapshots" / commit), **changes)

    return make


NAME = "owner/model"


FILES = {"config.json": 600, "tokenizer.json": 2000, "model.safetensors": 10 * 2**30, "original/x.safetensors": 2**40}


Answer = tuple[int, dict[str, str], Any]


class Hub:
    """What a Hub on this machine answers: {path: (status, headers, body)}; `asked` are the paths in order."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.tokens: list[str | None] = []

    def model(self, files: dict[str, int] | None = None, **more: Any) -> None:
        siblings = [
            {
                "rfilename": name,
                "size": size,
                "blobId": f"git-{name}",
                **({"lfs": {"sha256": f"sha-{name}", "size": size, "pointerSize": 1}} if size > 10**6 else {}),
            }
            for name, size in (FILES if files is None else files).items()
        ]
        self.answers[f"/api/models/{NAME}"] = (200, {}, {"id": NAME, "siblings": siblings, **more})

    def refuse(self, status: int, code: str = "", message: str = "", path: str = f"/api/models/{NAME}") -> None:
        headers = {"X-Error-Code": code} if code else {}
        self.answers[path] = (status, headers | ({"X-Error-Message": message} if message else {}), {"error": message})


def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, endpoint: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)  # read when it was imported
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub at HF_ENDPOINT, and a network that is on."""
    state = Hub()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            state.asked.append(path)
            state.tokens.append(self.headers.get("Authorization"))
            status, headers, body = state.answers.get(path, (404, {}, {}))
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    online(monkeypatch, tmp_path, f"http://127.0.0.1:{server.server_port}")
    yield state
    server.shutdown()
    server.server_close()
    thread.join(5)
