"""What curation took out, by reason, with a few ids to look at."""

from __future__ import annotations

from collections import Counter
from typing import Any

EXAMPLES = 3


class Removals:
    """Counts by reason with the smallest ids, which do not depend on the order of the documents."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._ids: dict[str, list[str]] = {}

    def add(self, reason: str, identity: str) -> None:
        """Count one document taken out."""
        self.counts[reason] += 1
        self._ids[reason] = sorted([*self._ids.get(reason, []), identity])[:EXAMPLES]

    def merge(self, other: Removals) -> None:
        """Add what was counted elsewhere."""
        self.counts.update(other.counts)
        for reason, ids in other._ids.items():
            self._ids[reason] = sorted([*self._ids.get(reason, []), *ids])[:EXAMPLES]

    @classmethod
    def of(cls, values: dict[str, Any]) -> Removals:
        """What `as_dict` gave."""
        removals = cls()
        removals.counts.update({reason: one["count"] for reason, one in values.items()})
        removals._ids.update({reason: one["examples"] for reason, one in values.items()})
        return removals

    def as_dict(self) -> dict[str, Any]:
        """{reason: {"count", "examples"}}, the largest count first."""
        return {reason: {"count": count, "examples": self._ids[reason]} for reason, count in self._sorted()}

    def lines(self) -> list[str]:
        """One line a reason."""
        return [
            f"left out {count:,}: {reason} ({', '.join(self._ids[reason] + ['…'] * (count > EXAMPLES))})"
            for reason, count in self._sorted()
        ]

    def _sorted(self) -> list[tuple[str, int]]:
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
