"""Regexes against `re.fullmatch`, and the automaton over bytes that they become."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable

import pytest

from exnihilo.core.errors import ConfigError
from exnihilo.infer.byte_automaton import ByteAutomaton
from exnihilo.infer.characters import EVERY, LAST, complement, union, utf8, without
from exnihilo.infer.expressions import EMPTY, Expressions, Pattern
from exnihilo.infer.regex import choice, regex

Matches = Callable[[ByteAutomaton, str | bytes], bool]
Walk = Callable[..., str]

PATTERNS = [
    "", "a", "abc", "a|b|", "(a|b)*abb", "a+b?c*", "a{3}", "a{2,}", "a{,3}", "a{1,3}?b", "a{", "a{}b", "a{x}",
    "x{,}", "[abc]+", "[^abc]", "[a-c-]", "[]a]+", "[^]]", r"[\]\-a]", "[a-cé-ü🙂]+", "[]-a]", ".", ".*b.",
    "(?s).*b.", r"\d+", r"(?a)\d+", r"\D", r"\w\W\w", r"(?a)\w\W\w", r"\s|\S\S", r"[\d_a]*", r"[^\w\s]", r"\.",
    r"\x41\u00e9\U0001F642", r"\t\n\r\f\v\a\\", r"\0|\07|\141", r"[\1\b]", r"\N{GREEK SMALL LETTER ALPHA}",
    "^abc$", r"\Aa|b\Z", "^$", "a$|^b", "(?:ab)+", "(?P<name>a|b)c", "a(?#note)*b", "a*?b+?c??", "((a)(b))?",
    "()", "(|a)b", "(a*)*b", "(a|aa)*", "(a?){3}", "é+|床*", "-+[+--]", "a b", "[ -~]{2,4}", "(a|b)*a(a|b){3}",
]  # fmt: skip
ALPHABET = "aabbcc_1٣é床🙂 \n-]{}\\\0\x07.A~"


def _texts(draw: random.Random, count: int) -> list[str]:
    return ["".join(draw.choices(ALPHABET, k=draw.randrange(7))) for _ in range(count)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_matches_what_re_matches(pattern: str, matches: Matches, walk: Walk) -> None:
    automaton, draw = ByteAutomaton(regex(pattern)), random.Random(pattern)
    reference = re.compile(pattern)
    generated = [walk(automaton, draw) for _ in range(20)]
    mutated = [
        text[:i] + draw.choice(ALPHABET) + text[i + 1 :] for text in generated for i in range(len(text))
    ]
    for text in generated:
        assert reference.fullmatch(text), f"{text!r} was generated"
    for text in [*_texts(draw, 300), *mutated, *PATTERNS, "abb", "aaab", "[]", "+", "é🙂\\"]:
        assert matches(automaton, text) == bool(reference.fullmatch(text)), repr(text)


def _random_pattern(draw: random.Random, depth: int) -> str:
    if depth == 0 or draw.random() < 0.3:
        return draw.choice(
            ["a", "b", "é", ".", r"\w", r"\s", "[^a]", "[a-bé]", r"[^\d\n]", "🙂", r"\.", "(?:)"]
        )
    parts = [_random_pattern(draw, depth - 1) for _ in range(draw.randint(1, 3))]
    match draw.randrange(3):
        case 0:
            return "".join(parts)
        case 1:
            return f"({'|'.join(parts)})"
    return f"(?:{''.join(parts)})" + draw.choice(["*", "+", "?", "{2}", "{0,2}", "{1,}", "??"])


def test_random_patterns_match_what_re_matches(matches: Matches, walk: Walk) -> None:
    draw = random.Random(4)
    found = 0
    for _ in range(150):
        pattern = _random_pattern(draw, 3)
        automaton, reference = ByteAutomaton(regex(pattern)), re.compile(pattern)
        texts = _texts(draw, 40)
        texts += ["".join(draw.choices("abé🙂", k=draw.randrange(5))) for _ in range(40)]
        for text in texts:
            expected = bool(reference.fullmatch(text))
            found += expected
            assert matches(automaton, text) == expected, (pattern, text)
        for _ in range(3):
            text = walk(automaton, draw)
            assert reference.fullmatch(text), (pattern, text)
    assert found > 500, "enough of the texts match, so that the comparison means something"


@pytest.mark.parametrize("pattern", [r"\w", r"\W", r"\d", r"\s", r"(?a)\W", ".", "[^é-ſ🙂]", "[à-ӿ一-龥]"])
def test_a_class_has_the_characters_that_it_has_for_re(pattern: str, matches: Matches) -> None:
    automaton, reference, draw = ByteAutomaton(regex(pattern)), re.compile(pattern), random.Random(0)
    borders = [0, 10, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, LAST]
    for code in [*range(0x700), *borders, *(draw.randrange(0xE000, LAST) for _ in range(2000))]:
        assert matches(automaton, chr(code)) == bool(reference.fullmatch(chr(code))), hex(code)


def test_only_valid_utf8_is_matched(matches: Matches) -> None:
    automaton = ByteAutomaton(regex("(?s).*"))
    for code in (0x80, 0x7FF, 0x800, 0xFFFD, 0x10000, LAST):
        assert matches(automaton, chr(code) * 2)
        assert not matches(automaton, chr(code).encode()[:-1]), "a character that is cut off"
    for wrong in (
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
    ):
        assert not matches(automaton, wrong), wrong
        with pytest.raises(UnicodeDecodeError):
            wrong.decode()


def test_sets_of_characters() -> None:
    assert union(((5, 9),), ((1, 2),), ((3, 3), (9, 12))) == ((1, 3), (5, 12))
    assert complement(EVERY) == () and complement(()) == ((0, 0xD7FF), (0xE000, LAST))
    assert without(((0, 9),), ((3, 4), (9, 20))) == ((0, 2), (5, 8))
    assert utf8(((0xD800, 0xDFFF),)) == (), "half of a surrogate pair has no UTF-8"
    assert utf8(((0x41, 0x42), (0xE9, 0xE9))) == ((0x41, 0x42, None), (0xC3, 0xC3, ((0xA9, 0xA9, None),)))


@pytest.mark.parametrize(
    ("pattern", "position", "what"),
    [
        (r"(a)\1", 3, "backreference"),
        ("(?P<x>a)(?P=x)", 8, "backreference"),
        ("a(?=b)", 1, "lookahead"),
        ("a(?!b)", 1, "lookahead"),
        ("(?<=a)b", 0, "lookbehind"),
        ("(?<!a)b", 0, "lookbehind"),
        (r"a\b", 1, "word border"),
        ("(?>a*)a", 0, "atomic"),
        ("a*+a", 2, "possessive"),
        ("(a)?(?(1)b|c)", 4, "condition"),
        ("(?i)a", 0, "flag 'i'"),
        ("(?s:.)", 0, "a flag"),
        ("a^b", 1, "not at the beginning"),
        ("a$b", 2, "not at the end"),
        ("(a$)b", 2, "within a group"),
        ("(^a)b", 1, "not at the beginning"),
        ("a(b", 1, "unterminated subpattern"),
        ("[b-a]", 1, "bad character range"),
        ("*a", 0, "nothing to repeat"),
    ],
)  # fmt: skip
def test_what_is_not_regular_is_refused_at_its_position(pattern: str, position: int, what: str) -> None:
    with pytest.raises(ConfigError, match=f"{re.escape(what)}.* position {position}") as refused:
        regex(pattern)
    assert len(refused.value.problems) == 1 and repr(pattern) in str(refused.value)


def test_choice_is_exactly_the_given_texts(matches: Matches) -> None:
    options = ["yes", "no", "not yet", "", "🙂", "a.b", "yes"]
    automaton = ByteAutomaton(choice(options))
    for text in [*options, "n", "ye", "yes ", "not", "axb", "🙃"]:
        assert matches(automaton, text) == (text in options)
    for wrong in ([], "yes"):
        with pytest.raises(ConfigError, match="choice: give a list"):
            choice(wrong)
    with pytest.raises(ConfigError, match="surrogate"):
        choice(["\ud83d"])


def test_a_pattern_that_nothing_matches_is_refused() -> None:
    with pytest.raises(ConfigError, match="no text at all matches"):
        ByteAutomaton(regex(r"a[^\d\D]"))


def test_counted_repetition_costs_nothing_in_advance(matches: Matches) -> None:
    start = time.process_time()
    automaton = ByteAutomaton(regex("(?:[a-z]{2,100000}x|é){0,1000000}"))
    assert time.process_time() - start < 0.5
    assert matches(automaton, "abx" * 50 + "é") and not matches(automaton, "ax")


def test_deep_nesting_is_decoded_or_refused_and_never_overflows(matches: Matches) -> None:
    deep = ByteAutomaton(regex("(?:" * 90 + "a" + ")*b?" * 90))
    assert matches(deep, "aab") and not matches(deep, "c")
    for count in (101, 5000):
        with pytest.raises(ConfigError, match=r"over 100 groups|maximum recursion depth"):
            regex("(" * count + "a" + ")" * count)


def test_of_too_many_ways_to_read_a_text_the_nearest_to_its_end_are_followed(
    monkeypatch: pytest.MonkeyPatch, walk: Walk
) -> None:
    pattern = "(a{0,9}){0,9}bb|(a|c)*c(a|c){5}b"
    wide = ByteAutomaton(regex(pattern))
    there = [wide.start]
    for byte in b"aaaaa":
        there.append(wide.step(there[-1], byte))
    assert len(wide._states[there[-1]]) > 3
    for name, most in (("MAX_TERMS", 3), ("MAX_STATES", 20)):
        monkeypatch.setattr(f"exnihilo.infer.byte_automaton.{name}", most)
        narrow, draw = ByteAutomaton(regex(pattern)), random.Random(0)
        for _ in range(50):
            assert re.fullmatch(pattern, walk(narrow, draw))
        state = narrow.start
        for byte, other in zip(b"aaaaa", there[1:], strict=True):
            state = narrow.step(state, byte)
            assert narrow.distance[state] == wide.distance[other], "the way to the end is as short"
        assert len(narrow._states[state]) <= 3


def test_a_state_from_which_nothing_is_complete_is_never_entered() -> None:
    # After "a" the second branch needs a character that does not exist: only "ab" is open.
    automaton = ByteAutomaton(regex(r"ab|a[^\d\D]|c(?:[^\s\S])*"))
    state = automaton.step(automaton.start, ord("a"))
    assert [byte for byte in range(256) if automaton.step(state, byte) >= 0] == [ord("b")]
    assert automaton.distance[automaton.start] == 1, "the shortest text is c"


def test_words_are_read_as_a_trie(matches: Matches) -> None:
    x = Expressions()
    words = [b"n", b"no", b"not", b"u00", b"u01", b""]
    automaton = ByteAutomaton(Pattern(x, x.words(words)))
    for word in [*words, b"u", b"u0", b"u02", b"nn", b"nott"]:
        assert matches(automaton, word) == (word in words)
    assert x.words([b"u00", b"u01"]) == x.words({b"u01", b"u00"}) and x.words([b""]) == EMPTY


def test_what_two_expressions_both_match(matches: Matches) -> None:
    x = Expressions()
    word = x.characters(((0x61, 0x63),))
    even, thrice = x.repeat(x.chain(word, word)), x.repeat(x.chain(word, word, word), 1)
    automaton = ByteAutomaton(Pattern(x, x.both(even, thrice)))
    assert automaton.distance[automaton.start] == 6
    assert [n for n in range(20) if matches(automaton, ("abc" * 10)[:n])] == [6, 12, 18]
    with pytest.raises(ConfigError, match="no text at all"):
        ByteAutomaton(Pattern(x, x.both(x.repeat(word, 3, 3), even)))
