"""What tests against `trl` share: our decoder as its trainers call a model, and pairs both packed and padded.

A trainer is made without its constructor, which wants a tokenizer and a data set, and is given the attributes that its
loss reads. All arithmetic is trl's own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from exnihilo.examples.preferences import Pair
from exnihilo.model.decoder import Decoder
from exnihilo.model.scorer import Scorer
from exnihilo.objectives.loss import Loss
from exnihilo.tokens.batch import Batch
from exnihilo.tokens.comparisons import ANSWER, Comparison, ComparisonRows
from random_comparisons import CONFIG, END

T = TypeVar("T")


class AsTransformers(nn.Module):
    """Our model, called as one of `transformers`; rows padded on the right need no attention mask."""

    def __init__(self, model: Decoder | Scorer) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, **_: Any) -> SimpleNamespace:
        scores = self.model(input_ids)
        if isinstance(self.model, Scorer):  # a sequence classifier's logits are those of the last token
            last = (input_ids != 0).sum(1) - 1
            scores = scores[torch.arange(len(last)), last]
        return SimpleNamespace(logits=scores)


def trainer_of(kind: type[T], model: nn.Module, **attributes: Any) -> T:
    """A trainer of trl for one process on the CPU, with these attributes and nothing else of its constructor's."""
    from accelerate import Accelerator

    trainer = kind.__new__(kind)
    shared = {
        "model": model,
        "accelerator": Accelerator(cpu=True),
        "aux_loss_enabled": False,
        "_metrics": {"train": defaultdict(list), "eval": defaultdict(list)},
        "_total_train_tokens": 0,
    }
    for name, value in (shared | attributes).items():
        setattr(trainer, name, value)
    return trainer


def make_decoder(seed: int = 0) -> Decoder:
    """A random decoder in float64."""
    torch.manual_seed(seed)
    model = Decoder(CONFIG).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def make_pairs(count: int = 6, prompt: int = 3, margin: float = 0.0) -> list[Comparison]:
    """Prompts with two answers of different lengths; token 0 is none of theirs."""
    generator = torch.Generator().manual_seed(2)

    def ids(n: int) -> list[int]:
        return torch.randint(8, 64, (n,), generator=generator).tolist()

    found = []
    for i in range(count):
        start = ids(prompt)
        answers = tuple(
            ([*start, *ids(n), END], [False] * prompt + [True] * (n + 1))
            for n in (1 + i % 4, 2 + (3 * i) % 5)
        )
        found.append(Comparison(answers, (Pair(0, 1, margin=margin * (i + 1)),)))
    return found


def packed(comparisons: Sequence[Comparison]) -> Batch:
    """The rows that our objectives read."""
    rows = ComparisonRows(comparisons, 1, 40, seed=0, pad=2)
    batch = rows.pack(range(rows.rows_per_epoch))
    assert int(batch.segments.max()) > 1, "rows hold one pair each: nothing is packed"
    return batch


def padded(comparisons: Sequence[Comparison]) -> dict[str, Tensor]:
    """The same answers as trl's collators lay them out: a row each, padded with 0, chosen ones first."""
    return padded_rows([one.answers[which] for which in (0, 1) for one in comparisons])


def padded_rows(rows: Sequence[tuple[list[int], list[bool]]]) -> dict[str, Tensor]:
    """Answers, each of which is a row."""
    length = max(len(ids) for ids, _ in rows)
    empty = {
        name: torch.zeros(len(rows), length, dtype=torch.long)
        for name in ("input_ids", "attention_mask", "completion_mask")
    }
    for row, (ids, mask) in enumerate(rows):
        empty["input_ids"][row, : len(ids)] = torch.tensor(ids)
        empty["attention_mask"][row, : len(ids)] = 1
        empty["completion_mask"][row, : len(ids)] = torch.tensor(mask).long()
    return empty


def reference_of(batch: Batch, values: Tensor) -> Tensor:
    """`values` of answers, chosen ones first, as the field of the reference, `[rows, segments]`."""
    count = len(values) // 2
    by_answer = values.view(2, count).T.flatten()  # answers are numbered prompt by prompt
    segments = int(batch.segments.max()) + 1
    found = torch.zeros(len(batch), segments, dtype=values.dtype)
    for row in range(len(batch)):
        for segment in batch.segments[row].unique().tolist():
            if segment >= 0:
                answer = batch.extra[ANSWER][row][batch.segments[row] == segment][0]
                found[row, segment] = by_answer[answer]
    return found


def mean(loss: Loss) -> Tensor:
    """What the trainer minimises."""
    return loss.total / loss.weight


def assert_same(ours: Tensor, theirs: Tensor, parameters: Sequence[Tensor], tolerance: float) -> None:
    """Equal losses and gradients, and gradients that are not all 0."""
    found, expected = ours.item(), theirs.item()
    assert abs(found - expected) <= tolerance * max(1.0, abs(expected))
    pairs = zip(*(torch.autograd.grad(loss, list(parameters)) for loss in (ours, theirs)), strict=True)
    largest = 0.0
    for a, b in pairs:
        assert float((a - b).abs().max()) <= tolerance * max(1.0, float(b.abs().max()))
        largest = max(largest, float(b.abs().max()))
    assert largest > 100 * tolerance


def make_tokenizer() -> Any:
    """Words of one letter, an id each; padding has an id beyond the vocabulary of `make_language_model`, so that no
    model says it."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {letter: i for i, letter in enumerate("abcdefghijklmno")} | {"<end>": 15, "<pad>": 16}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<pad>")


def language_model_config(vocab_size: int = 16, **changes: Any) -> Any:
    """A tiny Qwen3 of 16 ids, unless more are asked for."""
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=vocab_size, hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=12, max_position_embeddings=64, initializer_range=0.3, eos_token_id=15,
        bos_token_id=None, pad_token_id=None, **changes,
    )  # fmt: skip


def make_language_model(seed: int = 0, vocab_size: int = 16) -> Any:
    """A random Qwen3, for trainers that want one of `transformers`."""
    from transformers import Qwen3ForCausalLM

    torch.manual_seed(seed)
    return Qwen3ForCausalLM(language_model_config(vocab_size))


def make_classifier(seed: int = 0) -> Any:
    """A random Qwen3 with one score: a critic or a reward model."""
    from transformers import Qwen3ForSequenceClassification

    torch.manual_seed(seed)
    return Qwen3ForSequenceClassification(language_model_config(num_labels=1))
