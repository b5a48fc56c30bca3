"""The perplexity filter (CCNet, arXiv 1911.00359): head, middle and tail by what good text itself has.

A language model is made of good text. A tenth of it, chosen by hash, is not counted but measured: its percentiles say
what is usual for such text, which perplexities on text that was counted would not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import xxhash
from pydantic import Field

from exnihilo.core.config import Config, why
from exnihilo.core.errors import Refused
from exnihilo.corpus.checks import Check, Float64
from exnihilo.corpus.ngram_model import NgramModel

Part = Literal["head", "middle", "tail"]
_LEAST = 20  # texts that are measured: of fewer there are no percentiles


class PerplexityConfig(Config):
    """Where head and tail are, and how much is kept."""

    model: Path = Field(
        description="a file that `train` wrote", json_schema_extra={"example": "./wiki.ngrams.safetensors"}
    )
    head: float = Field(
        default=75,
        ge=0,
        le=100,
        description="percentile of good text up to which a text belongs to the head",
        json_schema_extra=why("75: three quarters of good text are that likely or more", example="50"),
    )
    tail: float = Field(
        default=99,
        ge=0,
        le=100,
        description="percentile of good text above which a text belongs to the tail",
        json_schema_extra=why("99: hardly any good text is less likely than that", example="95"),
    )
    keep: list[Part] = Field(
        default=["head", "middle"],
        description="which parts are kept",
        json_schema_extra=why(
            "without the tail; the head alone makes a corpus as narrow as the good text", example="head"
        ),
    )


@dataclass(frozen=True)
class Judge:
    """A language model with the percentiles 0 to 100 of good text, float64[101]."""

    model: NgramModel
    percentiles: Float64

    def save(self, path: Path) -> None:
        self.model.save(path, percentiles=self.percentiles.tolist())

    @classmethod
    def load(cls, path: Path) -> Judge:
        """Raises Refused for what `save` did not write."""
        model, stated = NgramModel.load(path)
        if len(stated.get("percentiles", ())) != 101:
            raise Refused(f"{path}: a language model without percentiles; train it again")
        return cls(model, np.array(stated["percentiles"]))

    def percentile(self, perplexity: Float64) -> Float64:
        """How many percent of good text are at most as perplexing, float64[n]; above 100 beyond all of it."""
        usual: Float64 = np.interp(perplexity, self.percentiles, np.arange(101), right=101)
        return usual


def train(texts: Sequence[str]) -> Judge:
    """Train on good text. Raises Refused where its tenth is fewer than 20 texts."""
    drawn = [xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) for text in texts]
    measured = [text for text, number in zip(texts, drawn, strict=True) if number % 10 == 0 and text.strip()]
    if len(measured) < _LEAST:
        raise Refused(
            f"a tenth of the good text is {len(measured)} texts, too few for percentiles; give {10 * _LEAST} or more"
        )
    model = NgramModel.of(text for text, number in zip(texts, drawn, strict=True) if number % 10)
    perplexity = model.perplexity(measured)
    return Judge(model, np.percentile(perplexity[np.isfinite(perplexity)], np.arange(101)))


def parts(percentile: Float64, config: PerplexityConfig) -> list[Part]:
    """Head, middle or tail of each text, by the percentile of good text that it is at."""
    return ["head" if p <= config.head else "middle" if p <= config.tail else "tail" for p in percentile]


def perplexity_checks(percentile: Float64, config: PerplexityConfig) -> list[Check]:
    """The check that rejects the parts that are not kept."""
    others = [part not in config.keep for part in parts(percentile, config)]
    return [Check("perplexity: not one of the parts kept", np.array(others, dtype=np.float64), 0)]
