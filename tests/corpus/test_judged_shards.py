"""Shards are judged alone, in any number of processes, and once."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from exnihilo.core.artifact import Artifact
from exnihilo.core.documents import CorpusWriter, Document, shards
from exnihilo.core.errors import ExnihiloError
from exnihilo.corpus.engine import run_tasks
from exnihilo.corpus.explained import explained
from exnihilo.corpus.judge_config import JudgeConfig
from exnihilo.corpus.judged_shards import Findings, ShardTask, judge_shard

WORDS = ["river", "night", "morning", "fields", "nobody", "barn", "father", "the", "to", "of", "12", "99"]


def documents(count: int) -> list[Document]:
    draw = random.Random(11)
    return [
        Document(f"{i:03d}", " ".join(draw.choices(WORDS, k=draw.randrange(1, 30))) + ".", "notes", "CC0-1.0")
        for i in range(count)
    ]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two hundred documents in seven shards of thirty."""
    every = documents(200)
    for start in range(0, 200, 30):
        with CorpusWriter(tmp_path / f"part{start}") as writer:
            for document in every[start : start + 30]:
                writer.write(document)
        (tmp_path / "raw" / "train").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"part{start}" / "00000.parquet").rename(
            tmp_path / f"raw/train/{start // 30:05d}.parquet"
        )
    return tmp_path / "raw"


def tasks(corpus: Path, folder: Path) -> list[ShardTask]:
    config = JudgeConfig.model_validate({"gopher_quality": {"min_words": 5}})
    return [ShardTask(i, shard, folder, config) for i, shard in enumerate(shards(corpus / "train"))]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_corpus_5_any_number_of_processes_makes_the_same_files(corpus: Path, tmp_path: Path) -> None:
    found = []
    for workers in (1, 3):
        merged = Findings()
        for part in run_tasks(judge_shard, tasks(corpus, tmp_path / str(workers)), workers):
            merged.merge(part)
        found.append(merged.as_dict())
    assert found[0] == found[1]
    assert found[0]["read"] == 200
    assert contents(tmp_path / "1") == contents(tmp_path / "3")
    removed = {reason: one["count"] for reason, one in found[0]["removed"].items()}
    assert removed["too short"] and removed["gopher: too few words"]
    assert sum(removed.values()) < 190
    shown = {reason: len(examples) for reason, examples in found[0]["samples"].items()}
    assert shown == {reason: min(5, count) for reason, count in removed.items()} | {"kept": 5}


def test_findings_do_not_depend_on_the_order_of_shards(corpus: Path, tmp_path: Path) -> None:
    parts = list(run_tasks(judge_shard, tasks(corpus, tmp_path / "out"), 1))
    merged = []
    for order in (parts, parts[::-1], parts[3:] + parts[:3]):
        whole = Findings()
        for part in order:
            whole.merge(part)
        merged.append(whole.as_dict())
    assert merged[0] == merged[1] == merged[2]
    assert Findings.of(merged[0]).as_dict() == merged[0]


def test_a_shard_that_is_done_is_not_judged_again(corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    first = [part.as_dict() for part in run_tasks(judge_shard, tasks(corpus, folder), 1)]
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    (folder / "00002.json").unlink()  # as if killed before its counts were written
    again = [part.as_dict() for part in run_tasks(judge_shard, tasks(corpus, folder), 1)]
    assert again == first
    changed = {path.name for path in folder.iterdir() if times.get(path) != path.stat().st_mtime_ns}
    assert changed == {"00002.json", "00002.parquet"}


def _fail(task: int) -> int:
    if task == 2:
        raise ExnihiloError("task 2 failed; give another")
    return task


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_task_is_told_as_it_is(workers: int) -> None:
    with pytest.raises(ExnihiloError, match="task 2 failed; give another"):
        list(run_tasks(_fail, [1, 2, 3], workers))


def test_examples_are_told_by_reason_with_what_was_measured(run_curate: Callable[..., Artifact]) -> None:
    odd = Document("odd", "12.5 \x1b[31m " * 40, "notes", "CC0-1.0")
    artifact = run_curate([*documents(60), odd], held_out=0)
    lines = explained(artifact.path).splitlines()
    (at,) = [i for i, line in enumerate(lines) if "mostly digits" in line]
    assert lines[at] == "rejected 1: mostly digits (the limit is 0.4)"
    assert lines[at + 1].split()[1] == "odd"
    assert "\x1b" not in "\n".join(lines) and "\ufffd[31m" in lines[at + 1]
    assert lines[-6] == "kept, among others:"
