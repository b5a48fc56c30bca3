"""Alignment by `trl`: its trainers on `transformers`, with scaled-dot-product attention, step by step."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainerCallback,
)
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    RewardConfig,
    RewardTrainer,
    SFTConfig,
    SFTTrainer,
)

from benchmarks.systems.examples import COMPARED, digest_of
from benchmarks.systems.loops import Loop
from benchmarks.systems.resident import peak_resident, resident
from benchmarks.systems.rollout import Rollout
from benchmarks.systems.shapes import Shape
from benchmarks.systems.timing import BETAS, CLIP, EPS, LR, STEPS, WARM_UP

READ = 2000  # characters of an answer that the reward looks at, as ours

_running: dict[str, Any] = {}


class Stepped(TrainerCallback):
    """Holds a trainer up after each step, and keeps the losses."""

    def __init__(self) -> None:
        self.loop: Loop
        self.losses: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.loop.step_ended()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        if "loss" in logs:
            self.losses.append(logs["loss"])


class Judge:
    """The reward: whether an answer matches its question's pattern. It counts what it judges."""

    __name__ = "even"

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.rewards: list[float] = []

    def __call__(
        self, completions: list[Any], completion_ids: list[list[int]], wanted: list[str], **_: Any
    ) -> list[float]:
        texts = [completion[0]["content"][:READ] for completion in completions]
        found = [float(re.search(one, text) is not None) for one, text in zip(wanted, texts, strict=True)]
        self.tokens.append(sum(map(len, completion_ids)))
        self.rewards.append(sum(found) / len(found))
        return found


