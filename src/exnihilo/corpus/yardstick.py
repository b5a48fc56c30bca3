"""What a general compressor needs for the held-out text: the figure that a language model has to beat."""

from __future__ import annotations

import lzma
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

PRESET = 9 | lzma.PRESET_EXTREME  # xz -9e
DICTIONARY = 64 << 20  # of that preset: text further back cannot help


@dataclass(frozen=True)
class Yardstick:
    """Bits per byte of the held-out text alone, and with the training text known before."""

    bytes: int
    xz_bits_per_byte: float
    xz_primed_bits_per_byte: float
    xz_primed_with_bytes: int

    @staticmethod
    def measure(train: Iterable[str], held_out: Iterable[str]) -> Yardstick | None:
        """Compress with `xz -9e`; None if there is no held-out text.

        Primed: the size of training text and held-out text together, less that of the training text, of which
        the last 64 MiB are used. Takes about a second for a megabyte on each of two cores, and 0.7 GB each.
        """
        held = [text.encode("utf-8") for text in held_out]
        total = sum(map(len, held))
        if not total:
            return None
        before = _last((text.encode("utf-8") for text in train), DICTIONARY)
        # The compressor lets go of the interpreter lock: two sizes at once.
        with ThreadPoolExecutor(2) as threads:
            of_train = threads.submit(xz_size, before)
            of_both = threads.submit(xz_size, [*before, *held])
            alone = xz_size(held)
            primed = of_both.result() - of_train.result()
        return Yardstick(total, 8 * alone / total, 8 * primed / total, sum(map(len, before)))


def xz_size(parts: Iterable[bytes]) -> int:
    """Bytes that `xz -9e` makes of the parts, one after the other."""
    compressor = lzma.LZMACompressor(preset=PRESET)
    return sum(len(compressor.compress(part)) for part in parts) + len(compressor.flush())


def _last(parts: Iterator[bytes], size: int) -> list[bytes]:
    """The last `size` bytes of the parts."""
    kept: deque[bytes] = deque()
    total = 0
    for part in parts:
        kept.append(part)
        total += len(part)
        while total > size:
            first = kept.popleft()
            rest = first[total - size :]
            total -= len(first) - len(rest)
            if rest:
                kept.appendleft(rest)
    return list(kept)
