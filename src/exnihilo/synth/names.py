"""Families whose answers are facts of the library: where a name is defined, and what it is documented to do."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from exnihilo.core.documents import Document
from exnihilo.synth.question import Question, code

_ENTRY = re.compile(r"^([A-Za-z_][\w.]*\.([A-Za-z]\w*))(?:\((.*)\).*)?$")
_MODULE = ("Which module defines `{}`?", "Where is `{}` defined?", "Which module does `{}` come from?")
_SIGNATURE = {
    "first": ("What is the first parameter of `{}`?", "Which parameter of `{}` comes first?"),
    "last": ("What is the last parameter of `{}`?", "Which parameter of `{}` comes last?"),
    "default": ("What is the default of `{}` in `{}`?", "Which value has `{}` by default in `{}`?"),
}
_PURPOSE = (
    "Which one is documented as “{}”: {}?",
    "What is described by “{}”: {}?",
    "“{}” Which one is it: {}?",
)


@dataclass(frozen=True)
class Name:
    name: str
    module: str
    summary: str  # first sentence of its documentation, or ""
    parameters: tuple[str, ...]  # plain ones, `indent=None`; empty where there are stars or annotations


def names_in(documents: Iterable[Document]) -> list[Name]:
    """Public names in documentation rendered by `collect`, sorted; names that several modules define are left out.

    An entry is a line `json.dumps(obj, …)` at the left margin, its docstring indented below.
    """
    found: list[Name] = []
    for document in documents:
        module = document.meta.get("module")
        if not module:
            continue
        lines = document.text.split("\n")
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            entry = _ENTRY.match(line)
            if entry and entry[1] == f"{module}.{entry[2]}" and not entry[2].startswith("_"):
                indented = following.strip() if following.startswith("    ") else ""
                found.append(
                    Name(entry[2], module, _sentence(indented, entry[2]), _parameters(entry[3] or ""))
                )
    uses = Counter(name.name for name in found)
    return sorted(
        (n for n in found if uses[n.name] == 1 and len(n.name) > 2), key=lambda n: (n.module, n.name)
    )


def _sentence(line: str, name: str) -> str:
    """First sentence of a docstring's first line, if it says something and does not say the name."""
    sentence = re.split(r"(?<=[a-z\)])\.(?:\s|$)", line.strip())[0].strip().rstrip(".")
    too_plain = len(sentence.split()) < 4 or len(sentence) > 90 or "`" in sentence or "(" in sentence[:25]
    return "" if too_plain or name.casefold() in sentence.casefold() else sentence


def _parameters(signature: str) -> tuple[str, ...]:
    parts = signature.split(", ")
    plain = all(re.fullmatch(r"[a-z_]\w*(=[\w.'-]+)?", part) for part in parts)
    return tuple(parts) if plain and 2 <= len(parts) <= 5 else ()


def module_question(rng: random.Random, name: Name) -> Question:
    """Knowledge: which module defines a name."""
    return Question(
        "module",
        name.name,
        rng.choice(_MODULE).format(name.name),
        name.module,
        code(name.module),
        f"`{name.name}` is defined in `{name.module}`.",
    )


def signature_question(rng: random.Random, name: Name) -> Question:
    """Recognition: reading a signature."""
    shown = f"{name.name}({', '.join(name.parameters)})"
    defaults = [p.split("=", 1) for p in name.parameters if "=" in p]
    asked = rng.choice(("first", "last", "default", "default") if defaults else ("first", "last"))
    form = rng.choice(_SIGNATURE[asked])
    if asked == "default":
        parameter, answer = rng.choice(defaults)
        prompt = form.format(parameter, shown)
    else:
        answer = name.parameters[0 if asked == "first" else -1].split("=")[0]
        prompt = form.format(shown)
    return Question("signature", name.name, prompt, answer, code(answer), f"It is `{answer}`.")


def purpose_question(rng: random.Random, name: Name, others: list[Name]) -> Question:
    """Recognition: which of three names a line of documentation describes."""
    wrong = rng.sample([o for o in others if o.summary != name.summary], 2)
    return Question(
        "purpose",
        name.name,
        rng.choice(_PURPOSE).format(name.summary, _options(rng, name, wrong)),
        name.name,
        code(name.name),
        f"That is `{name.name}`.",
    )


def _options(rng: random.Random, right: Name, wrong: list[Name]) -> str:
    options = [f"`{option.name}`" for option in (right, *wrong)]
    rng.shuffle(options)
    return f"{options[0]}, {options[1]} or {options[2]}"
