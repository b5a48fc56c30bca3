"""Cutting a long text where its ids don't notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator

PIECE = 1 << 18  # characters; a tokenizer holds over 100 bytes for each while it works
_CONTEXT = 128  # characters looked at on either side of a cut; few words are as long
_TRIES = 1024


def pieces(text: str, encode: Callable[[str], list[int]], limit: int = PIECE) -> Iterator[str]:
    """Parts of `text` of at most `limit` characters, whose ids one after another are those of the whole.

    A cut is made where the text around it has the same ids with and without it. Where there is no such place
    among the last 1,024 of a part (one word that long), it is cut at the limit and costs a token or two.
    """
    start = 0
    while len(text) - start > limit:
        stop = start + limit
        tries = range(stop, max(start, stop - _TRIES), -1)
        cut = next((place for place in tries if _is_border(text, place, encode)), stop)
        yield text[start:cut]
        start = cut
    yield text[start:]


def _is_border(text: str, place: int, encode: Callable[[str], list[int]]) -> bool:
    left, right = text[max(0, place - _CONTEXT) : place], text[place : place + _CONTEXT]
    return encode(left) + encode(right) == encode(left + right)
