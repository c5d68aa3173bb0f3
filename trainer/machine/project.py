"""Where the project's files are."""

from __future__ import annotations

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
"""The folder that holds app.py, trainer/ and presets/."""
