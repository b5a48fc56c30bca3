"""The stage `stories`: text for a model that is to learn to count along, without a single question in it.

Two thirds of it are stories as word problems tell them, each told plainly and then again with the count kept after each
sentence; the others are sums by themselves. No story has a plan that is held out, or more steps than the problems that
are trained on.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3
from pydantic import Field

from exnihilo.core.config import Config, Count, ExamplesRef, why
from exnihilo.core.errors import Refused
from exnihilo.core.seeds import derive
from exnihilo.core.stage import Inputs, Stage

if TYPE_CHECKING:
    from exnihilo.core.workspace import Workspace

TOGETHER = 3
"""Stories, or lines of sums, in a document."""
HELD_OUT_EVERY = 50
"""Every fiftieth document is held out, for the loss."""


class StoriesConfig(Config):
    """Stories in which something is counted."""

    examples: ExamplesRef = Field(
        description="word problems; what they hold out does not occur in the stories",
        json_schema_extra=why(
            "there is no default: the stories must keep away from what is held out",
            example="runs/reasoner/problems",
        ),
    )
    documents: Count = Field(
        default=12_000,
        ge=100,
        description="documents to write, each of three stories or three lines of sums",
        json_schema_extra=why(
            "12,000 documents are about two million tokens: what half a million parameters read in a few "
            "minutes",
            example="60k",
        ),
    )


def stories(config: StoriesConfig, inputs: Inputs, work: Workspace) -> None:
    """Write the splits `train` and `held_out`. Raises Refused for examples that are no word problems."""
    from exnihilo.core.documents import CorpusWriter, Document
    from exnihilo.corpus.provenance import Provenance

    folder = inputs["examples"]
    assert isinstance(folder, Path)
    longest = _longest(folder)
    rng = random.Random(derive(work.seed, "stories"))
    provenance = Provenance()
    with (
        CorpusWriter(work.path / "train") as train,
        CorpusWriter(work.path / "held_out") as held,
        work.progress(config.documents, "stories", "documents") as progress,
    ):
        for i in range(config.documents):
            kind = "stories" if i % 3 else "sums"
            text = _accounts(rng, longest) if i % 3 else _sums(rng)
            identity = blake3(f"{i}\0{text}".encode()).hexdigest()[:16]
            document = Document(identity, text, kind, "Apache-2.0", "templates")
            if i // 3 % HELD_OUT_EVERY == 0:
                held.write(document)
            else:
                train.write(document)
                provenance.add(document)
            progress.advance(1)
    work.provenance = provenance.entries("bytes")
    work.summary = {"documents": train.documents, "bytes": train.bytes, "held_out": held.documents}
    work.lines.append(
        f"{train.documents:,} documents of stories and sums, of {longest} steps at most; {held.documents:,} held out"
    )


def _longest(folder: Path) -> int:
    """The most steps of a problem that is trained on."""
    from exnihilo.core.jsonl import read_jsonl
    from exnihilo.synth.problem import family

    file = folder / "train.jsonl"
    if not file.is_file():
        raise Refused(f"{file}: not found; give examples that `synth word-problems` made")
    metas = (row.get("meta") for _, row in read_jsonl(file))
    families = {meta.get("family") for meta in metas if isinstance(meta, dict)}
    longest = max((steps for steps in range(1, 9) if family(steps) in families), default=0)
    if not longest:
        raise Refused(f"{file}: no word problems by steps; give examples that `synth word-problems` made")
    return longest


def _accounts(rng: random.Random, longest: int) -> str:
    from exnihilo.synth.problem import problem
    from exnihilo.synth.word_problems import held_out

    told: list[str] = []
    while len(told) < TOGETHER:
        made = problem(rng, rng.randint(1, longest))
        if not held_out(made.key):
            told.append(f"{made.told}\n{made.account}")
    return "\n".join(told)


def _sums(rng: random.Random) -> str:
    from exnihilo.synth.problem import problem

    return "\n".join(
        " ".join(f"{step.computation}." for _ in range(4) for step in problem(rng, 2).steps)
        for _ in range(TOGETHER)
    )


STAGE = Stage("stories", "corpus", StoriesConfig, stories, "stories in which something is counted")
