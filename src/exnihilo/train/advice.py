"""Advice in plain words when a run looks unhealthy: rules over the lines of metrics.jsonl as they come.

A rule is a pure function of what was recorded to a sentence, or to None where nothing is wrong: what was seen, what it
means, and the key to change. Limits lie beyond anything that healthy runs of ours have shown, by a factor of two
where there is one to give: a warning that cries wolf is not read the second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from statistics import fmean, median, stdev

from exnihilo.train.budget import MOST_EPOCHS
from exnihilo.train.history import Facts, History, Record, Rule

SETTLED = 50
"""Steps after the warm-up from which on the averaged loss (over about as many) says something."""
KNOWS_FREQUENCIES = 200
"""Steps after the warm-up by which every run of ours was far below the loss of single tokens' frequencies."""
LINES = 20
"""Lines of metrics that a rule about all of them looks at."""
SECONDS = 10.0
"""What lines about speed have to span: with a line a step, many of them may be one hiccup of the machine."""
ROLLOUTS = 5
"""Steps of reinforcement learning that a rule about all of them looks at."""
TREND = 20
"""Rollouts from which on a rise or a fall of a reward is told from its noise."""


def no_better_than_guessing(seen: History, facts: Facts) -> str | None:
    """The loss is still that of a model that knows nothing."""
    if not seen.predicts_text or facts.uniform is None:
        return None
    last = seen.training[-1]
    if last["step"] < facts.warmup + SETTLED or last["ema"] < facts.uniform - 0.1:
        return None
    return (
        f"the averaged loss is {last['ema']:.3g} nats after {last['step']} steps, and guessing every token alike "
        f"gives {facts.uniform:.3g}: nothing is learned; change optimizer.lr by a factor of ten, down if the loss "
        "jumps and up if it stands still, and look at the text with `exnihilo tokens show`"
    )


def no_better_than_frequencies(seen: History, facts: Facts) -> str | None:
    """The loss is still that of a model that only knows how often each token occurs."""
    unigram = facts.known.unigram
    if not seen.predicts_text or unigram is None:
        return None
    last = seen.training[-1]
    if last["step"] < facts.warmup + KNOWS_FREQUENCIES or last["ema"] < unigram:
        return None
    return (
        f"the averaged loss is {last['ema']:.3g} nats after {last['step']} steps, and knowing no more than how often "
        f"each token occurs gives {unigram:.3g}: nothing is learned from context; raise optimizer.lr if the loss "
        "falls smoothly, lower it if it jumps"
    )


def overfitting(seen: History, facts: Facts) -> str | None:
    """Validation has been rising since its best while the training loss went on falling."""
    if not seen.predicts_text or len(seen.validations) < 3:
        return None
    losses = [float(one["validation_loss"]) for one in seen.validations]
    best = min(range(len(losses)), key=losses.__getitem__)
    if best > len(losses) - 3 or min(losses[-2:]) < 1.01 * losses[best]:
        return None
    at = seen.validations[best]["step"]
    before = [one["ema"] for one in seen.training if one["step"] <= at]
    now = seen.training[-1]["ema"]
    if not before or now >= before[-1]:
        return None
    return (
        f"validation loss rose from {losses[best]:.3g} at step {at} to {losses[-1]:.3g}, while training loss fell "
        f"from {before[-1]:.3g} to {now:.3g}: from there on the text is learned by heart; stop at about {at} steps "
        "(steps, epochs or train_tokens), or add text"
    )


