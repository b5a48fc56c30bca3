from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exnihilo.core.errors import Refused
from exnihilo.core.files import content_hash
from exnihilo.tokens.shards import TokenSet, dtype_for, splits
from exnihilo.tokens.writer import TokenSetWriter

Make = Callable[..., TokenSet]


@dataclass
class Other:
    """Stands for a tokenizer: its size and fingerprint are all that counts."""

    vocab_size: int
    fingerprint: str


def write(folder: Path, documents: list[list[int]], *, vocab_size: int = 100, **options: Any) -> TokenSet:
    with TokenSetWriter(folder, vocab_size=vocab_size, tokenizer="f" * 64, **options) as writer:
        for i, ids in enumerate(documents):
            writer.write("train", ids, 10 + i, f"source {i % 2}")
    return TokenSet.open(folder)


def test_pack_8_a_document_that_contains_eos_keeps_its_boundaries(tmp_path: Path) -> None:
    documents = [[0, 5, 1, 1, 6, 1], [0, 1], [0, 7, 8, 1]]  # 0 is bos, 1 is eos
    tokens = write(tmp_path / "t", documents)
    assert [tokens.document(i).tolist() for i in range(3)] == documents
    assert tokens.lengths.tolist() == [6, 2, 4]
    assert tokens.byte_lengths.tolist() == [10, 11, 12]
    assert tokens.sources == ["source 0", "source 1", "source 0"]
    assert (tokens.documents, tokens.tokens, tokens.bytes) == (3, 12, 33)


def test_pack_8_a_document_is_a_view_into_the_file(make_tokens: Make) -> None:
    tokens = make_tokens([50] * 200)
    last = tokens.document(199)
    assert isinstance(last, np.memmap), "nothing is read but the pages of the document"
    assert last.size == 50
    assert last.base is not None
    assert not last.flags.writeable
    for i in (-1, 200):
        with pytest.raises(IndexError, match="200"):
            tokens.document(i)


def test_shards_are_one_split(make_tokens: Make, ragged: list[int]) -> None:
    one, many = make_tokens(ragged, "one"), make_tokens(ragged, "many", shard_tokens=200)
    assert len(list((many.path / "train").glob("*.tok"))) > 5
    for i in range(len(ragged)):
        assert np.array_equal(one.document(i), many.document(i))
    assert np.array_equal(one.lengths, many.lengths)
    assert one.sources == many.sources
    addresses = np.random.default_rng(0).integers(0, one.tokens, size=(8, 9))
    assert np.array_equal(one.take(addresses), many.take(addresses))


def test_pack_9_the_type_follows_the_vocabulary(tmp_path: Path) -> None:
    assert dtype_for(65_536) == np.uint16
    assert dtype_for(65_537) == np.uint32
    tokens = write(tmp_path / "t", [[0, 69_999, 65_536, 1]], vocab_size=70_000)
    assert tokens.dtype == np.uint32
    assert tokens.document(0).tolist() == [0, 69_999, 65_536, 1]
    assert (tmp_path / "t/train/00000.tok").read_bytes()[4:8] == (69_999).to_bytes(4, "little")


def test_pack_9_a_mismatch_with_the_tokenizer_is_refused(tmp_path: Path) -> None:
    tokens = write(tmp_path / "t", [[0, 5, 1]])
    tokens.check_tokenizer(Other(100, "f" * 64))
    with pytest.raises(Refused, match=r"vocabulary of 100, the tokenizer has 101"):
        tokens.check_tokenizer(Other(101, "f" * 64))
    with pytest.raises(Refused, match=r"tokenizer ffffffffffff, not by aaaaaaaaaaaa"):
        tokens.check_tokenizer(Other(100, "a" * 64))
    index = json.loads((tmp_path / "t/tokens.json").read_text())
    (tmp_path / "t/tokens.json").write_text(json.dumps({**index, "vocab_size": 70_000}))
    with pytest.raises(Refused, match="uint32, not uint16"):
        TokenSet.open(tmp_path / "t")


