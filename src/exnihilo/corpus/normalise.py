"""The one form in which texts enter a corpus."""

from __future__ import annotations


def normalise(text: str) -> str:
    """Line ends as a line feed, no NUL; the rest as it was (Unicode normalisation would change code)."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
