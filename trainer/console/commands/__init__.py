"""The commands of `python -m trainer`, a module each: its function, and its parser beside it.

Nothing heavy is imported before a command is called: --help waits for nothing.
"""

from __future__ import annotations

from trainer.console.commands import (
    chat,
    compare_methods,
    doctor,
    evaluate,
    export,
    import_wandb,
    report,
    rewards,
    runs,
    tasks,
)

COMMANDS = (runs, export, chat, evaluate, tasks, rewards, report, compare_methods, import_wandb, doctor)
"""In the order of --help."""
