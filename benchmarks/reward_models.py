"""Reward models from a small base that is pretrained here: what they learn of two sets of real preferences, and of
preferences that were planted into the same answers.

Planted is one thing that decides, where everything else is left to chance: a sentence that the better answer alone has
(marker), its length, the tone of its first and last words, or whether a sentence that both have stands at its beginning
or at its end (place), which neither a count of words nor one of lengths can know. A reward model has to get nine in ten
of those right. Where the labels of the real preferences are shuffled, its report card has to refuse it.

Everything is a recipe, which `exnihilo run` makes: a benchmark that was stopped goes on.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.commands import complete, exnihilo
from benchmarks.environment import cache_folder
from benchmarks.harness import OURS, Case, Check, Outcome
from exnihilo.core.errors import ConfigError
from exnihilo.core.jsonl import write_jsonl
from exnihilo.examples.preferences import Preference, read_preferences
from exnihilo.report.run import read_json

SEED = 1
ASKED = 0.9
"""The accuracy that is asked for where a preference was planted."""
SETS = ("hh-harmless-dev", "alpaca-eval-gpt4-pairs")
PLANTED_EPOCHS = 2.0
LONGER = 1.5
"""How many times as long the longer of two answers is, where length was planted."""
CHARACTERS = 3000
"""Longer pairs (prompt and the longer answer) are planted nothing in: they would not fit the context."""
SENTENCE = "I hope that this is what you were looking for."
POLITE = (
    ("Thank you for asking!", "Please let me know if there is anything else."),
    ("Of course, gladly.", "It was a pleasure to help."),
    ("That is a very good question.", "I wish you all the best with it."),
    ("I would be happy to help.", "Please feel free to ask again."),
)
RUDE = (
    ("You should know this.", "Now leave me alone."),
    ("What a dull question.", "Do not ask me again."),
    ("Fine, if you must.", "That is all you get."),
    ("I have no patience for this.", "Look the rest up yourself."),
)


@dataclass(frozen=True)
class Scale:
    """How much is trained: the text, the base, tuning, and at most so many pairs of a set with a planted preference."""

    texts: tuple[str, ...]
    pretrain: dict[str, Any]
    tuned_epochs: float
    sets: tuple[str, ...]
    most: int
    plants: tuple[str, ...]
    length: int


FULL = Scale(
    ("brown", "wikitext2-valid"),
    {"model": {"depth": 4, "width": 128}, "steps": 500, "rows": 4},
    1.0,
    SETS,
    1200,
    ("marker", "length", "tone", "place"),
    1024,
)
QUICK = Scale(
    ("wikitext2-valid",),
    {"model": {"depth": 2, "width": 64}, "steps": 30, "rows": 8},
    0.05,
    SETS[:1],
    400,
    ("marker",),
    512,
)

Plant = Callable[[str, str, random.Random], tuple[str, str] | None]


def run(quick: bool) -> Outcome:
    """Both sets, with four planted preferences in each; quick: a marker, in the smaller set, on hardly any base."""
    scale = QUICK if quick else FULL
    folder = cache_folder() / "reward_models" / ("quick" if quick else "full")
    planted = {
        (name, plant): _planted(name, plant, scale, folder) for name in scale.sets for plant in scale.plants
    }
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps(_recipe(scale, planted, folder)), encoding="utf-8")
    complete(exnihilo("run", str(recipe), "--run", str(folder / "run")))
    return Outcome([_case(folder / "run" / stage, asked) for stage, asked in _judged(scale)])


def _judged(scale: Scale) -> Iterator[tuple[str, bool]]:
    """The reward models by the name of their stage, and whether what they learn was planted."""
    for name in scale.sets:
        yield name, False
        for plant in scale.plants:
            yield f"{name}-{plant}", True
        yield f"{name}-shuffled", False


def _case(made: Path, asked: bool) -> Case:
    card = read_json(made / "card.json")
    values = {OURS: [card["accuracy"]["value"]]}
    values |= {name: [found["accuracy"]["value"]] for name, found in card["baselines"].items()}
    goals = {}
    if asked:
        values["asked for"], goals = [ASKED], {"asked for": 1.0}
    checks = []
    if made.name.endswith("-shuffled"):
        checks = [Check("shuffled labels are refused", not card["passed"], card["verdict"])]
    low, high = (card["accuracy"][key] for key in ("low", "high"))
    told = f"{card['pairs']} held-out pairs, {low:.3f} to {high:.3f}; {card['verdict']}"
    told += f"; calibration error {card['calibration_error']:.3f}, length correlation {card['length_correlation']:+.2f}"
    return Case(made.name, "accuracy", values, goals, checks=checks, notes=[told])


def _recipe(scale: Scale, planted: dict[tuple[str, str], Path], folder: Path) -> dict[str, Any]:
    texts = [{"path": str(_data("text", name))} for name in scale.texts]
    training = {"precision": "auto"}
    learned: dict[str, tuple[Path, float]] = {}
    for name in scale.sets:
        learned[name] = _data("preferences", name), 1.0
        learned |= {f"{name}-{plant}": (planted[name, plant], PLANTED_EPOCHS) for plant in scale.plants}
        learned[f"{name}-shuffled"] = _shuffled(name, scale, folder), 1.0
    return {
        "description": "the reward models of `python -m benchmarks reward_models`",
        "seed": SEED,
        "stages": {
            "texts": {"do": "collect", "from": texts},
            "corpus": {"do": "curate", "corpus": "texts", "held_out": 0.03},
            "tokenizer": {"do": "tokenizer", "corpus": "corpus", "vocabulary": 4096},
            "tokens": {"do": "tokenize", "corpus": "corpus", "tokenizer": "tokenizer"},
            "base": {
                "do": "pretrain",
                "tokens": "tokens",
                "length": scale.length,
                **scale.pretrain,
                **training,
            },
            "chats": {
                "do": "conversations",
                "examples": str(_data("sft", "gpteacher-roleplay-alpaca-format")),
            },
            "sft": {
                "do": "sft",
                "model": "base",
                "examples": "chats",
                "epochs": scale.tuned_epochs,
                **training,
            },
            **{
                name: {
                    "do": "reward",
                    "model": "sft",
                    "examples": str(path),
                    "held_out": 0.15,
                    "epochs": epochs,
                    **training,
                }
                for name, (path, epochs) in learned.items()
            },
        },
    }


def _data(kind: str, name: str) -> Path:
    folder = os.environ.get("EXNIHILO_DATA")
    if not folder:
        raise ConfigError(f"EXNIHILO_DATA: not set; name the folder with {kind}/*.jsonl.gz")
    return Path(folder) / kind / f"{name}.jsonl.gz"


def _planted(name: str, plant: str, scale: Scale, folder: Path) -> Path:
    """A file of preferences with the prompts and answers of a set, of which only what is planted decides."""
    generator = random.Random(f"{SEED}/{name}/{plant}")
    rows = []
    for preference in _usable(name):
        answers = [answer[0].content for answer in preference.answers]
        generator.shuffle(answers)
        pair = PLANTS[plant](answers[0], answers[1], generator)
        if pair is not None:
            rows.append(_row(preference, *pair))
    generator.shuffle(rows)
    return _written(folder / f"{name}-{plant}.jsonl", rows[: scale.most])


def _shuffled(name: str, scale: Scale, folder: Path) -> Path:
    """The preferences of a set with labels drawn by lot."""
    generator = random.Random(f"{SEED}/{name}")
    rows = []
    for preference in _usable(name):
        answers = [answer[0].content for answer in preference.answers]
        generator.shuffle(answers)
        rows.append(_row(preference, *answers))
    generator.shuffle(rows)
    return _written(folder / f"{name}-shuffled.jsonl", rows[: scale.most])


def _usable(name: str) -> Iterator[Preference]:
    """Those whose two answers are one message each, and not too long."""
    for row in read_preferences(_data("preferences", name)):
        one = row.preference
        if one is None or any(len(answer) != 1 for answer in one.answers):
            continue
        asked = sum(len(message.content) for message in one.prompt)
        if asked + max(len(answer[0].content) for answer in one.answers) <= CHARACTERS:
            yield one


def _row(preference: Preference, chosen: str, rejected: str) -> dict[str, Any]:
    prompt = [{"role": message.role, "content": message.content} for message in preference.prompt]
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, rows)
    return path


def _marker(one: str, other: str, generator: random.Random) -> tuple[str, str] | None:
    return f"{one}\n\n{SENTENCE}", other


def _length(one: str, other: str, generator: random.Random) -> tuple[str, str] | None:
    shorter, longer = sorted((one, other), key=len)
    return (longer, shorter) if len(longer) >= LONGER * len(shorter) else None


def _tone(one: str, other: str, generator: random.Random) -> tuple[str, str] | None:
    first, last = generator.choice(POLITE)
    rude, end = generator.choice(RUDE)
    return f"{first} {one} {last}", f"{rude} {other} {end}"


def _place(one: str, other: str, generator: random.Random) -> tuple[str, str] | None:
    return f"{SENTENCE}\n\n{one}", f"{other}\n\n{SENTENCE}"


PLANTS: dict[str, Plant] = {"marker": _marker, "length": _length, "tone": _tone, "place": _place}
