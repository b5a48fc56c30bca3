"""Answers sampled by an OpenAI-compatible server, as the ids and log-probabilities that it gives.

The server renders messages itself and has a tokenizer of its own. Nothing of it is taken on trust: the prompt that it
read must be the one that the trainer would have given, id by id, and what it says of an answer is compared with what
the trainer says of it (`objectives/importance.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from exnihilo.core.errors import ExnihiloError, Refused
from exnihilo.infer.requests import Generation
from exnihilo.infer.sampling import Sampling
from exnihilo.teachers.endpoint import Endpoint
from exnihilo.teachers.teacher import Ask, Said

MOST_SEED = 2**31


def sampled_there(
    server: Endpoint,
    messages: Sequence[Sequence[Mapping[str, Any]]],
    prompts: Sequence[list[int]],
    sampling: Sampling,
    seeds: Sequence[int],
    stop_ids: Collection[int],
) -> list[Generation]:
    """An answer to each conversation; `prompts` are the ids that it must have been read as.

    The log-probabilities are those under the model itself, at temperature 1; of sampling at another temperature a
    server says nothing, and they stand for both.

    Raises ConfigError where the server gives no ids or log-probabilities, Refused where it reads or ends answers in
    another way than the trainer, and ExnihiloError where it gives no answer.
    """
    asks = [
        Ask(
            [{"role": one["role"], "content": one["content"]} for one in asked],
            sampling.temperature,
            sampling.max_new,
            seed % MOST_SEED,
            tokens=True,
        )
        for asked, seed in zip(messages, seeds, strict=True)
    ]
    answers = server.answer(asks)
    return [
        _generation(server, said, prompt, stop_ids) for said, prompt in zip(answers, prompts, strict=True)
    ]


def _generation(server: Endpoint, said: Said, prompt: list[int], stop_ids: Collection[int]) -> Generation:
    if said.tokens is None:
        raise ExnihiloError(
            f"{server.url}: no answer ({said.problem}); look at the server, and run again to go on"
        )
    if said.tokens.prompt != prompt:
        raise Refused(
            f"{server.url}: {server.model} reads a question as {_short(said.tokens.prompt)} where the policy reads "
            f"{_short(prompt)}; serve the model that is trained, with its tokenizer and chat template"
        )
    finish: Literal["stop", "length"] = "stop" if said.finish == "stop" else "length"
    if finish == "stop" and (not said.tokens.ids or said.tokens.ids[-1] not in stop_ids):
        raise Refused(
            f"{server.url}: {server.model} leaves out the token that ends an answer, so that ending could not be "
            "learned; use a server that gives it"
        )
    return Generation(said.tokens.ids, said.tokens.logprobs, said.tokens.logprobs, finish)


def _short(ids: list[int]) -> str:
    return f"{len(ids)} ids [{', '.join(map(str, ids[:8]))}{', …' if len(ids) > 8 else ''}]"
