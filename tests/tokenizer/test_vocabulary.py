from __future__ import annotations

import pytest

from exnihilo.tokenizer.vocabulary import automatic_vocabulary


@pytest.mark.parametrize(
    ("text_bytes", "vocabulary"),
    [
        (1_000_000, 2048),
        (10_000_000, 4096),
        (100_000_000, 8192),
        (1_000_000_000, 16384),
        (0, 512),
        (1_000, 512),
        (10**15, 65536),
    ],
)
def test_tok_14_the_automatic_vocabulary_doubles_with_each_tenfold(text_bytes: int, vocabulary: int) -> None:
    assert automatic_vocabulary(text_bytes)[0] == vocabulary


def test_tok_14_the_automatic_vocabulary_grows_with_the_text_in_steps_of_64() -> None:
    sizes = [automatic_vocabulary(int(1.3**n))[0] for n in range(1, 120)]
    assert sizes == sorted(sizes)
    assert all(size % 64 == 0 and 512 <= size <= 65536 for size in sizes)


def test_tok_14_the_reason_names_the_size_of_the_text() -> None:
    assert automatic_vocabulary(2_340_000)[1].startswith("vocabulary 2624: the corpus has 2.34 MB; ")
