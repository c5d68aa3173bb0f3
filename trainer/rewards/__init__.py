"""Rewards of completions: the library of functions, people's own files, and the wrapper that weighs them."""
