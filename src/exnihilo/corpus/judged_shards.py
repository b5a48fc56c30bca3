"""The filters of a curation, shard by shard: what stays is written beside, with counts and samples of what does not.

A shard whose counts are there is done: a curation that was killed goes on after the last one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from exnihilo.core.documents import Document, ShardWriter, read_shards, shard_name
from exnihilo.core.files import atomic_stream, write_json
from exnihilo.corpus.judge import Verdict, judge
from exnihilo.corpus.judge_config import JudgeConfig
from exnihilo.corpus.normalise import normalise
from exnihilo.corpus.removals import Removals
from exnihilo.corpus.samples import Samples

_BATCH = 1 << 20  # characters judged at once


@dataclass(frozen=True)
class ShardTask:
    """A shard to judge, and the folder that gets `00007.parquet` and `00007.json` for it."""

    number: int
    shard: Path
    folder: Path
    config: JudgeConfig


@dataclass
class Findings:
    """What was found in one shard, or in all of them.

    Attributes:
        read: documents.
        labels: keys of `meta`.
        lines: lines taken out of texts, by reason.
        samples: by reason, and "kept", a few documents with what was measured and the limit that it is beyond.
    """

    read: int = 0
    labels: set[str] = field(default_factory=set)
    removals: Removals = field(default_factory=Removals)
    lines: Counter[str] = field(default_factory=Counter)
    samples: Samples = field(default_factory=Samples)

    def add(self, document: Document, verdict: Verdict | None) -> None:
        """Count one document."""
        self.read += 1
        self.labels |= document.meta.keys()
        if verdict is None:
            self.samples.offer("kept", document)
        else:
            self.removals.add(verdict.reason, document.id)
            self.samples.offer(verdict.reason, document, value=verdict.value, limit=verdict.limit)

    def merge(self, other: Findings) -> None:
        """Add what was found in another shard."""
        self.read += other.read
        self.labels |= other.labels
        self.removals.merge(other.removals)
        self.lines.update(other.lines)
        self.samples.merge(other.samples)

    def as_dict(self) -> dict[str, Any]:
        """The findings as JSON values."""
        return {
            "read": self.read,
            "labels": sorted(self.labels),
            "removed": self.removals.as_dict(),
            "lines": dict(sorted(self.lines.items())),
            "samples": self.samples.as_dict(),
        }

    @classmethod
    def of(cls, values: dict[str, Any]) -> Findings:
        """What `as_dict` gave."""
        return cls(
            read=values["read"],
            labels=set(values["labels"]),
            removals=Removals.of(values["removed"]),
            lines=Counter(values["lines"]),
            samples=Samples.of(values["samples"]),
        )


def judge_shard(task: ShardTask) -> Findings:
    """Judge a shard, unless it is done. Raises Refused where it is no shard of a corpus."""
    done = task.folder / f"{task.number:05d}.json"
    if not done.exists():
        found = Findings()
        with atomic_stream(task.folder / shard_name(task.number)) as stream:
            writer = ShardWriter(stream)
            for document, verdict in _judged(read_shards([task.shard]), task.config, found.lines):
                found.add(document, verdict)
                if verdict is None:
                    writer.write(document)
            writer.close()
        write_json(done, found.as_dict())
    return Findings.of(json.loads(done.read_text(encoding="utf-8")))


def _judged(
    documents: Iterable[Document], config: JudgeConfig, lines: Counter[str]
) -> Iterator[tuple[Document, Verdict | None]]:
    """Each document, as filters left it, with its verdict. Counts of lines taken out are added to `lines`."""
    for some in _batches(documents):
        judged = judge([document.text for document in some], config)
        lines.update(judged.lines)
        for document, text, verdict in zip(some, judged.texts, judged.verdicts, strict=True):
            yield (document if verdict else replace(document, text=text)), verdict


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    some: list[Document] = []
    length = 0
    for document in documents:
        document = replace(document, text=normalise(document.text))
        some.append(document)
        length += len(document.text)
        if length >= _BATCH:
            yield some
            some, length = [], 0
    if some:
        yield some
