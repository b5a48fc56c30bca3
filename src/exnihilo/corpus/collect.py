"""The stage `collect`: text from files, datasets and the running Python into a corpus with its provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exnihilo.core.errors import Refused
from exnihilo.core.stage import Inputs, Stage
from exnihilo.corpus.source_config import CollectConfig

if TYPE_CHECKING:
    from exnihilo.core.workspace import Workspace


def external(config: CollectConfig) -> str:
    """The state of what is read: names and bytes of files, the version of Python."""
    from exnihilo.corpus.sources import fingerprint

    return fingerprint(config.sources)


def run(config: CollectConfig, inputs: Inputs, work: Workspace) -> None:
    """Write the split `train` and `collection.json`: what was taken by kind, what was skipped and why.

    Raises ConfigError for a path where nothing is, and Refused when nothing could be taken.
    """
    from exnihilo.core.documents import CorpusWriter
    from exnihilo.core.files import write_json
    from exnihilo.corpus.findings import Skipped, Tally
    from exnihilo.corpus.mojibake import repaired
    from exnihilo.corpus.provenance import Provenance
    from exnihilo.corpus.sources import open_sources

    tally, provenance = Tally(), Provenance()
    notes: list[str] = []
    with CorpusWriter(work.path / "train") as writer:
        for opened in open_sources(config.sources, config.text_field):
            with work.progress(opened.total, f"reading {opened.name}", opened.unit) as progress:
                for group in opened.groups:
                    for found in group:
                        if isinstance(found, Skipped):
                            tally.skip(found)
                        else:
                            if config.repair:
                                found = repaired(found)
                            document = opened.document(found)
                            writer.write(document)
                            tally.take(found, provenance.add(document))
                    progress.advance()
            notes.extend(opened.notes)
    if not writer.documents:
        why = "; ".join(["nothing was collected", *tally.lines()])
        raise Refused(f"{_places(config)}: {why}; give texts that can be read")
    write_json(work.path / "collection.json", tally.as_dict())
    work.provenance = provenance.entries("bytes")
    work.summary = {"documents": writer.documents, "bytes": writer.bytes, "skipped": tally.skipped.total()}
    work.lines = tally.lines() + notes
    work.event("collected", **work.summary)


def _places(config: CollectConfig) -> str:
    """Where it was looked, on a line."""
    keys = ("path", "hub", "url", "repository")
    names = [
        next((str(getattr(one, key)) for key in keys if hasattr(one, key)), "python")
        for one in config.sources
    ]
    return ", ".join(names[:3] + ["…"] * (len(names) > 3))


STAGE = Stage(
    verb="collect",
    kind="corpus",
    config=CollectConfig,
    run=run,
    doc="Collect text from files, datasets and the running Python, and say what was taken and what was not.",
    external=external,
)
