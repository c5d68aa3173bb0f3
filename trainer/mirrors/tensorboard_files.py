"""TensorBoard's event files, one an attempt: a record of scalars a step, and the completions as text.

Written through tensorboard 2.21's own record writer and protocol buffers, without TensorFlow. Its EventFileWriter
(tensorboard.summary.writer.event_file_writer) writes in a thread and would say of a full disk only later.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from trainer.mirrors.completions import Completions

_VERSION = "brain.Event:2"  # the first record of a file says so: tensorflow/core/util/event.proto, file_version
_PATTERN = "events.out.tfevents.*"
_HEAD, _CHECK = 12, 4  # bytes of a record before its data, and of its checksum
MOST_COMPLETIONS = 16  # TensorBoard's text page draws all of a step at once


class EventFile:
    """One attempt's file, begun with its first row; `newest` looks at all of the folder."""

    def __init__(self, folder: Path, attempt: int, config: dict[str, Any]) -> None:
        """Raises ImportError without tensorboard."""
        from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
        from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
        from tensorboard.plugins.text import metadata
        from tensorboard.summary.writer import record_writer

        self._event, self._summary, self._metadata = event_pb2.Event, summary_pb2.Summary, metadata
        self._tensor, self._shape, self._string = tensor_pb2.TensorProto, tensor_shape_pb2, types_pb2.DT_STRING
        self._checksum = masked_crc32c
        self.folder = folder
        self._last_step = 0
        # No two attempts share a name; a mirror that is started again by hand gets a file beside the first one.
        name = f"events.out.tfevents.{time.time_ns() // 1000}.{attempt}"
        self._file = (folder / name).open("xb", buffering=0)
        self._writer = record_writer.RecordWriter(self)
        self._record(file_version=_VERSION)
        self.configure(config)

    def write(self, data: bytes) -> None:
        """A whole record or nothing: what a full disk cut off would hide the rows after it."""
        at = self._file.tell()
        try:
            if self._file.write(data) != len(data):
                raise OSError(f"{self._file.name}: the disk is full")
        except OSError:
            self._file.seek(at)  # cutting off moves no position: the next record would stand behind a hole
            self._file.truncate()
            raise

    def configure(self, config: dict[str, Any]) -> None:
        text = json.dumps(config, ensure_ascii=False, indent=1, default=str)
        self._record(summary=self._summary(value=[self._text("run/config", _literal(text))]), step=0)

    def log(self, step: int, t: float, values: dict[str, Any], completions: Completions | None) -> None:
        """One record, so that a step is there whole or not at all. A scalar is a 32-bit float in TensorBoard."""
        found = [self._summary.Value(tag=tag, simple_value=value) for tag, value in values.items() if _is_scalar(value)]
        if completions is not None:
            found.append(self._text("completions", _as_markdown(completions)))
        self._last_step = step
        self._record(summary=self._summary(value=found), step=step, wall_time=t)

    def finish(self, summary: dict[str, Any], exit_code: int) -> None:
        text = json.dumps(summary, ensure_ascii=False, indent=1, default=str)
        self._record(summary=self._summary(value=[self._text("run/summary", _literal(text))]), step=self._last_step)
        self._file.close()

    def newest(self) -> int:
        """The newest step with scalars in any file of the folder; -1 for none. A record that was cut off is none."""
        return max(map(self._newest_in, self.folder.glob(_PATTERN)), default=-1)

    def _newest_in(self, path: Path) -> int:
        """Steps grow within a file, so its end says it. tensorboard's own reader, in Python, takes 5 MB a second: for
        thousands of steps with completions longer than a worker waits for its mirror.
        """
        with path.open("rb") as file:
            for at, length in reversed(list(self._records(file))):
                file.seek(at + _HEAD)
                data, said = file.read(length), file.read(_CHECK)
                if said != self._check(data):
                    continue
                event = self._event.FromString(data)
                if any(value.HasField("simple_value") for value in event.summary.value):
                    return int(event.step)
        return -1

    def _records(self, file: BinaryIO) -> Iterator[tuple[int, int]]:
        """(where it begins, bytes of its data) of each record, up to the first torn one: TensorBoard stops there too.

        A record: length (uint64), checksum of the length, data, checksum of the data.
        """
        at, size = 0, os.fstat(file.fileno()).st_size
        while at + _HEAD <= size:
            file.seek(at)
            head = file.read(_HEAD)
            length = int.from_bytes(head[:8], "little")
            if head[8:] != self._check(head[:8]) or at + _HEAD + length + _CHECK > size:
                return
            yield at, length
            at += _HEAD + length + _CHECK

    def _check(self, data: bytes) -> bytes:
        return int(self._checksum(data)).to_bytes(_CHECK, "little")

    def _record(self, wall_time: float | None = None, **parts: Any) -> None:
        event = self._event(wall_time=time.time() if wall_time is None else wall_time, **parts)
        self._writer.write(event.SerializeToString())

    def _text(self, tag: str, text: str) -> Any:
        shape = self._shape.TensorShapeProto(dim=[self._shape.TensorShapeProto.Dim(size=1)])
        tensor = self._tensor(dtype=self._string, string_val=[text.encode()], tensor_shape=shape)
        metadata = self._metadata.create_summary_metadata(display_name=tag, description="")
        return self._summary.Value(tag=tag, tensor=tensor, metadata=metadata)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _literal(text: str) -> str:
    """As a block of code in Markdown: what a model writes is shown, never obeyed."""
    return "\n".join(f"    {line}" for line in text.splitlines()) or "    "


def _as_markdown(found: Completions) -> str:
    """Each completion under its numbers; how many are missing stands at the end."""
    parts: list[str] = []
    for row in found.rows[:MOST_COMPLETIONS]:
        named = dict(zip(found.columns, row, strict=True))
        texts = [_literal(f"[{key}]\n{named.pop(key)}") for key in ("prompt", "completion")]
        facts = ", ".join(f"{key} {value}" for key, value in named.items() if value is not None)
        parts += [_literal(facts), *texts, "---"]
    missing = found.left_out + max(0, len(found.rows) - MOST_COMPLETIONS)
    return "\n\n".join([*parts, f"+ {missing}"] if missing else parts)
