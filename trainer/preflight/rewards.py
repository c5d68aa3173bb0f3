"""What the rewards of a run need of this machine: own files, a sandbox, models in folders, the key of a judge.

A person's file is read first, and then tried on two rows in a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from trainer.episodes import own
from trainer.errors import Problem, RewardError
from trainer.rewards import learnt, own_file
from trainer.run import judges
from trainer.spec import Component, Reward, RunSpec
from trainer.spec.reward import ASKED, JUDGES
from trainer.tasks import catalogue

MODELS = {"bertscore": "encoder", **dict.fromkeys(JUDGES, "model")}
"""{function: the param that names a Hub repository or a folder}."""
TRY_S = 10.0
"""Most seconds a batch of a person's functions may take while they are tried."""


def problems(spec: RunSpec) -> Iterator[Problem]:
    """What can be said without running anything of a person's."""
    yield from own_files(spec)
    for component in spec.reward.leaves():
        if component.file is not None:
            continue
        if component.function == "code":
            yield from _sandbox(component.title)
        elif component.function in ASKED:
            yield from _key(component)
        elif component.function in MODELS:
            yield from _folder(component)
    if spec.episode.environment is not None and spec.episode.file is not None:
        yield from own.problems(spec.episode.environment, spec.episode.file)
    elif spec.episode.environment == "python":
        yield from _sandbox(spec.episode.environment, "episode.environment")
    yield from verifiers(spec)
    yield from judges.problems(spec)


def verifiers(spec: RunSpec) -> Iterator[Problem]:
    """The package of the rewards that judge rows of a task, where it is not installed."""
    for component in spec.reward.leaves():
        if component.file is None and component.function == "task" and catalogue.installed_version() is None:
            yield catalogue.not_installed(component.title, "reward.components")


def own_files(spec: RunSpec) -> Iterator[Problem]:
    """What reading a person's files tells; nothing of them is run."""
    for component in spec.reward.leaves():
        if component.file is not None:
            yield from own_file.problems(component.file, component.function, component.title)


def folders(spec: RunSpec) -> Iterator[Problem]:
    """Reward models and encoders in folders that are not there."""
    for component in spec.reward.leaves():
        if component.file is None and component.function in MODELS:
            yield from _folder(component)


def judging(spec: RunSpec) -> Reward:
    """The rewards as a run starts with them: a built-in reward model is made here, which takes torch. Raises RunError
    where the reward model of a run is not there."""
    reward = judges.resolved(spec.reward)
    if not learnt.starts_built_in(reward):
        return reward
    from trainer.engine import builtin

    return builtin.judging(spec.model_copy(update={"reward": reward}))


def tried(spec: RunSpec) -> list[Problem]:
    """Run a person's functions on two rows, in a process of their own: what fails on a gold answer is known in a
    second, not after minutes of loading. Rows on the Hub are not here yet; the worker tries all rewards once more.
    """
    # Without their conditions: what they look at need not be among them.
    own_parts = [leaf.model_copy(update={"only_if": None}) for leaf in spec.reward.leaves() if leaf.file is not None]
    if spec.data.path is None:
        return []
    played = environment(spec)
    if played or not own_parts:
        return played
    from trainer.data import preview
    from trainer.rewards import check
    from trainer.rewards.wrapper import ComponentRewardWrapper

    changes = {"components": own_parts, "correct": None, "workers": 1, "deadline_s": min(spec.reward.deadline_s, TRY_S)}
    try:
        wrapper = ComponentRewardWrapper(spec.reward.model_copy(update=changes), pooled=True)
        try:
            found = check.trial(wrapper, preview.preview(spec, 2))
        finally:
            wrapper.close()
    except RewardError as error:
        return error.problems
    return found.problems


def environment(spec: RunSpec) -> list[Problem]:
    """A scripted conversation on two rows with an environment of a person's own or on a server."""
    settings = spec.episode
    if settings.environment is None or (settings.file is None and not settings.is_remote):
        return []
    from trainer.data import preview
    from trainer.episodes import check
    from trainer.episodes.host import Host

    try:
        recipe = own.Recipe.of(settings.environment, settings.file, settings.url)
        host = Host(recipe, min(settings.deadline_s, TRY_S), settings.memory_gib)
        try:
            return check.trial(host, preview.preview(spec, check.ROWS)).problems
        finally:
            host.close()
    except RewardError as error:
        return error.problems


def _sandbox(component: str, place: str = "") -> Iterator[Problem]:
    from trainer.rewards import sandbox

    wrong = sandbox.trouble()
    if wrong is not None:
        yield Problem("preflight.no_sandbox", place, component=component, why=wrong.part("what"), fix=wrong.part("fix"))


def _key(component: Component) -> Iterator[Problem]:
    """A judge elsewhere wants a key; one on this machine or in its network seldom does."""
    name = component.params.get("api_key_env", "OPENAI_API_KEY")
    if not os.environ.get(name) and not _is_near(urlsplit(str(component.params.get("base_url", ""))).hostname or ""):
        yield Problem("preflight.no_judge_key", component=component.title, variable=name)


def _is_near(host: str) -> bool:
    if host == "localhost" or host.endswith(".local") or ("." not in host and ":" not in host):
        return True
    try:
        return ip_address(host).is_private
    except ValueError:
        return False


def _folder(component: Component) -> Iterator[Problem]:
    """A name that can only be a folder must be one; what is on the Hub is loaded when the worker tries the rewards."""
    param = MODELS[component.function]
    name = str(component.params.get(param, ""))
    if name.startswith((".", "/", "~")) and not (Path(os.path.expanduser(name)) / "config.json").is_file():
        yield Problem("preflight.no_reward_model", component=component.title, param=param, folder=name)
