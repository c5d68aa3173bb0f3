"""GRPO on one GPU, by a click: presets in, runs out. README.md has the map of the rooms."""
