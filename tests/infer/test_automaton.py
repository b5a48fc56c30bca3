"""Automata over tokens: masks against brute force, characters split by tokens, budgets."""

from __future__ import annotations

import itertools
import json
import random
import re
import time

import pytest
import torch

from exnihilo.core.errors import ConfigError
from exnihilo.infer.automaton import TokenAutomaton
from exnihilo.infer.byte_automaton import ByteAutomaton
from exnihilo.infer.json_schema import json_schema
from exnihilo.infer.json_text import json_object
from exnihilo.infer.regex import choice, regex
from exnihilo.infer.token_trie import TokenTrie
from exnihilo.tokenizer.tokenizer import Tokenizer

BYTES = [bytes([byte]) for byte in range(256)]


@pytest.fixture(scope="module")
def trie(tokenizer: Tokenizer) -> TokenTrie:
    return TokenTrie(tokenizer.token_bytes)


@pytest.fixture(scope="module")
def ends(tokenizer: Tokenizer) -> tuple[int, int]:
    return tokenizer.end, tokenizer.eos


def _random_text(automaton: TokenAutomaton, draw: torch.Generator, budget: int | None) -> list[int]:
    """Sample from random logits under the automaton, at most `budget` tokens; the end token is included."""
    state, ids = automaton.start, []
    while not ids or ids[-1] not in automaton._ends:
        left = None if budget is None else budget - len(ids)
        allowed = automaton.allowed(state, left)
        logits = torch.randn(len(allowed), generator=draw) * 3
        ids.append(int(logits.masked_fill(~allowed, float("-inf")).argmax()))
        state = automaton.advance(state, ids[-1])
    return ids


TEXTS = [
    "add",
    "return",
    "right",
    "left + right",
    "question, an",
    "床前",
    "床前明",
    "🙂",
    "🙃",
    "мир",
    "s",
    "",
]


def test_masks_equal_brute_force_over_a_finite_pattern(trie: TokenTrie, ends: tuple[int, int]) -> None:
    """A token is allowed exactly where it leads on to one of the texts, the end exactly at a whole text."""
    automaton = TokenAutomaton(choice(TEXTS), trie, ends)
    whole = [text.encode() for text in TEXTS]
    starts = {text[:i] for text in whole for i in range(len(text) + 1)}
    assert len(starts) > 50
    for start in starts:
        state = automaton.start
        for byte in start:
            state = automaton.advance(state, trie.token_bytes.index(bytes([byte])))
        expected = {
            token
            for token, text in enumerate(trie.token_bytes)
            if text and any(one.startswith(start + text) for one in whole)
        } | (set(ends) if start in whole else set())
        assert set(automaton.allowed(state).nonzero().flatten().tolist()) == expected
        assert automaton.accepting(state) == (start in whole)
        assert automaton.shortest(state) == min(len(t) - len(start) for t in whole if t.startswith(start))


def test_masks_equal_brute_force_over_an_infinite_pattern(trie: TokenTrie, ends: tuple[int, int]) -> None:
    """Every token tried byte by byte, in every state that random texts reach."""
    pattern = r"(\w+, ){1,3}[^a-z]*é?床?|\d+"
    automaton, reference = TokenAutomaton(regex(pattern), trie, ends), ByteAutomaton(regex(pattern))
    draw = torch.Generator().manual_seed(0)
    seen: set[int] = set()
    for _ in range(15):
        state, there = automaton.start, reference.start
        for token in _random_text(automaton, draw, 30)[:-1]:
            if state not in seen:
                seen.add(state)
                mask = automaton.allowed(state)
                for i, text in enumerate(trie.token_bytes):
                    after = there if text else -1
                    for byte in text:
                        after = reference.step(after, byte)
                    expected = reference.accepting(there) if i in ends else after >= 0
                    assert bool(mask[i]) == expected, (i, text)
            state = automaton.advance(state, token)
            for byte in trie.token_bytes[token]:
                there = reference.step(there, byte)
    assert len(seen) > 30


@pytest.mark.parametrize("budget", [None, 40, 12])
def test_random_texts_match_the_pattern(
    budget: int | None, trie: TokenTrie, ends: tuple[int, int], tokenizer: Tokenizer
) -> None:
    pattern = r"(?:[A-Z]\w{0,8}|\d{1,3}|[床月🙂]{2})(?:[-, ](?:\w{1,9}|[^\W\d]🙂))?"
    automaton = TokenAutomaton(regex(pattern), trie, ends)
    draw = torch.Generator().manual_seed(1)
    for _ in range(60):
        ids = _random_text(automaton, draw, budget)
        assert ids[-1] in ends and (budget is None or len(ids) <= budget)
        text = tokenizer.decode_bytes(ids[:-1]).decode()
        assert re.fullmatch(pattern, text), text


