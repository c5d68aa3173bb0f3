"""Runs of 13 words that held-out and training rows share: the usual sign that a test was copied into the training data.

GPT-3 (Brown et al. 2020, appendix C) takes 13 words as the length at which a match is no accident. What stands in more
than 5 % of the held-out rows (of few rows: in more than three, or in more than half) is template text and does not
count. Needs numpy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.data.render import WORDS, folded

RUN = 13
MAX_SHARE = 0.05  # of the held-out rows
MAX_HELD_OUT = 10_000  # held-out rows that are looked at: 8 bytes a word of them stay in memory
_BATCH = 200_000  # words that are hashed at once
_BASE = 0x9E3779B97F4A7C15  # any large odd number: the polynomial must not collapse modulo 2**64


class _Batches:
    """Words of rows, hashed by the batch."""

    def __init__(self) -> None:
        self._words: list[int] = []
        self._owners: list[int] = []

    def add(self, text: str, owner: int) -> bool:
        """True when a batch is full."""
        words = [hash(word) for word in WORDS.findall(folded(text))]
        if len(words) >= RUN:
            self._words += words
            self._owners += [owner] * len(words)
        return len(self._words) >= _BATCH

    def runs(self) -> tuple[Any, Any]:
        """(hash of each run of words within one row, number of that row); empties the batch."""
        words = np.array(self._words, dtype=np.int64).view(np.uint64)
        owners = np.array(self._owners, dtype=np.int64)
        self._words, self._owners = [], []
        count = len(words) - RUN + 1
        if count <= 0:
            return np.empty(0, np.uint64), np.empty(0, np.int64)
        sums = np.zeros(count, np.uint64)
        for place in range(RUN):
            sums = sums * np.uint64(_BASE) + words[place : place + count]
        whole = owners[:count] == owners[RUN - 1 :]
        return sums[whole], owners[:count][whole]


class Overlap:
    """First `hold` every held-out row, then `close`, then `look` at every training row, then `finish`."""

    def __init__(self) -> None:
        self._batches, self._parts, self._held = _Batches(), [], 0  # type: ignore[var-annotated]
        self._known: Any = np.empty(0, np.uint64)
        self.rows = 0
        """Training rows that share a run of words with a held-out row."""
        self.first: list[int] = []
        """Lines of the first three of them."""

    def hold(self, text: str) -> None:
        if self._held < MAX_HELD_OUT:
            if self._batches.add(text, self._held):
                self._keep()
            self._held += 1

    def _keep(self) -> None:
        sums, owners = self._batches.runs()
        pairs = np.unique(np.stack([sums, owners.view(np.uint64)]), axis=1)  # a run counts once a row
        self._parts.append(pairs[0])

    def close(self) -> None:
        self._keep()
        sums, counts = np.unique(np.concatenate(self._parts), return_counts=True)
        self._known = sums[counts <= max(1, min(3, self._held // 2), MAX_SHARE * self._held)]
        self._parts = []

    def look(self, text: str, line: int) -> None:
        if len(self._known) and self._batches.add(text, line):
            self.finish()

    def finish(self) -> None:
        """Look at what is left of a batch."""
        if not len(self._known):
            return
        sums, owners = self._batches.runs()
        places = np.minimum(np.searchsorted(self._known, sums), len(self._known) - 1)
        found = np.unique(owners[self._known[places] == sums])
        self.rows += len(found)
        self.first += found[: 3 - len(self.first)].tolist()
