"""A stage killed in the middle and run again makes what an unbroken run makes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
from exnihilo.core.build import build
from exnihilo.core.config import validate
from exnihilo.corpus import collect, curate
from exnihilo.corpus.source_config import CollectConfig

run = Path(sys.argv[1])
config = validate(CollectConfig, {"from": {"path": sys.argv[2]}}, where="collect")
corpus = build(collect.STAGE, config, {}, run / "corpus", seed=1)
config = validate(curate.CurateConfig, {"corpus": "corpus", "held_out": 0.2}, where="curate")
curated = build(curate.STAGE, config, {"corpus": corpus.path}, run / "curated", seed=1)
print(corpus.content, curated.content)
"""


def start(run: Path, texts: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", SCRIPT, str(run), str(texts)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More files than a row group holds, so that a shard is begun well before the last file is read."""
    folder = tmp_path_factory.mktemp("texts")
    for i in range(2000):
        lines = [f"line {i * j % 9973} of text number {i}\n" for j in range(1, 5)]
        (folder / f"{i}.txt").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def unbroken(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The content hashes of both artifacts of a run that nothing disturbs."""
    hashes, _ = start(tmp_path_factory.mktemp("unbroken"), texts).communicate()
    assert len(hashes.split()) == 2
    return hashes


@pytest.mark.parametrize("stage", ["corpus", "curated"])
def test_core_12_killed_while_writing_and_run_again(
    tmp_path: Path, texts: Path, unbroken: str, stage: str
) -> None:
    broken = start(tmp_path, texts)
    shard = tmp_path / f"{stage}.partial" / "train" / "00000.parquet"
    while not shard.exists():
        assert broken.poll() is None, "ended before it could be killed"
        time.sleep(0.001)
    broken.send_signal(signal.SIGKILL)
    broken.communicate()
    assert broken.returncode == -signal.SIGKILL
    assert not (tmp_path / stage).exists()
    again, _ = start(tmp_path, texts).communicate()
    assert again == unbroken
