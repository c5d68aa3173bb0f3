"""Rows: where they come from, how they become prompts, what is refused before any model loads."""
