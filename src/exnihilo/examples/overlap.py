"""What conversations share with evaluation sets: a model that was trained on a question is not tested by it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from exnihilo.core.errors import Refused
from exnihilo.examples.conversation import Conversation
from exnihilo.examples.rows import read_rows

NGRAM = 13
"""Words in a row that two texts do not share by chance (GPT-3's measure, arXiv 2005.14165)."""
_FIELDS = ("question", "prompt", "instruction", "input", "text")
_WORD = re.compile(r"\w+")


class Evaluation:
    """Questions of evaluation sets, to look others up in.

    Two texts overlap where they share 13 words in a row; a question of fewer words, where it is the whole text. Case,
    space and punctuation do not count.

    Raises Refused for a file that can't be read, or in which no row asks anything.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._where: dict[tuple[str, ...], str] = {}
        self._short: set[int] = set()
        for path in paths:
            file = path / "held_out.jsonl" if path.is_dir() else path
            asked = 0
            for row in read_rows(file):
                words = _words(_question(row.value or {}))
                asked += bool(words)
                for gram in _grams(words):
                    self._where.setdefault(gram, file.name)
            if not asked:
                raise Refused(
                    f"{file}: no row asks anything; rows need messages, {', '.join(_FIELDS[:-1])} or text"
                )
        self._short = {len(gram) for gram in self._where if len(gram) < NGRAM}

    def shared(self, conversation: Conversation) -> str | None:
        """The name of a file that asks what the user or a tool says in a conversation, or None."""
        for message in conversation.messages:
            if message.role in ("user", "tool"):
                words = _words(message.content)
                if len(words) < NGRAM and len(words) not in self._short:
                    continue
                found = next((self._where[gram] for gram in _grams(words) if gram in self._where), None)
                if found is not None:
                    return found
        return None


def _question(row: Mapping[str, Any]) -> str:
    """What a row of an evaluation set asks: the user's last words, or the first of the usual fields."""
    messages = row.get("messages")
    if isinstance(messages, list):
        asked = [
            one.get("content") for one in messages if isinstance(one, Mapping) and one.get("role") == "user"
        ]
        return asked[-1] if asked and isinstance(asked[-1], str) else ""
    found = (row[name] for name in _FIELDS if name in row)
    return next((text for text in found if isinstance(text, str)), "")


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))


def _grams(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every 13 words in a row, or all of them where there are fewer."""
    if words:
        yield from (words[n : n + NGRAM] for n in range(max(1, len(words) - NGRAM + 1)))
