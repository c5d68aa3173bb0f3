"""GGUF files for llama.cpp and Ollama, made by llama.cpp's own tools from the merged export.

The tools are looked for before anything is loaded, and never installed: $LLAMA_CPP, PATH, then the folder Unsloth
installs them into. Importing this imports nothing heavy, so the page can ask for the tools; an export loads the model
with torch (merged.py) and its tokenizer with transformers.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import ExportError, ExportRefused, Problem
from trainer.export import merged, model_card, staging
from trainer.export.kinds import FACTS, Exported, Say
from trainer.export.source import Source
from trainer.machine.json_files import write_json
from trainer.presets.explain import nearest
from trainer.text import Message

VARIABLE = "LLAMA_CPP"
CONVERTER = "convert_hf_to_gguf.py"
QUANTIZER = "llama-quantize"
# What the converter writes itself (its --outtype), and what llama-quantize makes of a bf16 file.
DIRECT = ("f32", "f16", "bf16", "q8_0")
QUANTIZED = (
    *("q2_k", "q3_k_s", "q3_k_m", "q3_k_l", "q4_0", "q4_1", "q4_k_s", "q4_k_m", "q5_0", "q5_1", "q5_k_s", "q5_k_m"),
    *("q6_k", "iq4_nl", "iq4_xs"),
)
_TAIL = 800  # characters of a tool's output that an error carries
_MERGED_TIMES = 3.0  # room for the merged weights, the bf16 file and the quantised ones


@dataclass(frozen=True)
class Tools:
    """quantize: None where no quantisation asked for needs it."""

    convert: Path
    quantize: Path | None


def export(source: Source, target: Path, quants: Sequence[str], say: Say) -> Exported:
    """One GGUF file a quantisation, a Modelfile each, and a card. Raises ExportRefused or ExportError."""
    names = _checked(quants)
    tools = find_tools(names)
    with staging.staged(target) as draft, merged.quiet():
        whole = draft / ".merged"
        whole.mkdir()
        facts = merged.write(source, whole, target, "bfloat16", say, _MERGED_TIMES)
        files = {name: _make(tools, source, whole, draft, name, say) for name in names}
        shutil.rmtree(whole)
        (draft / f".{source.rundir.name}-bf16.gguf").unlink(missing_ok=True)
        for number, (name, path) in enumerate(files.items()):
            text = modelfile(source, path.name)
            (draft / ("Modelfile" if number == 0 else f"Modelfile-{name}")).write_text(text, encoding="utf-8")
        facts |= {"kind": "gguf", "quants": names}
        (draft / "README.md").write_text(
            model_card.gguf(source, [path.name for path in files.values()]), encoding="utf-8"
        )
        write_json(draft / FACTS, facts)
    return Exported(target, source.step, facts)


def find_tools(quants: Sequence[str]) -> Tools:
    """Raises ExportRefused that names everything missing and how to get it."""
    folders = _folders()
    convert = _first(folder / CONVERTER for folder in folders)
    needed = any(name in QUANTIZED for name in quants)
    suffix = ".exe" if os.name == "nt" else ""
    places = [
        folder / sub / (QUANTIZER + suffix) for folder in folders for sub in (".", "build/bin", "build/bin/Release")
    ]
    quantize = _first(places) if needed else None
    missing = [CONVERTER] * (convert is None) + [QUANTIZER] * (needed and quantize is None)
    if missing or convert is None:
        values = {"variable": VARIABLE, "quantizer": QUANTIZER}
        raise ExportRefused(Problem("export.tool_missing", name, **values) for name in missing)
    # The converter imports gguf, numpy, sentencepiece and more: better to know now than after the merge.
    asked = subprocess.run([sys.executable, str(convert), "--help"], capture_output=True, text=True)
    if asked.returncode != 0:
        said = (asked.stderr.strip().splitlines() or [f"code {asked.returncode}"])[-1]
        values = {"python": Path(sys.executable).name, "file": str(convert.parent / "requirements.txt")}
        raise ExportRefused(Problem("export.tool_does_not_start", str(convert), said=said, **values))
    return Tools(convert, quantize)


def modelfile(source: Source, name: str) -> str:
    """What `ollama create -f` reads. No TEMPLATE: Ollama takes the chat template out of the GGUF."""
    lines = [f"FROM ./{name}"]
    lines += [f"PARAMETER stop {json.dumps(text, ensure_ascii=False)}" for text in _stops(source)]
    lines.append(f"PARAMETER temperature {source.spec.generation.temperature}")
    system = source.spec.data.system_prompt
    if system and '"""' not in system:
        lines.append(f'SYSTEM """{system}"""')
    return "\n".join(lines) + "\n"


def _stops(source: Source) -> list[str]:
    """The tokens that end an answer, as text: the tokenizer's and those of the generation config."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.path)
    path = source.path / "generation_config.json"
    ids: Any = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.is_file() else None
    found = [tokenizer.eos_token, *tokenizer.convert_ids_to_tokens([ids] if isinstance(ids, int) else ids or [])]
    return [text for text in dict.fromkeys(found) if text]


def _make(tools: Tools, source: Source, whole: Path, draft: Path, quant: str, say: Say) -> Path:
    """One GGUF file of the merged weights, with a look at its header."""
    path = draft / f"{source.rundir.name}-{source.step}-{quant}.gguf"
    say(Message("export.writing", file=path.name))
    if quant in DIRECT:
        _convert(tools, whole, path, quant)
    else:
        plain = draft / f".{source.rundir.name}-bf16.gguf"
        if not plain.is_file():
            _convert(tools, whole, plain, "bf16")
        assert tools.quantize is not None
        _call([str(tools.quantize), str(plain), str(path), quant.upper()])
    _check_header(path)
    return path


def _convert(tools: Tools, whole: Path, path: Path, outtype: str) -> None:
    _call([sys.executable, str(tools.convert), str(whole), "--outfile", str(path), "--outtype", outtype])


def _call(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        name = next(Path(part).name for part in command if Path(part).name != Path(sys.executable).name)
        said = done.stdout.strip()[-_TAIL:]
        raise ExportError(Problem("export.tool_failed", name, code=done.returncode, said=said))


def _check_header(path: Path) -> None:
    """Magic, version and tensor count (ggml docs/gguf.md): a file without tensors is no model."""
    header = _head(path)
    if len(header) < 16 or header[:4] != b"GGUF" or struct.unpack("<Q", header[8:16])[0] == 0:
        raise ExportError(Problem("export.no_tensors", path.name))


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(16)


def _checked(quants: Sequence[str]) -> list[str]:
    names = list(dict.fromkeys(name.lower() for name in quants))
    known = [*DIRECT, *QUANTIZED]
    wrong = [name for name in names if name not in known]
    if wrong:
        raise ExportRefused(
            Problem("export.unknown_quant", "--quant", name=name, known=", ".join(nearest(name, known, 3) or known))
            for name in wrong
        )
    return names


def _folders() -> list[Path]:
    own = os.environ.get(VARIABLE)
    unsloth = os.environ.get("UNSLOTH_LLAMA_CPP_PATH") or Path.home() / ".unsloth" / "llama.cpp"
    on_path = os.environ.get("PATH", "").split(os.pathsep)
    return [Path(folder) for folder in (own, *on_path, unsloth) if folder]


def _first(paths: Any) -> Path | None:
    return next((path for path in paths if path.is_file()), None)
