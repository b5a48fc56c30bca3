"""Loaded models, and the conversations with them whose caches are worth keeping."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from exnihilo.core.errors import ConfigError
from exnihilo.infer.chat import ChatSession, Event, Text, Turn
from exnihilo.infer.sampling import Sampling

if TYPE_CHECKING:
    from exnihilo.model.decoder import Decoder
    from exnihilo.tokenizer.tokenizer import Tokenizer

# A token of a model this small is a few hundred microseconds of work. A second thread saves little of it, and
# where another process has that core it made each token 20 times slower (15 ms against 0.7 ms, two busy
# cores).
SMALL = 30_000_000
# Conversations kept per model; the one that was idle longest goes first.
KEPT = 4


def load(folder: Path) -> tuple[Decoder, Tokenizer]:
    """The model and the tokenizer in `folder`. Raises Refused where they don't belong together."""
    import torch

    from exnihilo.model.folder import load_model
    from exnihilo.tokenizer.tokenizer import Tokenizer

    model = load_model(folder).eval().requires_grad_(False)
    tokenizer = Tokenizer.load(folder)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ConfigError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} ids, the model {model.config.vocab_size}; "
            "put back the tokenizer that the model was trained with"
        )
    if sum(parameter.numel() for parameter in model.parameters()) < SMALL:
        torch.set_num_threads(1)
    return model, tokenizer


class Sessions:
    """Conversations by model, for one thread. A model is loaded when it is first asked."""

    def __init__(self) -> None:
        self._models: dict[Path, tuple[Decoder, Tokenizer]] = {}
        self._idle: dict[Path, list[ChatSession]] = {}

    def reply(
        self, folder: Path, messages: Sequence[Turn], sampling: Sampling, seed: int
    ) -> Generator[Event, None, None]:
        """Answer the last of `messages`; a conversation that went on from here keeps its cache."""
        session = self._take(folder, list(messages[:-1]))
        session.sampling, session.seed = sampling, seed
        try:
            yield from session.reply(messages)
        finally:
            self._idle[folder].append(session)

    def preload(self, folders: Sequence[Path]) -> Generator[Event, None, None]:
        """Load these models one by one, so that their first answers do not wait for it."""
        for folder in folders:
            self._model(folder)
            yield Text("")

    def _take(self, folder: Path, history: list[Turn]) -> ChatSession:
        idle = self._idle.setdefault(folder, [])
        for session in idle:
            if session.messages == history:
                idle.remove(session)
                return session
        if len(idle) >= KEPT:
            return idle.pop(0)
        return ChatSession(*self._model(folder))

    def _model(self, folder: Path) -> tuple[Decoder, Tokenizer]:
        if folder not in self._models:
            self._models[folder] = load(folder)
        return self._models[folder]
