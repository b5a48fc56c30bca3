"""Losses by source over the steps since the last line of metrics."""

from __future__ import annotations

from collections.abc import Mapping

from exnihilo.objectives.by_source import NATS, WEIGHT

SEPARATOR = "/"
"""Stands in the name of a figure before the source that it is of: `loss/manuals`."""


class SourceLosses:
    """Adds up what the steps report of each source, until a line of metrics takes it.

    One batch holds few texts, so a source's loss in it would mostly say which.
    """

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}

    def add(self, metrics: Mapping[str, float], weight: float) -> None:
        """Count a step: means over `weight`, as `StepSums` has them."""
        for name, mean in metrics.items():
            if name.startswith((NATS, WEIGHT)):
                self._sums[name] = self._sums.get(name, 0.0) + mean * weight

    def take(self) -> dict[str, float]:
        """`loss/<source>` in nats per token and `share/<source>` of the weight, since the last call; sources
        without weight are left out."""
        weights = {
            name.removeprefix(WEIGHT): value
            for name, value in self._sums.items()
            if name.startswith(WEIGHT) and value > 0
        }
        total = sum(weights.values())
        losses = {f"loss/{name}": self._sums[f"{NATS}{name}"] / weight for name, weight in weights.items()}
        shares = {f"share/{name}": weight / total for name, weight in weights.items()}
        self._sums = {}
        return losses | shares


def other_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """An objective's metrics without those by source."""
    return {name: value for name, value in metrics.items() if not name.startswith((NATS, WEIGHT))}


def told(figures: Mapping[str, float]) -> str:
    """Figures of all sources together as people read them: "loss 2.31, bits_per_byte 1.27"."""
    whole = {name: value for name, value in figures.items() if SEPARATOR not in name}
    return ", ".join(f"{name} {value:.4g}" for name, value in whole.items())


def told_by_source(figures: Mapping[str, float]) -> str | None:
    """The best comparable figure of each source, worst first: "bits_per_byte: manuals 1.52, code 1.21"."""
    for kind in ("bits_per_byte", "loss"):
        own = {
            name.removeprefix(f"{kind}{SEPARATOR}"): value
            for name, value in figures.items()
            if name.startswith(f"{kind}{SEPARATOR}")
        }
        if own:
            ordered = sorted(own.items(), key=lambda item: -item[1])
            return f"{kind}: " + ", ".join(f"{name} {value:.4g}" for name, value in ordered)
    return None