def test_a_token_may_be_a_part_of_a_character() -> None:
    # "é" is C3 A9 and "è" C3 A8; the first token holds "c" and half of a character.
    tokens = [b"", b"c\xc3", b"\xa9", b"\xa8", b"\xaa", *BYTES]
    automaton = TokenAutomaton(choice(["cé", "cèx"]), TokenTrie(tokens), [0])
    after = automaton.advance(automaton.start, 1)
    assert [tokens[i] for i in automaton.allowed(after).nonzero()] == [b"\xa9", b"\xa8", b"\xa8", b"\xa9"]
    assert automaton.allowed(automaton.advance(after, 2)).nonzero().tolist() == [[0]]


def test_equal_tokens_are_both_allowed_and_tokens_without_text_never() -> None:
    tokens = [b"", b"", b"ab", b"ab", *BYTES]
    automaton = TokenAutomaton(regex("(ab)*"), TokenTrie(tokens), [1])
    assert automaton.allowed(automaton.start).nonzero().flatten().tolist() == [1, 2, 3, 4 + ord("a")]


def test_end_tokens_are_allowed_exactly_in_accepting_states_and_change_nothing(
    trie: TokenTrie, ends: tuple[int, int], tokenizer: Tokenizer
) -> None:
    automaton = TokenAutomaton(regex("a+"), trie, ends)
    (a,) = tokenizer.encode("a")
    specials = sorted(tokenizer.special.values())
    assert not automaton.allowed(automaton.start)[specials].any()
    after = automaton.advance(automaton.start, a)
    assert automaton.allowed(after)[specials].nonzero().flatten().tolist() == sorted(
        specials.index(end) for end in ends
    )
    assert automaton.advance(after, ends[0]) == after
    for state, token in [
        (automaton.start, ends[0]),
        (after, tokenizer.bos),
        (after, tokenizer.encode("b")[0]),
        (after, -1),
        (after, len(trie)),
    ]:
        with pytest.raises(ValueError, match=f"token {token} is not allowed"):
            automaton.advance(state, token)


def test_an_end_token_that_is_text_is_an_end_only() -> None:
    """A stop id may be an ordinary token, such as a line feed: it ends the text and is not part of it."""
    newline = ord("\n")
    automaton = TokenAutomaton(regex(r"(?s)a.*"), TokenTrie(BYTES), [newline])
    assert not automaton.allowed(automaton.start)[newline]
    after = automaton.advance(automaton.start, ord("a"))
    assert automaton.allowed(after)[newline] and automaton.advance(after, newline) == after


def test_without_an_end_token_nothing_could_end(trie: TokenTrie) -> None:
    with pytest.raises(ConfigError, match="no end token"):
        TokenAutomaton(regex("a"), trie, [])


def test_bytes_that_no_token_writes_are_left_out_of_the_pattern() -> None:
    tokens = [b"<end>", *BYTES[:0xF0]]
    automaton = TokenAutomaton(regex("[a🙂]b|🙃"), TokenTrie(tokens), [0])
    assert [tokens[i] for i in automaton.allowed(automaton.start).nonzero()] == [b"a"]
    with pytest.raises(ConfigError, match="with the bytes that the tokenizer has"):
        TokenAutomaton(choice(["🙂"]), TokenTrie(tokens), [0])


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 30},
        "kind": {"enum": ["question", "answer"]},
        "items": {"type": "array", "items": {"type": "integer"}, "minItems": 2},
    },
    "required": ["name", "kind", "items"],
}


def _cost(automaton: TokenAutomaton) -> int:
    """The smallest budget for which the automaton promises an end."""
    return automaton._cost(automaton.start, -1)


@pytest.mark.parametrize("pattern", [json_schema(SCHEMA), json_object(), regex("(?:return |question, ){3,}")])
def test_every_budget_that_can_be_kept_is_kept(
    pattern: object, trie: TokenTrie, ends: tuple[int, int]
) -> None:
    automaton = TokenAutomaton(pattern, trie, ends)  # type: ignore[arg-type]
    draw = torch.Generator().manual_seed(2)
    least = _cost(automaton)
    assert least <= automaton.shortest(automaton.start) + 1
    lengths = []
    for budget in [*range(least, least + 12), 60, 120]:
        for _ in range(4):
            ids = _random_text(automaton, draw, budget)
            assert len(ids) <= budget
            lengths.append(len(ids))
    assert max(lengths) > least + 8, "a budget is used, not only kept"


