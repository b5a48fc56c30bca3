"""What the models were made from: sources, what curation removed, the tokenizer, the examples."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from exnihilo.report import words
from exnihilo.report.run import Record, RunFiles, read_json
from exnihilo.report.words import MINUS

HASH = re.compile("[0-9a-f]{32,}")
DATA_KINDS = ("corpus", "tokenizer", "tokens", "examples")


@dataclass(frozen=True)
class Bar:
    """A row of the waterfall; `start` and `width` are percentages of the first row, `kind` its colour."""

    label: str
    amount: str
    start: float
    width: float
    kind: str


@dataclass
class DataGroup:
    """One data artifact."""

    name: str
    verb: str
    sources: list[dict[str, str]] = field(default_factory=list)
    waterfall: list[Bar] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)


def data_groups(run: RunFiles) -> list[DataGroup]:
    """A group for each artifact that is no model and no result, in the run's order."""
    groups = []
    shown: list[list[Record]] = []
    for stage in run.stages:
        if stage.kind not in DATA_KINDS:
            continue
        group = DataGroup(stage.name, stage.verb)
        summary = stage.summary
        curation = stage.path / "curation.json"
        if curation.is_file():
            group.waterfall = waterfall(read_json(curation))
            summary.pop("removed", None)
        group.facts = facts(summary)
        provenance = stage.manifest.get("provenance", [])
        # A tokenizer or token set repeats the provenance of its corpus: one table is enough.
        if provenance and provenance not in shown:
            group.sources = source_rows(provenance)
            shown.append(provenance)
        groups.append(group)
    return groups


def source_rows(provenance: Sequence[Record]) -> list[dict[str, str]]:
    """Rows of the table of sources, the largest first; shares are within a unit."""
    totals: dict[str, float] = {}
    for entry in provenance:
        totals[entry["unit"]] = totals.get(entry["unit"], 0.0) + entry["amount"]
    ordered = sorted(provenance, key=lambda entry: (entry["unit"], -entry["amount"]))
    return [
        {
            "source": entry["source"],
            "licence": entry.get("licence") or "unknown",
            "generator": entry.get("generator") or "people",
            "amount": amount(entry["amount"], entry["unit"]),
            "share": f"{100 * entry['amount'] / (totals[entry['unit']] or 1):.1f} %",
        }
        for entry in ordered
    ]


def amount(number: float, unit: str) -> str:
    """An amount with its unit."""
    return words.size(number) if unit == "bytes" else f"{words.count(number)} {unit}"


def facts(summary: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """A summary's numbers and words as label and value; lists are left to the manifest."""
    found: list[tuple[str, str]] = []
    for key, value in summary.items():
        label = f"{above}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            found += facts(value, f"{label}: ")
        elif isinstance(value, bool | str):
            text = str(value)
            found.append((label, text[:12] if HASH.fullmatch(text) else text))
        elif isinstance(value, int):
            found.append((label, words.size(value) if key.split("_")[-1] == "bytes" else f"{value:,}"))
        elif isinstance(value, float):
            found.append((label, f"{value:,.4g}"))
    return found


def waterfall(curation: Mapping[str, Any]) -> list[Bar]:
    """Documents that came in, those that each reason took out, and those kept, as bars over one scale."""
    total = curation["read"] or 1
    left = 100.0
    bars = [Bar("read", _documents(curation["read"]), 0, left, "read")]
    for reason, removed in curation["removed"].items():
        width = 100 * removed["count"] / total
        left -= width
        bars.append(Bar(reason, f"{MINUS}{removed['count']:,}", max(left, 0.0), width, "removed"))
    start = 0.0
    for split, label in (("train", "for training"), ("held_out", "held out")):
        kept = curation[split]
        width = 100 * kept["documents"] / total
        amount = f"{_documents(kept['documents'])}, {words.size(kept['bytes'])}"
        bars.append(Bar(label, amount, start, width, split))
        start += width
    return bars


def _documents(count: int) -> str:
    return f"{count:,} document{'s' if count != 1 else ''}"
