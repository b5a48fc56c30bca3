"""What training sees of a conversation, for people: special tokens shown, trained text marked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from exnihilo.examples.conversation import Conversation
from exnihilo.examples.encode import token_weights
from exnihilo.tokenizer.template import Renderer

if TYPE_CHECKING:
    from rich.text import Text


def marked_text(conversation: Conversation, renderer: Renderer) -> str:
    """The rendered text with `[[ ]]` around each trained span."""
    return "".join(f"[[{text}]]" if trained else text for text, trained in _spans(conversation, renderer))


def coloured_text(conversation: Conversation, renderer: Renderer) -> Text:
    """The rendered text for a terminal: trained spans bold green, the rest dim."""
    from rich.text import Text

    shown = Text()
    for text, trained in _spans(conversation, renderer):
        shown.append(text, style="bold green" if trained else "dim")
    return shown


def _spans(conversation: Conversation, renderer: Renderer) -> Iterator[tuple[str, bool]]:
    rendered = renderer.render(conversation.messages, conversation.tools)
    trained_ids = [weight > 0 for weight in token_weights(conversation.messages, rendered)]
    for trained, run in groupby(zip(trained_ids, rendered.ids, strict=True), key=itemgetter(0)):
        yield _visible(renderer.tokenizer.decode([i for _, i in run], skip_special=False)), trained


def _visible(text: str) -> str:
    """Control characters written out: a file's escape sequences must not reach the terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
