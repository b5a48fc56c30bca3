from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from exnihilo.core.config import references, validate
from exnihilo.core.documents import CorpusWriter, Document
from exnihilo.core.errors import Refused
from exnihilo.core.files import content_hash
from exnihilo.core.workspace import Workspace
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokens.pieces import PIECE
from exnihilo.tokens.shards import TokenSet
from exnihilo.tokens.tokenize import STAGE

TEXTS = {
    "train": [
        "The moon is bright.\n" * 20,
        "a literal <|eos|> and a <|bos|><|end|> in a text",
        "",
        "床前明月光，疑是地上霜。" * 5,
        "It is a long text, one line after another.\n" * (PIECE // 40),  # longer than a piece
        "the end",
    ],
    "held_out": ["The moon is dark.", "🌒"],
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    folder = tmp_path_factory.mktemp("inputs")
    for split, texts in TEXTS.items():
        with CorpusWriter(folder / "corpus" / split) as writer:
            for i, text in enumerate(texts):
                source = "poems" if "月" in text else "prose"
                writer.write(Document(f"{split}-{i}", text, source, licence="CC0", generator=""))
    train_tokenizer([text[:5000] for text in TEXTS["train"]], 400).save(folder / "tokenizer")
    yield {"corpus": folder / "corpus", "tokenizer": folder / "tokenizer"}


@pytest.fixture(scope="module")
def made(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    work = Workspace(tmp_path_factory.mktemp("made") / "tokens.partial", stage="tokens")
    STAGE.run(_config(), inputs, work)
    return work


def _config() -> object:
    return validate(STAGE.config, {"corpus": "corpus", "tokenizer": "tokenizer"}, where="")


def test_documents_are_bos_text_eos(inputs: dict[str, Path], made: Workspace) -> None:
    tokenizer = Tokenizer.load(inputs["tokenizer"])
    for split, texts in TEXTS.items():
        tokens = TokenSet.open(made.path, split)
        assert tokens.documents == len(texts)
        for i, text in enumerate(texts):
            ids = tokens.document(i).tolist()
            assert ids == [tokenizer.bos, *tokenizer.encode(text), tokenizer.eos]
            assert tokens.byte_lengths[i] == len(text.encode())
            assert tokens.sources[i] == ("poems" if "月" in text else "prose")


def test_pack_8_an_eos_literal_is_ordinary_text(inputs: dict[str, Path], made: Workspace) -> None:
    tokenizer = Tokenizer.load(inputs["tokenizer"])
    ids = TokenSet.open(made.path).document(1).tolist()
    assert (ids.count(tokenizer.bos), ids.count(tokenizer.eos), ids.count(tokenizer.end)) == (1, 1, 0)
    assert tokenizer.decode(ids) == TEXTS["train"][1]


def test_what_the_stage_reports(made: Workspace) -> None:
    tokens, held_out = TokenSet.open(made.path), TokenSet.open(made.path, "held_out")
    assert made.summary["tokens"] == tokens.tokens
    assert made.summary["documents"] == 6
    assert made.summary["bytes"] == sum(len(text.encode()) for text in TEXTS["train"])
    assert made.summary["bytes_per_token"] == pytest.approx(tokens.bytes / tokens.tokens, abs=1e-4)
    assert made.summary["held_out_tokens"] == held_out.tokens
    shares = {entry["source"]: entry["amount"] for entry in made.provenance}
    poem = int(tokens.lengths[3])
    assert shares == {"prose": tokens.tokens - poem, "poems": poem}, "of what is trained on"
    assert {(entry["licence"], entry["unit"]) for entry in made.provenance} == {("CC0", "tokens")}
    assert [line.split(":")[0] for line in made.lines] == ["train", "held_out"]


def test_pack_9_the_tokens_carry_their_tokenizer(inputs: dict[str, Path], made: Workspace) -> None:
    tokens = TokenSet.open(made.path)
    tokens.check_tokenizer(Tokenizer.load(tokens.tokenizer))
    assert tokens.tokenizer_fingerprint == Tokenizer.load(inputs["tokenizer"]).fingerprint
    assert not (tokens.tokenizer / "manifest.json").exists()


def test_the_same_input_gives_the_same_bytes(
    inputs: dict[str, Path], made: Workspace, tmp_path: Path
) -> None:
    work = Workspace(tmp_path / "again", stage="tokens")
    STAGE.run(_config(), inputs, work)
    assert content_hash(work.path) == content_hash(made.path)


def test_a_corpus_without_a_train_split_is_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    with CorpusWriter(tmp_path / "corpus" / "held_out") as writer:
        writer.write(Document("a", "text", "source", "CC0"))
    work = Workspace(tmp_path / "work", stage="tokens")
    with pytest.raises(Refused, match="'train'"):
        STAGE.run(_config(), {**inputs, "corpus": tmp_path / "corpus"}, work)


def test_the_stage_names_its_inputs() -> None:
    assert references(STAGE.config) == {"corpus": "corpus", "tokenizer": "tokenizer"}
    assert (STAGE.verb, STAGE.kind) == ("tokenize", "tokens")


def test_core_7_importing_the_stage_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'pyarrow', 'tokenizers'}"
    code = f"import sys, exnihilo.tokens.tokenize; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
