"""Somebody else's tokenizer made fit for training and chat here: roles filled, a template that says what is trained."""

from __future__ import annotations

from contextlib import suppress

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.tokenizer.marking import mark
from exnihilo.tokenizer.special import PAD
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import CLOSES, OPENS, Tokenizer

PLAIN = """{%- for message in messages -%}
    {%- if message.role == 'assistant' -%}
        {{- 'Assistant:\\n' -}}
        {%- generation -%}
            {{- message.content ~ eos_token -}}
        {%- endgeneration -%}
        {{- '\\n' -}}
    {%- elif message.role in ('system', 'user', 'tool') -%}
        {{- message.role | capitalize ~ ':\\n' ~ message.content ~ '\\n' -}}
    {%- else -%}
        {{- raise_exception("unknown role '" ~ message.role ~ "': use system, user, assistant or tool") -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- 'Assistant:\\n' -}}
{%- endif -%}
"""
"""The template of a base model that has none: plain words, so that no token in it is new to the model. What sets a turn
apart is then its words alone, which a user can write too."""


def adopt(tokenizer: Tokenizer, *, for_training: bool = False) -> tuple[Tokenizer, list[str]]:
    """A tokenizer that training and chat can use, and what was changed, a line each.

    Nothing that exists is re-encoded: ids and texts stay, roles are given to tokens, and at most one token (padding) is
    new. The chat template is kept, gets `{% generation %}` marks that leave its text as it is, or where there is none
    is `PLAIN`. One that can't be trained with, since nothing plain can be marked in it or it writes earlier turns
    otherwise once others follow (Qwen3's does), is kept for chat and evaluation, and a line says so.

    Raises Refused for a tokenizer without a token that ends texts, and `for_training` ConfigError for a template that
    can't be trained with.
    """
    lines: list[str] = []
    tokenizer = _with_document_borders(tokenizer, lines)
    try:
        tokenizer = _with_end_of_turn(_with_template(tokenizer, lines), lines)
    except ConfigError as error:
        if for_training:
            raise
        lines.append(f"chat template: kept; training will refuse it: {error}")
        return _with_pad(tokenizer, lines), lines
    tokenizer = _with_pad(tokenizer, lines)
    try:
        Renderer(tokenizer).check()
    except ConfigError as error:
        if for_training:
            raise
        lines.append(f"chat template: training will refuse it: {error}")
    return tokenizer, lines


def _with_template(tokenizer: Tokenizer, lines: list[str]) -> Tokenizer:
    """Its own template, marked, or `PLAIN`."""
    if not tokenizer.template:
        lines.append("chat template: none; turns are told in plain words, and answers end with its end token")
        return tokenizer.with_template(PLAIN)
    marked = mark(tokenizer)
    if marked == tokenizer.template:
        return tokenizer
    lines.append("chat template: its own, with {% generation %} marks; the text it writes is the same")
    return tokenizer.with_template(marked)


def _with_document_borders(tokenizer: Tokenizer, lines: list[str]) -> Tokenizer:
    """Without a token that begins texts, the one that ends them stands between them, as in GPT-2."""
    with suppress(Refused):
        _ = tokenizer.bos
        return tokenizer
    end = tokenizer.decode([tokenizer.eos], skip_special=False)
    lines.append(f"documents open with {end}: it has no token of its own for that")
    return tokenizer.with_roles({OPENS: end})


def _with_end_of_turn(tokenizer: Tokenizer, lines: list[str]) -> Tokenizer:
    """What the template ends an answer with becomes the end token; what ended texts until now still ends documents."""
    conversation = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "Four."}]
    rendered = Renderer(tokenizer).render(conversation)
    trained = [i for i, now in zip(rendered.ids, rendered.mask, strict=True) if now]
    if not trained or trained[-1] == tokenizer.end or trained[-1] not in tokenizer.special.values():
        return tokenizer  # `Renderer.check` says what is wrong, if anything is
    before, now = (tokenizer.decode([i], skip_special=False) for i in (tokenizer.eos, trained[-1]))
    lines.append(f"answers end with {now}, as the chat template writes it; documents with {before}")
    return tokenizer.with_roles({"eos_token": now, CLOSES: before})


def _with_pad(tokenizer: Tokenizer, lines: list[str]) -> Tokenizer:
    """A pad token that ends nothing: one of those that are there and mean nothing, or else a new one."""
    taken = {tokenizer.bos, tokenizer.eos, tokenizer.end}
    own = tokenizer.names.get("pad_token")
    if own in tokenizer.special and tokenizer.special[own] not in taken:
        return tokenizer
    free = [
        name
        for name, i in tokenizer.special.items()
        if i not in taken and name not in tokenizer.template and ("pad" in name.lower() or "reserved" in name)
    ]
    name = min(free, key=lambda one: ("pad" not in one.lower(), tokenizer.special[one]), default=PAD)
    lines.append(
        f"rows are filled with {name}" + ("" if free else ", which is new") + ": its own also ended texts"
    )
    if own is None:
        lines[-1] = lines[-1].removesuffix(": its own also ended texts")
    return tokenizer.with_roles({"pad_token": name})
