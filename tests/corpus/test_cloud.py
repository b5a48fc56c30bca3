"""Objects in stores, with the two that need no network: memory and the local disk."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exnihilo.core.artifact import Artifact
from exnihilo.core.config import validate
from exnihilo.core.documents import read_documents
from exnihilo.core.errors import ConfigError, MissingExtra
from exnihilo.core.keys import status
from exnihilo.corpus.cloud import StoredObject, list_objects, url_name
from exnihilo.corpus.collect import STAGE
from exnihilo.corpus.source_config import CollectConfig

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def store() -> Iterator[Any]:
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    for name, data in {
        "z.txt": b"last",
        "b/rows.jsonl.gz": gzip.compress(b'{"text": "row"}\n'),
        "a.txt": b"first",
        ".hidden/x.txt": b"hidden",
        "cut.txt.gz": gzip.compress(b"cut off" * 99)[:-9],
    }.items():
        memory.pipe(f"/bucket/texts/{name}", data)
    yield memory
    memory.store.clear()


def test_a_prefix_is_read_in_order(store: Any, run_collect: Callable[..., Artifact]) -> None:
    artifact = run_collect({"url": "memory://bucket/texts", "licence": "CC0-1.0"})
    found = [(one.source, one.licence, one.meta["path"], one.text) for one in read_documents(artifact.path)]
    assert found == [
        ("texts", "CC0-1.0", "a.txt", "first"),
        ("texts", "CC0-1.0", "b/rows.jsonl.gz", "row"),
        ("texts", "CC0-1.0", "z.txt", "last"),
    ]
    lines = "\n".join(artifact.manifest["lines"])
    assert "hidden or generated (.hidden/x.txt)" in lines and "not a whole gzip file (cut.txt.gz" in lines


def test_objects_that_two_sources_name_are_read_once(
    store: Any, run_collect: Callable[..., Artifact]
) -> None:
    artifact = run_collect(
        [{"url": "memory://bucket/texts"}, {"url": "memory://bucket/texts/*.txt", "source": "texts"}]
    )
    assert (
        len({one.id for one in read_documents(artifact.path)})
        == len(list(read_documents(artifact.path)))
        == 3
    )
    assert any("listed twice (a.txt; z.txt)" in line for line in artifact.manifest["lines"])


def test_a_glob_an_object_and_the_local_disk(store: Any, tmp_path: Path) -> None:
    def names(url: str) -> list[str]:
        return [one.name for one in list_objects(url) if isinstance(one, StoredObject)]

    assert names("memory://bucket/texts/*.txt") == ["a.txt", "z.txt"]
    assert names("memory://bucket/**/*.gz") == ["texts/b/rows.jsonl.gz", "texts/cut.txt.gz"]
    assert names("memory://bucket/texts/a.txt") == ["a.txt"]
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.txt").write_text("text")
    assert names(f"file://{tmp_path}") == ["x/a.txt"]
    assert url_name("s3://bucket/crawl/*.gz") == "crawl" and url_name("gs://bucket/a.jsonl") == "a"


def test_a_changed_object_makes_the_stage_stale(tmp_path: Path, run_collect: Callable[..., Artifact]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("text")
    source = {"url": f"file://{tmp_path}/in"}
    config = validate(CollectConfig, {"from": source}, where="collect")
    out = run_collect(source).path
    assert status(STAGE, config, {}, out, seed=1).state == "cached"
    (tmp_path / "in" / "a.txt").write_text("other text")
    assert status(STAGE, config, {}, out, seed=1).state == "stale"


def test_mistakes_are_told_in_a_line(store: Any, run_collect: Callable[..., Artifact]) -> None:
    with pytest.raises(ConfigError, match=r"memory://bucket/none: nothing is there"):
        list_objects("memory://bucket/none")
    with pytest.raises(ConfigError, match="give s3://…, gs://… or hf://…"):
        list_objects("nosuchstore://bucket")
    with pytest.raises(ConfigError, match=r"give it as `url` in place of `path`"):
        run_collect({"path": "s3://bucket/texts"})
    with pytest.raises(ConfigError, match="url"):
        validate(CollectConfig, {"from": {"url": "no url"}}, where="collect")


def test_a_store_whose_library_is_missing_names_the_extra() -> None:
    try:
        import s3fs  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtra, match=r"exnihilo\[cloud\]"):
            list_objects("s3://bucket/texts")
    else:
        pytest.skip("s3fs is installed")
