"""The stage `word-problems`: arithmetic told in words, with worked answers, by the number of steps they take.

The problems are made, or read from a file of the user's. What is told apart are lengths: those that are trained on, and
longer ones that are only asked, so that it shows whether a model learned to go on step by step. Of the lengths that are
trained, a fifth of the plans (a scene and what happens in it, in order) are held out.
"""

from __future__ import annotations

import itertools
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

Keyed = Iterator[tuple[str, "Question"]]
"""Endless: what the split goes by, and a question."""
FEWEST = 20
"""So many problems of a length a file must hold, that some may be held out and others trained on."""
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
    worked_share: float = Field(
        default=0.4,
        ge=0,
        le=1,
        description="share of demonstrations that show their steps; the others say the answer alone",
        json_schema_extra=why(
            "0.4: steps are shown often enough to be learned, and not in most answers, so that rewards can find "
            "out that they help",
            example="1",
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

    Raises Refused for a file whose rows are no solved problems, or too few of the lengths that are trained on.
    """
    from exnihilo.synth.problem import family
    from exnihilo.synth.splits import fill, row, write_splits

    file = inputs.get("examples")
    assert file is None or isinstance(file, Path)
    lengths = range(1, config.steps + config.longer + 1)
    streams = (
        {steps: _made(steps, work.seed) for steps in lengths}
        if file is None
        else _of_file(file, config.steps, lengths, work)
    )
    trained = {
        "train": config.demonstrations,
        "validation": config.validation,
        "prompts": config.prompts,
        "held_out": config.held_out,
    }
    rows: Rows = {split: [] for split in trained}
    with work.progress(len(streams), "word problems", "lengths") as progress:
        for steps, stream in streams.items():
            beyond = steps > config.steps
            wanted = {"held_out": config.held_out} if beyond else trained
            parted = ((beyond or held_out(key), question) for key, question in stream)
            for split, found in fill(parted, wanted, family(steps)).items():
                rows[split] += [
                    row(question, split, i, work.seed, config.worked_share)
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
    told = f"problems of {min(streams)} to {max(streams)} steps, {config.steps} at most in training"
    work.lines.append(f"{told}: {counts}")


def held_out(key: str) -> bool:
    """Whether problems of this plan are kept for evaluation, in every run alike."""
    return derive(0, "held out", "word problem", key) % 1000 < 1000 * HELD_OUT_SHARE


def _made(steps: int, seed: int) -> Keyed:
    """An endless, seeded stream of problems of so many steps, with their plans."""
    from exnihilo.synth.problem import problem

    rng = random.Random(derive(seed, "word problems", steps))
    while True:
        made = problem(rng, steps)
        yield made.key, made.as_question()


def _of_file(file: Path, most: int, lengths: range, work: Workspace) -> dict[int, Keyed]:
    """The problems of a file by their steps, again and again in its order; lengths of few problems are left out."""
    from exnihilo.synth.solved import read_solved

    by_steps: dict[int, list[tuple[str, Question]]] = {}
    for one in read_solved(file):
        by_steps.setdefault(one.steps, []).append((one.key, one.as_question()))
    kept = {steps: by_steps[steps] for steps in lengths if len(by_steps.get(steps, ())) >= FEWEST}
    if not any(steps <= most for steps in kept):
        raise Refused(
            f"{file}: fewer than {FEWEST} problems of each length up to {most} steps; give more, or raise steps"
        )
    left = sum(map(len, by_steps.values())) - sum(map(len, kept.values()))
    if left:
        work.lines.append(
            f"{left:,} problems are of other lengths, or of one with fewer than {FEWEST}: left out"
        )
    return {steps: itertools.cycle(found) for steps, found in kept.items()}


STAGE = Stage(
    "word-problems", "examples", WordProblemsConfig, word_problems, "arithmetic in words, with its steps"
)
