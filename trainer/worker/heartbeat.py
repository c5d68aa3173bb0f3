"""Signs of life of a worker, and a look for requests, in a thread."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from trainer.machine import gpu
from trainer.memory.measured import peak_gib, resident_gib
from trainer.run.events import EventWriter
from trainer.run.records import GpuEvent, HeartbeatEvent


class Heartbeat(threading.Thread):
    """Signs of life with memory and GPU readings, every `seconds`, until `stop`."""

    def __init__(
        self,
        events: EventWriter,
        seconds: float,
        step: Callable[[], int],
        on_beat: Callable[[], None],
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.events = events
        self.seconds = seconds
        self.step = step
        self.on_beat = on_beat
        self._ended = threading.Event()

    def run(self) -> None:
        ended = False
        while not ended:
            try:
                self._beat()
            except Exception as error:  # one failed reading must not end the signs of life and the look for requests
                print(f"heartbeat: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            ended = self._ended.wait(self.seconds)

    def _beat(self) -> None:
        self.on_beat()
        self.events.emit(HeartbeatEvent(step=self.step(), rss_gib=resident_gib(), peak_gib=peak_gib()))
        card = gpu.chosen()
        if card is not None:
            used, total, busy = card.used_gib, card.total_gib, card.utilization_frac
            self.events.emit(GpuEvent(used_gib=used, total_gib=total, utilization_frac=busy))

    def stop(self) -> None:
        self._ended.set()
        self.join()
