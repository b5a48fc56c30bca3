"""What is compared: names of metrics, their values in an arm's artifacts, and what lies behind them item by item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exnihilo.core.artifact import read_manifest
from exnihilo.core.config import nearest
from exnihilo.core.errors import ConfigError
from exnihilo.core.jsonl import read_jsonl
from exnihilo.core.statistics import Interval, ratio_bootstrap
from exnihilo.evaluate.macro import macro_bootstrap
from exnihilo.report.run import read_json

TRAINING = {
    "validation_loss": "validation_loss",
    "validation_bits_per_byte": "validation_bits_per_byte",
    "training_loss": "loss",
    "tokens_per_second": "tokens_per_second",
    "seconds": "training_seconds",
}
"""{metric: its name in the manifest} of what a training stage measures of itself."""
SCORES = (
    *("bits_per_byte", "answer_bits_per_byte", "loss", "perplexity"),
    *("accuracy", "accuracy_items", "ended"),
)
"""What an evaluation may measure; also `accuracy/FAMILY`, `accuracy/trained` and `bits_per_byte/SOURCE`."""
PARTED = ("accuracy", "bits_per_byte")
PER_TOKEN = ("loss", "perplexity", "validation_loss", "training_loss")
"""Metrics that only models with one tokenizer share."""
LESS_IS_BETTER = (
    *("bits_per_byte", "answer_bits_per_byte", "loss", "perplexity"),
    *("validation_loss", "validation_bits_per_byte", "training_loss", "seconds"),
)
NO_BETTER_SIDE = ("ended",)

Values = dict[str, float]


def parts_of(metric: str) -> tuple[str, str]:
    """("base", "accuracy/doc") of `base.accuracy/doc`."""
    model, _, name = metric.partition(".")
    return model, name


def better(metric: str) -> int:
    """1 where more is better, -1 where less is, 0 where neither is."""
    name = parts_of(metric)[1].partition("/")[0]
    return 0 if name in NO_BETTER_SIDE else -1 if name in LESS_IS_BETTER else 1


def check_asked(asked: Sequence[str], models: Sequence[str], per_token: bool) -> None:
    """Raises ConfigError for a metric that no run will have; `models` are those that differ between arms.

    `per_token` says whether losses per token can be compared. The families of items are not known yet.
    """
    known = sorted({*TRAINING, *SCORES})
    problems = []
    for metric in asked:
        model, name = parts_of(metric) if "." in metric else ("", metric)
        head, slash, _ = name.partition("/")
        if model and model not in models:
            near = nearest(model, list(models))
            hint = (
                f"did you mean {near}?" if near else f"models that differ between arms: {', '.join(models)}"
            )
            problems.append(f"--metric {metric}: {model} is no model that differs between the arms; {hint}")
        elif head not in known or (slash and head not in PARTED):
            near = nearest(head, known)
            hint = f"did you mean {near}?" if near else f"metrics: {', '.join(known)}"
            problems.append(f"--metric {metric}: unknown; {hint}")
        elif head in PER_TOKEN and not per_token:
            problems.append(
                f"--metric {metric}: a loss per token, and the arms have different tokenizers; "
                "take bits_per_byte or validation_bits_per_byte"
            )
    if problems:
        raise ConfigError(*problems)


def chosen(asked: Sequence[str], available: Sequence[str], per_token: bool) -> list[str]:
    """The metrics to compare, in the order of `available`: what is asked, or all scores of the evaluation
    and the training stages' validation loss (bits per byte, where losses per token mean nothing).

    Raises ConfigError if something asked for was not measured.
    """
    if asked:
        for one in asked:
            if not any(_is(metric, one) for metric in available):
                raise ConfigError(f"--metric {one}: not measured; there are: {', '.join(available)}")
        return [metric for metric in available if any(_is(metric, one) for one in asked)]
    validation = "validation_loss" if per_token else "validation_bits_per_byte"
    # Perplexity says in other words what the loss says.
    left_out = {*TRAINING, "perplexity"} - {validation} | (set() if per_token else {*PER_TOKEN})
    found = [metric for metric in available if parts_of(metric)[1] not in left_out]
    # Without an evaluation and held-out text the training itself is all that was measured.
    return found or [metric for metric in available if per_token or parts_of(metric)[1] not in PER_TOKEN]


def _is(metric: str, asked: str) -> bool:
    return metric == asked or parts_of(metric)[1] == asked


def training_values(stage: str, folder: Path) -> Values:
    """What a training stage measured of itself."""
    found = read_manifest(folder)["metrics"]
    return {
        f"{stage}.{metric}": float(found[key])
        for metric, key in TRAINING.items()
        if isinstance(found.get(key), int | float)
    }


def score_values(folder: Path, models: Sequence[str]) -> Values:
    """The scores of these models in a results artifact; families as `accuracy/FAMILY`."""
    content = read_json(folder / "results.json")
    found: Values = {}
    for model in models:
        scores = content["models"].get(model, {})
        families = content.get("families", {}).get(model, {})
        for name, entry in scores.items():
            found[f"{model}.{name}"] = float(entry["value"])
        for family, entry in families.items():
            found[f"{model}.accuracy/{family}"] = float(entry["value"])
    return found


def item_interval(metric: str, pairs: Sequence[tuple[Path, Path]], seed: int) -> Interval | None:
    """The difference of the second from the first results artifact of each pair, over held-out items.

    The pairs are the seeds. An item's difference is its mean over them, and items (documents for text) are
    then resampled, within their family. None for a metric that no items lie behind, or with less than two items
    in common, which can't tell how items differ; and where no answer differs.
    """
    model, name = parts_of(metric)
    head, _, part = name.partition("/")
    if head in ("bits_per_byte", "loss"):
        above, below = ("bits", "bytes") if head == "bits_per_byte" else ("nats", "tokens")
        return _text_interval(model, part, pairs, above, below, seed)
    if head in ("accuracy", "accuracy_items", "ended"):
        return _answer_interval(model, head, part, pairs, seed)
    return None


def _text_interval(
    model: str, source: str, pairs: Sequence[tuple[Path, Path]], above: str, below: str, seed: int
) -> Interval | None:
    saved: dict[str, list[float]] = {}
    sizes: dict[str, float] = {}
    for a, b in pairs:
        first, second = _by_id(a / "documents" / f"{model}.jsonl"), _by_id(b / "documents" / f"{model}.jsonl")
        for key, one in first.items():
            other = second.get(key)
            if other is None or other[below] != one[below] or (source and one["source"] != source):
                continue
            saved.setdefault(key, []).append(other[above] - one[above])
            sizes[key] = one[below]
    if len(saved) < 2:
        return None
    return ratio_bootstrap([np.mean(saved[key]) for key in saved], [sizes[key] for key in saved], seed=seed)


def _answer_interval(
    model: str, head: str, part: str, pairs: Sequence[tuple[Path, Path]], seed: int
) -> Interval | None:
    gained: dict[tuple[str, str], list[float]] = {}
    for a, b in pairs:
        first, second = _by_id(a / "items" / f"{model}.jsonl"), _by_id(b / "items" / f"{model}.jsonl")
        trained = read_json(a / "results.json").get("trained", []) if part == "trained" else []
        for key, one in first.items():
            before, after = _right(head, one), _right(head, second.get(key))
            wanted = not part or one["family"] == part or one["family"] in trained
            if wanted and before is not None and after is not None:
                gained.setdefault((one["family"], key), []).append(after - before)
    families: dict[str, list[float]] = {}
    for (family, _), differences in gained.items():
        # Over all items alike there is one family: each item counts the same.
        families.setdefault(family if head == "accuracy" else "", []).append(float(np.mean(differences)))
    # Where no item moved a bootstrap says "0 to 0", which n items cannot tell.
    moved = any(one for differences in families.values() for one in differences)
    return macro_bootstrap(families, seed=seed) if moved and len(gained) > 1 else None


def _right(head: str, item: Mapping[str, Any] | None) -> float | None:
    if item is None:
        return None
    if head == "ended":
        return float(item["finish"] == "stop")
    return None if item["correct"] is None else float(item["correct"])


def _by_id(path: Path) -> dict[str, dict[str, Any]]:
    return {record["id"]: record for _, record in read_jsonl(path)} if path.is_file() else {}


def same_items(pairs: Iterable[tuple[Path, Path]], models: Sequence[str]) -> bool:
    """Whether both results artifacts of each pair were measured on the same documents and questions."""
    for a, b in pairs:
        for model in models:
            for kind in ("documents", "items"):
                one, other = (_by_id(folder / kind / f"{model}.jsonl") for folder in (a, b))
                if {key: row.get("bytes") for key, row in one.items()} != {
                    key: row.get("bytes") for key, row in other.items()
                }:
                    return False
    return True
