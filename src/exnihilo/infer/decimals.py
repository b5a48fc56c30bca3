"""Numbers within bounds as expressions over their decimal digits: exact, by digits, not by floating point."""

from __future__ import annotations

from decimal import Decimal

from exnihilo.infer.characters import Ranges
from exnihilo.infer.expressions import EMPTY, NOTHING, Expressions, Term

# A double holds every number of 15 digits and tells them apart, so that a reader sees what was written.
DIGITS = 15
_DIGIT: Ranges = ((0x30, 0x39),)


def digits(x: Expressions, low: int, high: int) -> Term:
    """`low` to `high` digits."""
    return x.repeat(x.characters(_DIGIT), low, high)


def between(x: Expressions, low: int, high: int) -> Term:
    """The integers from `low` to `high` without leading zeros; -0 is not one of them."""
    options = []
    if low < 0:
        options.append(x.chain(x.literal("-"), _natural(x, max(1, -high), -low)))
    if high >= 0:
        options.append(_natural(x, max(0, low), high))
    return x.either(*options)


def _natural(x: Expressions, low: int, high: int) -> Term:
    """The integers from `low` to `high`, neither negative."""
    options = []
    while low <= high:
        # Numbers of one length at a time.
        last = min(high, 10 ** len(str(low)) - 1)
        options.append(_same_length(x, str(low), str(last)))
        low = last + 1
    return x.either(*options)


def _same_length(x: Expressions, low: str, high: str) -> Term:
    shared = 0
    while shared < len(low) and low[shared] == high[shared]:
        shared += 1
    if shared == len(low):
        return x.literal(low)
    first, last, rest = low[shared], high[shared], len(low) - shared - 1
    return x.chain(
        x.literal(low[:shared]),
        x.either(
            x.chain(x.literal(first), _digits_from(x, low[shared + 1 :])),
            x.chain(_one_digit(x, int(first) + 1, int(last) - 1), digits(x, rest, rest)),
            x.chain(x.literal(last), _digits_to(x, high[shared + 1 :])),
        ),
    )


def _digits_from(x: Expressions, low: str) -> Term:
    """As many digits as `low` has that make a number no smaller."""
    term = EMPTY
    for i in reversed(range(len(low))):
        rest = len(low) - i - 1
        term = x.either(
            x.chain(x.literal(low[i]), term),
            x.chain(_one_digit(x, int(low[i]) + 1, 9), digits(x, rest, rest)),
        )
    return term


def _digits_to(x: Expressions, high: str) -> Term:
    term = EMPTY
    for i in reversed(range(len(high))):
        rest = len(high) - i - 1
        term = x.either(
            x.chain(x.literal(high[i]), term),
            x.chain(_one_digit(x, 0, int(high[i]) - 1), digits(x, rest, rest)),
        )
    return term


def _one_digit(x: Expressions, low: int, high: int) -> Term:
    return x.characters(((0x30 + low, 0x30 + high),)) if low <= high else NOTHING


def decimals_between(
    x: Expressions,
    low: Decimal | None,
    high: Decimal | None,
    *,
    above: bool = False,
    below: bool = False,
) -> Term:
    """The decimals without exponent from `low` to `high`; without the bounds themselves `above`, `below`.

    At most `DIGITS` digits before the point, and so many after it that a double tells apart what lies next
    to a bound. -0 is not one of them.
    """
    limit = Decimal(10) ** DIGITS
    low_ = max(low, -limit) if low is not None else -limit
    high_ = min(high, limit) if high is not None else limit
    places = max(1, DIGITS - max(len(str(abs(int(bound)))) for bound in (low, high) if bound is not None))
    zero = Decimal(0)
    options = []
    if high_ > 0 or (high_ == 0 and not below):
        least = _magnitudes_from(x, max(low_, zero), places, strict=above and low_ >= 0)
        options.append(x.both(least, _magnitudes_to(x, high_, places, strict=below)))
    if low_ < 0:
        least = _magnitudes_from(x, max(-high_, zero), places, strict=below or high_ >= 0)
        most = _magnitudes_to(x, -low_, places, strict=above)
        options.append(x.chain(x.literal("-"), x.both(least, most)))
    return x.either(*options)


def _magnitudes_from(x: Expressions, low: Decimal, places: int, *, strict: bool) -> Term:
    """Decimals no smaller than `low` (greater, if strict)."""
    whole, fraction = _parts(low)
    places = max(places, len(fraction) + strict)
    greater = digits(x, 1, places) if not strict else _not_zero(x, places)
    # `fraction` read from its end: what follows digits that are equal so far.
    for i in reversed(range(len(fraction))):
        rest = digits(x, 0, places - i - 1)
        greater = x.either(
            x.chain(
                x.literal(fraction[i]), greater if i < len(fraction) - 1 else _end(x, places - i - 1, strict)
            ),
            x.chain(_one_digit(x, int(fraction[i]) + 1, 9), rest),
        )
    at_bound = x.chain(x.literal(f"{whole}."), greater)
    if not fraction and not strict:
        at_bound = x.either(x.literal(str(whole)), at_bound)
    beyond = x.chain(_natural(x, whole + 1, 10 ** max(DIGITS, len(str(whole))) - 1), _fraction(x, places))
    return x.either(at_bound, beyond)


def _end(x: Expressions, places: int, strict: bool) -> Term:
    """What may follow once all digits of a lower bound are written."""
    return _not_zero(x, places) if strict else digits(x, 0, places)


def _not_zero(x: Expressions, places: int) -> Term:
    """Digits after the point that are not all zero."""
    term = NOTHING
    for i in reversed(range(places)):
        rest = digits(x, 0, places - i - 1)
        term = x.either(x.chain(x.literal("0"), term), x.chain(_one_digit(x, 1, 9), rest))
    return term


def _magnitudes_to(x: Expressions, high: Decimal, places: int, *, strict: bool) -> Term:
    """Decimals no greater than `high` (smaller, if strict)."""
    whole, fraction = _parts(high)
    places = max(places, len(fraction))
    zeros = x.repeat(x.literal("0"), 0, places - len(fraction))
    smaller = NOTHING if strict else zeros
    for i in reversed(range(len(fraction))):
        after = smaller
        if i < len(fraction) - 1:
            after = x.optional(smaller)  # the digits so far are smaller than the bound already
        smaller = x.either(
            x.chain(x.literal(fraction[i]), after),
            x.chain(_one_digit(x, 0, int(fraction[i]) - 1), digits(x, 0, places - i - 1)),
        )
    options = []
    if fraction:
        options += [x.literal(str(whole)), x.chain(x.literal(f"{whole}."), smaller)]
    elif not strict:
        options += [
            x.literal(str(whole)),
            x.chain(x.literal(f"{whole}."), x.repeat(x.literal("0"), 1, places)),
        ]
    if whole > 0:
        options.append(x.chain(_natural(x, 0, whole - 1), _fraction(x, places)))
    return x.either(*options)


def _fraction(x: Expressions, places: int) -> Term:
    return x.optional(x.chain(x.literal("."), digits(x, 1, places)))


def _parts(bound: Decimal) -> tuple[int, str]:
    """The whole part, and the digits after the point without zeros at the end."""
    whole = int(bound)
    return whole, f"{bound - whole:f}".partition(".")[2].rstrip("0")
