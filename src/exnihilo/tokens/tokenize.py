"""The stage `tokenize`: a corpus as token shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from exnihilo.core.config import Config, CorpusRef, TokenizerRef, why
from exnihilo.core.stage import Inputs, Stage
from exnihilo.core.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from exnihilo.core.documents import Document
    from exnihilo.tokenizer.tokenizer import Tokenizer

BATCH_BYTES = 1 << 20  # of text that the tokenizer works on at once, on all cores


class TokenizeConfig(Config):
    """Encode every document of a corpus, train and held out, as `bos … eos`."""

    corpus: CorpusRef = Field(
        description="the corpus to encode",
        json_schema_extra=why("there is no default: it is the text", example="runs/mine/corpus"),
    )
    tokenizer: TokenizerRef = Field(
        description="the tokenizer to encode it with",
        json_schema_extra=why(
            "there is no default: ids mean nothing without the tokenizer that made them, so its files "
            "are copied beside them",
            example="runs/mine/tokenizer",
        ),
    )


def run(config: TokenizeConfig, inputs: Inputs, work: Workspace) -> None:
    """Write the token set of `inputs["corpus"]` with a copy of `inputs["tokenizer"]`."""
    from exnihilo.core.documents import read_documents, splits
    from exnihilo.tokenizer.tokenizer import Tokenizer
    from exnihilo.tokens.shards import TokenSet
    from exnihilo.tokens.writer import TokenSetWriter

    corpus, folder = _folder(inputs, "corpus"), _folder(inputs, "tokenizer")
    tokenizer = Tokenizer.load(folder)
    _copy_tokenizer(folder, work.path / "tokenizer")
    # `train` comes first whether it is there or not: a corpus without it is refused by name.
    names = ["train", *(name for name in splits(corpus) if name != "train")]
    total = sum(len(document.text.encode()) for name in names for document in read_documents(corpus, name))
    origins: Counter[tuple[str, str, str]] = Counter()
    writer = TokenSetWriter(work.path, vocab_size=tokenizer.vocab_size, tokenizer=tokenizer.fingerprint)
    with writer, work.progress(total, "text", "B") as progress:
        for name in names:
            for document, ids in _encoded(read_documents(corpus, name), tokenizer, progress.advance):
                writer.write(name, ids, len(document.text.encode()), document.source)
                if name == "train":
                    origins[document.source, document.licence, document.generator] += len(ids)
    work.provenance = [
        {"source": source, "licence": licence, "generator": generator, "amount": amount, "unit": "tokens"}
        for (source, licence, generator), amount in origins.most_common()
    ]
    for name in names:
        _report(TokenSet.open(work.path, name, verify=False), work)


def _encoded(
    documents: Iterable[Document], tokenizer: Tokenizer, advance: Callable[[int], Any]
) -> Iterator[tuple[Document, npt.NDArray[np.uint32]]]:
    """Each document with its ids, `bos … eos`. Long documents go through the tokenizer in parts."""
    import numpy as np

    bos, eos = [tokenizer.bos], [tokenizer.eos]
    parts: list[npt.NDArray[np.uint32]] = []
    for batch in _batches(documents, tokenizer):
        encoded = tokenizer.encode_batch([text for _, text, _ in batch])
        for (document, _, last), ids in zip(batch, encoded, strict=True):
            parts.append(np.array(ids, dtype=np.uint32))
            if last:
                yield document, np.concatenate([np.array(bos, np.uint32), *parts, np.array(eos, np.uint32)])
                parts = []
        advance(sum(len(text.encode()) for _, text, _ in batch))


def _batches(
    documents: Iterable[Document], tokenizer: Tokenizer
) -> Iterator[list[tuple[Document, str, bool]]]:
    """Parts of documents, each with whether it is the document's last, in batches of about `BATCH_BYTES`."""
    from exnihilo.tokens.pieces import pieces

    batch: list[tuple[Document, str, bool]] = []
    filled = 0
    for document in documents:
        done = 0
        for piece in pieces(document.text, tokenizer.encode):
            done += len(piece)
            filled += len(piece.encode())
            batch.append((document, piece, done == len(document.text)))
            if filled >= BATCH_BYTES:
                yield batch
                batch, filled = [], 0
    if batch:
        yield batch


def _copy_tokenizer(source: Path, target: Path) -> None:
    import shutil

    from exnihilo.tokenizer.tokenizer import TOKENIZER_FILES

    target.mkdir(exist_ok=True)
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def _report(tokens: Any, work: Workspace) -> None:
    prefix = "" if tokens.split == "train" else f"{tokens.split}_"
    ratio = tokens.bytes / tokens.tokens
    work.summary |= {
        f"{prefix}tokens": tokens.tokens,
        f"{prefix}documents": tokens.documents,
        f"{prefix}bytes": tokens.bytes,
        f"{prefix}bytes_per_token": round(ratio, 4),
    }
    work.lines.append(
        f"{tokens.split}: {tokens.tokens:,} tokens in {tokens.documents:,} documents, "
        f"{ratio:.2f} bytes a token"
    )


def _folder(inputs: Inputs, name: str) -> Path:
    folder = inputs[name]
    assert isinstance(folder, Path)  # a single reference, by the schema
    return folder


STAGE = Stage(
    verb="tokenize",
    kind="tokens",
    config=TokenizeConfig,
    run=run,
    doc="Encode a corpus with a tokenizer into memory-mapped token shards.",
)
