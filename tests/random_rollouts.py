"""Rollouts of a tiny model that answers at random, and one that says Yes or No."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from exnihilo.align.responses import Response, Sampler
from exnihilo.align.rollouts import Rollouts
from exnihilo.model.decoder import Decoder
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer
from random_decoder import random_decoder


def make_model(tokenizer: Tokenizer, seed: int = 0) -> Decoder:
    model = random_decoder(tokenizer.vocab_size, seed=seed, depth=1)
    with torch.no_grad():
        # Makes the end of turn likely enough for some answers to end and some to be cut off.
        model.embedding.weight[tokenizer.end] += model.embedding.weight.mean(0) + 0.25
    return model


def items(n: int) -> list[dict[str, Any]]:
    return [
        {"id": str(i), "family": "f", "messages": [{"role": "user", "content": f"What is {i}?"}], "answer": "Yes",
         "verifier": {"kind": "words", "value": "Yes"}}
        for i in range(n)
    ]  # fmt: skip


class Judge:
    """A reward source out of a function of item and text."""

    name = "reward"

    def __init__(self, function: Callable[[dict[str, Any], str], float | None]) -> None:
        self.function = function

    def __call__(self, responses: Sequence[Response]) -> list[float | None]:
        return [self.function(response.item, response.text) for response in responses]


def by_length(item: dict[str, Any], text: str) -> float | None:
    return float(len(text) % 2)


def rollouts(
    tokenizer: Tokenizer, model: Decoder, reward: Any = by_length, n: int = 5, **changes: Any
) -> Rollouts:
    given = {"prompts": 4, "group": 6, "temperature": 1.0, "max_new": 10, "length": 48, "seed": 3} | changes
    own = {name: given.pop(name) for name in ("scale", "anchor", "anchor_weight", "record") if name in given}
    return Rollouts(
        Sampler(items(n), tokenizer, **given), model, Judge(reward), length=given["length"], **own
    )


def yes_or_no(tokenizer: Tokenizer) -> Decoder:
    """A model taught, in a few steps, to answer Yes or No."""
    model = make_model(tokenizer)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    renderer = Renderer(tokenizer)
    rows = [
        renderer.render([*item["messages"], {"role": "assistant", "content": answer}])
        for item in items(6)
        for answer in ("Yes", "No")
    ]
    for _ in range(40):
        total = torch.zeros(())
        for row in rows:
            ids, mask = torch.tensor([row.ids]), torch.tensor(row.mask[1:])
            losses = torch.nn.functional.cross_entropy(model(ids[:, :-1])[0], ids[0, 1:], reduction="none")
            total = total + losses[mask].mean()
        optimizer.zero_grad()
        (total / len(rows)).backward()
        optimizer.step()
    return model
