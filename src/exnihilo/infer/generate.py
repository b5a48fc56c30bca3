"""Generation for many prompts in one call: what evaluation, samples and reinforcement learning use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch

from exnihilo.core.errors import ConfigError
from exnihilo.infer.engine import Engine
from exnihilo.infer.requests import Constraint, Generation
from exnihilo.infer.sampling import Sampling

if TYPE_CHECKING:
    from exnihilo.model.decoder import Decoder

__all__ = ["Generation", "generate"]


def generate(
    model: Decoder,
    prompts: Sequence[list[int]],
    sampling: Sampling | Sequence[Sampling],
    *,
    seeds: Sequence[int] | None = None,
    stop_ids: Iterable[int] = (),
    vocab_size: int | None = None,
    banned: Iterable[int] = (),
    bos: int = 0,
    token_bytes: Sequence[bytes] | None = None,
    max_batch: int = 256,
    progress: Callable[[int], None] | None = None,
    constraints: Sequence[Constraint | None] | None = None,
) -> list[Generation]:
    """Continue each prompt; results in the order of `prompts`.

    `stop_ids`, `vocab_size`, `banned`, `bos` and `token_bytes` come from `sampling.of_tokenizer`; see `Engine`.
    `sampling` is one for all prompts or one for each, and so are `seeds` (without them they come from torch's
    global generator) and `constraints`. At most `max_batch` prompts are continued at a time. `progress` is
    called with the number of prompts that have just ended.

    Raises:
        ConfigError: a prompt fills the model's context, a sequence is of another length than `prompts`, or
            stop strings come without `token_bytes`.
    """
    if seeds is None:
        seeds = torch.randint(2**62, (len(prompts),)).tolist()
    if isinstance(sampling, Sampling):
        sampling = [sampling] * len(prompts)
    if constraints is None:
        constraints = [None] * len(prompts)
    for name, values in (("seeds", seeds), ("samplings", sampling), ("constraints", constraints)):
        if len(values) != len(prompts):
            raise ConfigError(f"{len(values)} {name} for {len(prompts)} prompts; give one per prompt")
    lengths = [len(prompt) for prompt in prompts]
    if max(lengths, default=0) >= model.config.max_length:
        raise ConfigError(
            f"prompt {lengths.index(max(lengths))} has {max(lengths)} tokens and leaves no room "
            f"in the model's context of {model.config.max_length}; shorten it"
        )
    engine = Engine(
        model,
        stop_ids=stop_ids,
        vocab_size=vocab_size,
        banned=banned,
        bos=bos,
        token_bytes=token_bytes,
        max_rows=max_batch,
    )
    # What takes longest starts first; rows of one length, and equal prompts, stand side by side.
    order = sorted(range(len(prompts)), key=lambda i: (-sampling[i].max_new, lengths[i], prompts[i]))
    requests = {
        i: engine.submit(prompts[i], sampling[i], seed=seeds[i], constraint=constraints[i]) for i in order
    }
    while engine.running or engine.waiting:
        ended = len(engine.step())
        if ended and progress is not None:
            progress(ended)
    return [requests[i].generation for i in range(len(prompts))]
