"""What readers find: texts that they took and things that they skipped, counted for the user."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

EXAMPLES = 3  # examples kept of each reason: enough to recognise a pattern, few enough to print


@dataclass(frozen=True)
class Found:
    """A text, the kind of place it stood in ("Markdown", "JSONL" …) and what is known about it."""

    text: str
    kind: str
    meta: dict[str, Any] = field(default_factory=dict)
    index: int | str = 0  # which one of the texts of its file
    licence: str | None = None
    encoding: str = "utf-8"  # that it was read in
    repaired: bool = False


@dataclass(frozen=True)
class Skipped:
    """Something that was not taken: a reason from a small set, and the case: "a.bin: byte 0 is 0x89"."""

    reason: str
    example: str


class Tally:
    """Counts of what was taken, by kind, and of what was skipped, by reason, with the first examples."""

    def __init__(self) -> None:
        self.documents: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.encodings: Counter[str] = Counter()
        self.repaired = 0
        self.skipped: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def take(self, found: Found, size: int) -> None:
        """Count one document of `size` bytes."""
        self.documents[found.kind] += 1
        self.bytes[found.kind] += size
        self.repaired += found.repaired
        if found.encoding != "utf-8":
            self.encodings[found.encoding] += 1

    def skip(self, skipped: Skipped) -> None:
        """Count one thing skipped."""
        self.skipped[skipped.reason] += 1
        examples = self.examples.setdefault(skipped.reason, [])
        if len(examples) < EXAMPLES:
            examples.append(skipped.example)

    def lines(self) -> list[str]:
        """One line for each kind taken and one for each reason skipped, the largest first."""
        taken = [
            f"took {count:,} {kind} document{'s' if count > 1 else ''}, {self.bytes[kind]:,} bytes"
            for kind, count in _largest_first(self.documents)
        ]
        skipped = [
            f"skipped {count:,}: {reason} ({'; '.join(self.examples[reason] + ['…'] * (count > EXAMPLES))})"
            for reason, count in _largest_first(self.skipped)
        ]
        mended = [f"read {count:,} as {encoding}" for encoding, count in _largest_first(self.encodings)]
        if self.repaired:
            mended.append(f"repaired the encoding in {self.repaired:,}")
        return taken + mended + skipped

    def as_dict(self) -> dict[str, Any]:
        """The counts as JSON values."""
        return {
            "taken": {
                kind: {"documents": count, "bytes": self.bytes[kind]}
                for kind, count in _largest_first(self.documents)
            },
            "encodings": dict(_largest_first(self.encodings)),
            "repaired": self.repaired,
            "skipped": {
                reason: {"count": count, "examples": self.examples[reason]}
                for reason, count in _largest_first(self.skipped)
            },
        }


def _largest_first(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
