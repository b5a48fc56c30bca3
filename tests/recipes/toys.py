"""Small real stages that write files, and a command line that has them: `python toys.py run RECIPE …`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from blake3 import blake3
from pydantic import Field

from exnihilo.core.config import Config, CorpusRef, Count, ExamplesRef, ModelRef, TokensRef
from exnihilo.core.files import content_hash, file_hash, write_atomic
from exnihilo.core.stage import Inputs, Stage
from exnihilo.core.workspace import Workspace
from exnihilo.recipes import stages


class Gather(Config):
    text: str = Field("ex nihilo", description="what the corpus says")
    path: Path | None = Field(None, description="a file that the corpus says besides")
    note: str = Field("", json_schema_extra={"cosmetic": True})


def gather(config: Gather, inputs: Inputs, work: Workspace) -> None:
    more = config.path.read_text(encoding="utf-8") if config.path else ""
    (work.path / "text.txt").write_text(config.text + more, encoding="utf-8")
    work.provenance = [
        {"source": "toy", "licence": "CC0-1.0", "generator": "", "amount": len(config.text), "unit": "bytes"}
    ]
    work.lines = [f"{len(config.text)} characters"]


def outside(config: Gather) -> str:
    return file_hash(config.path) if config.path else ""


class Cut(Config):
    corpus: CorpusRef = Field(description="what is cut")
    length: int = Field(3, ge=1, description="length of a piece")
    lower: bool = Field(True, description="in lower case")


def cut(config: Cut, inputs: Inputs, work: Workspace) -> None:
    corpus = inputs["corpus"]
    assert isinstance(corpus, Path)
    text = (corpus / "text.txt").read_text(encoding="utf-8")
    text = text.lower() if config.lower else text
    pieces = [text[i : i + config.length] for i in range(0, len(text), config.length)]
    (work.path / "pieces.json").write_text(json.dumps(pieces))


class Optim(Config):
    lr: float = Field(0.1, gt=0, description="learning rate")
    name: str = Field("muon", description="text that may look like a number")


class Grow(Config):
    tokens: TokensRef = Field(description="what is learned")
    parent: ModelRef | None = Field(None, description="a model to go on from")
    examples: ExamplesRef | None = Field(None, description="examples to learn from besides")
    steps: Count = Field(4, ge=1, description="steps")
    optim: Optim = Field(Optim(), description="how it is learned")
    pause: float = Field(0.0, ge=0, json_schema_extra={"cosmetic": True})


def grow(config: Grow, inputs: Inputs, work: Workspace) -> None:
    """A chain of hashes, saved at each step, that goes on from the last one saved."""
    parts = [path for path in inputs.values() if isinstance(path, Path)]
    state = "".join(content_hash(path) if path.is_dir() else file_hash(path) for path in parts)
    state += f"{config.optim.lr} {work.seed}"
    saved = work.checkpoints / "state.json"
    step = 0
    if saved.exists():
        step, state = json.loads(saved.read_text())
        work.truncate_records(step)
        work.event("resumed", message=f"continuing at step {step} of {config.steps}")
    with work.progress(config.steps, "growing", "steps") as progress:
        while step < config.steps:
            time.sleep(config.pause)
            step, state = step + 1, blake3(state.encode()).hexdigest()
            work.metric(step=step, loss=1 / step, tokens=step)
            write_atomic(saved, json.dumps([step, state]))
            progress.advance()
    (work.path / "weights.txt").write_text(state)
    work.summary = {"steps": step}


def estimate(config: Config, inputs: Inputs) -> list[str]:
    return [f"about {config.steps * config.pause:g} s"] if isinstance(config, Grow) else []


class Score(Config):
    models: list[ModelRef] = Field(min_length=1, description="what is scored")
    limit: int | None = Field(None, description="no more items than these")


def score(config: Score, inputs: Inputs, work: Workspace) -> None:
    models = inputs["models"]
    assert isinstance(models, dict)
    scores = {
        name: {"bits_per_byte": {"value": len(name) / 4, "n": 10, "low": 0.1, "high": 9.0}} for name in models
    }
    hashes = {name: content_hash(path) for name, path in models.items()}
    (work.path / "results.json").write_text(json.dumps({"models": scores, "families": {}, "paired": []}))
    (work.path / "hashes.json").write_text(json.dumps(hashes))


class Fail(Config):
    corpus: CorpusRef


def fail(config: Fail, inputs: Inputs, work: Workspace) -> None:
    raise ZeroDivisionError("by design")


TOYS = {
    stage.verb: stage
    for stage in (
        Stage("gather", "corpus", Gather, gather, "Gather text.", external=outside),
        Stage("cut", "tokens", Cut, cut, "Cut text."),
        Stage("grow", "model", Grow, grow, "Grow a model."),
        Stage("score", "results", Score, score, "Score models."),
        Stage("fail", "tokens", Fail, fail, "Fail."),
    )
}


def install() -> None:
    """Make the toys known as verbs."""
    for verb, stage in TOYS.items():
        stages.VERBS[verb] = lambda stage=stage: stage


if __name__ == "__main__":
    from exnihilo.cli.main import main

    install()
    sys.exit(main())
