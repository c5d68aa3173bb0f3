"""The rows of a form, read in a bounded time: all of them while files are small, else the first ones. No gradio.

What was read is kept for the last few settings, so that typing in another field reads nothing again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.data import preview, sources
from trainer.data.decoding import Record
from trainer.data.preview import Glance
from trainer.data.survey import Survey, survey
from trainer.errors import DataError
from trainer.spec import RunSpec
from trainer.ui.stamps import Stamp, stamp_of

LIVE_BYTES = 16 * 2**20  # of data files that are read whole while somebody types
FIRST_ROWS = 1000  # looked at otherwise, and shown
KEEP = 8

Key = tuple[Any, ...]


@dataclass(frozen=True)
class HubRows:
    """Rows of a Hub dataset that were fetched, by what was asked for."""

    columns: list[str]
    rows: list[dict[str, Any]]


class _Kept:
    """The last results of a reading, refusals too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._results: OrderedDict[Key, Any] = OrderedDict()

    def get(self, key: Key, read: Callable[[], Any]) -> Any:
        with self._lock:
            known = self._results.get(key)
        if known is None:
            try:
                known = (read(),)
            except DataError as error:
                known = error
            with self._lock:
                self._results[key] = known
                while len(self._results) > KEEP:
                    self._results.popitem(last=False)
        if isinstance(known, DataError):
            raise DataError(known.problems)
        return known[0]


_surveys, _glances = _Kept(), _Kept()
_hub: OrderedDict[Key, HubRows] = OrderedDict()


def surveyed(spec: RunSpec) -> Survey | None:
    """What is known of the rows; None for a Hub dataset and for files too large to be read while somebody types.

    Raises DataError; of large files the first rows only are checked.
    """
    if spec.data.path is None:
        return None
    if not are_small(spec):
        glanced(spec)
        return None
    found: Survey = _surveys.get(_key(spec), lambda: survey(spec, *sources.feeds(spec)))
    return found


def glanced(spec: RunSpec) -> Glance:
    """The first rows of a local file, or of a Hub dataset that was fetched. Raises DataError."""
    records = fetched(spec)
    given = None if records is None else [Record(number, row) for number, row in enumerate(records.rows, 1)]
    found: Glance = _glances.get((*_key(spec), id(records)), lambda: preview.glance(spec, FIRST_ROWS, given))
    return found


def are_small(spec: RunSpec) -> bool:
    return sum(size for _, size, _ in _stamps(spec)) <= LIVE_BYTES


def fetched(spec: RunSpec) -> HubRows | None:
    """Rows of the spec's Hub dataset, if a browser asked for them before."""
    return _hub.get(_hub_key(spec)) if spec.data.path is None else None


def keep_fetched(spec: RunSpec, rows: Sequence[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    _hub[_hub_key(spec)] = HubRows(columns, list(rows))
    while len(_hub) > KEEP:
        _hub.popitem(last=False)


def _hub_key(spec: RunSpec) -> Key:
    return spec.data.name, spec.data.config, spec.data.split


def _key(spec: RunSpec) -> Key:
    """All that the looks at the rows depend on."""
    asked = spec.model_dump_json(include={"data", "reward"})
    model = spec.model.name, spec.model.revision  # whose tokenizer drops tags
    own = [stamp_of(leaf.file) for leaf in spec.reward.leaves() if leaf.file]  # which ask for columns
    return asked, spec.run.seed, repr(spec.model.warm_start), model, (*_stamps(spec), *own)


def _stamps(spec: RunSpec) -> Iterator[Stamp]:
    few_shot, warm = spec.data.few_shot, spec.model.warm_start
    for path in (spec.data.path, spec.data.eval_path, few_shot and few_shot.path, warm and warm.path):
        stamp = stamp_of(path) if path else None
        if stamp is not None:  # one that is not there is said by whoever reads it
            yield stamp
