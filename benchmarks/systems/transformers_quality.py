"""Pretraining by `transformers` for a given time: AdamW, warm-up and cosine, rows of consecutive tokens."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

ROWS, LENGTH = 8, 256
BETAS, DECAY, WARMUP, FLOOR = (0.9, 0.95), 0.1, 0.02, 0.1
PROBE = 12
POINTS = 12
"""Validations on the way, without counting their time; the best point is what is kept."""


def train(model: str, train: str, held_out: str, out: str, seconds: float, rate: float) -> dict[str, Any]:
    """Train a new model of the shape of the folder `model`; save that of the best point to `out`."""
    config = AutoConfig.from_pretrained(model)
    ids = np.load(train)
    dtype, each = _fastest(config, ids)
    torch.manual_seed(1)
    network = _network(config)
    optimizer = _optimizer(network, rate)
    steps = max(POINTS, int(seconds / each))
    generator = np.random.default_rng(1)
    rows = _rows(ids, generator)
    spent, best, curve, tokens = 0.0, math.inf, [], 0
    step = 0
    # By the clock, not by the count: the cosine ends when the time does.
    while spent < seconds:
        started = time.perf_counter()
        share = min(1.0, spent / seconds)
        warm = min(1.0, (step + 1) / max(1, WARMUP * steps))
        factor = warm * (FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * share)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = rate * factor
        _step(network, optimizer, next(rows), dtype)
        tokens += ROWS * LENGTH
        step += 1
        spent += time.perf_counter() - started
        if spent >= seconds * (len(curve) + 1) / POINTS:
            loss = _held_out(network, np.load(held_out))
            curve.append((step, loss))
            if loss < best:
                best = loss
                network.save_pretrained(out)  # type: ignore[operator]
    names = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
    return {
        "seconds": spent,
        "tokens": tokens,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "how": f"{step} steps, rate {rate:g}, {names[dtype]}, best at step {min(curve, key=lambda c: c[1])[0]}",
        "curve": curve,
    }


def _network(config: Any) -> nn.Module:
    network: nn.Module = AutoModelForCausalLM.from_config(
        config, attn_implementation="sdpa", dtype=torch.float32
    )
    return network.train()


def _optimizer(network: nn.Module, rate: float) -> torch.optim.AdamW:
    matrices = [p for p in network.parameters() if p.ndim == 2]
    rest = [p for p in network.parameters() if p.ndim != 2]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=BETAS, fused=True)


def _fastest(config: Any, ids: np.ndarray) -> tuple[torch.dtype, float]:
    """The precision of products with the shortest step, and that step's seconds."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        network = _network(config)
        optimizer = _optimizer(network, 1e-3)
        rows = _rows(ids, np.random.default_rng(0))
        times = []
        for _ in range(PROBE):
            batch = next(rows)
            started = time.perf_counter()
            _step(network, optimizer, batch, dtype)
            times.append(time.perf_counter() - started)
        found[dtype] = sorted(times[2:])[len(times[2:]) // 2]
    dtype = min(found, key=lambda one: found[one])
    return dtype, found[dtype]


def _rows(ids: np.ndarray, generator: np.random.Generator) -> Any:
    """Batches `[ROWS, LENGTH + 1]` of consecutive tokens, each row of the text once an epoch."""
    while True:
        # Another cut each epoch, so that a second reading is no copy of the first.
        offset = int(generator.integers(LENGTH))
        count = (len(ids) - offset - 1) // LENGTH
        order = generator.permutation(count)
        for start in range(0, count - ROWS + 1, ROWS):
            at = offset + order[start : start + ROWS, None] * LENGTH + np.arange(LENGTH + 1)
            yield torch.from_numpy(ids[at].astype(np.int64))


def _loss(network: nn.Module, rows: Tensor) -> Tensor:
    targets = rows[:, 1:].contiguous()
    loss: Tensor = network(
        input_ids=rows[:, :-1].contiguous(), labels=targets, shift_labels=targets, use_cache=False
    ).loss
    return loss


def _step(network: nn.Module, optimizer: torch.optim.Optimizer, rows: Tensor, dtype: torch.dtype) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        loss = _loss(network, rows)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@torch.no_grad()
def _held_out(network: nn.Module, ids: np.ndarray) -> float:
    """Mean loss on the first rows of the held-out text, in nats per token."""
    network.eval()
    count = min(64, (len(ids) - 1) // LENGTH)
    at = np.arange(count)[:, None] * LENGTH + np.arange(LENGTH + 1)
    rows = torch.from_numpy(ids[at].astype(np.int64))
    losses = [float(_loss(network, part)) for part in rows.split(ROWS)]
    network.train()
    return sum(losses) / len(losses)
