"""Running the corpus stages on real folders."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exnihilo.core.artifact import Artifact
from exnihilo.core.build import build
from exnihilo.core.config import validate
from exnihilo.core.documents import CorpusWriter, Document
from exnihilo.core.stage import Inputs, Stage
from exnihilo.corpus import collect, curate

RunStage = Callable[..., Artifact]


def _build(stage: Stage, values: dict[str, Any], inputs: Inputs, out: Path) -> Artifact:
    return build(stage, validate(stage.config, values, where=stage.verb), inputs, out, seed=1)


@pytest.fixture
def run_collect(tmp_path: Path) -> RunStage:
    """`run_collect(source, …)` collects into `<tmp>/run/<name>` and opens the artifact."""

    def run(source: Any, *, name: str = "corpus", **values: Any) -> Artifact:
        return _build(collect.STAGE, {"from": source, **values}, {}, tmp_path / "run" / name)

    return run


@pytest.fixture
def run_curate(tmp_path: Path) -> RunStage:
    """`run_curate(documents or artifact, …)` curates into `<tmp>/run/<name>`, without the yardstick."""

    def run(corpus: list[Document] | Artifact, *, name: str = "curated", **values: Any) -> Artifact:
        if isinstance(corpus, Artifact):
            folder = corpus.path
        else:
            folder = tmp_path / f"{name}-input"
            with CorpusWriter(folder / "train") as writer:
                for document in corpus:
                    writer.write(document)
        config = {"corpus": "corpus", "yardstick": False, **values}
        return _build(curate.STAGE, config, {"corpus": folder}, tmp_path / "run" / name)

    return run


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data for tests."""
    folder = os.environ.get("EXNIHILO_DATA")
    if not folder:
        pytest.skip("EXNIHILO_DATA is not set: it names the folder of real data for tests")
    return Path(folder)