@pytest.mark.parametrize("ids", [[0, 100, 1], [0, -1, 1], []])
def test_pack_9_ids_outside_the_vocabulary_are_refused(tmp_path: Path, ids: list[int]) -> None:
    with pytest.raises(Refused, match=r"id (100|-1) is outside the vocabulary of 100|no tokens"):
        write(tmp_path / "t", [[0, 5, 1], ids])


@pytest.mark.parametrize("suffix", ["tok", "off", "len", "src"])
def test_pack_9_a_bad_shard_is_named(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / "t", [[0, *range(40), 1] for _ in range(10)], shard_tokens=100)
    file = tmp_path / f"t/train/00002.{suffix}"
    good = file.read_bytes()
    file.write_bytes(good[:-2])
    with pytest.raises(Refused, match=rf"00002\.{suffix} is truncated"):
        TokenSet.open(tmp_path / "t")
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(Refused, match=rf"00002\.{suffix} is altered"):
        TokenSet.open(tmp_path / "t")
    TokenSet.open(tmp_path / "t", verify=False)
    file.unlink()
    with pytest.raises(Refused, match=rf"00002\.{suffix} is missing"):
        TokenSet.open(tmp_path / "t", verify=False)


def test_pack_7_one_more_document_changes_the_fingerprint(tmp_path: Path) -> None:
    documents = [[0, 5, 1], [0, 6, 7, 1]]
    first = write(tmp_path / "a", documents)
    assert write(tmp_path / "b", documents).fingerprint == first.fingerprint
    assert len(first.fingerprint) == 64
    others = [
        write(tmp_path / "c", [*documents, [0, 1]]),
        write(tmp_path / "d", [[0, 5, 1, 0], [6, 7, 1]]),  # the same ids, another boundary
        write(tmp_path / "e", [[0, 5, 1], [0, 6, 8, 1]]),
        write(tmp_path / "f", documents, vocab_size=101),
    ]
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_what_is_no_token_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"holds no tokens\.json"):
        TokenSet.open(tmp_path)
    (tmp_path / "tokens.json").write_text("{")
    with pytest.raises(Refused, match="not valid JSON"):
        TokenSet.open(tmp_path)
    (tmp_path / "tokens.json").write_text('{"schema": 99}')
    with pytest.raises(Refused, match="schema 99"):
        TokenSet.open(tmp_path)
    write(tmp_path / "t", [[0, 1]])
    assert splits(tmp_path / "t") == ["train"]
    with pytest.raises(Refused, match="no split 'held_out', only train"):
        TokenSet.open(tmp_path / "t", "held_out")


def test_a_killed_writer_leaves_no_token_set_and_a_second_one_a_whole(tmp_path: Path) -> None:
    documents = [[0, *range(20), 1]] * 30
    write(tmp_path / "good", documents, shard_tokens=100)
    child = os.fork()
    if child == 0:
        try:
            writer = TokenSetWriter(tmp_path / "t", vocab_size=100, tokenizer="f" * 64, shard_tokens=90)
            for ids in documents[:20]:
                writer.write("train", ids, 10, "source")
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert len(list((tmp_path / "t/train").iterdir())) > 4
    with pytest.raises(Refused, match=r"holds no tokens\.json"):
        TokenSet.open(tmp_path / "t")
    write(tmp_path / "t", documents, shard_tokens=100)
    assert content_hash(tmp_path / "t") == content_hash(tmp_path / "good")


def test_an_error_while_writing_leaves_no_token_set(tmp_path: Path) -> None:
    def interrupted() -> None:
        with TokenSetWriter(tmp_path / "t", vocab_size=100, tokenizer="f" * 64) as writer:
            writer.write("train", [0, 1], 0, "source")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(Refused):
        TokenSet.open(tmp_path / "t")
