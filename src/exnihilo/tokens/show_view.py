"""Tokens on a terminal in colour, or as plain text: segments under each other, positions before each line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from exnihilo.tokens.show import Token, View

if TYPE_CHECKING:
    from rich.text import Text

BORDER = "|"
"""Stands between tokens where colours don't show their borders."""
TRAINED, UNTRAINED, SPECIAL = ("bold green", "bold cyan"), ("bright_black", "white"), "bold magenta"
"""Styles: of two neighbours in turn, so that every border can be seen."""
LEGEND = "trained tokens are green and cyan, others grey, special ones magenta; (…) is a target only"


def print_view(view: View, out: TextIO, *, colour: bool, width: int) -> None:
    """Print a view in lines of `width` columns. In plain text trained tokens stand in [[ ]], and (…) is a token
    that the row has as a target only, since nothing follows it there."""
    write = _colour_writer(out) if colour else lambda line: print(_head(line) + _plain(line), file=out)
    print(view.title, file=out)
    for heading, tokens in view.segments():
        print(f"\n{heading}", file=out)
        for line in _lines(tokens, width - 8):
            write(line)
    if colour:
        print(f"\n{LEGEND}", file=out)


def _colour_writer(out: TextIO) -> Callable[[Sequence[Token]], None]:
    from rich.console import Console

    # The sixteen colours that every terminal has, in its own theme's shades.
    console = Console(file=out, force_terminal=True, color_system="standard")
    return lambda line: console.print(_coloured(line), soft_wrap=True)


def table(view: View) -> Iterator[str]:
    """One line a token: segment, position, id, weight, text."""
    yield f"{'segment':>7} {'position':>8} {'id':>7} {'weight':>6}  token"
    for token in view.tokens:
        position = "target" if token.position < 0 else str(token.position)
        yield f"{token.segment:>7} {position:>8} {token.id:>7} {token.weight:>6g}  {token.text}"


def _lines(tokens: Sequence[Token], width: int) -> Iterator[list[Token]]:
    """Tokens in lines of at most `width` columns; a line also ends after a token that ends one in the text."""
    from rich.cells import cell_len  # ideographs take two columns

    line: list[Token] = []
    filled = 0
    for token in tokens:
        size = cell_len(token.text) + len(BORDER)
        if line and (filled + size > width or line[-1].text.endswith("⏎")):
            yield line
            line, filled = [], 0
        line.append(token)
        filled += size
    if line:
        yield line


def _head(line: Sequence[Token]) -> str:
    return f"{'' if line[0].position < 0 else line[0].position:>6}  "


def _plain(line: Sequence[Token]) -> str:
    shown = ""
    trained = False
    for i, token in enumerate(line):
        if token.trained != trained:
            shown += "[[" if token.trained else "]]"
            trained = token.trained
        elif i:
            shown += BORDER
        shown += _text(token)
    return shown + ("]]" if trained else "")


def _coloured(line: Sequence[Token]) -> Text:
    from rich.text import Text

    shown = Text()
    shown.append(_head(line), style="dim")
    for i, token in enumerate(line):
        pair = TRAINED if token.trained else UNTRAINED
        style = SPECIAL if token.special and not token.trained else pair[i % 2]
        shown.append(_text(token), style=f"{style} underline" if token.special else style)
    return shown


def _text(token: Token) -> str:
    return f"({token.text})" if token.position < 0 else token.text
