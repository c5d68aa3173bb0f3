"""The page: a room a tab, from starting a run to trying its weights; every run is shown as its event log tells it."""

from trainer.ui.server import serve

__all__ = ["serve"]
