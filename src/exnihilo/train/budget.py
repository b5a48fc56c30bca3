"""What training costs, counted from the shape of the model, and the settings derived for what is not
given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exnihilo.core.config import validate
from exnihilo.core.progress import clock_time, short
from exnihilo.model.config import DecoderConfig
from exnihilo.train.config import DEFAULT_RATES, ModelShape, OptimizerConfig

if TYPE_CHECKING:
    import torch

    from exnihilo.tokens.batch import Batch

# Width per block. Transformers of equal size are about equally good from 30 to 100 (arXiv 2001.08361, figure
# 5); deep and thin ones waste a CPU's caches, wide and shallow ones put small models' parameters into the
# embedding.
ASPECT = 48
TOKENS_PER_PARAMETER = 20  # compute-optimal (arXiv 2203.15556)
MOST_EPOCHS = 4  # up to here, repeated text is worth almost as much as new (arXiv 2305.16264)
LARGEST_DEFAULT = 5_000_000  # parameters: what two CPU cores train in minutes
# Tokens of a step per square root of training tokens: 2,048 at 2.5 million, as tried on two cores. The
# critical batch grows about so with the length of training (arXiv 2410.21676).
BATCH_SCALE = 2048 / math.sqrt(2.5e6)
LENGTHS = ((20_000_000, 256), (200_000_000, 512), (2_000_000_000, 1024), (math.inf, 2048))


def flops_per_token(config: DecoderConfig, mean_keys: float) -> float:
    """FLOPs to train on one token that attends to `mean_keys` keys on average (itself included).

    `6 x multiplying parameters + 12 x layers x attention width x mean keys`: two per multiply-add, once
    forward and twice backward. The output head is in, the embedding look-up is not; norms and softmax are
    left out (below 1 %). Full causal attention over T positions has (T + 1) / 2 mean keys.
    """
    return 6 * config.multiplying_parameters + 12 * config.depth * config.attention_width * mean_keys


def batch_flops(config: DecoderConfig, batch: Batch, adapters: int = 0) -> float:
    """FLOPs to train on a batch: `flops_per_token` for each, with padding left out and the keys that its
    packing lets it attend to, and the output head only where the loss has weight.

    With low-rank adapters of so many parameters in all: 6 for each of theirs, and 4 for those of the model, whose
    gradient nobody needs.
    """
    real = batch.segments >= 0
    tokens = int(real.sum())
    keys = int((batch.positions[real] + 1).sum())
    trained = int((batch.weights != 0).sum())
    head = config.vocab_size * config.width
    blocks = config.multiplying_parameters - head
    model = (4.0 if adapters else 6.0) * (tokens * blocks + trained * head)
    attention = 12.0 * config.depth * config.attention_width * keys
    return model + 6.0 * tokens * adapters + attention


@dataclass(frozen=True)
class Plan:
    """A pretraining run with nothing left open, and for each derived setting a line that says why."""

    decoder: DecoderConfig
    optimizer: OptimizerConfig
    steps: int
    rows: int
    length: int
    reasons: list[str]


def derive(
    shape: ModelShape,
    optimizer: OptimizerConfig,
    *,
    vocab_size: int,
    corpus_tokens: int,
    steps: int | None = None,
    train_tokens: int | None = None,
    rows: int | None = None,
    length: int | None = None,
) -> Plan:
    """Fill in what is not given, from the size of the model and of the corpus. Deterministic, and the same on
    every machine.

    Raises ConfigError for a contradictory shape (as `DecoderConfig`).
    """
    reasons: list[str] = []
    params = shape.params
    if params is None and shape.depth is None and shape.width is None:
        affordable = MOST_EPOCHS * corpus_tokens // TOKENS_PER_PARAMETER
        params = max(100_000, min(LARGEST_DEFAULT, affordable))
        reasons.append(
            f"params {short(params)}: {MOST_EPOCHS} epochs of {short(corpus_tokens)} tokens at "
            f"{TOKENS_PER_PARAMETER} a parameter, at most {short(LARGEST_DEFAULT)}"
        )
    # The shape does not depend on the context, which in turn depends on how long the model is trained.
    decoder = _decoder(shape, params, vocab_size, reasons)
    if steps is None and train_tokens is None:
        train_tokens = min(TOKENS_PER_PARAMETER * decoder.parameters, MOST_EPOCHS * corpus_tokens)
        reasons.append(
            f"train_tokens {short(train_tokens)}: {TOKENS_PER_PARAMETER} a parameter, "
            f"at most {MOST_EPOCHS} epochs"
        )
    if train_tokens is None:
        assert steps is not None
        train_tokens = steps * rows * length if rows and length else round(BATCH_SCALE**2 * steps**2)
    if length is None:
        length = next(size for limit, size in LENGTHS if train_tokens < limit)
        reasons.append(f"length {length}: for {short(train_tokens)} training tokens")
    if rows is None:
        wanted = BATCH_SCALE * math.sqrt(train_tokens) / length
        rows = max(1, 2 ** round(math.log2(max(wanted, 1))))
        reasons.append(
            f"rows {rows}: {short(rows * length)} tokens a step, near {BATCH_SCALE:.2f}·√(training tokens)"
        )
    if steps is None:
        steps = max(1, math.ceil(train_tokens / (rows * length)))
        reasons.append(f"steps {steps}: {short(train_tokens)} tokens in steps of {short(rows * length)}")
    decoder = decoder.model_copy(update={"max_length": shape.max_length or length})
    return Plan(decoder, _rates(optimizer, decoder, reasons), steps, rows, length, reasons)


def _decoder(shape: ModelShape, params: int | None, vocab_size: int, reasons: list[str]) -> DecoderConfig:
    if params is not None:
        decoder = _of_size(shape, params, vocab_size)
        why = f"nearest to {short(params)} parameters at a width of about {ASPECT} a block"
    else:
        depth = shape.depth or max(1, round((shape.width or ASPECT) / ASPECT))
        decoder = _complete(shape, vocab_size, depth, shape.width or _width_of(depth))
        why = f"a width of about {ASPECT} a block"
    share = vocab_size * decoder.width * (1 if decoder.tied else 2) / decoder.parameters
    if shape.depth is None or shape.width is None:
        reasons.append(f"depth {decoder.depth}, width {decoder.width}: {why}")
    if shape.heads is None or shape.head_dim is None:
        reasons.append(
            f"heads {decoder.heads} of {decoder.head_dim}: the largest of 64, 32, 16 that fits twice"
        )
    if shape.hidden is None:
        reasons.append(f"hidden {decoder.hidden}: 8/3 of the width")
    reasons.append(
        f"{short(decoder.parameters)} parameters, of which the vocabulary of {vocab_size} takes {share:.0%}"
    )
    return decoder


def _width_of(depth: int) -> int:
    return max(64, 64 * round(ASPECT * depth / 64))


def _of_size(shape: ModelShape, params: int, vocab_size: int) -> DecoderConfig:
    """The depth and width whose size is within 5 % of `params`, or else nearest; of several, the best
    aspect."""
    candidates: list[tuple[float, float, float, DecoderConfig]] = []
    for width in [*range(16, 128, 16), *range(128, 8193, 32)]:
        if candidates and width * vocab_size > params:
            break
        one = _complete(shape, vocab_size, 1, width)
        block = one.block_parameters + 2 * width + 2 * one.head_dim
        exact = 1 + (params - one.parameters) / block
        shallowest, deepest = max(1, width // (2 * ASPECT)), max(1, 2 * width // ASPECT)
        for depth in {min(max(round_(exact), shallowest), deepest) for round_ in (math.floor, math.ceil)}:
            decoder = _complete(shape, vocab_size, depth, width)
            miss = abs(math.log(decoder.parameters / params))
            skew = abs(math.log(width / depth / ASPECT))
            # Widths of whole heads of 64 multiply faster than those between.
            candidates.append((max(miss, 0.05), skew + 0.3 * (width % 64 != 0), miss, decoder))
    return min(candidates, key=lambda candidate: candidate[:3])[3]


def _complete(shape: ModelShape, vocab_size: int, depth: int, width: int) -> DecoderConfig:
    fitting = [size for size in (64, 32, 16) if width % size == 0 and width >= 2 * size]
    head_dim = shape.head_dim or next(iter(fitting), 16)
    heads = shape.heads or max(1, width // head_dim)
    values = {
        "vocab_size": vocab_size,
        "width": width,
        "depth": depth,
        "heads": heads,
        "kv_heads": shape.kv_heads or heads,
        "head_dim": head_dim,
        "hidden": shape.hidden or max(32, 32 * round(width * 8 / 3 / 32)),
        "tied": shape.tied,
        "rope_theta": shape.rope_theta,
        "max_length": shape.max_length or 2,
    }
    return validate(DecoderConfig, values, where="model")


def _rates(optimizer: OptimizerConfig, decoder: DecoderConfig, reasons: list[str]) -> OptimizerConfig:
    """Muon's updates have the same spectral norm at any width; AdamW's grow with it, so its rate falls
    (arXiv 2203.03466, with the root instead of the full inverse)."""
    lr, lr_embedding = DEFAULT_RATES[optimizer.name]
    why = f"{'Muon' if optimizer.name == 'muon' else 'NorMuon'}'s, for any width"
    if optimizer.name == "adamw":
        why = f"{lr:g}·√(192 / width), for AdamW"
        lr = lr_embedding = round(lr * math.sqrt(192 / decoder.width), 6)
    if optimizer.lr is None:
        reasons.append(f"optimizer.lr {lr:g}: {why}")
    if optimizer.lr_embedding is None:
        reasons.append(f"optimizer.lr_embedding {lr_embedding:g}: AdamW's")
    return optimizer.model_copy(
        update={
            "lr": lr if optimizer.lr is None else optimizer.lr,
            "lr_embedding": lr_embedding if optimizer.lr_embedding is None else optimizer.lr_embedding,
        }
    )


def estimated_cost(
    decoder: DecoderConfig,
    steps: int,
    rows: int,
    length: int,
    micro_rows: int | None,
    dtype: torch.dtype,
    adapters: int = 0,
) -> list[str]:
    """What training will take: FLOPs, time at a usual share of what this CPU is measured to do in `dtype`, and
    memory.

    With low-rank adapters of so many parameters the model's own need no gradient.
    """
    from exnihilo.core.machine import describe, matmul_peak
    from exnihilo.objectives.linear_cross_entropy import CHUNK
    from exnihilo.train.telemetry import TYPICAL_UTILISATION

    flops = steps * rows * length * flops_per_token(decoder, (length + 1) / 2)
    flops *= 2 / 3 if adapters else 1
    peak, usual = matmul_peak(dtype=dtype), TYPICAL_UTILISATION[dtype]
    seconds = flops / (usual * peak)
    # Float32: weights, gradients and two moments; of each token in the pass the residual stream and what each
    # block keeps for its gradient; of a chunk of them the logits with their softmax and gradient.
    tokens = (micro_rows or rows) * length
    kept = tokens * decoder.depth * (12 * decoder.width + 4 * decoder.hidden)
    kept += 3 * min(tokens, CHUNK) * decoder.vocab_size
    trained = 3 * (adapters or decoder.parameters)
    memory = 4 * (decoder.parameters + trained + kept) / 2**30
    there = describe()["memory_gib"]
    advice = "; take fewer rows at a time (micro_rows) or low-rank adapters (lora)" if memory > there else ""
    return [
        f"{short(steps * rows * length)} tokens, {short(flops)} FLOPs",
        f"about {clock_time(seconds)} at {usual:.0%} of this CPU's {short(peak)} FLOP/s",
        f"about {memory:.2g} GiB of memory, of {there:g} here{advice}",
    ]
