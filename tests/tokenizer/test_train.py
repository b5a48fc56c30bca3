from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from exnihilo.core.build import build
from exnihilo.core.config import validate
from exnihilo.core.documents import CorpusWriter, Document
from exnihilo.core.errors import ConfigError, Interrupted, Refused
from exnihilo.core.workspace import Workspace
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokenizer.train import STAGE, TokenizerConfig, run


@pytest.fixture
def corpus_folder(corpus: list[str], tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    documents = [Document(str(i), text, "tests", "Apache-2.0") for i, text in enumerate(corpus)]
    with CorpusWriter(folder / "train") as writer:
        for document in documents[1:]:
            writer.write(document)
    with CorpusWriter(folder / "held_out") as writer:
        writer.write(documents[0])
    return folder


def config(**values: object) -> TokenizerConfig:
    return validate(TokenizerConfig, {"corpus": "corpus", **values}, where="test")


def test_the_stage_trains_on_the_training_split_and_measures_on_the_other(
    corpus_folder: Path, corpus: list[str], workspace: Workspace
) -> None:
    run(config(vocabulary=600), {"corpus": corpus_folder}, workspace)
    made = Tokenizer.load(workspace.path)
    assert made.fingerprint == train_tokenizer(corpus[1:], 600).fingerprint
    summary = workspace.summary
    assert summary["vocabulary"] == summary["vocabulary_wanted"] == 600
    assert summary["text_bytes"] == summary["trained_on_bytes"] == sum(len(t.encode()) for t in corpus[1:])
    assert summary["measured_split"] == "held_out"
    expected = len(corpus[0].encode()) / len(made.encode(corpus[0]))
    assert summary["bytes_per_token"] == pytest.approx(expected)
    assert workspace.lines == [
        f"600 ids, {expected:.2f} bytes per token on {len(corpus[0].encode()):,} bytes of the split held_out"
    ]


def test_tok_14_the_automatic_vocabulary_is_told_with_its_reason(
    corpus_folder: Path, workspace: Workspace
) -> None:
    run(config(), {"corpus": corpus_folder}, workspace)
    assert workspace.lines[0].startswith("vocabulary 1")
    assert "MB; 2048 at 1 MB, doubled with each tenfold" in workspace.lines[0]
    assert workspace.lines[0].startswith(f"vocabulary {Tokenizer.load(workspace.path).vocab_size}:")


def test_a_sample_is_the_documents_with_the_lowest_hashes(corpus_folder: Path, workspace: Workspace) -> None:
    run(config(vocabulary=400, sample_bytes=20_000), {"corpus": corpus_folder}, workspace)
    assert workspace.summary["trained_on_bytes"] == 20_000
    assert any(line.startswith("learned from 20,000 of ") for line in workspace.lines)


def test_a_smaller_vocabulary_than_asked_for_is_told(corpus_folder: Path, workspace: Workspace) -> None:
    run(config(vocabulary=500, sample_bytes=300), {"corpus": corpus_folder}, workspace)
    size = Tokenizer.load(workspace.path).vocab_size
    assert size < 500
    assert workspace.summary["vocabulary"] == size
    said = f"vocabulary {size}, not 500: no more pairs occur twice in the text; give more text or a smaller vocabulary"
    assert said in workspace.lines


def test_building_twice_gives_the_same_content(corpus_folder: Path, tmp_path: Path) -> None:
    made = [
        build(STAGE, config(vocabulary=500), {"corpus": corpus_folder}, tmp_path / name, seed=seed)
        for name, seed in (("first", 1), ("second", 2))
    ]
    assert made[0].content == made[1].content
    assert made[0].kind == "tokenizer"


def test_a_signal_stops_the_training(corpus_folder: Path, tmp_path: Path) -> None:
    stopping = Workspace(tmp_path / "t.partial", stop_signal=lambda: 15)
    with pytest.raises(Interrupted):
        run(config(vocabulary=500), {"corpus": corpus_folder}, stopping)
    assert not (stopping.path / "tokenizer.json").exists()


def test_a_corpus_without_text_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    with CorpusWriter(tmp_path / "corpus" / "train") as writer:
        writer.write(Document("1", "", "tests", "Apache-2.0"))
    with pytest.raises(Refused, match="the corpus has no text"):
        run(config(), {"corpus": tmp_path / "corpus"}, workspace)


@pytest.mark.parametrize(
    "values",
    [{"vocabulary": 263}, {"vocabulary": "many"}, {"sample_bytes": 0}, {"sample_bytes": "2147483648"}],
)
def test_impossible_values_are_config_errors(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        config(**values)


def test_core_7_the_stage_is_declared_without_heavy_imports() -> None:
    code = (
        "import sys, exnihilo.tokenizer.train; "
        "sys.exit(bool({'torch', 'tokenizers', 'numpy', 'jinja2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
