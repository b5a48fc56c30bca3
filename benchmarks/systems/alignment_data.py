"""What alignment starts from, of real data: models with a tokenizer, and every batch as `trl` reads it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.systems.examples import digest_of
from benchmarks.systems.model_folder import decoder_config, random_model
from benchmarks.systems.rollout import Rollout
from benchmarks.systems.shapes import Shape
from exnihilo.align.preference_data import Encoded, encode, read_and_part
from exnihilo.core.errors import ConfigError
from exnihilo.core.jsonl import dumps
from exnihilo.core.seeds import derive
from exnihilo.core.workspace import Workspace
from exnihilo.examples.conversation import Message
from exnihilo.examples.layouts import BadRow
from exnihilo.examples.preferences import preference_of
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import save_model, to_transformers
from exnihilo.model.scorer import Scorer
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokens.batch import Batch
from exnihilo.tokens.comparisons import ANSWER, BETTER, WORSE, ComparisonRows
from exnihilo.tokens.order import Permutation
from exnihilo.tokens.packing import ConversationRows
from exnihilo.train import sft
from exnihilo.train.conversations import prepare

SEED = 0
"""Of all stages; what they derive from it, the order of rows and a reward model's head, is derived here again."""
CONVERSATIONS, PREFERENCES, QUESTIONS = 1200, 210, 1500
POLICY: dict[str, Any] = {"steps": 50, "rows": 4, "precision": "auto", "compile": "never", "sample_every": 0}
"""How the policy of `grpo` is made of a fresh model and the answers to the questions."""
BATCHES = 10
"""Steps that there are batches for: none comes twice."""
EVEN = r"^\D*\d*[02468](\D|$)"
"""What an answer is rewarded for: that its first number is even, as some half are, whatever a model has learned."""