def prepare(
    method: str, parts: int, shape: dict[str, Any], folder: str, rollout: dict[str, Any]
) -> dict[str, Any]:
    """Make the trainer, whose steps are computed in so many parts, start it and warm up; the digest of what it learns
    from."""
    home, told = Path(folder), json.loads((Path(folder) / f"{method}.json").read_text(encoding="utf-8"))
    _running["before"] = resident()
    stepped, judge = Stepped(), Judge()
    at_once = (
        rollout["prompts"] * rollout["group"] if method == "grpo" else len(told["batches"][0])
    ) // parts
    common = {
        "output_dir": str(home / f"trl-{method}"),
        "max_steps": STEPS,
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": parts,
        "learning_rate": rollout["rate"] if method == "grpo" else LR,
        "adam_beta1": BETAS[0],
        "adam_beta2": BETAS[1],
        "adam_epsilon": EPS,
        "weight_decay": 0.0,
        "max_grad_norm": CLIP,
        "lr_scheduler_type": "constant",
        "optim": "adamw_torch_fused",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "train_sampling_strategy": "sequential",
        "dataloader_pin_memory": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    given = {"callbacks": [stepped], "processing_class": AutoTokenizer.from_pretrained(home / "model")}
    trainer = _MAKERS[method](told, home, Shape(**shape), Rollout(**rollout), common, given, judge)
    digest = digest_of(list(_examples(method, trainer, told)))
    stepped.loop = Loop(trainer.train)
    _running.update(loop=stepped.loop, stepped=stepped, judge=judge, tokens=told.get("tokens"), done=0)
    stepped.loop.begin()
    _running["done"] = 1
    return {"ids": digest, **measure(WARM_UP - 1)}


def measure(steps: int) -> dict[str, Any]:
    """Take so many steps: their seconds, and the tokens that were learned from, or of answers that were sampled."""
    seconds = _running["loop"].seconds(steps)
    first, last = _running["done"], _running["done"] + steps
    _running["done"] = last
    if _running["tokens"] is not None:
        return {"seconds": seconds, "tokens": sum(_running["tokens"][first:last])}
    judge = _running["judge"]
    return {
        "seconds": seconds,
        "tokens": sum(judge.tokens[first:last]),
        "reward": sum(judge.rewards[first:last]) / steps,
    }


def losses() -> list[float]:
    """Of all steps that are done."""
    found: list[float] = _running["stepped"].losses
    return found


def memory() -> dict[str, float]:
    """MiB that the process held at most, and what it held before model and data."""
    return {"peak": peak_resident(), "before": _running["before"]}


def _model(home: Path, kind: Any = AutoModelForCausalLM, name: str = "model") -> Any:
    return kind.from_pretrained(home / name, attn_implementation="sdpa", dtype=torch.float32)


def _sft(
    told: Any, home: Path, shape: Shape, rollout: Rollout, common: Any, given: Any, judge: Judge
) -> Trainer:
    """Packed as ours: its own packing makes other rows of the same conversations."""
    args = SFTConfig(
        **common,
        packing=True,
        max_length=shape.length + shape.rows,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    return SFTTrainer(_model(home), args, train_dataset=_flat(told), **given)


def _reward(
    told: Any, home: Path, shape: Shape, rollout: Rollout, common: Any, given: Any, judge: Judge
) -> Trainer:
    args = RewardConfig(**common, max_length=None, center_rewards_coefficient=0.01)
    model = _model(home, AutoModelForSequenceClassification, "classifier")
    return RewardTrainer(model, args, train_dataset=_flat(told), **given)


def _dpo(
    told: Any, home: Path, shape: Shape, rollout: Rollout, common: Any, given: Any, judge: Judge
) -> Trainer:
    args = DPOConfig(**common, max_length=None, beta=0.1, precompute_ref_log_probs=True)
    return DPOTrainer(_model(home), args=args, train_dataset=_flat(told), **given)


def _flat(told: Any) -> Dataset:
    return Dataset.from_list([one for batch in told["batches"] for one in batch])


def _grpo(
    told: Any, home: Path, shape: Shape, rollout: Rollout, common: Any, given: Any, judge: Judge
) -> Trainer:
    args = GRPOConfig(
        **common,
        num_generations=rollout.group,
        max_completion_length=rollout.longest,
        temperature=1.0,
        beta=rollout.kl,
        epsilon=rollout.low,
        epsilon_high=rollout.high,
        loss_type="dapo",
        scale_rewards="group",
        shuffle_dataset=False,
    )
    questions = [
        {"prompt": item["messages"], "wanted": item["verifier"]["value"]}
        for step in told["batches"]
        for item in step
    ]
    return GRPOTrainer(
        _model(home, name="policy"),
        reward_funcs=judge,
        args=args,
        train_dataset=Dataset.from_list(questions),
        **given,
    )


_MAKERS = {"sft": _sft, "reward": _reward, "dpo": _dpo, "grpo": _grpo}


def _examples(method: str, trainer: Trainer, told: Any) -> Iterator[list[tuple[list[int], list[int]]]]:
    """What its first batches hold, by step: ids, and which of them are learned."""
    if method == "grpo":
        for step in told["batches"]:
            prompts = [item["messages"] for item in step]
            ids = trainer.processing_class.apply_chat_template(prompts, add_generation_prompt=True)[
                "input_ids"
            ]
            yield [(one, []) for one in ids]
        return
    batches = iter(trainer.get_train_dataloader())
    for _ in range(COMPARED):
        found: list[tuple[list[int], list[int]]] = []
        for _ in range(trainer.args.gradient_accumulation_steps):
            batch = next(batches)
            found += _packed(batch) if method == "sft" else _padded(batch)
        yield found


def _packed(batch: Any) -> Iterator[tuple[list[int], list[int]]]:
    ids, learned = batch["input_ids"][0], (batch["labels"][0] != -100).int()
    starts = (batch["position_ids"][0] == 0).nonzero()[:, 0].tolist()
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        yield ids[start:end].tolist(), learned[start:end].tolist()


def _padded(batch: Any) -> Iterator[tuple[list[int], list[int]]]:
    learned = batch.get("completion_mask", torch.zeros_like(batch["input_ids"]))
    for ids, mask, there in zip(batch["input_ids"], learned, batch["attention_mask"].bool(), strict=True):
        yield ids[there].tolist(), mask[there].tolist()
