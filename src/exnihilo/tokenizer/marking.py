"""`{% generation %}` marks for a chat template that has none, with proof that the text it writes stays the same."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jinja2

from exnihilo.core.errors import ConfigError
from exnihilo.tokenizer.jinja_environment import compile_template, lex, marks_generation
from exnihilo.tokenizer.tokenizer import Tokenizer


def mark(tokenizer: Tokenizer) -> str:
    """The chat template of a tokenizer with `{% generation %}` around the assistant's content and end token.

    A template that has marks is given back. In others an output such as

        {{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}

    is parted before the content and after the special token that follows it, and the middle is marked where the role is
    the assistant's. Spaces between prompt and content, as Llama 2 writes one, are the answer's. Then the text of
    conversations with every role, with tools and empty answers is compared with that of the template as it was.

    Raises ConfigError where no such output is found, or the text would differ.
    """
    source = tokenizer.template
    if marks_generation(source):
        return source
    # The longest first: one special token may begin as another does.
    ends = sorted(tokenizer.special, key=len, reverse=True)
    marked = _marked(source, ends, tokenizer.names, _lead(tokenizer))
    if not marks_generation(marked):
        raise _cannot(tokenizer, "no output of content and end token")
    _prove(tokenizer, source, marked)
    return marked


def _cannot(tokenizer: Tokenizer, why: str) -> ConfigError:
    return ConfigError(
        f"{tokenizer.where}: its chat template has no {{% generation %}} marks, and where they belong is not plain "
        f"({why}); write {{%- generation -%}} before the assistant's content and {{%- endgeneration -%}} after its end "
        "token into chat_template.jinja, and import again"
    )


def _lead(tokenizer: Tokenizer) -> str:
    """The spaces that the template writes before an answer and not at the end of a prompt."""
    question, answer = {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "Four."}
    template = compile_template(tokenizer.template)
    try:
        prompt = template.render(**tokenizer.names, messages=[question], add_generation_prompt=True)
        whole = template.render(**tokenizer.names, messages=[question, answer])
    except (jinja2.TemplateError, TypeError, ValueError, LookupError):
        return ""
    between = whole.removeprefix(prompt).partition(answer["content"])[0]
    return between if not between.strip(" ") else ""


@dataclass(frozen=True)
class _Output:
    """`{{ … }}`: its delimiters with the space inside them, and its operands with what joins each to the next."""

    opening: str
    operands: list[str]
    joins: list[str]
    closing: str

    def joined(self, other: _Output) -> _Output:
        """This output and the one that follows it at once, as one."""
        joins = [*self.joins, "~", *other.joins]
        return _Output(self.opening, self.operands + other.operands, joins, other.closing)


def _marked(source: str, ends: Sequence[str], names: dict[str, str], lead: str) -> str:
    tokens = [(kind, text) for kind, text in lex(source) if text]
    pieces: list[str] = []
    loops: list[str] = []
    position = 0
    while position < len(tokens):
        kind, text = tokens[position]
        if kind == "block_begin":
            stop = _end_of(tokens, position, "block_end")
            words = [text for kind, text in tokens[position:stop] if kind in ("name", "operator")]
            if words[:1] == ["for"]:
                loops.append(words[1])
            elif words[:1] == ["endfor"] and loops:
                loops.pop()
        elif kind == "variable_begin":
            stop = _end_of(tokens, position, "variable_end")
            output = _parsed(tokens[position:stop])
            while stop < len(tokens) and tokens[stop][0] == "variable_begin" and _has_content(output):
                start, stop = stop, _end_of(tokens, stop, "variable_end")
                output = output.joined(_parsed(tokens[start:stop]))
            followed = tokens[stop][1] if stop < len(tokens) and tokens[stop][0] == "data" else ""
            found = _split(output, followed, ends, names, loops, lead)
            if found is not None:
                text, eaten = found
                pieces.append(text)
                position = stop
                if eaten:
                    pieces.append(followed[eaten:])
                    position += 1
                continue
        else:
            stop = position + 1
        pieces.append("".join(text for _, text in tokens[position:stop]))
        position = stop
    return "".join(pieces)


def _end_of(tokens: Sequence[tuple[str, str]], start: int, kind: str) -> int:
    return next(n for n in range(start, len(tokens)) if tokens[n][0] == kind) + 1


def _parsed(tokens: Sequence[tuple[str, str]]) -> _Output:
    """An output's operands: what `+` and `~` join outside of brackets."""
    inside = tokens[1:-1]
    operands, joins, depth = [""], [], 0
    for kind, text in inside:
        if kind == "operator" and text in "([{":
            depth += 1
        elif kind == "operator" and text in ")]}":
            depth -= 1
        if kind == "operator" and text in ("+", "~") and depth == 0:
            joins.append(text)
            operands.append("")
        else:
            operands[-1] += text
    return _Output(tokens[0][1], operands, joins, tokens[-1][1])


_CONTENT = re.compile(r"""(?:\.content\b|\[\s*['"]content['"]\s*\]|\bcontent\b)""")
_LITERAL = re.compile(r"""\s*(['"])(.*)\1\s*""", re.DOTALL)


def _split(
    output: _Output,
    followed: str,
    ends: Sequence[str],
    names: dict[str, str],
    loops: Sequence[str],
    lead: str,
) -> tuple[str, int] | None:
    """The output in three, the middle with `lead` marked, and how many characters of the text behind it are in the
    middle; None where it is not an answer's."""
    at = next((n for n, one in enumerate(output.operands) if _is_content(one)), None)
    if at is None or not loops:
        return None
    role = f"{loops[-1]}.role" if loops[-1].isidentifier() else None
    if role is None:
        return None
    before, middle = output.operands[:at], [output.operands[at]]
    literal = _LITERAL.fullmatch(before[-1]) if lead and before else None
    if literal is not None and literal[2].endswith(lead):
        quote, text = literal[1], literal[2].removesuffix(lead)
        before[-1:] = [f" {quote}{text}{quote} "] if text else []
        middle.insert(0, f" {quote}{lead}{quote} ")
    joins = output.joins[at:]
    rest = output.operands[at + 1 :]
    for n, operand in enumerate(rest):
        parted = _ends_with_special(operand, ends, names)
        if parted is None:
            middle.append(operand)
            continue
        inside, outside = parted
        middle.append(inside)
        after = ([outside] if outside else []) + rest[n + 1 :]
        return _written(output, role, before, middle, after, joins, ""), 0
    end = next((one for one in ends if followed.startswith(one)), None)
    if end is None:
        return None
    return _written(output, role, before, middle, [], joins, end), len(end)


def _has_content(output: _Output) -> bool:
    return any(map(_is_content, output.operands))


def _is_content(operand: str) -> bool:
    literal = _LITERAL.fullmatch(operand)
    return literal is None and _CONTENT.search(operand) is not None


def _ends_with_special(operand: str, ends: Sequence[str], names: dict[str, str]) -> tuple[str, str] | None:
    """An operand that writes a special token: up to and with it, and what it writes after it (or "")."""
    name = operand.strip()
    if name in names and names[name] in ends:
        return operand, ""
    literal = _LITERAL.fullmatch(operand)
    if literal is None:
        return None
    quote, text = literal[1], literal[2]
    found = [(text.index(end), -len(end), end) for end in ends if end in text]
    if not found:
        return None
    start, _, end = min(found)
    head, tail = text[: start + len(end)], text[start + len(end) :]
    return f" {quote}{head}{quote} ", f" {quote}{tail}{quote} " if tail else ""


def _written(
    output: _Output,
    role: str,
    before: list[str],
    middle: list[str],
    after: list[str],
    joins: list[str],
    end: str,
) -> str:
    """The output again, once with the marks for an assistant's message and once as it was."""
    operator = "~" if "~" in joins else "+"
    inner = operator.join(middle)
    head = "{{-" + "+".join(before) + "-}}" if before else ""
    tail = "{{-" + "+".join(after) + "-}}" if after else ""
    span = "{%- generation -%}{{-" + inner + "-}}" + end + "{%- endgeneration -%}"
    plain = "{{-" + inner + "-}}" + end
    choice = "{%- if " + role + " == 'assistant' -%}" + span + "{%- else -%}" + plain + "{%- endif -%}"
    body = head + choice + tail
    # The first and the last delimiter trim the space around them as they did.
    left = "{{ '' -}}" if not output.opening.startswith("{{-") else "{{- '' -}}"
    right = "{{- '' -}}" if output.closing.startswith("-") else "{{- '' }}"
    return left + body + (right if not end else "{{- '' }}")


_TEXTS = ("Four.", " padded \n", "", "四 {{ x }} <b>")


def _prove(tokenizer: Tokenizer, before: str, after: str) -> None:
    """Raises ConfigError where two templates write different texts for any of many conversations."""
    old, new = compile_template(before), compile_template(after)
    compared = 0
    for given in _conversations():
        for prompt in (False, True):
            texts = []
            for template in (old, new):
                try:
                    texts.append(template.render(**tokenizer.names, **given, add_generation_prompt=prompt))
                except (jinja2.TemplateError, TypeError, ValueError, LookupError) as error:
                    texts.append(f"{type(error).__name__}")
            if texts[0] != texts[1]:
                raise _cannot(tokenizer, "marked, its text would differ")
            compared += texts[0] not in ("TemplateError", "UndefinedError", "TypeError")
    if not compared:
        raise _cannot(tokenizer, "it takes none of the conversations tried")


def _conversations() -> Iterator[dict[str, object]]:
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    tool = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {}}}
    for first, second in itertools.product(_TEXTS, repeat=2):
        turns: list[dict[str, object]] = [
            {"role": "user", "content": first},
            {"role": "assistant", "content": second},
            {"role": "user", "content": second},
            {"role": "assistant", "content": first},
        ]
        system: dict[str, object] = {"role": "system", "content": second}
        calling: dict[str, object] = {"role": "assistant", "content": first, "tool_calls": [call]}
        answer: dict[str, object] = {"role": "tool", "name": "add", "content": second}
        for messages in (
            turns[:1],
            turns[:2],
            turns,
            [system, *turns],
            [turns[0], calling, answer, turns[1]],
        ):
            for tools in (None, [tool]):
                yield {"messages": messages, "tools": tools}
