"""What must hold between a chat template and its tokenizer before anything is trained or served with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from exnihilo.core.errors import ConfigError, Refused

if TYPE_CHECKING:
    from exnihilo.tokenizer.template import Renderer

Probe = list[dict[str, str]]

# Answers that begin with what a tokenizer likes to join to the text before: space, line end, digit, sign,
# Han.
_ANSWERS = ("Four.", " space", "\nline", "4", "…", "四", "", "<|end|> <|im_end|> </s>")


def check(renderer: Renderer) -> None:
    """Check, on probe conversations, the three invariants of a chat format:

    1. the ids of a conversation's first k messages are the first ids of the whole;
    2. every trained span ends on the end-of-turn token;
    3. the ids that training sees are those that the server sends, `prompt(messages[:-1])`, then the answer as the
       model writes it, all of it trained, then the end-of-turn token;

    and that a BOS stands at the start alone, or behind answers (as Llama 2 begins each round), and a pad token ends
    nothing. In the third, a template may trim the answer (Llama 3's does), or trim it and put spaces around it (Llama
    2's): an answer as the model writes it, put into a later prompt, has to come out as it was. A role that the template
    does not take at all is left out of the probes, except user and assistant.

    Raises ConfigError for a template at fault, Refused for the tokenizer's special tokens.
    """
    _ = renderer.tokenizer.pad
    for messages in _probes(renderer):
        _check_prefixes(renderer, messages)
        _check_spans(renderer, messages)
        _check_answer(renderer, messages)


def _probes(renderer: Renderer) -> Iterator[Probe]:
    for answer in _ANSWERS:
        yield [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": answer}]
    turns: Probe = [
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "And 3+3?"},
        {"role": "assistant", "content": "6"},
    ]
    yield turns
    with_system = [{"role": "system", "content": "Be brief."}, *turns]
    with_tool = [*turns[:2], {"role": "tool", "content": "{}"}, {"role": "assistant", "content": "Done."}]
    for messages in (with_system, with_tool):
        try:
            renderer.render(messages)
        except Refused:
            continue
        yield messages


def _check_prefixes(renderer: Renderer, messages: Probe) -> None:
    whole = renderer.render(messages).ids
    for k in range(1, len(messages)):
        part = renderer.render(messages[:k]).ids
        if part != whole[: len(part)]:
            raise ConfigError(
                f"chat template: the first {k} of {len(messages)} messages (roles {_roles(messages)}) do not "
                "render to the beginning of all; write each message alike, whatever follows it"
            )


def _check_spans(renderer: Renderer, messages: Probe) -> None:
    tokenizer = renderer.tokenizer
    rendered = renderer.render(messages)
    bos = tokenizer.names.get("bos_token")
    if bos in tokenizer.special and bos != tokenizer.names.get("eos_token"):
        begin = tokenizer.special[bos]
        places = [n for n, i in enumerate(rendered.ids) if i == begin]
        if any(n and rendered.ids[n - 1] != tokenizer.end for n in places):
            raise ConfigError(
                f"chat template: {len(places)} times {bos} in one conversation; write it once, at the start, or right "
                "behind the end token of each answer"
            )
    last = [
        i
        for i, now, after in zip(rendered.ids, rendered.mask, [*rendered.mask[1:], False], strict=True)
        if now and not after
    ]
    answers = sum(message["role"] == "assistant" for message in messages)
    if len(last) != answers:
        raise ConfigError(
            f"chat template: {answers} answers and {len(last)} {{% generation %}} spans (roles "
            f"{_roles(messages)}); put each answer with its end token, and nothing else, between "
            "{% generation %} and {% endgeneration %}"
        )
    wrong = next((i for i in last if i != tokenizer.end), None)
    if wrong is not None:
        found, end = (tokenizer.decode([i], skip_special=False) for i in (wrong, tokenizer.end))
        raise ConfigError(
            f"chat template: a trained span ends on {found!r} and not on the end-of-turn token {end!r}, so "
            "stopping would not be learned; put the end token before "
            '{% endgeneration %}, or make the one that it writes the "eos_token" of tokenizer_config.json'
        )


def _check_answer(renderer: Renderer, messages: Probe) -> None:
    tokenizer = renderer.tokenizer
    rendered = renderer.render(messages)
    prompt, content = renderer.prompt(messages[:-1]), messages[-1]["content"]
    served = [*prompt, *tokenizer.encode(content), tokenizer.end]
    if rendered.ids[: len(served)] == served and all(rendered.mask[len(prompt) : len(served)]):
        return
    # Not letter by letter; so what is trained has to be an answer that comes back as the model wrote it.
    length = sum(rendered.mask[len(prompt) :])
    written = rendered.ids[len(prompt) : len(prompt) + length - 1]
    text = tokenizer.decode(written)
    same = (
        rendered.ids[: len(prompt)] == prompt
        and all(rendered.mask[len(prompt) :][:length])
        and text.strip() == content.strip()
        and tokenizer.encode(text) == written
        and renderer.render([*messages[:-1], {**messages[-1], "content": text}]) == rendered
    )
    if not same:
        trained = rendered.ids
        at = next((n for n, (a, b) in enumerate(zip(trained, served, strict=False)) if a != b), len(trained))
        seen, sent = (tokenizer.decode(ids[at : at + 8], skip_special=False) for ids in (trained, served))
        raise ConfigError(
            f"chat template: training and serving differ from token {at} on: {seen!r} is trained, {sent!r} "
            "is served; let add_generation_prompt write what stands before {% generation %}, and write "
            "the content unchanged"
        )


def _roles(messages: Probe) -> str:
    return ", ".join(message["role"] for message in messages)
