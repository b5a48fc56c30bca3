"""A run with three small models that were really trained, to say what the tests expect, and its held-out
items."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from app_server import Server
from exnihilo.core.artifact import Artifact
from exnihilo.core.build import build
from exnihilo.core.config import Config, ExamplesRef, ModelRef
from exnihilo.core.jsonl import write_jsonl
from exnihilo.core.stage import Inputs, Stage
from exnihilo.core.workspace import Workspace
from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import load_model, save_model
from exnihilo.serve.app import create_app
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer

# Small models: a second thread only waits, 20 times as long where another process has that core.
torch.set_num_threads(1)

JOIN = "Which module defines `join`?"
SUM = "What does `1 + 2` evaluate to?"
HOSTILE = "Write HTML."
PAYLOAD = '<img src=x onerror=hit()><script>hit()</script><a href="javascript:hit()">x</a>'
ANSWERS = {
    "base": {JOIN: "Which module defines", SUM: "What does", HOSTILE: "HTML"},
    "sft": {JOIN: "It is in `sys`.", SUM: "`3`", HOSTILE: PAYLOAD},
    "aligned": {JOIN: "It is in `os.path`.", SUM: "`3`", HOSTILE: PAYLOAD},
}
ITEMS = [
    {
        "id": f"{family}-{number}",
        "family": family,
        "messages": [{"role": "user", "content": question}],
        "answer": answer,
        "verifier": {"kind": "code", "value": answer},
    }
    for family, number, question, answer in [
        ("module", 0, JOIN, "os.path"),
        ("module", 1, "Which module defines `sleep`?", "time"),
        ("arithmetic", 0, SUM, "3"),
        ("arithmetic", 1, "What does `4 * 5` evaluate to?", "20"),
    ]
]


class ExamplesConfig(Config):
    """Held-out items."""


class ModelConfig(Config):
    """A model that has learned some answers by heart."""

    answers: dict[str, str]
    model: ModelRef | None = None
    examples: ExamplesRef | None = None


def _write_examples(config: ExamplesConfig, inputs: Inputs, work: Workspace) -> None:
    write_jsonl(work.path / "held_out.jsonl", ITEMS)
    write_jsonl(work.path / "train.jsonl", [])


def _write_model(config: ModelConfig, inputs: Inputs, work: Workspace) -> None:
    parent = inputs.get("model")
    if isinstance(parent, Path):
        model, tokenizer = load_model(parent), Tokenizer.load(parent)
    else:
        texts = [text for answers in ANSWERS.values() for pair in answers.items() for text in pair]
        tokenizer = train_tokenizer(texts * 3, 512)
        torch.manual_seed(0)
        model = Decoder(
            DecoderConfig(
                vocab_size=tokenizer.vocab_size, width=64, depth=2, heads=2, kv_heads=1, head_dim=32,
                hidden=128, max_length=256,
            )
        )  # fmt: skip
    learn(model, tokenizer, config.answers)
    tokenizer.save(work.path / "tokenizer")
    save_model(model, work.path / "tokenizer", work.path)


def learn(model: Decoder, tokenizer: Tokenizer, answers: dict[str, str]) -> None:
    """Train until greedy decoding gives these answers."""
    renderer = Renderer(tokenizer)
    rows = [
        renderer.render([{"role": "user", "content": q}, {"role": "assistant", "content": a}])
        for q, a in answers.items()
    ]
    length = max(len(row.ids) for row in rows)
    ids = torch.tensor([row.ids + [0] * (length - len(row.ids)) for row in rows])
    mask = torch.tensor([row.mask + [False] * (length - len(row.mask)) for row in rows])[:, 1:]
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    for _ in range(300):
        losses = torch.nn.functional.cross_entropy(
            model(ids[:, :-1]).transpose(1, 2), ids[:, 1:], reduction="none"
        )
        worst = losses[mask].max()
        if worst < 0.1:  # each token has more than 90 %
            return
        optimizer.zero_grad()
        losses[mask].mean().backward()
        optimizer.step()
    raise AssertionError(f"not learned: {float(worst):.2f} nats for the worst token")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: examples, base, sft, aligned, and a longer sft that nothing was made from."""
    folder = tmp_path_factory.mktemp("runs") / "a run"
    folder.mkdir()
    examples = Stage("python-world", "examples", ExamplesConfig, _write_examples, "items")
    build(examples, ExamplesConfig(), {}, folder / "questions", seed=1)

    def model(name: str, verb: str, answers: str, parent: str | None = None) -> Artifact:
        stage = Stage(verb, "model", ModelConfig, _write_model, "model")
        inputs: Inputs = {} if parent is None else {"model": folder / parent}
        config = ModelConfig(answers=ANSWERS[answers], model=parent)
        return build(stage, config, inputs, folder / name, seed=1)

    model("base", "pretrain", "base")
    model("sft", "sft", "sft", "base")
    model("aligned", "grpo", "aligned", "sft")
    model("longer", "sft", "sft", "sft")
    stages = {name: {"do": "any"} for name in ("questions", "base", "sft", "aligned", "longer")}
    (folder / "recipe.yaml").write_text(json.dumps({"seed": 1, "stages": stages}), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def endless(tmp_path_factory: pytest.TempPathFactory, run: Path) -> Path:
    """A model without a manifest that never ends an answer, with a context of 4,096 tokens."""
    folder = tmp_path_factory.mktemp("models") / "endless"
    tokenizer = Tokenizer.load(run / "base")
    torch.manual_seed(0)
    model = Decoder(
        DecoderConfig(
            vocab_size=tokenizer.vocab_size, width=32, depth=2, heads=2, kv_heads=1, head_dim=16, hidden=64,
            tied=False, max_length=4096,
        )
    )  # fmt: skip
    assert model.output is not None
    with torch.no_grad():
        model.output.weight.normal_()
        # Among 500 random logits the greatest is far above 0, so that the ends are never chosen.
        model.output.weight[[tokenizer.end, tokenizer.eos]] = 0.0
    save_model(model, run / "base", folder)
    return folder


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start a server for a folder; it ends with the test."""
    servers: list[Server] = []

    def begin(folder: Path, **options: int) -> Server:
        server = Server(create_app(folder, **options))  # type: ignore[arg-type]
        server.start()
        servers.append(server)
        return server

    yield begin
    for server in servers:
        server.stop()
