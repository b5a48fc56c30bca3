"""How a learned reward is over-optimised: gold and proxy reward against √KL, for best-of-n and for PPO (arXiv
2210.10760), and where the early stop lands that never reads gold.

A model of a world of words answers at random. Gold, a program, prefers one of two answers five hundred times; a reward
model learns that. Runs of other seeds try out where maximising it leads, and a second one learns from three thousand
comparisons of what they answer. Best of n picks by the first, and PPO maximises it to far beyond the turn, with no KL
penalty. Where training would have stopped is replayed from its records by the rule that stops it. Both are done again
with a worse reward model, of a quarter of the comparisons: gold is expected to turn earlier and lower.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from exnihilo.align import reward
from exnihilo.align.best_of_n import divergence, expected_picked
from exnihilo.align.watch import verdict, windows
from exnihilo.core.build import build
from exnihilo.core.config import Config, validate
from exnihilo.core.errors import Interrupted, Refused
from exnihilo.core.events import EventLog
from exnihilo.core.files import write_atomic, write_json
from exnihilo.core.jsonl import read_jsonl
from exnihilo.core.seeds import derive
from exnihilo.core.stage import Inputs, Stage
from exnihilo.lab.gold_curve import fit_form
from exnihilo.lab.overoptimisation_stages import (
    BEST_OF,
    COMPARISONS,
    LENGTH,
    MAX_NEW,
    START,
    WORLD,
    watched_ppo,
)
from exnihilo.recipes.working import working_in
from exnihilo.train import sft

RESULT = "results.json"
Record = dict[str, Any]
BEFORE = ("world", "start", "policy", "proxy-pairs", "proxy", "worse-pairs", "worse")
AFTER = ("second-pairs", "second", "answers", "ppo", "ppo-worse")
"""What is made for a seed, before its pilots and after them."""


@dataclass(frozen=True)
class Size:
    """How large the experiment is.

    Attributes:
        steps: of tuning the policy that all begins with.
        pairs, worse, second: what gold compared for the reward model that is maximised, for the worse one that is
            maximised instead of it, and for the one that is watched.
        answers: what the best of n are picked from.
        rollouts, prompts: of PPO, and the answers in each.
        pilots: rollouts of the runs that tell where maximising the reward leads.
        window: rollouts that a point of its curve is made of.
        price: what a nat costs where the stop is replayed; less than `watch.price` is by default, since this second
            reward model has seen what the first one leads to.
    """

    steps: int = 300
    pairs: int = 500
    worse: int = 125
    second: int = 3000
    answers: int = 4096
    rollouts: int = 150
    prompts: int = 128
    pilots: tuple[int, ...] = (15, 25, 35, 45, 60, 75, 90, 120)
    window: int = 4
    price: float = 0.01


def overoptimisation(folder: Path, seeds: Sequence[int], size: Size | None = None) -> Record:
    """Make what is missing of each seed in `folder`, then results.json and report.html; returns what the first holds.

    Killed, it continues when called again, and with more seeds makes those only. Raises Refused (another process
    works there, or the folder holds something else), and what a stage raises.
    """
    from exnihilo.lab.overoptimisation_page import render

    folder, size = folder.absolute(), size or Size()
    with working_in(folder) as stopped:
        if any((folder / name).exists() for name in ("recipe.yaml", "run.json", "question.json")):
            raise Refused(f"{folder}: holds something else; give another folder with --run")
        found = {}
        for number, seed in enumerate(seeds, start=1):
            EventLog(folder).write("lab", "run", message=f"seed {seed}, {number} of {len(seeds)}")
            made = _make(folder / f"seed={seed}", seed, size, stopped)
            found[str(seed)] = measure(made, size.window, size.price)
        result = {
            "schema": 1,
            "size": asdict(size) | {"pilots": list(size.pilots)},
            "seeds": found,
            "kept": _over_seeds(found),
        }
        write_json(folder / RESULT, result)
        write_atomic(folder / "report.html", render(result))
    return result


def missing(folder: Path, seeds: Sequence[int]) -> dict[str, list[str]]:
    """For each seed's folder the artifacts that are not there yet, in the order in which they are made."""
    names = (*BEFORE, *_pilots(Size()), *AFTER)
    return {
        f"seed={seed}": [name for name in names if not (folder / f"seed={seed}" / name).is_dir()]
        for seed in seeds
    }


def _pilots(size: Size) -> list[str]:
    return [f"pilot-{number}" for number, _ in enumerate(size.pilots, start=1)]


