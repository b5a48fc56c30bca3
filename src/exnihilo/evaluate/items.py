"""Held-out items: read, asked by greedy generation, checked, and the majority-class baseline beside them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exnihilo.core.errors import Refused
from exnihilo.core.jsonl import read_jsonl
from exnihilo.core.seeds import derive
from exnihilo.verify.check import canonical, check
from exnihilo.verify.questions import read_questions
from exnihilo.verify.rouge import rouge_l

if TYPE_CHECKING:
    from exnihilo.infer.generate import Generation
    from exnihilo.model.decoder import Decoder
    from exnihilo.tokenizer.tokenizer import Tokenizer

HELD_OUT = "held_out.jsonl"
TRAIN = "train.jsonl"


@dataclass(frozen=True)
class Item:
    """A question with the means to check an answer to it."""

    id: str
    family: str
    messages: list[dict[str, Any]]
    answer: str
    verifier: dict[str, Any]

    @property
    def is_open(self) -> bool:
        """Whether it has no one right answer: the reference is then scored, instead of the answer that is given."""
        return self.verifier.get("kind") == "open"

    @property
    def prompt(self) -> str:
        """The question as a reader would see it: the text alone where there is one turn."""
        if len(self.messages) == 1:
            return str(self.messages[0].get("content"))
        return "\n".join(f"{message.get('role')}: {message.get('content')}" for message in self.messages)


def read_items(examples: Path, limit: int | None = None) -> list[Item]:
    """The first `limit` held-out items of an Examples artifact, in file order.

    Raises Refused for a missing or empty file, a row that is no item, and an id that occurs twice.
    """
    path = examples / HELD_OUT
    if not path.is_file():
        raise Refused(f"{path}: not found; evaluation needs held-out items (or leave out 'items')")
    items: list[Item] = []
    seen: dict[str, int] = {}
    for line, row in read_questions(path, what="an evaluation item", needs=("id", "answer"), limit=limit):
        if row["id"] in seen:
            raise Refused(
                f"{path}:{line}: item id {row['id']!r} is already used in line {seen[row['id']]}; "
                "give each item its own"
            )
        seen[row["id"]] = line
        items.append(Item(row["id"], row["family"], row["messages"], str(row["answer"]), row["verifier"]))
    if not items:
        raise Refused(f"{path}: holds no items; give one JSON object a line (or leave out 'items')")
    return items


def answer_items(
    model: Decoder,
    tokenizer: Tokenizer,
    items: list[Item],
    *,
    batch: int,
    max_new: int,
    seed: int,
    advance: Callable[[int], None] = lambda count: None,
) -> list[dict[str, Any]]:
    """Ask every item greedily through the chat template and check the answers; one record each, in order.

    A base model is asked with the same prompt. A prompt that fills the context is not cut: its record says
    `finish: "too long"` and counts as wrong. Nothing of an item depends on the others: its seed comes from
    its id. `advance` is called with the number of items just finished.

    The record of an open item also says how many `bits` its reference answer costs, end token included, how many
    `bytes` that has, and how much of it was said (`rouge_l`).
    """
    from exnihilo.tokenizer.template import Renderer

    renderer = Renderer(tokenizer)
    prompts = [renderer.prompt(item.messages) for item in items]
    drawn = _generated(
        model, tokenizer, items, prompts, label="greedy", samples=1, temperature=0.0, batch=batch, max_new=max_new,
        seed=seed, advance=advance,
    )  # fmt: skip
    answers = {i: one for i, (one,) in drawn.items()}
    costs = _reference_bits(model, tokenizer, items, prompts)
    return [_record(item, answers.get(i), tokenizer) | costs.get(i, {}) for i, item in enumerate(items)]


def _generated(
    model: Decoder,
    tokenizer: Tokenizer,
    items: Sequence[Item],
    prompts: Sequence[list[int]],
    *,
    label: str,
    samples: int,
    temperature: float,
    batch: int,
    max_new: int,
    seed: int,
    advance: Callable[[int], None],
) -> dict[int, list[Generation]]:
    """`samples` answers to each item by its place, without those whose prompt fills the context. The seed of an answer
    comes from the id of its item, the `label` of what it is drawn for and its number."""
    from exnihilo.infer.generate import generate
    from exnihilo.infer.sampling import Sampling, of_tokenizer

    asked = [i for i, prompt in enumerate(prompts) if len(prompt) < model.config.max_length]
    advance((len(items) - len(asked)) * samples)
    generations = generate(
        model,
        [prompts[i] for i in asked for _ in range(samples)],
        Sampling(temperature=temperature, max_new=max_new),
        seeds=[derive(seed, label, items[i].id, str(n)) for i in asked for n in range(samples)],
        max_batch=batch,
        progress=advance,
        **of_tokenizer(tokenizer),
    )
    return {i: generations[k * samples : (k + 1) * samples] for k, i in enumerate(asked)}


def _record(item: Item, answer: Generation | None, tokenizer: Tokenizer) -> dict[str, Any]:
    """An item, what a model said to it, and whether that is right; None is a prompt that fills the context."""
    output = "" if answer is None else tokenizer.decode(answer.ids)
    verdict = check(item.verifier, output)
    return {
        "id": item.id,
        "family": item.family,
        "prompt": item.prompt,
        "answer": item.answer,
        "output": output,
        "got": verdict.got,
        "correct": verdict.correct if answer else False,
        "finish": answer.finish if answer else "too long",
        **({"rouge_l": rouge_l(output, item.answer)} if item.is_open else {}),
    }


def best_of_items(
    model: Decoder,
    tokenizer: Tokenizer,
    items: list[Item],
    judge: Path,
    *,
    samples: int,
    temperature: float,
    batch: int,
    max_new: int,
    seed: int,
    advance: Callable[[int], None] = lambda count: None,
) -> list[dict[str, Any]]:
    """As `answer_items`, and what it returns, but of `samples` answers drawn to each item the one that the reward model
    in the folder `judge` likes best (best of n, arXiv 2009.01325), an answer that was cut off only where all were.

    Raises Refused for a reward model of another tokenizer.
    """
    from exnihilo.infer.score import answer_scores
    from exnihilo.model.scorer_folder import load_scorer
    from exnihilo.tokenizer.template import Renderer

    scorer, own, _ = load_scorer(judge)
    if own.fingerprint != tokenizer.fingerprint:
        raise Refused(
            f"{judge}: it reads the ids of another tokenizer than the model's; give one made from it"
        )
    renderer = Renderer(tokenizer)
    prompts = [renderer.prompt(item.messages) for item in items]
    drawn = _generated(
        model, tokenizer, items, prompts, label="best of", samples=samples, temperature=temperature, batch=batch,
        max_new=max_new, seed=seed, advance=advance,
    )  # fmt: skip
    whole = [prompts[i] + one.ids for i, group in drawn.items() for one in group]
    scores = iter(answer_scores(scorer.eval(), whole, tokenizer.pad)[:, 0].tolist())
    chosen = {}
    for i, group in drawn.items():
        liked = [(one.finish == "stop", next(scores)) for one in group]
        chosen[i] = group[liked.index(max(liked))]
    return [_record(item, chosen.get(i), tokenizer) for i, item in enumerate(items)]


def sample_items(
    model: Decoder,
    tokenizer: Tokenizer,
    items: list[Item],
    *,
    samples: int,
    temperature: float,
    batch: int,
    max_new: int,
    seed: int,
    advance: Callable[[int], None] = lambda count: None,
) -> list[dict[str, Any]]:
    """Draw several answers to every item that can be checked; one record each, in order.

    A record has what was read out of each answer (`got`, equal for equal answers) and whether it is right (`correct`).
    Items without a verdict, and those whose prompt fills the context, are left out.
    """
    from exnihilo.tokenizer.template import Renderer

    renderer = Renderer(tokenizer)
    closed = [item for item in items if not item.is_open]
    drawn = _generated(
        model, tokenizer, closed, [renderer.prompt(item.messages) for item in closed], label="sample",
        samples=samples, temperature=temperature, batch=batch, max_new=max_new, seed=seed, advance=advance,
    )  # fmt: skip
    records = []
    for i, group in drawn.items():
        verifier = closed[i].verifier
        verdicts = [check(verifier, tokenizer.decode(one.ids)) for one in group]
        if any(verdict.correct is None for verdict in verdicts):
            continue
        got = [canonical(str(verifier["kind"]), verdict.got) for verdict in verdicts]
        correct = [bool(verdict.correct) for verdict in verdicts]
        records.append({"id": closed[i].id, "family": closed[i].family, "got": got, "correct": correct})
    return records


def _reference_bits(
    model: Decoder, tokenizer: Tokenizer, items: list[Item], prompts: list[list[int]]
) -> dict[int, dict[str, float]]:
    """`{"bits": …, "bytes": …}` of the reference answers of open items, by place, where they fit into the context."""
    from exnihilo.infer.score import continuation_logprobs

    answers = {
        i: [*tokenizer.encode(item.answer), tokenizer.end] for i, item in enumerate(items) if item.is_open
    }
    fitting = [i for i in answers if len(prompts[i]) + len(answers[i]) <= model.config.max_length]
    logprobs = continuation_logprobs(model, [prompts[i] for i in fitting], [answers[i] for i in fitting])
    return {
        i: {"bits": -sum(line) / math.log(2), "bytes": len(items[i].answer.encode())}
        for i, line in zip(fitting, logprobs, strict=True)
    }


def majority_answers(examples: Path) -> dict[str, str]:
    """The most frequent answer of each family in the training examples (`meta.answer`).

    Ties go to the first in alphabetical order. Families without answers in training are left out.
    """
    path = examples / TRAIN
    if not path.is_file():
        return {}
    counts: dict[str, Counter[str]] = {}
    for _, row in read_jsonl(path):
        meta = row.get("meta")
        if isinstance(meta, dict) and "family" in meta and meta.get("answer") is not None:
            counts.setdefault(meta["family"], Counter())[str(meta["answer"])] += 1
    return {
        family: min(counter, key=lambda answer: (-counter[answer], answer))
        for family, counter in sorted(counts.items())
    }


def majority_records(items: list[Item], answers: dict[str, str]) -> list[dict[str, Any]]:
    """What a model would score that always gives its family's most frequent training answer."""
    records = []
    for item in items:
        if item.family in answers:
            answer = answers[item.family]
            verdict = check(item.verifier, answer)
            records.append(
                {"id": item.id, "family": item.family, "answer": answer, "correct": verdict.correct}
            )
    return records
