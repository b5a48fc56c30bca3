"""Safety before helpfulness, as Llama 2 combined its two reward models (arXiv 2307.09288, section 3.2.2)."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch

from exnihilo.align.gae import whiten
from exnihilo.align.responses import Response
from exnihilo.align.rewards import RewardSource


class SafetyFirst:
    """The safety of a response where its question is marked (`"unsafe": true` in the item, or its family is one of
    `unsafe`) or where it is safe with a probability below `below`; else how helpful it is.

    Both sources give log odds, so that what is paid is the logit of the paper's piecewise score.
    """

    name = "reward"

    def __init__(
        self, safety: RewardSource, helpful: RewardSource, *, below: float, unsafe: Collection[str] = ()
    ) -> None:
        if not 0 < below < 1:
            raise ValueError(f"{below} is no probability between 0 and 1")
        self.safety, self.helpful, self.unsafe = safety, helpful, frozenset(unsafe)
        self._least = math.log(below / (1 - below))

    def __call__(self, responses: Sequence[Response]) -> list[float | None]:
        return [
            safe if safe is None or self._marked(response) or safe < self._least else helpful
            for response, safe, helpful in zip(
                responses, self.safety(responses), self.helpful(responses), strict=True
            )
        ]

    def _marked(self, response: Response) -> bool:
        return response.item.get("unsafe") is True or response.item.get("family") in self.unsafe


class Whitened:
    """Another source, its rewards of one call moved to mean 0 and deviation 1; what is unknown stays so."""

    def __init__(self, source: RewardSource) -> None:
        self.source, self.name = source, source.name

    def __call__(self, responses: Sequence[Response]) -> list[float | None]:
        given = self.source(responses)
        known = torch.tensor([value is not None for value in given], dtype=torch.bool)
        if not bool(known.any()):
            return given
        white = whiten(torch.tensor([value or 0.0 for value in given]), known).tolist()
        return [None if value is None else one for value, one in zip(given, white, strict=True)]
