"""A dataset of the hub, read from its cache without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exnihilo.corpus.hub import card_licence, is_wanted

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SCRIPT = """
import sys
from pathlib import Path
from exnihilo.core.build import build
from exnihilo.core.config import validate
from exnihilo.core.documents import read_documents
from exnihilo.core.errors import ExnihiloError
from exnihilo.corpus.collect import STAGE
from exnihilo.corpus.source_config import CollectConfig

source = {"hub": sys.argv[1], "files": sys.argv[3:] or None}
config = validate(CollectConfig, {"from": source}, where="collect")
try:
    artifact = build(STAGE, config, {}, Path(sys.argv[2]), seed=1)
except ExnihiloError as error:
    print(type(error).__name__, error)
else:
    for one in read_documents(artifact.path):
        print(one.source, one.licence, one.meta, one.text, sep="|")
    print(artifact.manifest["lines"][-1])
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache as the hub's client lays it out, with the files of one dataset at one commit."""
    repository = tmp_path / "cache" / "datasets--someone--poems"
    snapshot = repository / "snapshots" / COMMIT
    (snapshot / "data").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for split in ("train", "test"):
        table = pa.table({"text": [f"{split} one", f"{split} two"], "stars": [1, 2]})
        pq.write_table(table, snapshot / "data" / f"{split}-00000.parquet")
    (snapshot / "README.md").write_text("---\nlicense: cc-by-4.0\ntags: [a]\n---\n# Poems\n")
    return tmp_path / "cache"


def run(cache: Path, out: Path, name: str, *files: str, blocked: str = "") -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": "1",
    }
    script = f"import sys; sys.modules[{blocked!r}] = None\n{SCRIPT}" if blocked else SCRIPT
    done = subprocess.run(
        [sys.executable, "-c", script, name, str(out), *files],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_parquet_of_a_cached_dataset(cache: Path, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    lines = run(cache, tmp_path / "run" / "corpus", "someone/poems", "data/train-*.parquet").splitlines()
    assert lines == [
        "someone/poems|cc-by-4.0|{'path': 'data/train-00000.parquet', 'row': 1, 'stars': 1}|train one",
        "someone/poems|cc-by-4.0|{'path': 'data/train-00000.parquet', 'row': 2, 'stars': 2}|train two",
        f"read someone/poems of the hub at commit {COMMIT}",
    ]


def test_core_15_without_a_network_the_error_says_what_to_do(cache: Path, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    said = run(cache, tmp_path / "run" / "corpus", "someone/absent")
    assert said.startswith("ExnihiloError hub: someone/absent: ") and "connect to the network once" in said
    said = run(cache, tmp_path / "run" / "corpus", "not a name")
    assert said.startswith("ConfigError hub: not a name: ")


def test_core_7_the_missing_extra_names_itself(cache: Path, tmp_path: Path) -> None:
    said = run(cache, tmp_path / "run" / "corpus", "someone/poems", blocked="huggingface_hub")
    assert said.startswith("MissingExtra ") and "exnihilo[hub]" in said


def test_which_files_were_asked_for() -> None:
    assert is_wanted("data/train-0.parquet", None) and is_wanted("a.jsonl.gz", None)
    assert not is_wanted("README.md", None) and not is_wanted("image.png", None)
    assert is_wanted("data/train-0.parquet", ["data/train-*"]) and not is_wanted(
        "data/test-0.parquet", ["data/train-*"]
    )


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\n---\n", "mit"),
        ("---\nlicense:\n- mit\n- apache-2.0\n---\n", "apache-2.0 AND mit"),
        ("# No header\nlicense: mit\n", None),
        ("---\nlicense: [broken\n---\n", None),
    ],
)
def test_the_licence_of_a_card(tmp_path: Path, card: str, licence: str | None) -> None:
    (tmp_path / "README.md").write_text(card)
    assert card_licence(tmp_path) == licence


def test_a_dataset_without_a_card_states_no_licence(tmp_path: Path) -> None:
    assert card_licence(tmp_path) is None
