"""Numbers and comparisons as a reader wants them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MINUS = "\N{MINUS SIGN}"
LOWER_IS_BETTER = ("bits_per_byte", "answer_bits_per_byte", "loss", "perplexity")

METRICS = {
    "bits_per_byte": "Bits per byte",
    "answer_bits_per_byte": "Bits per byte of reference answers",
    "answer_rouge_l": "ROUGE-L of answers",
    "accuracy": "Accuracy",
    "accuracy/trained": "Accuracy, trained families",
    "accuracy_items": "Share of items",
    "ended": "Ended by itself",
    "win_rate": "Win rate",
    "loss": "Nats per token",
    "perplexity": "Perplexity",
}


def is_share(metric: str) -> bool:
    """Whether a metric is a share, of items or of an answer's words, shown in per cent."""
    shares = ("ended", "answer_rouge_l", "win_rate")
    return metric.startswith(("accuracy", "majority@", "pass@")) or metric in shares


def title(metric: str) -> str:
    """A metric's name for people: `accuracy/evaluate` is "Accuracy, evaluate"."""
    if metric in METRICS:
        return METRICS[metric]
    if "@" in metric:
        kind, k = metric.split("@")
        return f"Majority of {k}" if kind == "majority" else f"A right one of {k}"
    name, _, part = metric.partition("/")
    return f"{METRICS.get(name, name.replace('_', ' ').capitalize())}{', ' if part else ''}{part}"


def value(metric: str, number: float) -> str:
    """A metric's value with its unit: 74.3 % or 1.382."""
    if is_share(metric):
        return f"{100 * number:.1f}\u00a0%"
    return signed(f"{number:.3f}") if abs(number) < 100 else f"{number:,.0f}"


def span(metric: str, low: float, high: float) -> str:
    """An interval: "71.0 to 77.5" (per cent where the value is)."""
    if is_share(metric):
        return signed(f"{100 * low:.1f} to {100 * high:.1f}")
    digits = 3 if abs(high) < 100 else 0
    return signed(f"{low:,.{digits}f} to {high:,.{digits}f}")


def signed(text: str) -> str:
    """The hyphens of a number become minus signs."""
    return text.replace("-", MINUS)


def verdict(entry: Mapping[str, Any]) -> str:
    """ "better", "worse" or "open" (the interval holds what equal models have) for `a` against `b`."""
    even = 0.5 if entry["what"] == "win_rate" else 0.0
    if entry["low"] <= even <= entry["high"]:
        return "open"
    lower = entry["what"].split("/")[0] in LOWER_IS_BETTER
    return "better" if (entry["value"] < even) == lower else "worse"


def difference(entry: Mapping[str, Any]) -> str:
    """A paired comparison as a sentence: "aligned is 12.3 points above sft, 95 % interval 9.8 to 14.9 …"."""
    what, a, b = entry["what"], entry["a"], entry["b"]
    interval = f"95\u00a0% interval {span(what, entry['low'], entry['high'])}"
    if what == "win_rate":
        return (
            f"{a} wins {value(what, entry['value'])} of {entry['n']:,} items against {b}, half of those that both "
            f"answer alike counted, {interval}"
        )
    if is_share(what):
        points = 100 * entry["value"]
        size = f"{abs(points):.1f} points"
        place = _place(what, entry["n"])
        units = f"{points:+.1f} points".replace("-", MINUS)
    else:
        size = f"{abs(entry['value']):.3f} {title(what).lower()}"
        place = f"on {entry['n']:,} {'answers' if what == 'answer_bits_per_byte' else 'documents'}"
        units = f"{entry['value']:+.3f} {title(what).lower()}".replace("-", MINUS)
    if verdict(entry) == "open":
        return f"{a} and {b} cannot be told apart: {units}, {interval}, {place}"
    return f"{a} is {size} {'above' if entry['value'] > 0 else 'below'} {b}, {interval}, {place}"


def _place(what: str, n: int) -> str:
    name, _, part = what.partition("/")
    items = f"{n:,} items"
    if what == "accuracy":
        return f"over all families ({items})"
    if what == "accuracy/trained":
        return f"over the families that alignment was trained on ({items})"
    return f"on {part} ({items})" if part else f"on {items} ({name})"


def duration(seconds: float) -> str:
    """42 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def count(number: float) -> str:
    """950, 12,400, 2.62 million, 3.1 × 10¹⁴ for what is larger than a trillion."""
    if abs(number) < 1e6:
        return f"{number:,.0f}"
    for scale, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        # 999.6 million are a billion in three digits.
        if 0.9995 * scale <= abs(number) < 999.5 * scale:
            return f"{number / scale:.3g} {name}"
    mantissa, exponent = f"{number:.1e}".split("e")
    superscript = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa} × 10{superscript}"


def size(number: float) -> str:
    """Bytes in decimal units: 3.4 MB."""
    for scale, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= 0.9995 * scale:
            return f"{number / scale:.3g} {name}"
    return f"{number:.0f} bytes"
