"""python -m trainer doctor: what this machine has and lacks"""

from __future__ import annotations

from typing import Any

from trainer.console.printing import put


def add(commands: Any) -> None:
    parser = commands.add_parser("doctor", help="check this machine: packages, GPU, memory, disk, keys")
    parser.set_defaults(call=doctor)


def doctor() -> int:
    """Look at the machine; exit code 1 when something is missing."""
    from trainer import launch
    from trainer.preflight import doctor as health
    from trainer.run.rundir import outputs_dir

    findings = health.check(outputs_dir())
    for line in health.render(findings):
        put(line)
    missing = any(finding.state == "missing" for finding in findings)
    return launch.EXIT_FAILED if missing else launch.EXIT_FINISHED
