"""The stage `rejection`: several answers to each question, of which the best is kept to be tuned on (arXiv 2307.09288).

One round of rejection sampling. `sft` on what it writes is the other half; the next round samples from the model that
comes out, and takes along what earlier rounds kept (`earlier`): without it, Llama 2 forgot what it could.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from exnihilo.align.rewarded import RewardedConfig, external
from exnihilo.core.config import ExamplesRef, ModelRef, why
from exnihilo.core.errors import Refused
from exnihilo.core.jsonl import read_jsonl, write_jsonl
from exnihilo.core.stage import Inputs, Stage
from exnihilo.core.workspace import Workspace

if TYPE_CHECKING:
    from exnihilo.align.responses import Response, Sampler
    from exnihilo.align.rewards import RewardSource
    from exnihilo.model.decoder import Decoder

AT_ONCE = 16
"""Questions whose answers are sampled together, and kept when the run is killed."""


class RejectionConfig(RewardedConfig):
    """Sample answers to questions and keep the best of each."""

    model: ModelRef = Field(
        description="the model that answers",
        json_schema_extra=why("there is no default: it is the model to be improved", example="runs/mine/sft"),
    )
    examples: ExamplesRef = Field(
        description="artifact whose prompts.jsonl holds the questions",
        json_schema_extra=why(
            "there is no default: it is what the model is to get better at", example="runs/world/questions"
        ),
    )
    earlier: list[ExamplesRef] = Field(
        [],
        description="what earlier rounds kept, to be trained on again",
        json_schema_extra=why(
            "none, for a first round. Llama 2 lost abilities when a round was trained on its own samples alone",
            example="runs/mine/round-1",
        ),
    )
    questions: int | None = Field(
        None,
        ge=1,
        description="so many questions, drawn at random; none: all",
        json_schema_extra=why(
            "open, all: more questions help more than more answers to each", example="1000"
        ),
    )
    samples: int = Field(
        16,
        ge=2,
        description="answers to each question",
        json_schema_extra=why("16: the best of n grows with √(log n), so that ten times as many add little"),
    )
    max_new: int = Field(
        96,
        ge=1,
        description="longest answer in tokens",
        json_schema_extra=why("96, as in the quickstart: a worked answer to a short question"),
    )
    at_least: float = Field(
        0.0,
        description="keep an answer only if its reward is above this",
        json_schema_extra=why(
            "0: of verified answers only the right ones are kept, of scored ones the better half"
        ),
    )
    pairs: int = Field(
        1,
        ge=1,
        description="pairs of a better and a worse answer to each question, at most",
        json_schema_extra=why(
            "1: another question teaches more than another pair of one that is compared already", example="4"
        ),
    )
    flipped: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="share of those pairs whose labels are swapped, as people's judgements go astray",
        json_schema_extra=why(
            "0, labels as the rewards say; a recipe that stands in for people's labels gives their noise",
            example="0.1",
        ),
    )

    aspect: str | None = Field(
        None,
        min_length=1,
        description="the respect in which the better of a pair is better, such as safety; written beside each pair",
        json_schema_extra=why(
            "none, as most comparisons: one reward model then learns them all. Reward models of one aspect each read "
            "their own (arXiv 2307.09288)",
            example="safety",
        ),
    )

    @model_validator(mode="after")
    def _compares_rewards(self) -> RejectionConfig:
        if self.rewards.whiten:
            raise ValueError(
                "rewards.whiten: answers to a question are compared as they are rewarded; drop it"
            )
        return self


def run(config: RejectionConfig, inputs: Inputs, work: Workspace) -> None:
    """Write `train.jsonl` (the best answers, and those of earlier rounds), `answers.jsonl.gz` (all, with their rewards)
    and `preferences.jsonl` (for each question better and worse ones).

    Raises Refused for inputs that are unfit, and where no answer is worth keeping.
    """
    from exnihilo.align.best_of_n import divergence, expected_best
    from exnihilo.align.questions import read_prompts
    from exnihilo.align.responses import Sampler
    from exnihilo.align.reward_sources import reward_sources
    from exnihilo.core.seeds import derive
    from exnihilo.model.folder import load_with_tokenizer
    from exnihilo.train import distributed

    start, examples = inputs["model"], inputs["examples"]
    assert isinstance(start, Path) and isinstance(examples, Path)
    items, _ = read_prompts(examples, config.families, verified=config.verified)
    order = sorted(range(len(items)), key=lambda i: derive(work.seed, "question", i))
    items = [items[i] for i in order[: config.questions]]
    model, tokenizer = load_with_tokenizer(start, distributed.device())
    sampler = Sampler(
        items, tokenizer, prompts=AT_ONCE, group=config.samples, temperature=config.temperature,
        max_new=config.max_new, length=None, seed=work.seed,
    )  # fmt: skip
    rewards = reward_sources(config, inputs, tokenizer, work)

    rows = list(_answers(sampler, model.eval(), rewards.source, work))
    write_jsonl(work.path / "answers.jsonl.gz", rows)
    kept = [
        row for row in rows if row["reward"] is not None and row["best"] and row["reward"] > config.at_least
    ]
    if not kept:
        raise Refused(
            f"{examples}: none of {len(rows)} answers has a reward above {config.at_least:g}; sample more, or start "
            "from a better model"
        )
    rounds = inputs.get("earlier") or {}
    assert isinstance(rounds, dict)
    before = [row for folder in rounds.values() for _, row in read_jsonl(folder / "train.jsonl")]
    write_jsonl(work.path / "train.jsonl", [*map(_conversation, kept), *before])

    groups = [rows[i : i + config.samples] for i in range(0, len(rows), config.samples)]
    pairs = [
        pair for n, group in enumerate(groups) for pair in _pairs(group, config, derive(work.seed, "pair", n))
    ]
    write_jsonl(work.path / "preferences.jsonl", pairs)
    full = [group for rewards in groups if None not in (group := [row["reward"] for row in rewards])]
    curve = {
        n: sum(expected_best(group, n) for group in full) / len(full)
        for n in (2**k for k in range(12))
        if full and n <= config.samples
    }
    for n, value in curve.items():
        work.metric(best_of=n, reward=value, kl=divergence(n))
    work.summary = {
        "questions": len(items),
        "kept": len(kept),
        "pairs": len(pairs),
        "earlier": len(before),
    } | {f"best_of_{n}": value for n, value in curve.items()}
    work.lines = [
        f"{len(kept):,} of {len(items):,} questions have an answer worth keeping; {len(before):,} of earlier rounds",
        f"{len(pairs):,} pairs of a better and a worse one to be compared",
        "expected reward: " + ", ".join(f"best of {n} {value:.3g}" for n, value in curve.items()),
        *rewards.told(),
    ]


def _answers(
    sampler: Sampler, model: Decoder, source: RewardSource, work: Workspace
) -> Iterator[dict[str, Any]]:
    """Every answer with its reward, the best of each question marked; parts that a killed run finished are read."""
    from exnihilo.core.seeds import derive

    count = len(sampler.items)
    with work.progress(count, "sampling answers", "questions") as progress:
        for begin in range(0, count, AT_ONCE):
            part = range(begin, min(begin + AT_ONCE, count))
            kept = work.checkpoints / f"part-{begin:07d}.jsonl"
            if not kept.is_file():
                seeds = [derive(work.seed, "sample", begin, n) for n in range(len(part) * sampler.group)]
                responses = sampler.answers(part, seeds, model)
                write_jsonl(kept, _rows(responses, source(responses), sampler.group))
            yield from (row for _, row in read_jsonl(kept))
            progress.advance(len(part))


def _rows(responses: list[Response], rewards: list[float | None], samples: int) -> Iterator[dict[str, Any]]:
    """Answers as rows. Of several that are as good the shortest is best: length must not creep in by chance."""
    for begin in range(0, len(responses), samples):
        group = range(begin, begin + samples)
        # An answer that was cut off teaches never to stop.
        fit = [i for i in group if rewards[i] is not None and responses[i].ended]
        best = max(fit, key=lambda i: (rewards[i], -responses[i].length), default=None)
        for i in group:
            item = responses[i].item
            yield {
                "family": item.get("family", ""),
                "messages": item["messages"],
                "answer": responses[i].text,
                "ended": responses[i].ended,
                "reward": rewards[i],
                "best": i == best,
            }


def _pairs(group: list[dict[str, Any]], config: RejectionConfig, seed: int) -> list[dict[str, Any]]:
    """Up to so many pairs of answers to a question, one of each with a higher reward, drawn at random; none where all
    are as good. Of the share `flipped` the worse is called the better.

    The best is not always taken: a reward model is to judge what a policy writes, and that is seldom its best.
    """
    import random

    rng = random.Random(seed)
    fit = {row["answer"]: row for row in group if row["ended"] and row["reward"] is not None}.values()
    pairs = [(a, b) for a in fit for b in fit if a["reward"] > b["reward"]]
    drawn = rng.sample(pairs, min(config.pairs, len(pairs)))
    return [
        {
            "prompt": better["messages"],
            "chosen": (worse if swapped else better)["answer"],
            "rejected": (better if swapped else worse)["answer"],
            "family": better["family"],
            **({} if config.aspect is None else {"aspect": config.aspect}),
        }
        for (better, worse), swapped in ((pair, rng.random() < config.flipped) for pair in drawn)
    ]


def _conversation(row: dict[str, Any]) -> dict[str, Any]:
    messages = [*row["messages"], {"role": "assistant", "content": row["answer"]}]
    return {"messages": messages, "meta": {"family": row["family"], "reward": row["reward"]}}


STAGE = Stage(
    "rejection", "examples", RejectionConfig, run, "Keep the best of several sampled answers.", external
)
