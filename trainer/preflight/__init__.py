"""What this machine lacks for a run, found before anything is written and before torch is imported.

    check(spec, plan)     SpecError with every problem at once, or nothing

Devices and packages, the model's files, the disks; the network comes last, is asked only about a Hub model that is
not in the local cache, and gets five seconds in all. The files:

    machine       GPU, engine, packages, main memory
    rewards       own files, the sandbox, models in folders, the key of a judge
    model_files   what a folder or a repository must hold to be trained
    repo_id       an address in place of a model's name
    local         a model that is a folder
    adapter       an adapter that training starts from
    hub           a model that is a Hub id: the local cache, then one look at the Hub
    disk          room for the checkpoints and for the download
    templates     apart from `check`, with the plan: does the model's chat template suit the rows
    doctor        apart from `check`: what `python -m trainer doctor` prints

Imports the standard library, pydantic's specs and plans, and inside functions psutil and huggingface_hub; never
torch. Packages are looked up, not imported.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainer.errors import Problem, SpecError
from trainer.machine import gpu
from trainer.memory.embedded import BUILTIN
from trainer.plan import RunPlan
from trainer.preflight import adapter, disk, hub, local, machine, repo_id, rewards
from trainer.spec import RunSpec


def check(spec: RunSpec, plan: RunPlan) -> None:
    """Raise SpecError with all that this machine lacks for the run. Writes nothing."""
    problems = list(_problems(spec, plan))
    if problems:
        raise SpecError(problems)


def gone(spec: RunSpec) -> Iterator[Problem]:
    """What was there when the run was made: own reward files, models in folders, the package of a task. No network is
    asked."""
    yield from rewards.own_files(spec)
    yield from rewards.verifiers(spec)
    yield from rewards.folders(spec)
    if local.is_folder(spec.model.name):
        yield from local.problems(spec, gpu.chosen() is not None)


def _problems(spec: RunSpec, plan: RunPlan) -> Iterator[Problem]:
    has_gpu = gpu.chosen() is not None
    yield from machine.problems(spec, plan, has_gpu)
    of_rewards = list(rewards.problems(spec))
    yield from of_rewards or rewards.tried(spec)
    yield from adapter.problems(spec)
    to_download = 0
    no_name = repo_id.problem(spec.model.name)
    if no_name:
        yield no_name
    elif local.is_folder(spec.model.name):
        yield from local.problems(spec, has_gpu)
    elif not spec.model.name.startswith(BUILTIN):
        found = hub.look(spec, has_gpu)
        to_download = found.to_download
        yield from found.problems
    yield from disk.problems(spec, plan, to_download)
