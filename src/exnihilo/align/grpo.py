"""The stage `grpo`: reinforcement learning with verifiable rewards and group-relative advantages.

A model samples several answers to each question, a verifier says which are right, and every answer is made more or
less likely by how much better it did than its siblings (arXiv 2402.03300), held near the starting model by a KL
penalty. No demonstration is needed, only questions whose answers can be checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from exnihilo.core.config import ExamplesRef, ModelRef
from exnihilo.core.errors import Refused
from exnihilo.core.stage import Inputs, Stage
from exnihilo.train.config import FitConfig, OptimizerConfig, ScheduleConfig

if TYPE_CHECKING:
    from exnihilo.align.rollouts import Response
    from exnihilo.core.workspace import Workspace
    from exnihilo.tokenizer.tokenizer import Tokenizer
    from exnihilo.tokens.packing import ConversationRows


class GrpoConfig(FitConfig):
    """Group-relative policy optimisation on questions with a verifier."""

    model: ModelRef = Field(
        description="instruction-tuned model to start from; it is also the KL's reference"
    )
    examples: ExamplesRef = Field(description="artifact whose prompts.jsonl holds questions with verifiers")
    families: list[str] | None = Field(
        default=None, description="families to train on; none: all in prompts.jsonl"
    )
    prompts: int = Field(default=16, ge=1, description="questions a step")
    group: int = Field(default=8, ge=2, description="answers sampled to each question")
    temperature: float = Field(
        default=1.0, gt=0, description="of sampling; 1 is the distribution that is trained"
    )
    max_new: int = Field(default=128, ge=1, description="longest answer in tokens")
    length: int = Field(default=256, ge=2, description="row length in tokens")
    beta: float = Field(default=0.05, ge=0, description="weight of the KL to the reference")
    anchor: float = Field(
        default=0.0,
        ge=0,
        description="weight of the KL to the reference on demonstrations of the families that are not trained on, "
        "token by token against the response tokens; keeps them as they are",
    )
    anchor_rows: int = Field(default=4, ge=1, description="rows of such demonstrations a step")
    clip_low: float = Field(default=0.2, gt=0, lt=1, description="how far a probability may fall in one step")
    clip_high: float = Field(default=0.28, gt=0, description="how far it may rise (arXiv 2503.14476)")
    scale: bool = Field(default=True, description="divide advantages by the group's standard deviation")
    # A policy's loss hovers around zero: an outlier of it is no sign of a bad batch.
    outlier_sigma: float | None = Field(default=None, gt=0, description="as in pretraining; off by default")
    optimizer: OptimizerConfig = Field(
        default=OptimizerConfig(lr=0.004, lr_embedding=0.0005), description="optimizer and learning rates"
    )
    schedule: ScheduleConfig = Field(
        default=ScheduleConfig(warmup=0.05), description="learning rate over the run"
    )


def grpo(config: GrpoConfig, inputs: Inputs, work: Workspace) -> None:
    """Write the aligned model's folder. Refused where no prompt has a verifier."""
    from exnihilo.align.rollouts import Rollouts
    from exnihilo.core.jsonl import read_jsonl
    from exnihilo.model.folder import load_model, save_model
    from exnihilo.objectives.policy import PolicyGradient
    from exnihilo.tokenizer.template import Renderer
    from exnihilo.tokenizer.tokenizer import Tokenizer
    from exnihilo.train.fit import fit
    from exnihilo.verify.check import check

    start, examples = inputs["model"], inputs["examples"]
    assert isinstance(start, Path) and isinstance(examples, Path)
    tokenizer = Tokenizer.load(start)
    Renderer(tokenizer).check()
    file = examples / "prompts.jsonl"
    if not file.is_file():
        raise Refused(f"{examples}: has no prompts.jsonl, so there is nothing to sample answers to")
    items = [item for _, item in read_jsonl(file)]
    wanted = set(config.families or [item["family"] for item in items])
    missing = wanted - {item["family"] for item in items}
    if missing:
        raise Refused(f"{file}: no prompts of {sorted(missing)}")
    items = [item for item in items if item["family"] in wanted]

    def reward(item: dict[str, Any], text: str) -> float | None:
        correct = check(item["verifier"], text).correct
        return None if correct is None else float(correct)

    def record(step: int, responses: list[Response], figures: dict[str, float]) -> None:
        work.metric(step=step, **figures)
        if step == 1 or step % 10 == 0:
            for response in responses[: 2 * config.group : config.group]:
                question = response.item["messages"][-1]["content"]
                work.sample(step=step, prompt=question, text=response.text, reward=response.reward)

    model, reference = load_model(start), load_model(start).requires_grad_(False).eval()
    source = Rollouts(
        items,
        tokenizer,
        reference,
        reward,
        prompts=config.prompts,
        group=config.group,
        temperature=config.temperature,
        max_new=config.max_new,
        length=config.length,
        seed=work.seed,
        scale=config.scale,
        anchor=_anchor(config, examples, wanted, tokenizer, work) if config.anchor else None,
        anchor_weight=config.anchor,
        record=record,
    )
    objective = PolicyGradient(config.beta, config.clip_low, config.clip_high, reference)
    result = fit(model, objective, source, config, work)
    save_model(model, start, work.path)
    work.summary.update(result.summary())
    work.lines.append(f"{result.steps} steps of {config.prompts} questions × {config.group} answers")


def _anchor(
    config: GrpoConfig, examples: Path, trained: set[str], tokenizer: Tokenizer, work: Workspace
) -> ConversationRows:
    """Packed demonstrations of the families that rewards don't train."""
    from exnihilo.core.seeds import derive
    from exnihilo.examples.encode import Encoded, encode
    from exnihilo.examples.formats import read_conversations
    from exnihilo.tokenizer.template import Renderer
    from exnihilo.tokens.packing import ConversationRows

    renderer = Renderer(tokenizer)
    rows = read_conversations(examples / "train.jsonl")
    others = [
        row.conversation
        for row in rows
        if row.conversation and row.conversation.meta["family"] not in trained
    ]
    encoded = [encode(conversation, renderer, config.length + 1) for conversation in others]
    pairs = [(one.ids, one.mask) for one in encoded if isinstance(one, Encoded)]
    if not pairs:
        raise Refused(f"{examples}: no demonstrations of other families to anchor to; set anchor to 0")
    seed = derive(work.seed, "anchor")
    return ConversationRows(pairs, config.anchor_rows, config.length, seed, pad=tokenizer.pad)


STAGE = Stage("grpo", "model", GrpoConfig, grpo, "reinforcement learning with verifiable rewards")
