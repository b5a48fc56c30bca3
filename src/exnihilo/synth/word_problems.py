"""The stage `word-problems`: arithmetic told in words, with worked answers, by the number of steps they take.

The problems are made, or read from a file of the user's. What is told apart are lengths: those that are trained on, and
longer ones that are only asked, so that it shows whether a model learned to go on step by step. Of the lengths that are
trained, a fifth of the plans (a scene and what happens in it, in order) are held out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from exnihilo.core.config import Config, ExamplesRef, why
from exnihilo.core.errors import Refused
from exnihilo.core.seeds import derive
from exnihilo.core.stage import Inputs, Stage

if TYPE_CHECKING:
    from exnihilo.core.workspace import Workspace
    from exnihilo.synth.question import Question
    from exnihilo.synth.splits import Rows

HELD_OUT_SHARE = 0.2
"""Share of plans (of a file: of problems) that no training sees. It belongs to the world, not to a run."""


class WordProblemsConfig(Config):
    """Word problems whose answers are numbers, with their steps."""

    examples: ExamplesRef | None = Field(
        default=None,
        description="a file of solved problems in GSM8K's form (question, and an answer that ends in `#### 42`); "
        "none: problems are made",
        json_schema_extra=why(
            "open, problems are made: they need no download, and their number of steps is known",
            example="problems.jsonl",
        ),
    )
    steps: int = Field(
        default=3,
        ge=1,
        le=8,
        description="most steps of a problem that is trained on",
        json_schema_extra=why(
            "3 steps are learned in minutes by a model of a million parameters, and leave room for longer ones",
            example="4",
        ),
    )
    longer: int = Field(
        default=2,
        ge=0,
        le=4,
        description="so many longer lengths are held out, too",
        json_schema_extra=why(
            "2: one and two steps more than trained show whether steps are counted or only remembered",
            example="1",
        ),
    )
    demonstrations: int = Field(
        default=200,
        ge=1,
        description="training conversations of each length, with worked answers",
        json_schema_extra=why(
            "200 of each length show the form of an answer; rewards are there to teach the rest",
            example="1000",
        ),
    )
    validation: int = Field(
        default=30,
        ge=1,
        description="validation conversations of each length",
        json_schema_extra=why("30 of each length are 90 conversations, a second of a run", example="60"),
    )
    prompts: int = Field(
        default=2000,
        ge=0,
        description="further problems of each length with their answers alone, for RL",
        json_schema_extra=why(
            "2,000 of each length: a hundred steps of 32 ask for 3,200, so that none comes twice",
            example="500",
        ),
    )
    held_out: int = Field(
        default=300,
        ge=1,
        description="evaluation items of each length",
        json_schema_extra=why(
            "300 of each length tell a length's accuracy to about 6 points, and all of three to 3",
            example="100",
        ),
    )


def word_problems(config: WordProblemsConfig, inputs: Inputs, work: Workspace) -> None:
    """Write `train`, `validation`, `prompts` and `held_out` JSONL.

    Raises Refused for a file that holds no solved problems, or too few of a length that is trained.
    """
    from exnihilo.synth.problem import family
    from exnihilo.synth.splits import fill, row, write_splits

    file = inputs.get("examples")
    assert file is None or isinstance(file, Path)
    trained = {
        "train": config.demonstrations,
        "validation": config.validation,
        "prompts": config.prompts,
        "held_out": config.held_out,
    }
    rows: Rows = {split: [] for split in trained}
    lengths = range(1, config.steps + config.longer + 1)
    with work.progress(len(lengths), "word problems", "lengths") as progress:
        for steps in lengths:
            wanted = trained if steps <= config.steps else {"held_out": config.held_out}
            stream = _made(steps, work.seed) if file is None else _read(file, steps)
            whole = steps > config.steps
            held = ((held or whole, question) for held, question in stream)
            for split, found in fill(held, wanted, family(steps)).items():
                rows[split] += [
                    row(question, split, f"{question.family}-{split}-{i:05d}", question.reply)
                    for i, question in enumerate(found)
                ]
            progress.advance(1)
    counts = write_splits(rows, work)
    work.provenance = [
        {
            "source": "word-problems" if file is None else file.stem,
            "licence": "Apache-2.0" if file is None else "unknown",
            "generator": "templates" if file is None else "",
            "amount": len(rows["train"]),
            "unit": "conversations",
        }
    ]
    work.lines.append(f"problems of 1 to {lengths[-1]} steps, {config.steps} at most in training: {counts}")


def held_out(key: str) -> bool:
    """Whether problems of this plan are kept for evaluation, in every run alike."""
    return derive(0, "held out", "word problem", key) % 1000 < 1000 * HELD_OUT_SHARE


def _made(steps: int, seed: int) -> Iterator[tuple[bool, Question]]:
    """An endless, seeded stream of (held out?, question)."""
    from exnihilo.synth.problem import problem

    rng = random.Random(derive(seed, "word problems", steps))
    while True:
        made = problem(rng, steps)
        yield held_out(made.key), made.as_question()


def _read(file: Path, steps: int) -> Iterator[tuple[bool, Question]]:
    """The problems of a file that take so many steps, again and again in its order, as `_made`."""
    from exnihilo.synth.solved import read_solved

    found = [question for question in read_solved(file) if question.steps == steps]
    if not found:
        raise Refused(f"{file}: no problem of {steps} steps; change steps or longer, or give more problems")
    while True:
        for question in found:
            yield held_out(question.key), question.as_question()


STAGE = Stage(
    "word-problems", "examples", WordProblemsConfig, word_problems, "arithmetic in words, with its steps"
)
