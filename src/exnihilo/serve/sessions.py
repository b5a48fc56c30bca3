"""Loaded models, and the conversations with them whose caches are worth keeping."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from exnihilo.core.artifact import MANIFEST, Artifact
from exnihilo.infer.automaton import TokenAutomaton
from exnihilo.infer.chat import ChatSession, Event, Text, Turn
from exnihilo.infer.engine import Engine
from exnihilo.infer.sampling import Sampling, of_tokenizer
from exnihilo.infer.token_trie import TokenTrie
from exnihilo.serve.answer_format import Wanted

if TYPE_CHECKING:
    from exnihilo.model.decoder import Decoder
    from exnihilo.tokenizer.tokenizer import Tokenizer

# A token of a model this small is a few hundred microseconds of work. A second thread saves little of it, and
# where another process has that core it made each token 20 times slower (15 ms against 0.7 ms, two busy
# cores).
SMALL = 30_000_000
# Conversations kept per model, and automata of constrained answers; what was idle longest goes first.
KEPT = 4
# States of an automaton that is kept: 64 MiB and their terms.
KEPT_STATES = 2**16


def load(folder: Path) -> tuple[Decoder, Tokenizer]:
    """The model and the tokenizer in `folder`. Raises Refused where they are altered or don't belong together."""
    import torch

    from exnihilo.model.folder import load_with_tokenizer

    if (folder / MANIFEST).is_file():
        Artifact.open(folder, kind="model", verify=True)
    model, tokenizer = load_with_tokenizer(folder)
    model = model.eval().requires_grad_(False)
    if sum(parameter.numel() for parameter in model.parameters()) < SMALL:
        torch.set_num_threads(1)
    return model, tokenizer


class Sessions:
    """Conversations by model, for one thread. A model is loaded when it is first asked."""

    def __init__(self) -> None:
        self._models: dict[Path, tuple[Decoder, Tokenizer]] = {}
        self._engines: dict[Path, Engine] = {}  # one a model: its answers are generated together
        self._idle: dict[Path, list[ChatSession]] = {}
        self._tries: dict[Path, TokenTrie] = {}
        self._automata: OrderedDict[tuple[Path, str], TokenAutomaton] = OrderedDict()

    def reply(
        self,
        folder: Path,
        messages: Sequence[Turn],
        sampling: Sampling,
        seed: int,
        wanted: Wanted | None = None,
    ) -> Generator[Event, None, None]:
        """Answer the last of `messages`; a conversation that went on from here keeps its cache.

        Raises ConfigError where no text is as `wanted`.
        """
        constraint = None if wanted is None else self._automaton(folder, wanted)
        session = self._take(folder, list(messages[:-1]))
        session.sampling, session.seed, session.constraint = sampling, seed, constraint
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
        return ChatSession(*self._model(folder), engine=self._engines[folder])

    def _automaton(self, folder: Path, wanted: Wanted) -> TokenAutomaton:
        """The automaton for a pattern, with the masks that earlier answers have made."""
        known = self._automata.pop((folder, wanted.key), None)
        if known is None or len(known) > KEPT_STATES:
            _, tokenizer = self._model(folder)
            if folder not in self._tries:
                self._tries[folder] = TokenTrie(tokenizer.token_bytes)
            known = TokenAutomaton(wanted.pattern, self._tries[folder], of_tokenizer(tokenizer)["stop_ids"])
        self._automata[folder, wanted.key] = known
        if len(self._automata) > KEPT:
            self._automata.popitem(last=False)
        return known

    def _model(self, folder: Path) -> tuple[Decoder, Tokenizer]:
        if folder not in self._models:
            model, tokenizer = self._models[folder] = load(folder)
            self._engines[folder] = Engine(model, **of_tokenizer(tokenizer))
        return self._models[folder]
