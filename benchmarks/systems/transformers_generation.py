"""Generation by `transformers`: one static batch (`generate`), or continuous batching."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor
from transformers import (
    ContinuousBatchingConfig,
    GenerationConfig,
    Qwen3ForCausalLM,
    StoppingCriteria,
    StoppingCriteriaList,
)

from benchmarks.systems.workloads import Workload

PAGE = 256  # the default of continuous batching

_running: dict[str, Any] = {}


class EndAt(StoppingCriteria):
    """Ends each row at its own length, as an end token would; the batch goes on until all have ended."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = torch.tensor(lengths)

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        return self.lengths <= input_ids.shape[1]


def prepare(folder: str, how: str) -> int:
    """Load the model; its number of parameters. `how`: "static", "compiled" or "continuous"."""
    model = Qwen3ForCausalLM.from_pretrained(folder, attn_implementation="sdpa", dtype=torch.float32)
    model.train(False)
    # No token ends a text.
    model.config.eos_token_id = model.generation_config.eos_token_id = None
    if how == "compiled":
        # As its guide to compiled generation does: a cache of fixed size, so that shapes stay the same.
        model.forward = torch.compile(model.forward)
    _running.update(model=model, how=how, work=None)
    return sum(parameter.numel() for parameter in model.parameters())


def measure(workload: dict[str, Any], turn: int) -> dict[str, Any]:
    """Generate a workload's texts; seconds and the ids of each."""
    work = Workload(**workload)
    if _running["work"] != work:
        # Compiled for the shapes of each workload anew: after eight of them PyTorch would give up compiling.
        torch.compiler.reset()
        _running["work"] = work
    prompts, lengths = work.prompts(turn), work.lengths(turn)
    texts = _continuous if _running["how"] == "continuous" else _static
    seconds, ids = texts(work, prompts, lengths)
    return {"seconds": seconds, "ids": ids}


@torch.inference_mode()
def _static(work: Workload, prompts: list[list[int]], lengths: list[int]) -> tuple[float, list[list[int]]]:
    copies = work.requests if work.one_prompt else 1
    config = _config(work, num_return_sequences=copies)
    if _running["how"] == "compiled":
        config.cache_implementation = "static"
    criteria = StoppingCriteriaList()
    if work.shortest < work.longest:
        criteria.append(EndAt([work.prompt + length for length in lengths]))
    rows = torch.tensor(prompts[:1] if work.one_prompt else prompts)
    start = time.perf_counter()
    out = _running["model"].generate(
        rows, attention_mask=torch.ones_like(rows), generation_config=config, stopping_criteria=criteria
    )
    seconds = time.perf_counter() - start
    ids = [row[:length] for row, length in zip(out[:, work.prompt :].tolist(), lengths, strict=True)]
    return seconds, ids


def _continuous(
    work: Workload, prompts: list[list[int]], lengths: list[int]
) -> tuple[float, list[list[int]]]:
    copies = work.requests if work.one_prompt else 1
    sent = prompts[:1] if work.one_prompt else prompts
    # Room for all requests at once, as our pool has; by default it takes 60 % of the machine's memory.
    blocks = work.requests * -(-(work.prompt + work.longest) // PAGE) + 1
    settings = ContinuousBatchingConfig(page_size=PAGE, num_blocks=blocks, max_batch_tokens=512, seed=0)
    found: dict[str, list[int]] = {}
    with _running["model"].continuous_batching_context_manager(
        generation_config=_config(work, num_return_sequences=copies), continuous_batching_config=settings
    ) as manager:
        start = time.perf_counter()
        names = [
            manager.add_request(prompt, max_new_tokens=length, eos_token_id=-1)
            for prompt, length in zip(sent, lengths, strict=False)
        ]
        while len(found) < work.requests:
            result = manager.get_result(timeout=1)
            if result is not None and result.error is not None:
                raise RuntimeError(f"continuous batching: {result.error}")
            if result is not None and result.is_finished():
                found[result.request_id] = list(result.generated_tokens)
            elif result is None and not manager.is_running():
                raise RuntimeError(f"it ended after {len(found)} of {work.requests} requests")
        seconds = time.perf_counter() - start
    return seconds, list(found.values()) if work.one_prompt else [found[name] for name in names]


def _config(work: Workload, **more: Any) -> GenerationConfig:
    drawn = {} if work.greedy else {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
    return GenerationConfig(
        max_new_tokens=work.longest,
        do_sample=not work.greedy,
        pad_token_id=2,
        eos_token_id=None,
        use_cache=True,
        **drawn,
        **more,
    )
