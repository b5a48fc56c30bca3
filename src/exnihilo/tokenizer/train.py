"""The stage `tokenizer`: a vocabulary learned from a corpus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from exnihilo.core.config import Config, CorpusRef, Count, why
from exnihilo.core.stage import Inputs, Stage
from exnihilo.core.workspace import Workspace

if TYPE_CHECKING:
    from exnihilo.tokenizer.tokenizer import Tokenizer

_MEASURED_BYTES = 2_000_000


class TokenizerConfig(Config):
    """Train a byte-level BPE tokenizer on a corpus's training split."""

    corpus: CorpusRef = Field(
        description="the corpus to learn from",
        json_schema_extra=why(
            "there is no default: a tokenizer is made for the text it will meet",
            example="runs/mine/corpus",
        ),
    )
    vocabulary: Annotated[Count, Field(ge=264, le=2**20)] | Literal["auto"] = Field(
        "auto",
        description="number of ids, 8 special tokens and 256 bytes included; auto: from the corpus's size",
        json_schema_extra=why(
            "auto: 2,048 at 1 MB of text, doubled with each tenfold, from 512 to 65,536. A compromise "
            "of ours: each token must be seen often enough to be learned, and the table must not take "
            "most of a small model",
            example="4096",
        ),
    )
    sample_bytes: Annotated[Count, Field(ge=1, lt=2**31)] = Field(
        200_000_000,
        description="learn from so many bytes at most; documents are chosen by the hash of their text",
        json_schema_extra=why(
            "200 MB: beyond it the most frequent pairs no longer change, and memory and time would go "
            "on growing",
            example="20M",
        ),
    )


def run(config: TokenizerConfig, inputs: Inputs, work: Workspace) -> None:
    """Choose the vocabulary, learn it, save the tokenizer's files, and measure it.

    The same corpus gives the same files, byte for byte, whatever the number of threads.
    """
    from exnihilo.tokenizer.bpe import train_tokenizer
    from exnihilo.tokenizer.sample import survey
    from exnihilo.tokenizer.vocabulary import automatic_vocabulary

    corpus = inputs["corpus"]
    assert isinstance(corpus, Path)
    started = time.monotonic()
    found = survey(_texts(corpus, "train"), config.sample_bytes)
    if config.vocabulary == "auto":
        wanted, reason = automatic_vocabulary(found.total_bytes)
        work.lines.append(reason)
    else:
        wanted = config.vocabulary
    with work.progress(found.chosen_bytes, "text", "B") as progress:

        def counted() -> Iterator[str]:
            for text in found.choose(_texts(corpus, "train")):
                progress.advance(len(text.encode("utf-8")))
                yield text

        tokenizer = train_tokenizer(counted(), wanted)
    tokenizer.save(work.path)
    work.summary.update(
        vocabulary=tokenizer.vocab_size,
        vocabulary_wanted=wanted,
        fingerprint=tokenizer.fingerprint,
        text_bytes=found.total_bytes,
        trained_on_bytes=found.chosen_bytes,
        **_measure(tokenizer, corpus),
        seconds=round(time.monotonic() - started, 3),
    )
    if tokenizer.vocab_size < wanted:
        work.lines.append(
            f"vocabulary {tokenizer.vocab_size}, not {wanted}: no more pairs occur twice in the text; "
            "give more text or a smaller vocabulary"
        )
    if found.chosen_bytes < found.total_bytes:
        work.lines.append(
            f"learned from {found.chosen_bytes:,} of {found.total_bytes:,} bytes (sample_bytes)"
        )
    work.lines.append(
        f"{tokenizer.vocab_size} ids, {work.summary['bytes_per_token']:.2f} bytes per token on "
        f"{work.summary['measured_bytes']:,} bytes of the split {work.summary['measured_split']}"
    )


def _measure(tokenizer: Tokenizer, corpus: Path) -> dict[str, Any]:
    """Measures on a sample of the held-out documents, or of the others where none are held out."""
    from exnihilo.core.documents import splits
    from exnihilo.tokenizer.measures import stats
    from exnihilo.tokenizer.sample import survey

    split = "held_out" if "held_out" in splits(corpus) else "train"
    sample = survey(_texts(corpus, split), _MEASURED_BYTES)
    measured = stats(tokenizer, sample.choose(_texts(corpus, split)))
    return {
        "measured_split": split,
        "measured_bytes": measured.bytes,
        "bytes_per_token": measured.bytes_per_token,
        "tokens_per_character": measured.tokens_per_character,
        "byte_share": measured.byte_share,
        "unused_ids": len(measured.unused),
    }


def _texts(corpus: Path, split: str) -> Iterator[str]:
    from exnihilo.core.documents import read_documents

    return (document.text for document in read_documents(corpus, split))


STAGE = Stage(
    verb="tokenizer",
    kind="tokenizer",
    config=TokenizerConfig,
    run=run,
    doc="Train a byte-level BPE tokenizer on a corpus.",
)
