"""A stage killed in the middle and run again makes what an unbroken run makes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exnihilo.core.documents import CorpusWriter, Document

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


def start(run: Path, texts: Path, script: str = SCRIPT) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", script, str(run), str(texts)]
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


TWENTY = """
import sys
from pathlib import Path
from exnihilo.core.build import build
from exnihilo.core.config import validate
from exnihilo.corpus import curate

run = Path(sys.argv[1])
rules = {"gopher_repetition": {}, "gopher_quality": {"min_words": 10}, "workers": 2, "held_out": 0.1}
config = validate(curate.CurateConfig, {"corpus": "corpus", **rules}, where="curate")
print(build(curate.STAGE, config, {"corpus": Path(sys.argv[2])}, run / "curated", seed=1).content)
"""


@pytest.mark.slow
def test_core_12_curation_of_twenty_shards_killed_ten_times(tmp_path: Path) -> None:
    """Some minutes: killed at random moments, each two shards later than the one before, and run again."""
    draw = random.Random(1)
    words = ["river", "night", "the", "to", "of", "and", "that", *(f"word{i}" for i in range(3000))]
    writer = CorpusWriter(tmp_path / "raw" / "train", shard_bytes=4 << 20)
    with writer:
        number = 0
        while len(list((tmp_path / "raw" / "train").glob("*.parquet"))) < 20 or number % 500:
            text = ". ".join(" ".join(draw.choices(words, k=12)) for _ in range(draw.randrange(1, 80)))
            writer.write(Document(f"{number:06d}", text, "made", "CC0-1.0"))
            number += 1

    def run(folder: Path) -> subprocess.Popen[str]:
        return start(folder, tmp_path / "raw", TWENTY)

    unbroken, _ = run(tmp_path / "unbroken").communicate()
    assert unbroken.strip()
    done = tmp_path / "broken" / "curated.partial" / "checkpoints" / "judged"
    for attempt in range(10):
        broken = run(tmp_path / "broken")
        while len(list(done.glob("*.json"))) < 2 * attempt + 1:
            assert broken.poll() is None, "ended before it could be killed"
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.5))
        broken.send_signal(signal.SIGKILL)
        broken.communicate()
        assert broken.returncode == -signal.SIGKILL
    again, _ = run(tmp_path / "broken").communicate()
    assert again == unbroken
