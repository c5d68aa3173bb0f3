"""Runs: what has run, and which was best? All runs, and two or more compared."""
