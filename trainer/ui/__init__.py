"""The page: presets, plan, start, and every run as its event log tells it."""

from trainer.ui.server import serve

__all__ = ["serve"]
