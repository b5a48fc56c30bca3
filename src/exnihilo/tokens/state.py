"""Comparing the scalars that fix a source's order of data."""

from __future__ import annotations

from collections.abc import Mapping

from exnihilo.core.errors import Refused

Scalars = Mapping[str, int | float | str]


def check_state(saved: Scalars, current: Scalars) -> None:
    """Refuse to go on with other data than those of a saved state.

    Raises:
        Refused: a scalar differs; the message lists each with both values.
    """
    differences = [
        f"{key} was {_short(saved.get(key))} and is {_short(current.get(key))}"
        for key in sorted(saved.keys() | current.keys())
        if saved.get(key) != current.get(key)
    ]
    if differences:
        raise Refused(
            f"the data differ from those of the checkpoint: {'; '.join(differences)}. "
            "Resume with the same data and settings, or start anew"
        )


def _short(value: float | str | None) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"
