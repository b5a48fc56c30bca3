"""The stages of the experiment on over-optimisation that no recipe has: its world, what gold prefers, and the best
of n."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

from exnihilo.align import ppo
from exnihilo.align.responses import Response, Sampler
from exnihilo.align.rewards import Scored
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
    pilots: list[ModelRef] = Field(
        [], description="models that answer, too, each as often: where maximising the proxy has led before"
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
    """Pairs of answers to a question, of one model or of any two."""
    pilots = inputs.get("pilots", {})
    assert not isinstance(pilots, Path)
    models = [folder_of(inputs, "model"), *pilots.values()]
    questions = config.pairs // len(models)
    # The same questions to all: their answers to one are put in random order, and neighbours compared.
    by_model = [list(_answers(inputs, questions, seed, work, model=model, group=2)) for model in models]
    shuffled = random.Random(seed)
    for at in range(0, 2 * questions, 2):
        answers = [one for of_model in by_model for one in of_model[at : at + 2]]
        shuffled.shuffle(answers)
        yield from zip(answers[::2], answers[1::2], strict=True)


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
    inputs: Inputs, questions: int, seed: int, work: Workspace, *, model: Path | None = None, group: int = 1
) -> Iterator[Response]:
    """`group` answers to each of so many questions, those to one next to each other: by `model`, or by that of the
    inputs."""
    answering, tokenizer = load_with_tokenizer(model or folder_of(inputs, "model"))
    items = [item for _, item in read_jsonl(folder_of(inputs, "examples") / "prompts.jsonl")]
    with work.progress(questions, "sampling", "questions") as progress:
        for begin in range(0, questions, AT_ONCE):
            sampler = Sampler(
                items, tokenizer, prompts=min(AT_ONCE, questions - begin), group=group, temperature=1.0,
                max_new=MAX_NEW, length=LENGTH, seed=derive(seed, "answers", begin),
            )  # fmt: skip
            yield from sampler.sample(0, answering.eval())
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
