"""A file of preferences, parted by prompt and encoded for training."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from exnihilo.core.errors import Refused
from exnihilo.core.workspace import Workspace
from exnihilo.examples.preferences import Preference, read_preferences
from exnihilo.tokens.comparisons import Comparison

if TYPE_CHECKING:
    from torch import nn

    from exnihilo.objectives.loss import Objective
    from exnihilo.tokenizer.template import Renderer
    from exnihilo.tokens.batch import Batch

SOURCES = ("source", "family", "generator_2")
"""Fields of a row's meta that say where it comes from, the first that is there."""


@dataclass
class Encoded:
    """Preferences, the same as they are read by a model, and what was left out, by reason and by its first line."""

    preferences: list[Preference] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    first_line: dict[str, int] = field(default_factory=dict)

    def told(self) -> str:
        """`3 too long (line 7 first), 1 both answers are the same (line 20)`."""
        return ", ".join(
            f"{count} {reason} (line {self.first_line[reason]}{' first' if count > 1 else ''})"
            for reason, count in self.left_out.most_common()
        )


def read_and_part(
    examples: Path,
    renderer: Renderer,
    length: int,
    context: int,
    held_out: float,
    work: Workspace,
    aspects: Sequence[str] = (),
    *,
    labels: bool = False,
) -> tuple[Encoded, Encoded]:
    """What is trained on and what is held out: `validation.jsonl` of a folder, or else the share `held_out` of the
    prompts, chosen by their hash, so that no prompt is on both sides. A folder with `preferences.jsonl` has
    conversations in its other files. Where `aspects` are named, only rows that say one of them (`aspect`) are read.
    `labels` takes answers that were judged by themselves, too.

    Raises Refused where nothing is left to train on, in all or in one of the aspects.
    """
    train, validation = examples, None
    if (examples / "preferences.jsonl").is_file():
        train = examples / "preferences.jsonl"
    elif examples.is_dir():
        train, validation = examples / "train.jsonl", examples / "validation.jsonl"
        if not train.is_file():
            raise Refused(f"{examples}: no train.jsonl there; give a folder or a file of preferences")
    whole = encode_file(train, renderer, length, context, work, aspects, labels=labels)
    if validation is not None and validation.is_file():
        trained, kept = (
            whole,
            encode_file(validation, renderer, length, context, work, aspects, labels=labels),
        )
    else:
        trained, kept = Encoded(), Encoded()
        for preference, comparison in zip(whole.preferences, whole.comparisons, strict=True):
            side = kept if _place(preference) < held_out else trained
            side.preferences.append(preference)
            side.comparisons.append(comparison)
        trained.left_out, trained.first_line = whole.left_out, whole.first_line
    if not trained.comparisons:
        raise Refused(
            f"{train}: no preferences to train on; left out: {whole.told() or 'none'}; mend or add some"
        )
    there = {pair.aspect for one in trained.preferences for pair in one.pairs}
    lacking = [name for number, name in enumerate(aspects) if number not in there]
    if lacking:
        raise Refused(
            f"{train}: no preferences to train on with aspect {lacking[0]!r}; left out: {whole.told() or 'none'}; give "
            "rows a field aspect, or drop it from aspects"
        )
    return trained, kept


def encode_file(
    path: Path,
    renderer: Renderer,
    length: int,
    context: int,
    work: Workspace,
    aspects: Sequence[str] = (),
    *,
    labels: bool = False,
) -> Encoded:
    """Every preference of a file whose answers together fit a row of `length`, and each the `context`; the others are
    counted, and told. Pairs get the number of their row's aspect among `aspects`; where none are named, all are of one,
    and rows of several are told of, since what is safe and what is helpful often contradict each other."""
    found = Encoded()
    mixed: set[str] = set()
    with work.progress(None, f"encoding {path.name}", "preferences") as bar:
        for row in read_preferences(path):
            bar.advance()
            encoded: Comparison | str = row.problem or "no preference"
            preference = row.preference
            if preference is not None and preference.label is not None and not labels:
                encoded = "labelled by themselves, which dpo with variant kto learns from"
            elif preference is not None:
                named = str(preference.meta.get("aspect", ""))
                mixed.add(named)
                try:
                    if aspects and named not in aspects:
                        encoded = f"aspect {named!r:.40}" if named else "no aspect"
                    else:
                        preference = _of_aspect(preference, aspects.index(named) if aspects else 0)
                        encoded = encode(preference, renderer, length, context)
                except Refused as error:
                    encoded = str(error)
            if isinstance(encoded, str) or preference is None:
                reason = encoded if isinstance(encoded, str) else "no preference"
                found.left_out[reason] += 1
                found.first_line.setdefault(reason, row.line)
                continue
            found.preferences.append(preference)
            found.comparisons.append(encoded)
    if not aspects and len(mixed) > 1:
        names = ", ".join(sorted(name or "none" for name in mixed))
        message = (
            f"{path.name}: rows of several aspects ({names}) are learned as one; aspects keeps them apart"
        )
        work.event("aspects", message=message)
    if found.left_out:
        message = f"{path.name}: {sum(found.left_out.values())} rows left out: {found.told()}"
        work.event("left_out", reasons=dict(found.left_out), message=message)
    return found


def encode(preference: Preference, renderer: Renderer, length: int, context: int) -> Comparison | str:
    """A preference as a model reads it, or why it can't be used. No answer is ever cut: what was not judged would be
    scored. An answer's ids end with its end token."""
    prompt = renderer.prompt(preference.prompt)
    answers = []
    for number in range(len(preference.answers)):
        rendered = renderer.render(preference.conversation(number))
        if rendered.ids[: len(prompt)] != prompt:
            return "the template renders the prompt differently before its answer"
        mask = [trained and place >= len(prompt) for place, trained in enumerate(rendered.mask)]
        if True not in mask:
            return "no answer"
        end = len(mask) - mask[::-1].index(True)
        answers.append((rendered.ids[:end], mask[:end]))
    comparison = Comparison(tuple(answers), preference.pairs, _source(preference), preference.label)
    fits = comparison.size <= length and all(len(ids) <= context for ids, _ in comparison.answers)
    return comparison if fits else "too long"


def means(objective: Objective, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
    """`loss` and the objective's metrics, each a mean over the weight of all batches."""
    device = next(model.parameters()).device
    losses = [objective(model, batch.to(device)) for batch in batches]
    weight = sum(float(one.weight) for one in losses)
    figures = {name: sum(float(one.metrics[name]) for one in losses) / weight for name in losses[0].metrics}
    return {"loss": sum(float(one.total) for one in losses) / weight, **figures}


def prompt_key(preference: Preference) -> str:
    """What tells prompts apart."""
    return json.dumps([[message.role, message.content] for message in preference.prompt])


def _of_aspect(preference: Preference, aspect: int) -> Preference:
    return replace(preference, pairs=tuple(replace(pair, aspect=aspect) for pair in preference.pairs))


def _place(preference: Preference) -> float:
    digest = blake3(prompt_key(preference).encode()).digest(length=6)
    return int.from_bytes(digest, "big") / 2**48


def _source(preference: Preference) -> str:
    named = (preference.meta.get(key) for key in SOURCES)
    return next((name for name in named if isinstance(name, str)), "")