def write(
    methods: list[str], cache: str, shape: dict[str, Any], folder: str, rollout: dict[str, Any]
) -> dict[str, str]:
    """Write the data, what each method begins with, and `<method>.json` with the batches of its first steps; the digest
    of each method's first batches."""
    whole, asked, to = Shape(**shape), Rollout(**rollout), Path(folder)
    talks = list(_rows("sft/gpteacher-roleplay-alpaca-format", CONVERSATIONS))
    pairs = list(_rows("preferences/hh-harmless-dev"))
    sums = list(_rows("sft/gsm8k-train", QUESTIONS))
    tokenizer = train_tokenizer(map(dumps, [*talks, *pairs, *sums]), whole.vocabulary)
    tokenizer.save(to / "tokenizer")
    renderer = Renderer(tokenizer)
    work = Workspace(to / "work", seed=SEED)
    model = random_model(whole)
    save_model(model, to / "tokenizer", to / "model")
    _write_lines(to / "sft.jsonl", talks)
    even = [row for row in pairs if _is_a_third(row, renderer, whole.length)]
    trained = min(PREFERENCES, (len(even) - 3) // 3 * 3)
    (to / "preferences").mkdir()
    _write_lines(to / "preferences" / "train.jsonl", even[:trained])
    _write_lines(to / "preferences" / "validation.jsonl", even[trained:][:3])
    found: dict[str, str] = {}
    for method in methods:
        if method == "sft":
            told, examples = _conversations(to, renderer, whole, work)
        elif method == "grpo":
            _write_policy(whole, sums, to, Path(cache))
            told, examples = _questions(sums, to, renderer, asked)
        else:
            told, examples = _comparisons(method, to, renderer, whole, work)
        if method == "reward":
            torch.manual_seed(derive(SEED, "head"))  # the head that the stage will draw
            _write_classifier(Scorer(model), to / "model", to / "classifier")
        (to / f"{method}.json").write_text(json.dumps(told), encoding="utf-8")
        found[method] = digest_of(examples)
    return found


Examples = list[list[tuple[list[int], list[int]]]]
"""By step: ids, and which of them are learned."""


def _rows(name: str, limit: int | None = None) -> Iterator[dict[str, Any]]:
    folder = os.environ.get("EXNIHILO_DATA")
    if not folder:
        raise ConfigError("EXNIHILO_DATA: not set; name the folder with sft/ and preferences/")
    with gzip.open(Path(folder) / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield from map(json.loads, islice(lines, limit))


def _is_a_third(row: dict[str, Any], renderer: Renderer, context: int) -> bool:
    """Whether three such pairs fit a row of two contexts, and four don't: each step then has as many pairs, and `trl`
    can take a step in parts of equal size. Answers are single messages: `trl` learns whatever follows a prompt, what a
    user says included."""
    try:
        preference = preference_of(row)
    except BadRow:
        return False
    found = encode(preference, renderer, 2 * context, context)
    single = all(len(answer) == 1 for answer in preference.answers)
    return single and not isinstance(found, str) and context // 2 < found.size <= 2 * context // 3


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(dumps(row) + "\n" for row in rows), encoding="utf-8")


def _write_classifier(model: Scorer, base: Path, out: Path) -> None:
    """A reward model as `transformers` has them: a decoder with the matrix `score`."""
    out.mkdir()
    for file in base.iterdir():
        if file.name != "model.safetensors":
            (out / file.name).write_bytes(file.read_bytes())
    weights = to_transformers(model.decoder) | {"score.weight": model.output.weight.detach()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    config |= {
        "architectures": ["Qwen3ForSequenceClassification"],
        "num_labels": 1,
        "id2label": {"0": "score"},
    }
    (out / "config.json").write_text(json.dumps(config), encoding="utf-8")


def _write_policy(shape: Shape, sums: list[dict[str, Any]], to: Path, cache: Path) -> None:
    """`policy`: a model that has learned how such answers look, so that some are short and some are long, as those of
    any policy are; kept for the next run."""
    text = (to / "tokenizer" / "tokenizer.json").read_bytes()
    key = hashlib.sha256(json.dumps([shape.as_dict(), POLICY]).encode() + text).hexdigest()[:16]
    kept = cache / key
    if not (kept / "model.safetensors").is_file():
        torch.manual_seed(SEED)
        save_model(Decoder(decoder_config(shape)), to / "tokenizer", to / "fresh")
        asked = ("question", "user"), ("answer", "assistant")
        talks = [{"messages": [{"role": role, "content": row[name]} for name, role in asked]} for row in sums]
        _write_lines(to / "sums.jsonl", talks)
        settings = sft.SFTConfig(model="fresh", examples="sums", **POLICY)
        work = Workspace(kept, seed=SEED, stage="policy")
        sft.run(settings, {"model": to / "fresh", "examples": to / "sums.jsonl"}, work)
        shutil.rmtree(work.checkpoints)
    shutil.copytree(kept, to / "policy")


def _questions(
    sums: list[dict[str, Any]], to: Path, renderer: Renderer, asked: Rollout
) -> tuple[dict[str, Any], Examples]:
    """Questions in the order in which `grpo` draws them."""
    verifier = {"kind": "regex", "value": EVEN}
    asking = [[{"role": "user", "content": row["question"]}] for row in sums]
    short = [
        {"family": "even", "messages": messages, "verifier": verifier}
        for messages in asking
        if len(renderer.prompt(messages)) <= asked.context + 1 - asked.longest
    ]
    (to / "questions").mkdir()
    _write_lines(to / "questions" / "prompts.jsonl", short)
    order = Permutation(len(short), derive(SEED, "prompts", 0))(np.arange(BATCHES * asked.prompts))
    drawn = [short[i] for i in order.tolist()]
    steps = [drawn[i : i + asked.prompts] for i in range(0, len(drawn), asked.prompts)]
    return {"batches": steps}, [[(renderer.prompt(item["messages"]), []) for item in step] for step in steps]


def _conversations(
    to: Path, renderer: Renderer, shape: Shape, work: Workspace
) -> tuple[dict[str, Any], Examples]:
    """The rows that `sft` trains on: several conversations each, one after another."""
    trained = prepare(to / "sft.jsonl", renderer, shape.length + 1, None, work)
    source = ConversationRows(
        trained.pairs,
        shape.rows,
        shape.length,
        derive(SEED, "order"),
        pad=renderer.tokenizer.pad,
        labels=trained.labels,
    )
    batches, tokens, examples = [], [], []
    for step in range(BATCHES):
        rows = [_segments(row) for row in _split(source.next(step))]
        batches.append(
            [
                {
                    "input_ids": [i for ids, _ in row for i in ids],
                    "labels": [i if kept else -100 for one in row for i, kept in zip(*one, strict=True)],
                    "seq_lengths": [len(ids) for ids, _ in row],
                }
                for row in rows
            ]
        )
        examples.append([one for row in rows for one in row])
        tokens.append(sum(len(ids) for ids, _ in examples[-1]))
    return {"batches": batches, "tokens": tokens}, examples


def _comparisons(
    method: str, to: Path, renderer: Renderer, shape: Shape, work: Workspace
) -> tuple[dict[str, Any], Examples]:
    """The pairs of every step of `reward` or `dpo`: ids for the one, messages for the other."""
    length = 2 * shape.length
    trained, _ = read_and_part(to / "preferences", renderer, length, shape.length, 0.0, work)
    source = ComparisonRows(
        trained.comparisons, shape.rows // 2, length, derive(SEED, "order"), pad=renderer.tokenizer.pad
    )
    batches, tokens, examples = [], [], []
    for step in range(BATCHES):
        pairs, chosen, rejected = [], [], []
        for row in _split(source.next(step)):
            segments = _segments(row)
            for better, worse in zip(
                row.extra[BETTER][0].tolist(), row.extra[WORSE][0].tolist(), strict=True
            ):
                if better != worse:  # both 0 where a row has fewer pairs
                    answer = int(row.extra[ANSWER][0][row.segments[0] == better][0])
                    chosen.append(segments[better])
                    rejected.append(segments[worse])
                    pairs.append(_told(method, trained, answer, chosen[-1][0], rejected[-1][0]))
        batches.append(pairs)
        both = [*chosen, *rejected]
        # A reward model learns from an answer's score, not from its tokens.
        examples.append([(ids, [0] * len(ids)) for ids, _ in both] if method == "reward" else both)
        tokens.append(sum(len(ids) for ids, _ in examples[-1]))
    return {"batches": batches, "tokens": tokens}, examples


def _told(
    method: str, trained: Encoded, answer: int, chosen: list[int], rejected: list[int]
) -> dict[str, Any]:
    if method == "reward":
        return {"chosen_ids": chosen, "rejected_ids": rejected}
    preference = trained.preferences[answer // 2]  # two answers each
    (pair,) = preference.pairs
    return {
        "prompt": _messages(preference.prompt),
        "chosen": _messages(preference.answers[pair.better]),
        "rejected": _messages(preference.answers[pair.worse]),
    }


def _messages(messages: list[Message]) -> list[dict[str, str]]:
    return [{"role": one.role, "content": one.content} for one in messages]


def _split(batch: Batch) -> list[Batch]:
    return [batch.rows(row, row + 1) for row in range(len(batch))]


def _segments(row: Batch) -> list[tuple[list[int], list[int]]]:
    """The ids of every segment of a row, and which of them are learned; a last target that is no input among them."""
    found = []
    for segment in range(int(row.segments.max()) + 1):
        here = row.segments[0] == segment
        ids, learned = row.tokens[0][here].tolist(), [0, *(row.weights[0][here] > 0).int().tolist()]
        if learned[-1]:
            ids.append(int(row.targets[0][here][-1]))
        found.append((ids, learned[: len(ids)]))
    return found