def always_clipped(seen: History, facts: Facts) -> str | None:
    """Nearly every gradient is shortened, when the run is a fifth over: at its beginning they are long."""
    begun = max(facts.warmup, facts.steps // 5)
    recent = [one for one in seen.training if one["step"] > begun][-LINES:]
    if facts.clip is None or len(recent) < LINES or recent[-1]["step"] - recent[0]["step"] < SETTLED:
        return None
    clipped = sum(one["grad_norm"] > facts.clip for one in recent)
    if clipped < 0.95 * LINES:
        return None
    usual = median(float(one["grad_norm"]) for one in recent)
    return (
        f"the gradient norm was above clip = {facts.clip:g} in {clipped} of the last {LINES} lines (median "
        f"{usual:.3g}): every gradient is made equally long, so that clipping no longer only catches rare ones; "
        f"raise clip to about {2 * usual:.2g}, or lower optimizer.lr if the loss jumps"
    )


def low_utilisation(seen: History, facts: Facts) -> str | None:
    """The machine could do far more."""
    recent = [one["mfu"] for one in seen.training[-LINES:] if one.get("mfu") is not None]
    if not seen.predicts_text or not facts.on_cpu or len(recent) < LINES:
        return None
    if median(recent) >= 0.3 * facts.usual:
        return None
    if _seconds(seen.training[-LINES:]) < SECONDS:
        return None
    return (
        f"training does {median(recent):.1%} of the operations that this machine does in a matrix product, and "
        f"{facts.usual:.0%} is usual: steps are too small to fill it, or something else takes the processor; "
        "raise rows, and see with --profile what takes the time"
    )


def slowed_down(seen: History, facts: Facts) -> str | None:
    """Steps take much longer than they did."""
    speeds = [float(one["tokens_per_second"]) for one in seen.training if one.get("tokens_per_second")]
    if not seen.predicts_text or len(speeds) < 2 * LINES:
        return None
    usual, now = sorted(speeds)[int(0.9 * len(speeds))], median(speeds[-LINES // 2 :])
    if now > 0.4 * usual or _seconds(seen.training[-LINES // 2 :]) < SECONDS:
        return None
    return (
        f"{now:,.0f} tokens a second in the last {LINES // 2} lines, and {usual:,.0f} before: another program takes "
        "the processor, or memory is short and the machine swaps; end it, or lower micro_rows"
    )


def loss_spikes(seen: History, facts: Facts) -> str | None:
    """Single losses far above the average, again and again."""
    if not seen.predicts_text:
        return None
    lines = [one for one in seen.training if one["step"] > facts.warmup][-50:]
    jumps = [
        (one["step"], one["loss"] / before["ema"])
        for before, one in pairwise(lines)
        if before["ema"] > 0.1 and one["loss"] > 1.6 * before["ema"]
    ]
    if len(jumps) < 3:
        return None
    step, ratio = max(jumps, key=lambda jump: jump[1])
    return (
        f"the loss jumped to more than 1.6 times its average {len(jumps)} times in {len(lines)} lines (at step {step} "
        f"to {ratio:.2g} times): the learning rate is too large, or some batches are bad; lower optimizer.lr, or "
        "lengthen schedule.warmup"
    )


def loss_rises(seen: History, facts: Facts) -> str | None:
    """The averaged loss has left its best level."""
    if not seen.predicts_text:
        return None
    best = min(seen.training, key=lambda one: float(one["ema"]))
    last = seen.training[-1]
    if last["ema"] - best["ema"] <= max(0.2, 0.1 * best["ema"]):
        return None
    return (
        f"the averaged loss rose from {best['ema']:.3g} at step {best['step']} to {last['ema']:.3g}: the model "
        "forgets what it knew; lower optimizer.lr, or lengthen schedule.warmup"
    )


def many_skipped(seen: History, facts: Facts) -> str | None:
    """A good part of the steps was not taken."""
    if not seen.training:
        return None
    last = seen.training[-1]
    skipped = last.get("skipped", 0)
    if skipped < 5 or skipped < 0.02 * last["step"]:
        return None
    return (
        f"{skipped} of {last['step']} steps were skipped as outliers or as not finite: one in fifty is bad data, more "
        "is a training that is not stable; lower optimizer.lr, or raise outlier_sigma if log.txt shows fine losses"
    )


def many_epochs(seen: History, facts: Facts) -> str | None:
    """The text will be read more often than pays."""
    name = max(facts.known.epochs, key=lambda one: facts.known.epochs[one], default=None)
    if name is None or facts.known.epochs[name] <= MOST_EPOCHS + 0.01:
        return None
    return (
        f"{name} will be read {facts.known.epochs[name]:.1f} times: up to {MOST_EPOCHS} times repeated text is worth "
        "almost as much as new, beyond that ever less (arXiv 2305.16264); lower train_tokens or steps, or add text"
    )


def no_signal(seen: History, facts: Facts) -> str | None:
    """All answers to each question get the same reward."""
    recent = seen.rollouts[-ROLLOUTS:]
    if len(recent) < ROLLOUTS or any((one.get("flat") or 0.0) < 0.99 for one in recent):
        return None
    reward = sum(float(one["reward"]) for one in recent) / len(recent)
    right = reward > 0.5
    return (
        f"in the last {ROLLOUTS} steps all answers to a question got the same reward (mean {reward:.2g}): "
        + (
            "the questions are too easy"
            if right
            else "the questions are too hard, or the answers are cut off"
        )
        + ", and no step changes the model; choose other families"
        + (", or stop" if right else ", raise max_new, or tune the model on demonstrations of them first")
    )


def kl_explodes(seen: History, facts: Facts) -> str | None:
    """The policy has gone far from where it started."""
    recent = [float(one["kl"]) for one in seen.training if one.get("kl") is not None][-2:]
    if not recent:  # PPO's penalty is in the reward, and its KL is counted by answer
        recent = [
            one["kl_per_sequence"] / max(1.0, one["response_length"])
            for one in seen.rollouts[-ROLLOUTS:]
            if one.get("kl_per_sequence") is not None and one.get("response_length") is not None
        ]
    if len(recent) < 2 or min(recent) < 0.5:
        return None
    return (
        f"the KL to the reference is {recent[-1]:.2g} nats per token, and 0.02 to 0.15 is usual: the policy has left "
        "what it could do before, and rewards it found may be loopholes; raise beta or anchor, or lower optimizer.lr"
    )


def gold_falls(seen: History, facts: Facts) -> str | None:
    """The gold reward falls while the one that is trained on rises."""
    found = _turned(seen, "gold")
    return found and (
        f"{found}: the answers get worse by the gold reward, which training never reads; take an earlier checkpoint, "
        "raise beta, train for fewer steps, or give a second reward model, which stops in time (second)"
    )


def second_falls(seen: History, facts: Facts) -> str | None:
    """The second reward falls while the one that is trained on rises."""
    found = _turned(seen, "second")
    return found and (
        f"{found}: the policy gets better at what the reward model got wrong (over-optimisation); take an earlier "
        "checkpoint, raise beta, or train the reward model on more comparisons"
    )


def answers_grow(seen: History, facts: Facts) -> str | None:
    """Answers have become much longer while the reward rose."""
    lines = [one for one in seen.rollouts if one.get("response_length") is not None]
    if len(lines) < TREND:
        return None
    first, last = (fmean(float(one["response_length"]) for one in part) for part in (lines[:5], lines[-5:]))
    before, now = (fmean(float(one["reward"]) for one in part) for part in (lines[:5], lines[-5:]))
    if last < 2 * first or now <= before:
        return None
    return (
        f"answers grew from {first:.0f} to {last:.0f} tokens while the reward rose from {before:.2g} to {now:.2g}: "
        "length is the commonest way to please without being better; read samples.jsonl, and if longer is not better, "
        "raise beta or lower max_new"
    )


def _turned(seen: History, key: str) -> str | None:
    """How the reward `key` fell from its best, by more than three standard errors, while the trained one rose: means
    of a fifth of the rollouts each."""
    lines = [one for one in seen.rollouts if one.get(key) is not None]
    size = len(lines) // 5
    if len(lines) < TREND:
        return None
    parts = [lines[i * size : (i + 1) * size] for i in range(4)] + [lines[4 * size :]]
    best = max(parts[:-1], key=lambda part: fmean(one[key] for one in part))
    last = parts[-1]
    (high, top), (low, bottom) = (
        (fmean(v), stdev(v)) for v in ([one[key] for one in p] for p in (best, last))
    )
    before, now = (fmean(float(one["reward"]) for one in part) for part in (best, last))
    if high - low <= 3 * sqrt((top**2 + bottom**2) / size) or now <= before:
        return None
    return (
        f"the {key} reward fell from {high:.2g} around step {best[size // 2]['step']} to {low:.2g}, while the reward "
        f"that is trained on rose from {before:.2g} to {now:.2g}"
    )


def entropy_collapses(seen: History, facts: Facts) -> str | None:
    """The policy hardly ever says anything else."""
    lines = [one for one in seen.training if one.get("entropy") is not None]
    if len(lines) < 3 or max(one["entropy"] for one in lines[-2:]) > 0.2 * lines[0]["entropy"]:
        return None
    return (
        f"entropy fell from {lines[0]['entropy']:.2g} to {lines[-1]['entropy']:.2g} nats per token: answers to a "
        "question are nearly always the same, and nothing new is tried; raise clip_high or beta, or lower optimizer.lr"
    )


def answers_do_not_end(seen: History, facts: Facts) -> str | None:
    """Most answers are cut off."""
    recent = seen.rollouts[-ROLLOUTS:]
    ended = [float(one["ended"]) for one in recent if one.get("ended") is not None]
    if len(ended) < ROLLOUTS or sum(ended) >= 0.5 * len(ended):
        return None
    share = sum(ended) / len(ended)
    return (
        f"{share:.0%} of the answers in the last {ROLLOUTS} steps ended by themselves: the others are cut off and "
        "judged as they stand; raise max_new, or tune the model on demonstrations that end first"
    )


def _seconds(lines: Sequence[Record]) -> float:
    """The time in steps that lines span."""
    return float(lines[-1].get("time") or 0.0) - float(lines[0].get("time") or 0.0)


RULES: tuple[Rule, ...] = (
    many_epochs,
    no_better_than_guessing,
    no_better_than_frequencies,
    overfitting,
    loss_spikes,
    loss_rises,
    many_skipped,
    always_clipped,
    low_utilisation,
    slowed_down,
    no_signal,
    answers_do_not_end,
    kl_explodes,
    entropy_collapses,
    gold_falls,
    second_falls,
    answers_grow,
)
