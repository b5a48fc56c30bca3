"""The stages of the experiment on over-optimisation that no recipe has: its world, what gold prefers, and the best
of n."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

from exnihilo.align import ppo
from exnihilo.align.responses import Response, Sampler
from exnihilo.align.rewards import RewardSource, Scored
from exnihilo.core.config import Config, ExamplesRef, ModelRef, RewardRef
from exnihilo.core.jsonl import read_jsonl, write_jsonl
from exnihilo.core.seeds import derive
from exnihilo.core.stage import Inputs, Stage
from exnihilo.core.workspace import Workspace
from exnihilo.lab.word_world import PLACES, WORDS, WordWorld
from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import load_with_tokenizer, save_model
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.tokenizer import Tokenizer

MAX_NEW, LENGTH = 24, 64
AT_ONCE = 512
PICKED = (1, 4, 16, 64)
"""Of how many answers each answer is the proxy's best that the second reward model learns from. By the best of 64 it is
1.8 = √(log 64 − 63/64) from the policy, about as far as gold rises."""
SHAPE: dict[str, Any] = {
    "width": 64,
    "depth": 2,
    "heads": 2,
    "kv_heads": 2,
    "head_dim": 32,
    "hidden": 128,
    "max_length": LENGTH,
}


class WorldConfig(Config):
    """A world of words."""

    world: int = Field(description="its seed")
    conversations: int = Field(2000, description="questions with answers at random")


class ComparisonsConfig(Config):
    """Pairs of the model's answers, of which gold says the better."""

    model: ModelRef = Field(description="the model that answers")
    examples: ExamplesRef = Field(description="the world's questions")
    world: int = Field(description="its seed")
    pairs: int = Field(description="pairs of answers")
    learner: Literal["proxy", "worse", "second"] = Field(
        description="for which reward model: they share no answer"
    )
    proxy: RewardRef | None = Field(
        None, description="the one that picks some of the answers, as a policy would"
    )


class BestOfConfig(Config):
    """A sample of answers, judged by all."""

    model: ModelRef = Field(description="the model that answers")
    examples: ExamplesRef = Field(description="the world's questions")
    proxy: RewardRef = Field(description="the reward model that is maximised")
    worse: RewardRef = Field(description="one of fewer comparisons that is maximised instead")
    second: RewardRef = Field(description="the one that is watched")
    world: int = Field(description="its seed")
    answers: int = Field(description="answers in all")


def _world(config: WorldConfig, inputs: Inputs, work: Workspace) -> None:
    world = WordWorld(config.world)
    write_jsonl(work.path / "train.jsonl", world.conversations(config.conversations, work.seed))
    write_jsonl(work.path / "prompts.jsonl", world.questions())


def _start(config: WorldConfig, inputs: Inputs, work: Workspace) -> None:
    """A model that knows nothing, to which each word is one token."""
    text = " ".join([*WORDS, *PLACES, "What is in the?"])
    tokenizer = train_tokenizer([text] * 12, 700)
    tokenizer.save(work.path)
    torch.manual_seed(derive(work.seed, "start"))
    save_model(Decoder(DecoderConfig(vocab_size=tokenizer.vocab_size, **SHAPE)), work.path, work.path)


def _comparisons(config: ComparisonsConfig, inputs: Inputs, work: Workspace) -> None:
    world, seed = WordWorld(config.world), derive(work.seed, config.learner)
    write_jsonl(
        work.path / "train.jsonl",
        filter(None, (_preferred(world, *pair) for pair in _pairs(config, inputs, seed, work))),
    )


def _pairs(
    config: ComparisonsConfig, inputs: Inputs, seed: int, work: Workspace
) -> Iterator[tuple[Response, Response]]:
    """Pairs of answers to a question: sampled, or as many each of the best of 1, 4, 16 and 64 by the proxy."""
    if config.proxy is None:
        answers = list(_answers(inputs, config.pairs, seed, work, group=2))
        yield from zip(answers[::2], answers[1::2], strict=True)
        return
    proxy = Scored([folder_of(inputs, "proxy")], Tokenizer.load(folder_of(inputs, "model")), force=True)
    for n in PICKED:
        questions = config.pairs // len(PICKED)
        best = list(picked(list(_answers(inputs, questions, derive(seed, n), work, group=2 * n)), proxy, n))
        yield from zip(best[::2], best[1::2], strict=True)


def picked(answers: Sequence[Response], reward: RewardSource, n: int) -> Iterator[Response]:
    """The best of each n answers that follow each other; of equal ones the first, and unjudged ones come last."""
    scores = [-math.inf if score is None else score for score in reward(answers)]
    for begin in range(0, len(answers), n):
        yield answers[max(range(begin, begin + n), key=scores.__getitem__)]


def _preferred(world: WordWorld, *pair: Response) -> dict[str, Any] | None:
    """The pair as a preference; None where gold likes both alike, or one says nothing."""
    worse, better = sorted(pair, key=lambda one: world.gold(one.text))
    if not (better.text and worse.text) or world.gold(better.text) == world.gold(worse.text):
        return None
    return {
        "prompt": better.item["messages"][0]["content"],
        "chosen": better.text,
        "rejected": worse.text,
    }


def _best_of(config: BestOfConfig, inputs: Inputs, work: Workspace) -> None:
    answers = list(_answers(inputs, config.answers, work.seed, work))
    tokenizer = Tokenizer.load(folder_of(inputs, "model"))
    judges = ("proxy", "worse", "second")
    columns = [Scored([folder_of(inputs, judge)], tokenizer, force=True)(answers) for judge in judges]
    columns.append(WordWorld(config.world)(answers))
    write_jsonl(
        work.path / "answers.jsonl",
        (dict(zip((*judges, "gold"), row, strict=True)) for row in zip(*columns, strict=True)),
    )


def folder_of(inputs: Inputs, field: str) -> Path:
    """The folder of an input that is one artifact."""
    found = inputs[field]
    assert isinstance(found, Path)
    return found


def _answers(
    inputs: Inputs, questions: int, seed: int, work: Workspace, *, group: int = 1
) -> Iterator[Response]:
    """`group` answers to each of so many questions, those to one next to each other."""
    model, tokenizer = load_with_tokenizer(folder_of(inputs, "model"))
    items = [item for _, item in read_jsonl(folder_of(inputs, "examples") / "prompts.jsonl")]
    with work.progress(questions, "sampling", "questions") as progress:
        for begin in range(0, questions, AT_ONCE):
            sampler = Sampler(
                items, tokenizer, prompts=min(AT_ONCE, questions - begin), group=group, temperature=1.0,
                max_new=MAX_NEW, length=LENGTH, seed=derive(seed, "answers", begin),
            )  # fmt: skip
            yield from sampler.sample(0, model.eval())
            progress.advance(sampler.prompts)


def watched_ppo(world: int) -> Stage:
    """The stage `ppo`, watched by the gold reward of a world."""

    def run(config: ppo.PPOConfig, inputs: Inputs, work: Workspace) -> None:
        ppo.run(config, inputs, work, gold=WordWorld(world))

    return replace(ppo.STAGE, run=run, external=lambda config: f"world {world}")


WORLD = Stage("word-world", "examples", WorldConfig, _world, "A world of words.")
START = Stage("word-start", "model", WorldConfig, _start, "A model that knows nothing.")
COMPARISONS = Stage("gold-comparisons", "examples", ComparisonsConfig, _comparisons, "What gold prefers.")
BEST_OF = Stage("gold-best-of", "results", BestOfConfig, _best_of, "A sample of answers, judged by all.")
