"""From records of items and documents to `results.json`: every score is `{"value", "n", "low", "high"}`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from exnihilo.core.seeds import derive
from exnihilo.core.statistics import Interval, bootstrap, paired_bootstrap, ratio_bootstrap, wilson
from exnihilo.evaluate.macro import macro_bootstrap, macro_share
from exnihilo.evaluate.paired import paired_differences
from exnihilo.evaluate.votes import majority_at, pass_at, sizes

ANSWER_BITS = "answer_bits_per_byte"
ANSWER_ROUGE = "answer_rouge_l"
WIN_RATE = "win_rate"
Score = dict[str, float]
Record = Mapping[str, Any]


def by_family(records: Iterable[Record]) -> dict[str, list[float]]:
    """Correctness of the items that could be checked, by family in alphabetical order."""
    found: dict[str, list[float]] = {}
    for record in records:
        if record["correct"] is not None:
            found.setdefault(record["family"], []).append(float(record["correct"]))
    return {family: found[family] for family in sorted(found)}


def share(values: Sequence[float]) -> Score:
    """A share of successes with its Wilson interval."""
    return wilson(round(sum(values)), len(values)).as_dict()


def family_scores(records: Iterable[Record]) -> dict[str, Score]:
    """Accuracy by family, Wilson intervals."""
    return {family: share(values) for family, values in by_family(records).items()}


def item_scores(records: Sequence[Record], trained: Sequence[str], *, seed: int = 0) -> dict[str, Score]:
    """Scores over all items of one model.

    - `accuracy`: mean over families, each counting the same; interval from the families' Wilson intervals.
    - `accuracy/trained`: the same over the families that alignment was trained on.
    - `accuracy_items`: share of all items; Wilson.
    - `ended`: share of answers that the end token ended; Wilson.
    - `answer_bits_per_byte`: what the reference answers of open items cost; items are resampled.
    - `answer_rouge_l`: mean ROUGE-L of the answers to open items; items are resampled.
    """
    families = by_family(records)
    scores = {}
    if families:
        scores["accuracy"] = macro_share(families).as_dict()
        chosen = {family: families[family] for family in trained if family in families}
        if chosen:
            scores["accuracy/trained"] = macro_share(chosen).as_dict()
        scores["accuracy_items"] = share([value for values in families.values() for value in values])
    scores["ended"] = share([record["finish"] == "stop" for record in records])
    scored = [record for record in records if "bits" in record]
    if scored:
        scores[ANSWER_BITS] = _ratio(scored, "bits", "bytes", derive(seed, ANSWER_BITS)).as_dict()
    said = [record["rouge_l"] for record in records if "rouge_l" in record]
    if said:
        scores[ANSWER_ROUGE] = bootstrap(said, seed=derive(seed, ANSWER_ROUGE)).as_dict()
    return scores


def vote_scores(
    records: Sequence[Record], trained: Sequence[str], *, seed: int
) -> tuple[dict[str, Score], dict[str, dict[str, Score]]]:
    """`majority@k` and `pass@k` for k of 1, 4, 16 … up to the number of samples: over all families, and by family.

    Over families they are means, items resampled within each. Beside the families stands `trained`, those that
    alignment was trained on together, where there are others. The majority of 1 is what a single sample is
    worth, and so is pass@1.
    """
    overall: dict[str, Score] = {}
    parts: dict[str, dict[str, Score]] = {}
    for k in sizes(len(records[0]["got"])):
        found: dict[str, dict[str, list[float]]] = {"majority": {}, "pass": {}}
        for record in records:
            family, correct = record["family"], record["correct"]
            drawn = majority_at(k, record["got"], correct, derive(seed, "votes", record["id"]))
            found["majority"].setdefault(family, []).append(drawn)
            found["pass"].setdefault(family, []).append(pass_at(k, len(correct), sum(correct)))
        for kind, values in found.items():
            name, drawing = f"{kind}@{k}", derive(seed, kind, str(k))
            overall[name] = macro_bootstrap(values, seed=drawing).as_dict()
            groups = {family: {family: values[family]} for family in sorted(values)}
            chosen = {family: values[family] for family in trained if family in values}
            if 1 < len(chosen) < len(values):
                groups["trained"] = chosen
            for group, families in groups.items():
                parts.setdefault(group, {})[name] = macro_bootstrap(families, seed=drawing).as_dict()
    return overall, parts


def text_scores(documents: Sequence[Record], *, seed: int) -> dict[str, Score]:
    """Scores on held-out text; the units resampled are documents, so `n` counts documents.

    - `bits_per_byte`, and `bits_per_byte/<source>` where there are several sources.
    - `loss`: nats per token; `perplexity`: its exponential. Both depend on the tokenizer.
    """
    scores = {"bits_per_byte": _ratio(documents, "bits", "bytes", derive(seed, "bits_per_byte")).as_dict()}
    sources = sorted({document["source"] for document in documents})
    for source in sources if len(sources) > 1 else []:
        part = [document for document in documents if document["source"] == source]
        scores[f"bits_per_byte/{source}"] = _ratio(part, "bits", "bytes", derive(seed, source)).as_dict()
    loss = _ratio(documents, "nats", "tokens", derive(seed, "loss"))
    scores["loss"] = loss.as_dict()
    exponential = Interval(math.exp(loss.value), loss.n, math.exp(loss.low), math.exp(loss.high))
    scores["perplexity"] = exponential.as_dict()
    return scores


def _ratio(documents: Sequence[Record], above: str, below: str, seed: int) -> Interval:
    return ratio_bootstrap([d[above] for d in documents], [d[below] for d in documents], seed=seed)


def compare_items(
    a: str, b: str, items: Mapping[str, Sequence[Record]], trained: Sequence[str], *, seed: int
) -> list[dict[str, Any]]:
    """Accuracy of `a` minus accuracy of `b` on the same items: over families, over trained ones, and each; how often
    `a` wins; and bits per byte of reference answers, where both were scored on them."""
    families = paired_differences(items[a], items[b])
    both = [(x, y) for x, y in zip(items[a], items[b], strict=True) if "bits" in x and "bits" in y]
    costs = []
    if both:
        saved, sizes = [x["bits"] - y["bits"] for x, y in both], [x["bytes"] for x, _ in both]
        interval = ratio_bootstrap(saved, sizes, seed=derive(seed, a, b, ANSWER_BITS))
        costs = [{"a": a, "b": b, "what": ANSWER_BITS, **interval.as_dict()}]
    if not families:
        return costs
    entries = [("accuracy", macro_bootstrap(families, seed=derive(seed, a, b, "accuracy")))]
    chosen = {family: families[family] for family in trained if family in families}
    if chosen:
        entries.append(("accuracy/trained", macro_bootstrap(chosen, seed=derive(seed, a, b, "trained"))))
    for family in sorted(families):
        values = families[family]
        interval = paired_bootstrap(values, [0.0] * len(values), seed=derive(seed, a, b, family))
        entries.append((f"accuracy/{family}", interval))
    entries.append((WIN_RATE, win_rate(families, seed=derive(seed, a, b, WIN_RATE))))
    return [*({"a": a, "b": b, "what": what, **interval.as_dict()} for what, interval in entries), *costs]


def win_rate(families: Mapping[str, Sequence[float]], *, seed: int) -> Interval:
    """The share of items that the first of two models answers better, by their differences; of those that both answer
    alike, half. Above 0.5 it wins."""
    wins = [(1 + difference) / 2 for family in sorted(families) for difference in families[family]]
    return bootstrap(wins, seed=seed)


def compare_text(
    a: str, b: str, documents: Mapping[str, Sequence[Record]], *, seed: int
) -> list[dict[str, Any]]:
    """Bits per byte of `a` minus that of `b` on the same documents; below zero means that `a` is better."""
    pairs = zip(documents[a], documents[b], strict=True)
    saved = [mine["bits"] - theirs["bits"] for mine, theirs in pairs]
    sizes = [document["bytes"] for document in documents[a]]
    interval = ratio_bootstrap(saved, sizes, seed=derive(seed, a, b, "bits_per_byte"))
    return [{"a": a, "b": b, "what": "bits_per_byte", **interval.as_dict()}]


def assemble(
    models: Sequence[str],
    texts: Mapping[str, Sequence[Record]],
    answers: Mapping[str, Sequence[Record]],
    majority: Sequence[Record],
    pairs: Sequence[tuple[str, str]],
    trained: Sequence[str],
    sampled: Mapping[str, Sequence[Record]] | None = None,
    *,
    seed: int,
) -> dict[str, Any]:
    """`results.json` from the records of documents (`texts`), items (`answers`) and samples of them, by model."""
    scores: dict[str, dict[str, Score]] = {name: {} for name in models}
    paired: list[dict[str, Any]] = []
    votes: dict[str, dict[str, dict[str, Score]]] = {}
    for name in models:
        if name in texts:
            scores[name] |= text_scores(texts[name], seed=seed)
        if name in answers:
            scores[name] |= item_scores(answers[name], trained, seed=seed)
        if sampled and sampled.get(name):
            overall, votes[name] = vote_scores(sampled[name], trained, seed=seed)
            scores[name] |= overall
    for a, b in pairs:
        if a in texts and b in texts:
            paired += compare_text(a, b, texts, seed=seed)
        if a in answers:
            paired += compare_items(a, b, answers, trained, seed=seed)
    return {
        "models": scores,
        "families": {name: family_scores(answers[name]) for name in models if name in answers},
        "majority": {
            family: {**entry, "answer": next(r["answer"] for r in majority if r["family"] == family)}
            for family, entry in family_scores(majority).items()
        },
        "trained": list(trained),
        "votes": votes,
        "paired": paired,
    }


def table(models: Mapping[str, Mapping[str, Score]], majority: Mapping[str, Score]) -> list[str]:
    """The scores as lines of text, a model a line."""
    columns = [
        name
        for name in (
            *("bits_per_byte", ANSWER_BITS, ANSWER_ROUGE),
            *("accuracy", "accuracy/trained", "accuracy_items", "ended"),
        )
        if any(name in scores for scores in models.values())
    ]
    columns += dict.fromkeys(
        name for scores in models.values() for name in scores if name.startswith("majority@")
    )
    rows = [["", *(column.replace("_", " ") for column in columns)]]
    for model, scores in models.items():
        rows.append([model, *(_cell(name, scores.get(name)) for name in columns)])
    if majority and "accuracy" in columns:
        mean = sum(entry["value"] for entry in majority.values()) / len(majority)
        rows.append(["majority answer", *(f"{mean:.1%}" if name == "accuracy" else "" for name in columns)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _cell(name: str, entry: Score | None) -> str:
    if entry is None:
        return "-"
    if name in ("bits_per_byte", ANSWER_BITS):
        return f"{entry['value']:.3f} ({entry['low']:.3f} to {entry['high']:.3f})"
    return f"{entry['value']:.1%} ({entry['low']:.1%} to {entry['high']:.1%})"
