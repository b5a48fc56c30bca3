"""The stage `python-world`: questions about Python whose answers Python itself knows.

Three kinds are told apart. *Recognition*: the right answer stands in the question (`signature`, `purpose`).
*Knowledge*: it must be remembered from pretraining (`module`). *Computation*: it must be worked out (`arithmetic`,
`sequence`, `type`, `raises`, `truth`, `valid`). And `scope` asks what the model can't know.

Splits go by name, by structure of the expression, or by topic: what is held out was never in a training question.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pydantic import Field

from exnihilo.core.config import Config, CorpusRef, why
from exnihilo.core.errors import Refused
from exnihilo.core.seeds import derive
from exnihilo.core.stage import Inputs, Stage

if TYPE_CHECKING:
    from exnihilo.core.workspace import Workspace
    from exnihilo.synth.names import Name
    from exnihilo.synth.question import Question

FAMILIES = (
    "module", "signature", "purpose", "arithmetic", "sequence", "type", "raises", "truth", "valid", "scope",
)  # fmt: skip
WORKED = ("arithmetic", "sequence")
MOST_PER_MODULE = 40
"""Names of one module that the family `module` asks for: `os` alone has 179 of 3,104, enough to guess by."""
PRACTICE = 3
"""Times as many demonstrations of the worked families: one of their steps is seen some twenty times, not six."""


class PythonWorldConfig(Config):
    """Questions about Python, asked and answered by Python."""

    corpus: CorpusRef = Field(
        description="corpus with the library's documentation; names are taken from its train split",
        json_schema_extra=why(
            "there is no default: names are taken from what the model has read, so that it can know "
            "the answers",
            example="runs/world/corpus",
        ),
    )
    demonstrations: int = Field(
        default=1500,
        ge=1,
        description="training conversations in a family; three times as many of computations with steps",
        json_schema_extra=why(
            "1,500 a family: with 900, read twice at half of pretraining's rate, a small model got 44 "
            "% right over families; with 1,500 to 4,500 at its full rate 51 to 55 % "
            "(docs/decisions/0003)",
            example="300",
        ),
    )
    validation: int = Field(
        30,
        ge=1,
        description="validation conversations in each family",
        json_schema_extra=why("30 a family are 300 conversations, a few seconds of a run", example="60"),
    )
    held_out: int = Field(
        160,
        ge=1,
        description="evaluation items in each family",
        json_schema_extra=why(
            "160 a family are 1,600 items: an accuracy over all is then known to about 2.5 points",
            example="400",
        ),
    )
    prompts: int = Field(
        1500,
        ge=0,
        description="further questions without a demonstration in each family, for RL",
        json_schema_extra=why(
            "1,500 a family: alignment in forty steps of 24 asks for 960, so that no question comes twice",
            example="300",
        ),
    )
    held_out_share: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="share of names, structures and topics kept out of training",
        json_schema_extra=why(
            "a fifth of the names, structures and topics: enough to ask 160 different items, and four "
            "fifths stay to learn from",
            example="0.3",
        ),
    )
    worked_share: float = Field(
        0.4,
        ge=0,
        le=1,
        description="share of demonstrations of computations that show their steps",
        json_schema_extra=why(
            "0.4: steps are shown often enough to be learned, and not in most answers, so that greedy "
            "answers don't show them and rewards can find out that they help",
            example="0.6",
        ),
    )


def python_world(config: PythonWorldConfig, inputs: Inputs, work: Workspace) -> None:
    """Write `train`, `validation`, `prompts` and `held_out` JSONL. Refused where the corpus documents no names."""
    from exnihilo.core.documents import read_documents
    from exnihilo.synth.names import names_in
    from exnihilo.synth.splits import fill, row, write_splits

    names = names_in(read_documents(inputs["corpus"]))  # type: ignore[arg-type]
    if len(names) < 100:
        raise Refused(
            f"{inputs['corpus']}: documents only {len(names)} public names of Python; "
            "collect with `from: {python: true}` before asking questions about it"
        )
    wanted = {
        "validation": config.validation,
        "prompts": config.prompts,
        "held_out": config.held_out,
    }
    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in ("train", *wanted)}
    with work.progress(len(FAMILIES), "questions", "families") as progress:
        for family in FAMILIES:
            stream = _questions(family, names, work.seed, config.held_out_share)
            demonstrations = config.demonstrations * (PRACTICE if family in WORKED else 1)
            for split, found in fill(stream, {"train": demonstrations} | wanted, family).items():
                rows[split] += [
                    row(question, split, i, work.seed, config.worked_share)
                    for i, question in enumerate(found)
                ]
            progress.advance(1)
    counts = write_splits(rows, work)
    work.summary["names"] = len(names)
    work.provenance = [
        {
            "source": "python-world",
            "licence": "Apache-2.0",
            "generator": "introspection",
            "amount": len(rows["train"]),
            "unit": "conversations",
        }
    ]
    work.lines.append(f"{len(FAMILIES)} families about {len(names):,} names: {counts}")


def _questions(family: str, names: list[Name], seed: int, share: float) -> Iterator[tuple[bool, Question]]:
    """An endless, seeded stream of (held out?, question)."""
    from exnihilo.synth import computation, outside
    from exnihilo.synth import names as facts

    rng = random.Random(derive(seed, "questions", family))

    def held(key: str) -> bool:
        # The split must not depend on the run's seed: it belongs to the world, and three seeds share it.
        # A structure of one operation is what longer ones are made of: those are all in training.
        if family in WORKED and key.count("(") < 2:
            return False
        return derive(0, "held out", family, key) % 1000 < 1000 * share

    if family in ("module", "signature", "purpose"):
        pool = {
            "module": _spread(names),
            "signature": [n for n in names if n.parameters],
            "purpose": [n for n in names if n.summary],
        }[family]
        # One split for all three families: a held-out name stands in no training question.
        sides = {
            side: [n for n in pool if (derive(0, "name", n.name) % 1000 < 1000 * share) is side]
            for side in (True, False)
        }
        while True:
            for side, members in sides.items():
                for name in rng.sample(members, len(members)):
                    match family:
                        case "module":
                            yield side, facts.module_question(rng, name)
                        case "signature":
                            yield side, facts.signature_question(rng, name)
                        case _:
                            yield side, facts.purpose_question(rng, name, members)
    makers: dict[str, Callable[[random.Random], Question | None]] = {
        "type": computation.type_question,
        "raises": computation.raises_question,
        "truth": computation.truth_question,
        "valid": computation.valid_question,
        "scope": outside.scope_question,
    }
    make = makers.get(family) or (lambda r: computation.value_question(r, family))
    while True:
        question = make(rng)
        if question is not None:
            yield held(question.key), question


def _spread(names: list[Name]) -> list[Name]:
    """The names without those that are too many in their module."""
    taken: Counter[str] = Counter()
    kept = []
    for name in sorted(names, key=lambda name: derive(0, "spread", name.name)):
        taken[name.module] += 1
        if taken[name.module] <= MOST_PER_MODULE:
            kept.append(name)
    return kept


STAGE = Stage(
    "python-world", "examples", PythonWorldConfig, python_world, "questions that Python answers about itself"
)
