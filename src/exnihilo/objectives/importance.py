"""How far the trainer's probabilities are from the sampler's, and what makes up for it.

Tokens are sampled by another program than the one that is trained: with a cache, in other batches, perhaps in another
precision or on a server. A gradient that takes the one's samples for the other's is biased. Weighting each token by
trainer/sampler, the ratio of its probabilities, makes up for it; cut off at a cap, the weight trades a little bias for
a bounded variance (truncated importance sampling: Ionides 2008; for rollouts arXiv 2410.18252).
"""

from __future__ import annotations

from torch import Tensor


def importance_weights(trainer: Tensor, sampled: Tensor, cap: float) -> Tensor:
    """`min(trainer/sampler, cap)` of log-probabilities of one shape, with no graph; exactly 1 where they agree."""
    return (trainer.detach() - sampled).exp().clamp(max=cap)


def mismatch(trainer: Tensor, sampled: Tensor, cap: float | None = None) -> dict[str, Tensor]:
    """What is told of each token, of the shape that is given: `sampler_gap`, the difference of the log-probabilities
    in nats without its sign; `importance`, trainer/sampler before it is cut off, whose mean over samples is 1 up to
    noise; and `truncated`, 1 where the cap cuts it off (None: nowhere)."""
    difference = (trainer - sampled).detach()
    ratio = difference.exp()
    cut = ratio > (float("inf") if cap is None else cap)
    return {"sampler_gap": difference.abs(), "importance": ratio, "truncated": cut.to(ratio)}
