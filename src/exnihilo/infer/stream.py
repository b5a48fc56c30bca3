"""Tokens in, text out, as soon as it is certain: no broken characters, no piece of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Decodes tokens one by one.

    Bytes of an incomplete UTF-8 character are held back, and so is text that may turn out to begin a stop
    string. The text ends before the stop string that is complete first (at the same character: the one that
    began first). That depends on the text alone, not on where its tokens begin and end. All pieces joined are
    the text of all tokens, invalid bytes as U+FFFD, up to the stop string.

    Attributes:
        text: everything given out so far.
        stopped: the stop string that ended the text, or None.
    """

    def __init__(self, token_bytes: Sequence[bytes], stop: Sequence[str] = ()) -> None:
        self._token_bytes = token_bytes
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self._given: list[str] = []
        self.stopped: str | None = None

    @property
    def text(self) -> str:
        return "".join(self._given)

    def push(self, token: int) -> str:
        """Take one token; return the text that has become certain: none after a stop string."""
        if self.stopped is not None:
            return ""
        return self._give(self._decoder.decode(self._token_bytes[token]), final=False)

    def finish(self) -> str:
        """The text still held back, when no token follows."""
        if self.stopped is not None:
            return ""
        return self._give(self._decoder.decode(b"", final=True), final=True)

    def _give(self, new: str, *, final: bool) -> str:
        text = self._held + new
        found = [
            (text.index(stop) + len(stop), text.index(stop), stop) for stop in self._stop if stop in text
        ]
        if found:
            _, start, self.stopped = min(found)
            text, self._held = text[:start], ""
        else:
            held = 0 if final else max((_overlap(text, stop) for stop in self._stop), default=0)
            text, self._held = text[: len(text) - held], text[len(text) - held :]
        self._given.append(text)
        return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest proper beginning of `stop` that `text` ends with."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
