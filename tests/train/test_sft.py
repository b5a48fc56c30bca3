from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from exnihilo.core.artifact import Artifact
from exnihilo.core.build import build
from exnihilo.core.config import validate
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.infer.generate import generate
from exnihilo.infer.sampling import Sampling, of_tokenizer
from exnihilo.model.folder import load_model, save_model
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.train.sft import STAGE, SFTConfig
from random_decoder import random_decoder

ANSWERS = {"sky": "blue", "grass": "green", "snow": "white", "coal": "black"}


def config(**more: Any) -> SFTConfig:
    values = {
        "model": "base",
        "examples": "chats",
        "rows": 4,
        "sample_tokens": 8,
        "validate_every": 20,
        **more,
    }
    return validate(SFTConfig, values, where="test")


def chat(thing: str, colour: str) -> dict[str, Any]:
    question = {"role": "user", "content": f"What colour is the {thing}?"}
    return {"messages": [question, {"role": "assistant", "content": f"The {thing} is {colour}."}]}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def base(token_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    vocabulary = Tokenizer.load(token_set / "tokenizer").vocab_size
    folder = tmp_path_factory.mktemp("models") / "base"
    save_model(random_decoder(vocabulary, noise=0.0, hidden=96), token_set / "tokenizer", folder)
    return folder


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples") / "chats"
    rows = [chat(*pair) for pair in ANSWERS.items()]
    too_long = chat("x" * 200, "long")
    empty = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": " "}]}
    write(folder / "train.jsonl", rows * 6 + [too_long, empty])
    write(folder / "validation.jsonl", rows)
    return folder


@pytest.fixture(scope="module")
def made(base: Path, examples: Path, token_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    out = tmp_path_factory.mktemp("run") / "sft"
    settings = config(steps=60, replay="tokens", replay_rows=1, optimizer={"lr": 0.02, "lr_embedding": 0.01})
    return build(STAGE, settings, {"model": base, "examples": examples, "replay": token_set}, out, seed=1)


def records(artifact: Artifact, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (artifact.path / name).read_text().splitlines()]


def test_sft_1_it_answers_and_stops(made: Artifact) -> None:
    model, tokenizer = load_model(made.path), Tokenizer.load(made.path)
    renderer = Renderer(tokenizer)
    prompts = [renderer.prompt(chat(*pair)["messages"][:1]) for pair in ANSWERS.items()]
    said = generate(model, prompts, Sampling(max_new=24), **of_tokenizer(tokenizer))
    assert [tokenizer.decode(one.ids) for one in said] == [f"The {t} is {c}." for t, c in ANSWERS.items()]
    assert all(one.ids[-1] == tokenizer.end for one in said)  # the end of a turn is trained


def test_records_and_summary(made: Artifact) -> None:
    lines = records(made, "metrics.jsonl")
    validated = [(line["step"], line["validation_loss"]) for line in lines if "validation_loss" in line]
    assert [step for step, _ in validated] == [20, 40, 60]
    assert validated[-1][1] < 0.3 < 1.0 < lines[0]["loss"]
    assert all("validation_bits_per_byte" in line for line in lines if "validation_loss" in line)
    samples = records(made, "samples.jsonl")
    assert {sample["prompt"] for sample in samples} == {f"What colour is the {thing}?" for thing in ANSWERS}
    assert samples[-1]["text"].startswith("The coal is")
    summary = made.manifest["metrics"]
    assert summary["conversations"] == 24
    assert summary["left_out"] == {"too long": 1, "empty answer": 1}


def test_what_is_left_out_is_told_by_line(made: Artifact) -> None:
    events = [json.loads(line) for line in (made.path.parent / "events.jsonl").read_text().splitlines()]
    told = next(event["message"] for event in events if event["event"] == "left_out")
    assert told == "train.jsonl: 2 rows left out: 1 too long (line 25), 1 empty answer (line 26)"


def test_sft_2_loss_counts_answers_alone(base: Path, tmp_path: Path) -> None:
    """What the user says has no weight, so other words there, as many, leave the first loss as it is."""
    losses = []
    for word in ("blue", "red"):
        row = chat("sky", "blue")
        row["messages"].append({"role": "user", "content": f"The {word} blood?"})
        file = write(tmp_path / f"{word}.jsonl", [row])
        settings = config(steps=1, rows=1, optimizer={"lr": 0.0, "lr_embedding": 0.0}, sample_prompts=[])
        artifact = build(STAGE, settings, {"model": base, "examples": file}, tmp_path / word, seed=1)
        losses.append(records(artifact, "metrics.jsonl")[0]["loss"])
        assert artifact.manifest["metrics"]["tokens"] > 0
        for a, b in zip(load_model(artifact.path).parameters(), load_model(base).parameters(), strict=True):
            assert torch.equal(a, b)  # a rate of 0 trains nothing
    assert losses[0] == losses[1]


def test_epochs_set_the_steps_and_a_file_is_enough(base: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "chats.jsonl", [chat("sky", "blue")] * 12)
    artifact = build(
        STAGE,
        config(epochs=3, rows=1, length=64),
        {"model": base, "examples": file},
        tmp_path / "sft",
        seed=1,
    )
    summary = artifact.manifest["metrics"]
    # Each conversation takes its tokens but the last as positions of a row.
    tokenizer = Tokenizer.load(base)
    size = len(Renderer(tokenizer).render(chat("sky", "blue")["messages"]).ids) - 1
    rows = -(-12 // (64 // size))
    assert summary["steps"] == 3 * rows and summary["epochs"] == pytest.approx(3.0)
    assert summary["tokens"] == 3 * 12 * size
    assert "no validation" in artifact.manifest["lines"][1]


def test_tok_12_a_model_whose_pad_ends_texts_is_refused(base: Path, examples: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(base, tmp_path / "base")
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    for pad in ("<|end|>", None):
        path.write_text(json.dumps({**settings, "pad_token": pad}))
        with pytest.raises(Refused, match=r"pad_token.*set \"pad_token\" in tokenizer_config.json"):
            build(STAGE, config(), {"model": folder, "examples": examples}, tmp_path / "sft", seed=1)


def test_bad_inputs_are_told(base: Path, examples: Path, tmp_path: Path) -> None:
    def attempt(error: type[Exception], complaint: str, given: Path, **more: Any) -> None:
        with pytest.raises(error, match=complaint):
            build(STAGE, config(**more), {"model": base, "examples": given}, tmp_path / "sft", seed=1)

    attempt(ConfigError, "length: 65 tokens, and the model's context is 64", examples, length=65)
    attempt(Refused, "no train.jsonl there", base)
    long_only = write(tmp_path / "long.jsonl", [chat("x" * 200, "long")])
    attempt(Refused, r"nothing to train on; left out: 1 too long \(line 1\)", long_only)
    for values, complaint in (
        ({"steps": 3, "epochs": 1}, "steps and epochs both say"),
        ({"replay_rows": 2}, "replay_rows is given without replay"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            config(**values)


def loss_of(base: Path, file: Path, out: Path, **more: Any) -> float:
    """The loss of the first step over all of a file in one row, at a rate of 0."""
    settings = config(steps=1, rows=1, optimizer={"lr": 0.0, "lr_embedding": 0.0}, sample_prompts=[], **more)
    artifact = build(STAGE, settings, {"model": base, "examples": file}, out, seed=1)
    return float(records(artifact, "metrics.jsonl")[0]["loss"])


def test_weights_of_turns_and_sources_are_what_the_loss_is_summed_with(base: Path, tmp_path: Path) -> None:
    """Σ w·nats / Σ w, with each token's nats computed alone: an answer of weight 0, one of 0.5, sources of 2 and 0."""
    first = [
        {"role": "user", "content": "Sky?"},
        {"role": "assistant", "content": "Blue.", "train": False},
        {"role": "user", "content": "No."},
        {"role": "assistant", "content": "Grey.", "weight": 0.5},
        {"role": "user", "content": "So?"},
        {"role": "assistant", "content": "Ok."},
    ]
    second = [{"role": "user", "content": "Coal?"}, {"role": "assistant", "content": "Black."}]
    third = [{"role": "user", "content": "Moss?"}, {"role": "assistant", "content": "Wet."}]
    chats = [("a", first), ("b", second), ("c", third)]
    file = write(
        tmp_path / "chats.jsonl", [{"messages": messages, "source": name} for name, messages in chats]
    )

    model, renderer = load_model(base), Renderer(Tokenizer.load(base))
    answers: list[tuple[str, list[float]]] = []
    for name, messages in chats:
        rendered = renderer.render([{key: one[key] for key in ("role", "content")} for one in messages])
        logprobs = model(torch.tensor([rendered.ids])).log_softmax(-1)[0].detach()
        nats: list[float] = []
        for i, (id_, trained) in enumerate(zip(rendered.ids, rendered.mask, strict=True)):
            if trained:
                nats.append(-float(logprobs[i - 1, id_]))
            elif nats:
                answers.append((name, nats))
                nats = []
        answers.append((name, nats))
    assert [name for name, _ in answers] == ["a", "a", "a", "b", "c"]

    def by_hand(*weights: float) -> float:
        sums = [(w * sum(nats), w * len(nats)) for w, (_, nats) in zip(weights, answers, strict=True)]
        return sum(total for total, _ in sums) / sum(weight for _, weight in sums)

    length = {"length": 64}
    assert loss_of(base, file, tmp_path / "one", **length) == pytest.approx(
        by_hand(0, 0.5, 1, 1, 1), rel=1e-5
    )
    weighted = loss_of(base, file, tmp_path / "two", weights={"b": 2.0, "c": 0}, **length)
    assert weighted == pytest.approx(by_hand(0, 0.5, 1, 2, 0), rel=1e-5)
    with pytest.raises(
        Refused, match="weights: no conversation is from 'd'; family or source there: a, b, c"
    ):
        loss_of(base, file, tmp_path / "bad", weights={"d": 1.0})
    with pytest.raises(Refused, match="every source has weight 0"):
        loss_of(base, file, tmp_path / "none", weights={"a": 0, "b": 0, "c": 0})


def test_noise_and_dropout_are_in_training_alone(token_set: Path, examples: Path, tmp_path: Path) -> None:
    """At a rate of 0 the loss of a step tells of them, and what validation measures does not."""
    base = tmp_path / "base"
    vocabulary = Tokenizer.load(token_set / "tokenizer").vocab_size
    save_model(random_decoder(vocabulary), token_set / "tokenizer", base)
    settings: dict[str, Any] = {"steps": 2, "rows": 2, "validate_every": 1, "log_every": 1}
    settings |= {"sample_prompts": [], "optimizer": {"lr": 0.0, "lr_embedding": 0.0}}

    def told(name: str, **more: Any) -> tuple[list[float], list[float]]:
        inputs = {"model": base, "examples": examples}
        lines = records(
            build(STAGE, config(**settings, **more), inputs, tmp_path / name, seed=1), "metrics.jsonl"
        )
        return tuple([line[key] for line in lines if key in line] for key in ("loss", "validation_loss"))  # type: ignore[return-value]

    losses, validated = told("plain")
    for name, more in (("noise", {"neftune_alpha": 20.0}), ("dropout", {"residual_dropout": 0.5})):
        disturbed, measured = told(name, **more)
        assert measured == validated and len(measured) == 2
        assert all(abs(a - b) > 1e-6 for a, b in zip(disturbed, losses, strict=True)), name
