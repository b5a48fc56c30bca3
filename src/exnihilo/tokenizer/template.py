"""The one renderer of conversations: messages to token ids and the mask of what is trained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jinja2

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.tokenizer.jinja_environment import SPAN_START, SPAN_STOP, compile_template, marks_generation
from exnihilo.tokenizer.shield import Shield, unused
from exnihilo.tokenizer.tokenizer import Tokenizer


@runtime_checkable
class Turn(Protocol):
    """A message as a Python object, such as `examples.conversation.Message`."""

    @property
    def role(self) -> str: ...
    @property
    def content(self) -> str: ...


Messages = Sequence[Mapping[str, Any] | Turn]
"""OpenAI messages: `role` and `content`, the content a text or (in a mapping) a list of text parts."""


@dataclass(frozen=True)
class Rendered:
    """Token ids of a conversation, and for each whether it is trained (written by the assistant)."""

    ids: list[int]
    mask: list[bool]


class Renderer:
    """Renders with a tokenizer's chat template, for training, evaluation, chat and server alike.

    The template's own special tokens become their ids. Everything else is encoded as ordinary text, piece by
    piece between special tokens and generation borders, so that no text of a message can become a special
    token.

    Raises ConfigError if the tokenizer has no template or an invalid one.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        if not tokenizer.template:
            raise ConfigError(
                f"{tokenizer.where}: the tokenizer has no chat template; put one into chat_template.jinja "
                "beside tokenizer.json"
            )
        self.tokenizer = tokenizer
        with _told_where(tokenizer):
            self._template = compile_template(tokenizer.template)
        self._marked = marks_generation(tokenizer.template)
        self._shield = Shield(tokenizer.special)

    def render(self, messages: Messages, tools: Sequence[Any] | None = None) -> Rendered:
        """Ids and mask of a whole conversation.

        Raises ConfigError for a template without `{% generation %}` blocks, Refused for messages that the
        template does not take.
        """
        if not self._marked:
            raise ConfigError(
                "the chat template has no {% generation %} blocks, so nothing says what to train; put "
                "{% generation %} before the assistant's content and {% endgeneration %} after its end token"
            )
        ids: list[int] = []
        mask: list[bool] = []
        for piece, trained in self._pieces(messages, tools, prompt=False):
            ids += piece
            mask += [trained] * len(piece)
        return Rendered(ids, mask)

    def prompt(self, messages: Messages, tools: Sequence[Any] | None = None) -> list[int]:
        """Ids that end where the assistant's answer begins. Raises Refused as `render` does."""
        with _told_where(self.tokenizer):
            return [i for piece, _ in self._pieces(messages, tools, prompt=True) for i in piece]

    def check(self) -> None:
        """The three invariants of a chat format; `invariants.check` tells them and what it raises."""
        from exnihilo.tokenizer.invariants import check

        with _told_where(self.tokenizer):
            check(self)

    def _pieces(
        self, messages: Messages, tools: Sequence[Any] | None, *, prompt: bool
    ) -> Iterator[tuple[list[int], bool]]:
        given = {"messages": [_message(message, n) for n, message in enumerate(messages, 1)], "tools": tools}
        shield, start, stop = unused([self.tokenizer.template, given], 3)
        covered = self._shield.cover(given, shield)
        text = self._text(
            shield, {**covered, SPAN_START: start, SPAN_STOP: stop, "add_generation_prompt": prompt}
        )
        trained = False
        for part in re.split(f"({self._shield.pattern}|{start}|{stop})", text):
            if part in (start, stop):
                trained = part == start
            elif part in self.tokenizer.special:
                yield [self.tokenizer.special[part]], trained
            elif part:
                yield self.tokenizer.encode(part.replace(shield, "")), trained

    def _text(self, shield: str, variables: Mapping[str, Any]) -> str:
        try:
            return self._template.render(**self.tokenizer.names, **variables)
        except jinja2.TemplateError as error:
            reason = str(error.message).replace(shield, "")
            raise Refused(f"the chat template refuses the messages: {reason}") from error
        except (TypeError, ValueError, LookupError, ArithmeticError) as error:
            raise Refused(
                f"the chat template fails on the messages ({error}); look at their fields"
            ) from error


@contextmanager
def _told_where(tokenizer: Tokenizer) -> Iterator[None]:
    """What is wrong with a tokenizer's template names its folder."""
    try:
        yield
    except (ConfigError, Refused) as error:
        if str(error).startswith(tokenizer.where):
            raise
        advice = "" if ";" in str(error) else "; mend its chat_template.jinja"
        raise type(error)(f"{tokenizer.where}: {error}{advice}") from error


def _message(message: Mapping[str, Any] | Turn, place: int) -> dict[str, Any]:
    """A message as an object with its content as one text. Raises Refused for what is no message of texts."""
    fields: dict[str, Any] = {}
    if isinstance(message, Mapping):
        fields = dict(message)
    elif isinstance(message, Turn):
        fields = {"role": message.role, "content": message.content}
    if not isinstance(fields.get("role"), str):
        raise Refused(f'message {place}: {{"role": …, "content": …}} is wanted, not {message!r:.80}')
    content = fields.get("content")
    if isinstance(content, (list, tuple)):
        content = "".join(_part(part, place) for part in content)
    if not (content is None or isinstance(content, str)):
        raise Refused(f"message {place}: the content is {type(content).__name__}, not text; write it as text")
    return {**fields, "content": content}


def _part(part: Any, place: int) -> str:
    if isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str):
        text: str = part["text"]
        return text
    kind = part.get("type") if isinstance(part, Mapping) else part
    raise Refused(f"message {place}: a part of type {kind!r:.40}; only text parts are read")
