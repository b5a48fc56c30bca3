"""Constraints on how a reply is written that a program can check, under IFEval's names (arXiv 2311.07911).

What a constraint is given are IFEval's own keyword arguments, so that its prompts can be read as they are. The language
of a reply is not checked here: nobody can say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Given = Mapping[str, Any]
_SENTENCE = re.compile(r"[.!?…。！？]+(?=\s|$|[\"'”’)\]])|[。！？]+")
_ANSWERS = ("my answer is yes.", "my answer is no.", "my answer is maybe.")


def follows(reply: str, names: list[str], given: list[Given]) -> bool | None:
    """Whether a reply keeps all constraints; None where one of them can't be checked. An empty reply keeps none."""
    known = [name for name in names if name in CONSTRAINTS]
    if len(known) < len(names) or len(names) != len(given):
        return None
    if not reply.strip():
        return False
    return all(CONSTRAINTS[name](reply, one) for name, one in zip(names, given, strict=True))


def sentences(text: str) -> int:
    """How many sentences a text has: what stands between full stops and their like."""
    return sum(bool(part.strip()) for part in _SENTENCE.split(text))


def _compared(count: int, relation: str | None, wanted: Any) -> bool:
    return count < int(wanted) if relation == "less than" else count >= int(wanted)


def _occurrences(word: str, text: str) -> int:
    return len(re.findall(re.escape(word), text, re.IGNORECASE))


def _has_word(word: str, text: str) -> bool:
    return re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) is not None


def _paragraphs(reply: str, given: Given) -> bool:
    parts = re.split(r"\s?\*\*\*\s?", reply)
    # A divider at either end parts nothing.
    parts = [part for n, part in enumerate(parts) if part.strip() or 0 < n < len(parts) - 1]
    return all(part.strip() for part in parts) and len(parts) == int(given["num_paragraphs"])


def _nth_paragraph(reply: str, given: Given) -> bool:
    parts = [part for part in re.split(r"\n\n", reply) if part.strip()]
    nth = int(given["nth_paragraph"])
    if len(parts) != int(given["num_paragraphs"]) or not 1 <= nth <= len(parts):
        return False
    first = parts[nth - 1].split()[0].lstrip("\"'").casefold()
    return re.split(r"[.,?!'\"]", first)[0] == str(given["first_word"]).casefold()


def _bullets(reply: str, given: Given) -> bool:
    count = len(re.findall(r"^\s*\*[^*].*$", reply, re.MULTILINE)) + len(
        re.findall(r"^\s*-.*$", reply, re.MULTILINE)
    )
    return count == int(given["num_bullets"])


def _highlights(reply: str, given: Given) -> bool:
    single = [one for one in re.findall(r"\*([^\n*]*)\*", reply) if one.strip()]
    double = [one for one in re.findall(r"\*\*([^\n*]*)\*\*", reply) if one.strip()]
    return len(single) + len(double) >= int(given["num_highlights"])


def _sections(reply: str, given: Given) -> bool:
    return len(re.findall(rf"\s?{re.escape(given['section_spliter'])}\s?\d+\s?", reply)) >= int(
        given["num_sections"]
    )


def _is_json(reply: str, given: Given) -> bool:
    text = re.sub(r"^```(?:json)?|```$", "", reply.strip(), flags=re.IGNORECASE)
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _two_responses(reply: str, given: Given) -> bool:
    parts = reply.split("******")
    parts = [part.strip() for n, part in enumerate(parts) if part.strip() or 0 < n < len(parts) - 1]
    return len(parts) == 2 and all(parts) and parts[0] != parts[1]


def _postscript(reply: str, given: Given) -> bool:
    marker = str(given["postscript_marker"])
    letters = [re.escape(letter) for letter in marker.replace(".", "").replace(" ", "")]
    spelt = r"\.?\s?".join(letters)  # P.S., PS or P. S.
    return re.search(rf"\b{spelt}.*$", reply, re.IGNORECASE | re.MULTILINE) is not None


def _shouted(reply: str) -> int:
    return sum(word.isupper() for word in re.findall(r"[\w'-]+", reply))


CONSTRAINTS: dict[str, Callable[[str, Given], bool]] = {
    "keywords:existence": lambda r, g: all(_occurrences(word, r) for word in g["keywords"]),
    "keywords:frequency": lambda r, g: _compared(
        _occurrences(g["keyword"], r), g.get("relation"), g["frequency"]
    ),
    "keywords:forbidden_words": lambda r, g: not any(_has_word(word, r) for word in g["forbidden_words"]),
    "keywords:letter_frequency": lambda r, g: _compared(
        r.lower().count(g["letter"].lower()), g.get("let_relation"), g["let_frequency"]
    ),
    "length_constraints:number_words": lambda r, g: _compared(
        len(re.findall(r"\w+", r)), g.get("relation"), g["num_words"]
    ),
    "length_constraints:number_sentences": lambda r, g: _compared(
        sentences(r), g.get("relation"), g["num_sentences"]
    ),
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph,
    "detectable_content:number_placeholders": lambda r, g: (
        len(re.findall(r"\[.*?\]", r)) >= int(g["num_placeholders"])
    ),
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": lambda r, g: any(answer in r.casefold() for answer in _ANSWERS),
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _is_json,
    "detectable_format:title": lambda r, g: any(one.strip() for one in re.findall(r"<<([^\n]+)>>", r)),
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": lambda r, g: (
        r.strip().casefold().startswith(str(g["prompt_to_repeat"]).strip().casefold())
    ),
    "startend:end_checker": lambda r, g: (
        r.strip().strip('"').casefold().endswith(str(g["end_phrase"]).strip().casefold())
    ),
    "startend:quotation": lambda r, g: len(r.strip()) > 1 and r.strip()[0] == r.strip()[-1] == '"',
    "change_case:english_capital": lambda r, g: r.isupper(),
    "change_case:english_lowercase": lambda r, g: r.islower(),
    "change_case:capital_word_frequency": lambda r, g: _compared(
        _shouted(r), g.get("capital_relation"), g["capital_frequency"]
    ),
    "punctuation:no_comma": lambda r, g: "," not in r,
}
"""IFEval's names, the language of a reply left out."""