def test_a_budget_uses_tokens_of_several_bytes(trie: TokenTrie, ends: tuple[int, int]) -> None:
    """Three times "return " are 21 bytes, and "question, " 30: tokens of several bytes need fewer."""
    automaton = TokenAutomaton(regex("(?:return |question, ){3}"), trie, ends)
    assert automaton.shortest(automaton.start) == 21
    assert _cost(automaton) < 16


def test_a_budget_too_small_for_any_text_takes_the_shortest_way(
    trie: TokenTrie, ends: tuple[int, int]
) -> None:
    automaton = TokenAutomaton(json_schema(SCHEMA), trie, ends)
    state, distances = automaton.start, [automaton.shortest(automaton.start)]
    while not automaton.accepting(state):
        allowed = automaton.allowed(state, budget=1)
        assert bool(allowed.any()), "some token is always left"
        state = automaton.advance(state, int(allowed.nonzero()[0]))
        distances.append(automaton.shortest(state))
    assert distances == sorted(distances, reverse=True)
    assert len(distances) <= _cost(automaton)


def test_a_budget_only_takes_tokens_away(trie: TokenTrie, ends: tuple[int, int]) -> None:
    automaton = TokenAutomaton(json_object(), trie, ends)
    for text in ("", '{"a', '{"a": [[1, 2', '{"a": 1}'):
        state = automaton.start
        for byte in text.encode():
            state = automaton.advance(state, trie.token_bytes.index(bytes([byte])))
        masks = [automaton.allowed(state, budget) for budget in (1, 2, 3, 5, 8, 13, 50, 1000)] + [
            automaton.allowed(state)
        ]
        for less, more in itertools.pairwise(masks[3:]):
            assert not bool((less & ~more).any())
        assert bool(masks[-2].equal(masks[-1])), "a large budget changes nothing"
        assert all(bool(mask.any()) for mask in masks)


def test_any_number_of_masks_fit_in_the_memory_that_is_kept(
    trie: TokenTrie, ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern = regex("[a-z]{50}")
    plain = TokenAutomaton(pattern, trie, ends)
    masks = [plain.allowed(plain.start)]
    a = trie.token_bytes.index(b"a")
    states = [plain.start]
    for _ in range(50):
        states.append(plain.advance(states[-1], a))
        masks.append(plain.allowed(states[-1]))
    assert len(plain._next) == 51
    monkeypatch.setattr("exnihilo.infer.automaton.KEPT_BYTES", 10 * 5 * len(trie))
    bounded = TokenAutomaton(pattern, trie, ends)
    state = bounded.start
    for mask in masks[:-1]:
        assert bounded.allowed(state).equal(mask)
        state = bounded.advance(state, a)
    assert bounded.allowed(bounded.start).equal(masks[0]), "made again"
    assert len(bounded._next) == 10


def test_a_vocabulary_of_100_000_tokens_is_fast() -> None:
    draw = random.Random(0)
    words = {"".join(draw.choices("etaoinshrdlu", k=draw.randint(3, 12))) for _ in range(115_000)}
    tokens = [b"", *BYTES, *(f" {word}".encode() for word in sorted(words))]
    assert len(tokens) > 100_000
    start = time.process_time()
    trie = TokenTrie(tokens)
    built = time.process_time() - start
    automaton = TokenAutomaton(json_schema({"type": "object", "required": ["a"]}), trie, [0])
    state = automaton.start
    for byte in b'{"a":"':
        state = automaton.advance(state, 1 + byte)
    start = time.process_time()
    mask = automaton.allowed(state)
    first = time.process_time() - start
    start = time.process_time()
    for _ in range(100):
        automaton.allowed(automaton.advance(state, 300))
    again = time.process_time() - start
    assert int(mask.sum()) > 100_000
    # Measured 0.06 s, 0.015 s and 0.001 s; a machine that is busy counts caches that others empty.
    assert built < 2 and first < 0.5 and again < 0.1


def test_json_of_random_texts_parses(trie: TokenTrie, ends: tuple[int, int], tokenizer: Tokenizer) -> None:
    automaton = TokenAutomaton(json_object(), trie, ends)
    draw = torch.Generator().manual_seed(3)
    for budget in [*range(3, 40), 150]:
        text = tokenizer.decode_bytes(_random_text(automaton, draw, budget)[:-1]).decode()
        assert isinstance(json.loads(text), dict)
