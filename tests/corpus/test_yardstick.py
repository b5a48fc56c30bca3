"""What xz needs."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from exnihilo.corpus.yardstick import Yardstick, _last, xz_size

PART = "".join(f"line {i} of a text that repeats itself a little, {i * i % 97}\n" for i in range(3000))


def test_size_is_that_of_the_xz_program() -> None:
    program = shutil.which("xz")
    if program is None:
        pytest.skip("the program xz is not installed here")
    done = subprocess.run(
        [program, "-9e", "--threads=1", "-c"], input=PART.encode(), capture_output=True, check=True
    )
    assert xz_size([PART[:1000].encode(), PART[1000:].encode()]) == len(done.stdout)


def test_bits_per_byte_alone_and_primed() -> None:
    held_out = "Unlike the lines before, this one was never seen: 河水上涨.\n" * 3
    measured = Yardstick.measure([PART], [held_out])
    assert measured is not None
    size = len(held_out.encode())
    assert measured.bytes == size and measured.xz_primed_with_bytes == len(PART)
    assert measured.xz_bits_per_byte == 8 * xz_size([held_out.encode()]) / size
    both = xz_size([PART.encode(), held_out.encode()]) - xz_size([PART.encode()])
    assert measured.xz_primed_bits_per_byte == 8 * both / size
    # Text that the training text holds costs next to nothing once that is known.
    seen = Yardstick.measure([PART], [PART[:20_000]])
    assert seen is not None and seen.xz_primed_bits_per_byte < 0.1 * seen.xz_bits_per_byte


def test_no_held_out_text_has_no_yardstick() -> None:
    assert Yardstick.measure([PART], []) is None


def test_the_last_bytes_of_the_training_text_are_what_primes() -> None:
    assert _last(iter([b"abc", b"de", b"f"]), 4) == [b"c", b"de", b"f"]
    assert _last(iter([b"abcdef"]), 2) == [b"ef"]
    assert _last(iter([b"ab", b"cd"]), 9) == [b"ab", b"cd"]
