from __future__ import annotations

import random

import pytest

from exnihilo.core.errors import Refused
from exnihilo.tokenizer.sample import survey


def texts() -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choices("aé四 ", k=rng.randrange(30))) for _ in range(500)]


def size(chosen: list[str]) -> int:
    return sum(len(text.encode()) for text in chosen)


@pytest.mark.parametrize("most", [1, 2, 100, 1234, 5000])
def test_a_sample_has_the_bytes_asked_for_and_not_one_more(most: int) -> None:
    found = survey(texts(), most)
    assert found.chosen_bytes == most
    # The last text may be cut inside a character of three bytes, of which up to two are then left out.
    assert most - 2 <= size(list(found.choose(texts()))) <= most


def test_a_sample_does_not_depend_on_the_order() -> None:
    there, back = texts(), texts()[::-1]
    chosen = list(survey(there, 2000).choose(there))
    assert sorted(chosen) == sorted(survey(back, 2000).choose(back))
    assert 0 < len(chosen) < len(there)


def test_a_larger_sample_holds_the_smaller_one() -> None:
    small = survey(texts(), 1000)
    large = list(survey(texts(), 3000).choose(texts()))
    whole = [text for text in small.choose(texts()) if text in texts()]
    assert len(whole) > 5
    assert all(text in large for text in whole)


def test_everything_is_taken_where_it_fits_equal_texts_too() -> None:
    repeated = [*texts(), *texts()]
    found = survey(repeated, 10**9)
    assert found.total_bytes == found.chosen_bytes == size(repeated)
    assert [text for text in found.choose(repeated) if text] == [text for text in repeated if text]


def test_no_text_is_refused() -> None:
    for nothing in ([], ["", ""]):
        with pytest.raises(Refused, match="no text"):
            survey(nothing, 10)