def _make(folder: Path, seed: int, size: Size, stopped: Callable[[], int | None]) -> dict[str, Path]:
    """All artifacts of a seed."""
    made: dict[str, Path] = {}
    world = seed

    def make(stage: Stage, name: str, values: Record, *, seed: int = seed, **inputs: str | list[str]) -> None:
        if (number := stopped()) is not None:
            raise Interrupted(number)
        config: Config = validate(stage.config, values | inputs, where=name)
        given: Inputs = {
            field: made[found] if isinstance(found, str) else {one: made[one] for one in found}
            for field, found in inputs.items()
        }
        made[name] = build(stage, config, given, folder / name, seed=seed).path

    make(WORLD, "world", {"world": world})
    make(START, "start", {"world": world})
    rates = {"lr": 0.03, "lr_embedding": 0.02}
    make(
        sft.STAGE, "policy", {"steps": size.steps, "rows": 8, "length": LENGTH, "optimizer": rates},
        model="start", examples="world",
    )  # fmt: skip

    def learn(learner: str, pairs: int, pilots: list[str]) -> None:
        make(
            COMPARISONS, f"{learner}-pairs", {"world": world, "pairs": pairs, "learner": learner},
            model="policy", examples="world", pilots=pilots,
        )  # fmt: skip
        make(
            reward.STAGE, learner, {"epochs": 6, "rows": 8, "length": 2 * LENGTH},
            model="policy", examples=f"{learner}-pairs",
        )  # fmt: skip

    def maximise(name: str, maximised: str, rollouts: int, seed: int, **others: list[str]) -> None:
        values: Record = {
            "steps": 2 * rollouts, "prompts": size.prompts, "beta": 0, "max_new": MAX_NEW, "length": LENGTH,
            "force_reward": True, "log_every": 2, "watch": {"stop": False, "every": size.window},
            "optimizer": {"lr": 0.003, "lr_embedding": 0.0015},
            "schedule": {"kind": "constant", "warmup": 0.05},
        }  # fmt: skip
        make(
            watched_ppo(world), name, values, seed=seed,
            model="policy", examples="world", reward=maximised, **others,
        )  # fmt: skip

    learn("proxy", size.pairs, [])
    learn("worse", size.worse, [])
    pilots = _pilots(size)
    for name, rollouts in zip(pilots, size.pilots, strict=True):
        maximise(name, "proxy", rollouts, derive(seed, name))
    learn("second", size.second, pilots)
    make(
        BEST_OF, "answers", {"world": world, "answers": size.answers},
        model="policy", examples="world", proxy="proxy", worse="worse", second="second",
    )  # fmt: skip
    maximise("ppo", "proxy", size.rollouts, seed, second=["second"])
    maximise("ppo-worse", "worse", size.rollouts, seed, second=["second"])
    return made


def measure(made: dict[str, Path], window: int, price: float) -> Record:
    """The curves of a seed with their fits, by either reward model, and where the stop lands.

    Gold is what was gained, in standard deviations over the answers that the policy begins with; the others are on the
    scale of their reward models.
    """
    answers = [row for _, row in read_jsonl(made["answers"] / "answers.jsonl")]
    gold = [row["gold"] for row in answers]
    start, spread = fmean(gold), stdev(gold)
    every = 2 * window

    def rl(name: str) -> tuple[list[Record], Record]:
        records = [row for _, row in read_jsonl(made[name] / "metrics.jsonl") if "gold" in row]
        points = _windows(records, every, start, spread)
        return records, {"points": points, "fit": _fitted("rl", points)}

    (records, curve), (_, worse) = rl("ppo"), rl("ppo-worse")
    return {
        "best_of_n": _best_of_n(answers, "proxy", start, spread),
        "rl": curve | {"stop": _stop(records, curve["points"], every, price)},
        "worse": {"best_of_n": _best_of_n(answers, "worse", start, spread), "rl": worse},
    }


def _best_of_n(answers: Sequence[Record], picks: str, start: float, spread: float) -> Record:
    """The best of each n by one reward model: what it, gold and the second one say of them."""
    scores = [row[picks] for row in answers]

    def picked(name: str, n: int) -> float:
        return expected_picked(scores, [row[name] for row in answers], n)

    points = [
        {
            "n": n,
            "distance": math.sqrt(divergence(n)),
            "proxy": picked(picks, n),
            "second": picked("second", n),
            "gold": (picked("gold", n) - start) / spread,
        }
        for n in (2**k for k in range(int(math.log2(len(answers))) - 1))
    ]
    return {"points": points, "fit": _fitted("best_of_n", points)}


def _windows(records: Sequence[Record], every: int, start: float, spread: float) -> list[Record]:
    parts: dict[int, list[Record]] = {}
    for record in records:
        parts.setdefault((record["step"] - 1) // every, []).append(record)
    return [
        {
            "step": number * every,
            "distance": math.sqrt(max(0.0, fmean(one["kl_per_sequence"] for one in part))),
            "proxy": fmean(one["reward"] for one in part),
            "second": fmean(one["second"] for one in part),
            "gold": (fmean(one["gold"] for one in part) - start) / spread,
            "length": fmean(one["response_length"] for one in part),
        }
        for number, part in sorted(parts.items())
    ]


def _fitted(form: str, points: Sequence[Record]) -> Record:
    fit = fit_form(form, [one["distance"] for one in points], [one["gold"] for one in points])
    return asdict(fit) | {"peak": fit.peak}


def _stop(records: Sequence[Record], points: Sequence[Record], every: int, price: float) -> Record:
    """Where the rule would have stopped, and what the gold reward of the weights that it goes back to is worth beside
    the best of all."""
    seen = windows(records, every, len(points) * every)
    said = next((v for k in range(1, len(seen) + 1) if (v := verdict(seen[:k], price)) and v.stop), None)
    back = points[-1] if said is None else next(one for one in points if one["step"] == said.best)
    peak = max(points, key=lambda one: float(one["gold"]))
    return {
        "stopped": said is not None,
        "back_to": back,
        "peak": peak,
        "last": points[-1],
        "kept": back["gold"] / peak["gold"],
    }


def _over_seeds(found: dict[str, Record]) -> Record:
    kept = {seed: one["rl"]["stop"]["kept"] for seed, one in found.items()}
    return {"mean": fmean(kept.values()), "least": min(kept.values()), "by_seed": kept}
