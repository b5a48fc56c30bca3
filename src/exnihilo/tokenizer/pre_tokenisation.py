"""Where a text is cut before pairs are merged: no token reaches across a cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Scripts that write no spaces between words, each a class of its own: a cut where one follows another. The mark that
# makes a vowel long belongs to no script by itself.
_CJK = (r"\p{Han}", r"\p{Hiragana}ー", r"\p{Katakana}ー", r"\p{Hangul}")
_LONGEST_CJK = 16


@dataclass(frozen=True)
class PreTokenisation:
    """The choices of a split pattern; the default is Qwen2's, which llama.cpp has built in as "qwen2".

    digits: so many digits at most are one piece, counted from the left.
    cjk: runs of Han, Hiragana, Katakana and Hangul are pieces of their own, of 16 characters at most, and take
        no space or sign before them in. Otherwise a whole clause is one piece, joined to its neighbours in
        other scripts.
    marks: combining marks (Arabic vowel signs, Devanagari vowels) belong to the word. Otherwise each cuts it.
    indentation: a line end and the spaces that open the next line are one piece. Otherwise the last of these
        spaces belongs to the word.
    """

    digits: Literal[1, 2, 3] = 1
    cjk: bool = False
    marks: bool = False
    indentation: bool = False

    @property
    def pattern(self) -> str:
        """A regular expression (Oniguruma's dialect) that matches every piece and leaves nothing over."""
        letter = r"\p{L}\p{M}" if self.marks else r"\p{L}"
        word, runs, elsewhere = rf"[{letter}]+" if self.marks else rf"{letter}+", "", rf"{letter}\p{{N}}"
        if self.cjk:
            scripts = "".join(_CJK)
            runs = "".join(rf"[{script}]{{1,{_LONGEST_CJK}}}|" for script in _CJK)
            word, elsewhere = rf"[{letter}&&[^{scripts}]]+", elsewhere + scripts
        number = r"\p{N}" if self.digits == 1 else rf"\p{{N}}{{1,{self.digits}}}"
        line_end = r"\s*[\r\n]+[ \t]*" if self.indentation else r"\s*[\r\n]+"
        return (
            rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|{runs}[^\r\n{elsewhere}]?{word}|{number}"
            rf"| ?[^\s{elsewhere}]+[\r\n]*|{line_end}|\s+(?!\S)|\s+"
        )


QWEN2 = PreTokenisation()
