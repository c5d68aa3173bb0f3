"""What a run keeps of others in its folder, looked at before anything is loaded: reward models, and the adapter that it
starts from (the parent has copied what is on this machine, what is on the Hub is fetched here). Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.errors import CheckpointError, EngineError, Problem
from trainer.preflight import adapter
from trainer.run import judges, start_adapter, start_files
from trainer.run.rundir import RunDir
from trainer.run.start_files import FILES, PLACE, Origin
from trainer.spec import RunSpec


def kept(rundir: RunDir, spec: RunSpec, resumed: bool) -> dict[str, Any] | None:
    """What env.json says of the adapter in start/, whose files are as they were; None where none is kept.

    That is a run that starts anew, or a resumed one of a version that kept none: it has its adapter in its checkpoints,
    and its reference is the base model. Raises TrainerError: damaged, not to be had, of another shape.
    """
    if spec.model.adapter is None:
        return None
    noted = start_files.noted(rundir.env)
    if noted is None:
        if resumed:
            return None
        origin = start_adapter.resolve(spec.model.adapter)
        if origin.folder is None:
            origin = _fetched(spec, spec.model.adapter)
        noted = rundir.take_start(origin)
    wrong = start_files.damaged(rundir.start, noted)
    if wrong is not None:
        raise CheckpointError(Problem("worker.start_damaged", PLACE, file=wrong, folder=str(rundir.start)))
    return noted


def with_judges(rundir: RunDir, spec: RunSpec) -> RunSpec:
    """The spec with the reward models that the run keeps, whose files are as they were. Raises RunError."""
    judges.refuse_damaged(rundir)
    return spec.model_copy(update={"reward": judges.in_run(spec.reward, rundir)})


def _fetched(spec: RunSpec, name: str) -> Origin:
    """The two files of a repository, by the Hub's own cache; without a network those that lie there."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, allow_patterns=list(FILES)))
    except Exception as error:  # whatever httpx, the Hub or the disk say: nothing of the run has begun
        said = " ".join(str(error).split())[:300]
        raise EngineError(Problem("worker.adapter_not_fetched", PLACE, name=name, said=said)) from error
    if not all((folder / file).is_file() for file in FILES):
        raise EngineError(Problem("run.start_no_adapter", PLACE, folder=name, files=list(FILES)))
    problems = list(adapter.of_config(spec, folder))
    if problems:
        raise EngineError(problems)
    return Origin(name, folder, revision=folder.name)
