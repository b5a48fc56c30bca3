"""From what an artifact was made, and whether that is still there as it was."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from exnihilo.core.artifact import MANIFEST, content_of, read_manifest
from exnihilo.core.errors import Refused

State = Literal["whole", "changed", "missing", "seen"]


@dataclass(frozen=True)
class Node:
    """An artifact, or a file that a user brought, and its parents.

    `state`: "changed" if what is there now is not what the child was made from, "missing" if nothing is
    there, "seen" if it stands with its parents further up.
    """

    stage: str
    kind: str
    content: str
    path: Path
    verb: str | None = None
    state: State = "whole"
    parents: list[Node] = field(default_factory=list)


def lineage(path: Path | str) -> Node:
    """The tree of an artifact's inputs and theirs. Raises Refused if `path` is no artifact."""
    path = Path(path)
    manifest = read_manifest(path)
    seen: set[Path] = {path.resolve()}
    parents = _parents(path, seen)
    return Node(
        manifest["stage"], manifest["kind"], manifest["content"], path, manifest["do"], "whole", parents
    )


def _parents(path: Path, seen: set[Path]) -> list[Node]:
    return [_node(path, record, seen) for record in read_manifest(path)["inputs"]]


def _node(child: Path, record: dict[str, str], seen: set[Path]) -> Node:
    # normpath, not resolve: `..` in a recorded path is meant by name, whatever links there are.
    path = Path(os.path.normpath(child.absolute() / record["path"]))
    name, kind, made_from = record["name"], record["kind"], record["content"]
    try:
        _, content = content_of(path)
    except Refused:
        return Node(name, kind, made_from, path, None, "missing")
    state: State = "whole" if content == made_from else "changed"
    if not (path / MANIFEST).is_file():
        return Node(name, kind, content, path, None, state)
    manifest = read_manifest(path)
    if path.resolve() in seen:
        return Node(
            manifest["stage"], kind, content, path, manifest["do"], "seen" if state == "whole" else state
        )
    seen.add(path.resolve())
    return Node(manifest["stage"], kind, content, path, manifest["do"], state, _parents(path, seen))


def format_tree(node: Node) -> str:
    """The tree as lines, the artifact first and what it was made from beneath it."""
    return "\n".join([_label(node), *_branches(node, "")])


def _branches(node: Node, indent: str) -> list[str]:
    lines = []
    for number, parent in enumerate(node.parents, start=1):
        last = number == len(node.parents)
        lines.append(f"{indent}{'└─' if last else '├─'} {_label(parent)}")
        lines += _branches(parent, indent + ("   " if last else "│  "))
    return lines


def _label(node: Node) -> str:
    remarks = {
        "whole": "",
        "changed": "  CHANGED since it was used here: the child is stale",
        "missing": f"  MISSING: it was at {node.path}",
        "seen": "  (as above)",
    }
    made = f", {node.verb}" if node.verb else ""
    return f"{node.stage} ({node.kind}{made}) {node.content[:12]}{remarks[node.state]}"
