"""Families whose answers are facts of the library: where a name is defined, and what it is documented to do."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from exnihilo.core.documents import Document
from exnihilo.synth.question import Question, code

_ENTRY = re.compile(r"^([A-Za-z_][\w.]*\.([A-Za-z]\w*))(?:\(.*)?$")
_MODULE = ("Which module defines `{}`?", "Where is `{}` defined?", "Which module does `{}` come from?")
_MEMBER = (
    "Which of these does `{}` define: {}?",
    "Which one belongs to the module `{}`: {}?",
    "Which name is defined in `{}`: {}?",
)
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
                found.append(Name(entry[2], module, _sentence(indented, entry[2])))
    uses = Counter(name.name for name in found)
    return sorted((n for n in found if uses[n.name] == 1 and len(n.name) > 2), key=lambda n: (n.module, n.name))


def _sentence(line: str, name: str) -> str:
    """First sentence of a docstring's first line, if it says something and does not say the name."""
    sentence = re.split(r"(?<=[a-z\)])\.(?:\s|$)", line.strip())[0].strip().rstrip(".")
    too_plain = len(sentence.split()) < 4 or len(sentence) > 90 or "`" in sentence or "(" in sentence[:25]
    return "" if too_plain or name.casefold() in sentence.casefold() else sentence


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


def member_question(rng: random.Random, name: Name, others: list[Name]) -> Question:
    """Recognition: which of three names a module defines."""
    wrong = rng.sample([o for o in others if o.module.split(".")[0] != name.module.split(".")[0]], 2)
    return Question(
        "member",
        name.name,
        rng.choice(_MEMBER).format(name.module, _options(rng, name, wrong)),
        name.name,
        code(name.name),
        f"`{name.module}` defines `{name.name}`.",
    )


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
