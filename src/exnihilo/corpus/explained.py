"""What curation rejected and kept, a few documents of each reason, for people to look at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

EXAMPLES = "examples.json"
_WIDTH = 100  # characters of a document shown on its line


def explained(curated: Path) -> str:
    """Lines that show, by reason, documents with what was measured; those that stay come last."""
    examples: dict[str, list[dict[str, Any]]] = json.loads((curated / EXAMPLES).read_text(encoding="utf-8"))
    counts = json.loads((curated / "curation.json").read_text(encoding="utf-8"))["removed"]
    reasons = sorted(
        (reason for reason in examples if reason != "kept"), key=lambda one: -counts[one]["count"]
    )
    lines = []
    for reason in reasons:
        limit = examples[reason][0]["limit"]
        lines += [f"rejected {counts[reason]['count']:,}: {reason} (the limit is {limit:g})"]
        lines += [f"    {one['value']:.4g}  {one['id']}  {_line(one['text'])}" for one in examples[reason]]
    lines += ["kept, among others:"]
    lines += [f"    {one['id']}  {_line(one['text'])}" for one in examples.get("kept", [])]
    return "\n".join(lines)


def _line(text: str) -> str:
    """The beginning of a text on a line, without what a terminal would obey."""
    line = " ".join(text.split())
    shown = "".join(character if character.isprintable() else "\ufffd" for character in line[:_WIDTH])
    return shown + "…" * (len(line) > _WIDTH)
