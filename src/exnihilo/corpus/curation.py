"""Curation of a corpus in passes over its documents, of which only hashes and sizes are held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from exnihilo.core.documents import CorpusWriter, Document, read_documents, read_shards, shards
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.files import write_json
from exnihilo.corpus.deduplicate import ExactDuplicates
from exnihilo.corpus.engine import run_tasks
from exnihilo.corpus.explained import EXAMPLES
from exnihilo.corpus.judge_config import JudgeConfig
from exnihilo.corpus.judged_shards import Findings, ShardTask, judge_shard
from exnihilo.corpus.near_duplicates import Containment, Hashes, shares_in_earlier, shingles
from exnihilo.corpus.provenance import Provenance
from exnihilo.corpus.removals import Removals
from exnihilo.corpus.split import Candidate, candidate, cut_end, head, limit, split
from exnihilo.corpus.yardstick import Yardstick

if TYPE_CHECKING:
    from exnihilo.core.workspace import Workspace
    from exnihilo.corpus.curate import CurateConfig

TRAIN, HELD_OUT = "train", "held_out"
LEAST_END = 16  # bytes: less than this at the end of the only document is no text to evaluate on


@dataclass(frozen=True)
class JudgedCorpus:
    """The documents that the filters have left, in the order of the corpus."""

    folder: Path

    def __iter__(self) -> Iterator[Document]:
        return read_shards(shards(self.folder))


@dataclass(frozen=True)
class Placement:
    """Which documents (by number) go where; `end` says that the end of the only document is held out."""

    train: list[Candidate]
    held_out: list[Candidate]
    end: float = 0.0
    limit_bytes: int | None = None  # of the parts of that document
    held_out_bytes: int | None = None

    def documents(self, judged: JudgedCorpus, where: str) -> Iterator[Document]:
        """The documents of one side, in their order."""
        numbers = {one.number for one in (self.train if where == TRAIN else self.held_out)}
        for number, document in enumerate(judged):
            if number not in numbers:
                continue
            if self.end:
                document = self._part(document, where)
            yield document

    def _part(self, document: Document, where: str) -> Document:
        start, end = cut_end(document.text, self.end)
        text = head(start, self.limit_bytes) if where == TRAIN else head(end, self.held_out_bytes)
        return replace(document, id=f"{document.id}-{where}", text=text)


def curate(config: CurateConfig, corpus: Path, work: Workspace) -> None:
    """Read the split `train` of a corpus and write the curated one into `work.path`."""
    found, judged = _judge(config, corpus, work)
    removals = found.removals
    kept: dict[int, Candidate] = {}
    duplicates = ExactDuplicates()
    with work.progress(
        found.read - removals.counts.total(), "looking for equal texts", "documents"
    ) as progress:
        for number, document in enumerate(judged):
            progress.advance()
            kept[number] = candidate(number, document, config.group)
            dropped = duplicates.add(number, document.id, document.text)
            if dropped is not None:
                del kept[dropped[0]]
                removals.add("exact duplicate", dropped[1])
    if config.group is not None and config.group not in found.labels:
        raise ConfigError(
            f"group: no document has '{config.group}' in its meta; allowed: {', '.join(sorted(found.labels))}"
        )
    placement = _place(config, list(kept.values()), removals)
    held_out = _without_near_duplicates(config, judged, placement, removals, work)
    placement = replace(placement, held_out=held_out)

    sides = {}
    provenance = Provenance()
    for where in (TRAIN, HELD_OUT):
        with CorpusWriter(work.path / where) as writer:
            for document in placement.documents(judged, where):
                writer.write(document)
                if where == TRAIN:
                    provenance.add(document)
        sides[where] = {"documents": writer.documents, "bytes": writer.bytes}
    work.provenance = provenance.entries("bytes")
    yardstick = None
    if config.yardstick and placement.held_out:
        texts = ((one.text for one in read_documents(work.path, where)) for where in (TRAIN, HELD_OUT))
        with work.progress(None, "compressing with xz -9e to compare", "bytes") as progress:
            yardstick = Yardstick.measure(*texts)
            progress.advance(sides[HELD_OUT]["bytes"])
    _report(work, found, sides, placement, yardstick)


def _judge(config: CurateConfig, corpus: Path, work: Workspace) -> tuple[Findings, JudgedCorpus]:
    """Apply the filters to each shard of the split `train`, as many at once as there are workers."""
    read_documents(corpus, TRAIN)  # which says what is there instead, where there is no such split
    folder = work.checkpoints / "judged"
    rules = JudgeConfig.model_validate({name: getattr(config, name) for name in JudgeConfig.model_fields})
    tasks = [ShardTask(i, shard, folder, rules) for i, shard in enumerate(shards(corpus / TRAIN))]
    found = Findings()
    with work.progress(len(tasks), "filtering", "shards") as progress:
        for part in run_tasks(judge_shard, tasks, config.workers, check=lambda: progress.advance(0)):
            found.merge(part)
            progress.advance()
    return found, JudgedCorpus(folder)


def _place(config: CurateConfig, kept: list[Candidate], removals: Removals) -> Placement:
    if not kept:
        raise Refused("; ".join(["no document is left", *removals.lines()]) + "; relax filters")
    if len(kept) == 1 and config.held_out > 0:
        if kept[0].size * config.held_out < LEAST_END:
            raise Refused(
                f"held_out {config.held_out:g}: the only document has {kept[0].size} bytes, too few to hold"
                " out its end; give more text, or held_out 0"
            )
        return Placement(kept, kept, config.held_out, config.limit_bytes, config.held_out_bytes)
    train, held_out = split(kept, config.held_out)
    if config.held_out > 0 and not held_out:
        raise Refused(
            f"held_out {config.held_out:g}: all {len(kept):,} documents are of one group, so none can be"
            " held out; give another `group`, or held_out 0"
        )
    if not train:
        raise Refused(
            f"held_out {config.held_out:g}: nothing is left to train on; lower it or give more text"
        )
    limited = limit(train, config.limit_bytes)
    for one in sorted(set(train) - set(limited), key=lambda one: one.number):
        removals.add("over limit_bytes", one.identity)
    if not limited:
        smallest = min(one.size for one in train)
        raise Refused(
            f"limit_bytes {config.limit_bytes}: the smallest of {len(train):,} documents has {smallest:,}"
            " bytes; raise it"
        )
    return Placement(limited, held_out)


def _without_near_duplicates(
    config: CurateConfig, judged: JudgedCorpus, placement: Placement, removals: Removals, work: Workspace
) -> list[Candidate]:
    """The held-out documents that neither training text nor larger ones hold, as many as wanted."""
    held_out = placement.held_out
    if config.near_duplicate is not None and held_out:
        hashes, in_training = _compare(judged, placement, work)
        # The larger first: of a module's source and documentation, the source stays.
        order = sorted(range(len(held_out)), key=lambda i: (-held_out[i].size, held_out[i].identity))
        earlier = dict(zip(order, shares_in_earlier([hashes[i] for i in order]), strict=True))
        kept = []
        for i, one in enumerate(held_out):
            if in_training[i] > config.near_duplicate:
                removals.add("held-out near-duplicate of training text", one.identity)
            elif earlier[i] > config.near_duplicate:
                removals.add("held-out near-duplicate of held-out text", one.identity)
            else:
                kept.append(one)
        if not kept:
            raise Refused(
                f"held_out {config.held_out:g}: other text holds over {config.near_duplicate:g} of each of"
                f" {len(held_out):,} held-out documents; raise held_out or near_duplicate, or set held_out 0"
            )
        held_out = kept
    if placement.end:
        return held_out  # the limit has cut the document
    wanted = limit(held_out, config.held_out_bytes, config.held_out_documents)
    for one in sorted(set(held_out) - set(wanted), key=lambda one: one.number):
        removals.add("over the limit of held-out text", one.identity)
    if held_out and not wanted:
        raise Refused(f"held_out_bytes {config.held_out_bytes}: all held-out documents are larger; raise it")
    return wanted


def _compare(judged: JudgedCorpus, placement: Placement, work: Workspace) -> tuple[list[Hashes], list[float]]:
    """The shingles of each held-out document, and the share of them that training text holds."""
    total = len(placement.train) + len(placement.held_out)
    with work.progress(total, "looking for near-duplicates", "documents") as progress:
        hashes = []
        for document in placement.documents(judged, HELD_OUT):
            hashes.append(shingles(document.text))
            progress.advance()
        containment = Containment(hashes)
        for document in placement.documents(judged, TRAIN):
            containment.see(shingles(document.text))
            progress.advance()
    return hashes, containment.shares()


def _report(
    work: Workspace,
    found: Findings,
    sides: dict[str, dict[str, int]],
    placement: Placement,
    yardstick: Yardstick | None,
) -> None:
    measured = asdict(yardstick) if yardstick else None
    removals = found.removals
    report = {
        "read": found.read,
        **sides,
        "removed": removals.as_dict(),
        "lines": dict(sorted(found.lines.items())),
        "yardstick": measured,
    }
    write_json(work.path / "curation.json", report)
    write_json(work.path / EXAMPLES, found.samples.as_dict())
    work.summary = {
        "documents": sides[TRAIN]["documents"],
        "bytes": sides[TRAIN]["bytes"],
        "held_out_documents": sides[HELD_OUT]["documents"],
        "held_out_bytes": sides[HELD_OUT]["bytes"],
        "removed": dict(sorted(removals.counts.items())),
    }
    work.lines = [
        f"kept {sides[TRAIN]['documents']:,} of {found.read:,} documents, {sides[TRAIN]['bytes']:,} bytes",
        f"held out {sides[HELD_OUT]['documents']:,} documents, {sides[HELD_OUT]['bytes']:,} bytes"
        + (", the end of the only document" if placement.end else ""),
        *removals.lines(),
    ]
    if yardstick:
        work.summary["xz_bits_per_byte"] = yardstick.xz_bits_per_byte
        work.summary["xz_primed_bits_per_byte"] = yardstick.xz_primed_bits_per_byte
        work.lines.append(
            f"xz -9e needs {yardstick.xz_bits_per_byte:.3f} bits per byte for the held-out text,"
            f" {yardstick.xz_primed_bits_per_byte:.3f} with the training text known before"
        )
