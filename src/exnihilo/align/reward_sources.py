"""Reward sources out of a config: reward models, verifiers, judges and programs, and what becomes of them together."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exnihilo.align.loopholes import Watched
from exnihilo.align.rewarded import SAFETY, UNSAFE, EndpointConfig, RewardedConfig
from exnihilo.align.rewards import (
    Judged,
    Part,
    Programmed,
    RewardModel,
    RewardSource,
    Scored,
    Trusted,
    Verified,
    WeightedSum,
)
from exnihilo.align.safety_first import SafetyFirst, Whitened
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.stage import Inputs
from exnihilo.core.workspace import Workspace
from exnihilo.teachers.endpoint import Endpoint, Meter
from exnihilo.teachers.judge import Judge
from exnihilo.teachers.local import LocalTeacher
from exnihilo.teachers.remembered import Remembered

if TYPE_CHECKING:
    from exnihilo.teachers.teacher import Teacher
    from exnihilo.tokenizer.tokenizer import Tokenizer


@dataclass
class Rewards:
    """The source that a config names, and those that it is made of."""

    source: RewardSource
    parts: list[Trusted]

    def figures(self) -> dict[str, float]:
        """The mean of each source's last rewards, where there are several: which of them is maximised must be seen."""
        means = {}
        for part in self.parts if len(self.parts) > 1 else []:
            known = [value for value in part.last if value is not None]
            if known:
                means[f"reward_{part.name}"] = sum(known) / len(known)
        return means

    def told(self) -> list[str]:
        """A line for each judge, and for each source that had no reward for some answers."""
        graded = [
            f"{one.name}: {one.judged} answers were graded by {one.source.judge.teacher.name}"
            for one in self.parts
            if isinstance(one.source, Judged)
        ]
        return graded + [f"{one.name}: {one.told()}, which were left out" for one in self.parts if one.silent]


def folders(inputs: Inputs, field: str) -> list[Path]:
    """The folders that a reference to one or several names, in their order."""
    given = inputs.get(field) or {}
    return [given] if isinstance(given, Path) else list(given.values())


def reward_sources(config: RewardedConfig, inputs: Inputs, tokenizer: Tokenizer, work: Workspace) -> Rewards:
    """Load everybody who rewards answers. What they pay for is looked at, and told where it is one plain thing.

    Raises Refused for a reward model that failed its card or reads other ids, and for a judge or program that can't be
    loaded; ConfigError for weights, gates or a rule that name a source that there is not.
    """
    own = config.rewards
    sources: list[RewardSource] = []
    models = [RewardModel(folder, tokenizer) for folder in folders(inputs, "reward")]
    for aspect in dict.fromkeys(aspect for one in models for aspect in one.scale.aspects):
        judging = [one for one in models if aspect in one.scale.aspects]
        sources.append(
            Scored(
                judging, tokenizer, aspect=aspect, of_several=own.several, force=config.force_reward,
                log_odds=own.rule == "safety-first",
            )
        )  # fmt: skip
    if config.verified:
        sources.append(Verified())
    if own.program is not None:
        sources.append(Programmed(_function(own.program)))
    teacher = _teacher(own.endpoint, inputs)
    if teacher is not None:
        kept = Remembered(teacher, work.checkpoints / "judge.jsonl")
        sources.append(Judged(Judge(kept, own.criteria)))
    parts = [Trusted(source) for source in sources]
    source = _together(config, parts)

    def tell(message: str) -> None:
        work.event("loophole", message=message)

    return Rewards(Watched(Whitened(source) if own.whiten else source, tell), parts)


def _together(config: RewardedConfig, parts: Sequence[Trusted]) -> RewardSource:
    own, names = config.rewards, [part.name for part in parts]
    for key, given in (("weights", own.weights), ("gates", own.gates)):
        for name in given:
            if name not in names:
                raise ConfigError(
                    f"rewards.{key}.{name}: no such source of rewards; there are {', '.join(names)}"
                )
    gates = dict(own.gates)
    first: Trusted | None = None
    if own.rule == "safety-first":
        if SAFETY not in names or len(names) < 2:
            raise ConfigError(
                f"rewards.rule: safety-first wants a reward model with the aspect safety, and another source; there "
                f"are {', '.join(names)}; name them with reward"
            )
        first = parts[names.index(SAFETY)]
    rest = [part for part in parts if part is not first]
    below = gates.pop(SAFETY, UNSAFE) if first is not None else UNSAFE
    source: RewardSource = rest[0]
    if len(rest) > 1 or own.weights.get(source.name, 1.0) != 1 or gates:
        source = WeightedSum([Part(one, own.weights.get(one.name, 1.0), gates.get(one.name)) for one in rest])
    return source if first is None else SafetyFirst(first, source, below=below, unsafe=own.unsafe)


def _teacher(endpoint: EndpointConfig | None, inputs: Inputs) -> Teacher | None:
    if endpoint is not None:
        return endpoint_of(endpoint)
    judges = folders(inputs, "judge")
    return LocalTeacher(judges[0]) if judges else None


def endpoint_of(config: EndpointConfig) -> Endpoint:
    """Whoever answers at an address. Raises ConfigError for one that is none."""
    return Endpoint(
        config.url,
        config.model,
        key_variable=config.key_variable,
        concurrency=config.concurrency,
        most_cost=config.most_cost,
        meter=Meter(config.price_read, config.price_written),
    )


def _function(path: Path) -> Callable[[dict[str, Any], str], float | None]:
    """The function `grade` of a Python file. Raises Refused for a file that has none."""
    if not path.is_file():
        raise Refused(f"{path}: no such file; rewards.program names a Python file with grade(item, answer)")
    spec = importlib.util.spec_from_file_location(f"exnihilo_reward_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise Refused(f"{path}: not a Python file; its name ends with .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise Refused(f"{path}: {type(error).__name__}: {error}; mend it") from error
    function: Callable[[dict[str, Any], str], float | None] | None = getattr(module, "grade", None)
    if not callable(function):
        raise Refused(f"{path}: no function grade(item, answer) in it; define one")
    return function
