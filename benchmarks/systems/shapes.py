"""The models and batches of the benchmarks. Only the standard library: every environment reads it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """A decoder in the Qwen3 layout, as many key heads as query heads, head tied to the embedding; and its batch."""

    vocabulary: int
    depth: int
    width: int
    hidden: int
    rows: int
    length: int
    head_dim: int = 64

    @property
    def heads(self) -> int:
        return self.width // self.head_dim

    @property
    def parameters(self) -> int:
        """All of them, the tied embedding once."""
        block = 4 * self.width**2 + 3 * self.width * self.hidden + 2 * self.width + 2 * self.head_dim
        return self.vocabulary * self.width + self.depth * block + self.width

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `Shape(**…)` is the way back."""
        return asdict(self)


# Hidden sizes are 8/3 of the width, up to the next multiple of 16.
SMALL = Shape(vocabulary=4096, depth=6, width=256, hidden=688, rows=16, length=256)
MEDIUM = Shape(vocabulary=8192, depth=8, width=512, hidden=1376, rows=8, length=512)
LARGE = Shape(vocabulary=52_224, depth=12, width=768, hidden=2048, rows=1, length=1024)
