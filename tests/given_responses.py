"""Responses as a policy might have given them, and a source whose rewards are given."""

from __future__ import annotations

from collections.abc import Sequence

from exnihilo.align.responses import Response
from exnihilo.infer.generate import Generation
from exnihilo.tokenizer.tokenizer import Tokenizer


def answered(tokenizer: Tokenizer, text: str, *, ended: bool = True, value: str | None = "Yes") -> Response:
    ids = tokenizer.encode(text) + ([tokenizer.end] if ended else [])
    verifier = {"kind": "words", **({} if value is None else {"value": value})}
    item = {"messages": [{"role": "user", "content": "?"}], "verifier": verifier}
    zeros = [0.0] * len(ids)
    generation = Generation(
        ids=ids, logprobs=zeros, sampled_logprobs=zeros, finish="stop" if ended else "length"
    )
    return Response(item, tokenizer.encode("Q: "), generation, text)


class Given:
    def __init__(self, name: str, *values: float | None) -> None:
        self.name, self.values = name, list(values)

    def __call__(self, responses: Sequence[Response]) -> list[float | None]:
        return self.values[: len(responses)]
