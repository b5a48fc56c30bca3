"""Families whose answers are computed: values of arithmetic and of sequences, truth, types, exceptions, validity."""

from __future__ import annotations

import random
from collections.abc import Callable

from exnihilo.synth.expressions import WORDS, Expression, arithmetic, expression, sequence
from exnihilo.synth.question import Question, code, words

_VALUE = (
    "What does `{}` evaluate to?",
    "What is `{}`?",
    "Evaluate `{}`.",
    "What is the value of `{}`?",
)
_TRUTH = ("Is `{}` true?", "Does `{}` hold?", "Is it true that `{}`?")
_TYPE = ("What is the type of `{}`?", "Which type does `{}` have?", "What does `type({}).__name__` give?")
_RAISES = ("What does `{}` raise?", "Which exception does `{}` raise?", "What goes wrong in `{}`?")
_VALID = ("Is `{}` valid Python?", "Does `{}` compile?", "Is `{}` correct syntax?")


def value_question(rng: random.Random, family: str) -> Question | None:
    """`arithmetic` or `sequence`: the value of an expression, with its steps."""
    found = expression((arithmetic if family == "arithmetic" else sequence)(rng))
    if found is None or len(found.source) > 60:
        return None
    answer = repr(found.value)
    worked = (_step_by_step if family == "arithmetic" else _rest_by_rest)(found)
    # One step is worked out by saying it, so that its two replies are one, in the words that longer ones use.
    single = len(found.steps) == 1
    return Question(
        family,
        found.structure,
        rng.choice(_VALUE).format(found.source),
        answer,
        code(answer),
        worked if single else f"It is `{answer}`.",
        worked,
    )


def _step_by_step(found: Expression) -> str:
    """Each step by itself, as the fact that it is: sums are known by heart."""
    steps = ", ".join(f"`{before}` is `{after}`" for before, after in found.steps)
    return f"{steps}." if len(found.steps) == 1 else f"{steps}. So it is `{found.forms[-1]}`."


def _rest_by_rest(found: Expression) -> str:
    """All that is left after each step, so that it is always plain what comes next, and whether anything does.

    Of lists there are few facts to know; but of `x[1:][1:]`, of a structure that is never shown, a model that had
    learned single steps took the second slice a third time.
    """
    return f"`{found.source}` is " + ", which is ".join(f"`{form}`" for form in found.forms[1:]) + "."


def truth_question(rng: random.Random) -> Question | None:
    """A comparison or a membership test, true as often as false."""
    wanted = rng.random() < 0.5
    for _ in range(60):
        source = rng.choice(
            (
                lambda: f"{rng.randint(1, 99)} {rng.choice(('<', '>', '<=', '>='))} {rng.randint(1, 99)}",
                lambda: f"{rng.randint(1, 9)} {rng.choice(('<', '>'))} len({rng.choice(WORDS)!r})",
                lambda: f"{rng.choice('aeioulrst')!r} in {rng.choice(WORDS)!r}",
                lambda: f"{rng.randint(1, 9)} in {[rng.randint(1, 9) for _ in range(4)]}",
                lambda: f"{rng.choice(WORDS)!r}.startswith({rng.choice('abcmprst')!r})",
                lambda: f"max({rng.sample(range(1, 30), 3)}) > {rng.randint(1, 30)}",
                lambda: f"{rng.randint(10, 60)} % {rng.randint(2, 5)} == 0",
                lambda: (
                    f"isinstance({rng.choice(_SAMPLES)}, {rng.choice(('int', 'str', 'list', 'float', 'dict'))})"
                ),
                lambda: f"bool({rng.choice(_EMPTY + _SAMPLES)})",
                lambda: f"not {rng.choice(_EMPTY + _SAMPLES)}",
            )
        )()
        value = bool(eval(source))  # our own text, never a user's or a model's
        if value == wanted:
            answer = "Yes" if value else "No"
            return Question(
                "truth", source, rng.choice(_TRUTH).format(source), answer, words(answer), f"{answer}."
            )
    return None


_EMPTY = ["''", "[]", "{}", "0", "0.0", "()", "None", "False"]
_SAMPLES = ["'fig'", "[1, 2]", "{'a': 1}", "7", "2.5", "(3, 4)", "True", "'0'", "[0]", "{3, 4}"]


def type_question(rng: random.Random) -> Question:
    """The type of a literal or of a call's result."""
    number, small, word = rng.randint(1, 99), rng.randint(1, 9), rng.choice(WORDS)
    numbers = [rng.randint(1, 9) for _ in range(rng.randint(2, 4))]
    forms = {
        "literal": (
            str(number),
            f"{number}.{small}",
            repr(word),
            str(numbers),
            str(tuple(numbers)),
            "None",
            "True",
        ),
        "literal2": (
            str({word: number}),
            f"{{{number}, {number + small}}}",
            f"b{word!r}",
            f"{small}j",
            "False",
        ),
        "arith": (
            f"{number} + {small}",
            f"{number} / {small}",
            f"{number} // {small}",
            f"{number} * {small}.5",
        ),
        "compare": (f"{number} < {small}", f"{word!r} == {number}", f"{small} in {numbers}", f"not {number}"),
        "call": (
            f"len({word!r})",
            f"sorted({word!r})",
            f"str({number})",
            f"float({number})",
            f"list({word!r})",
        ),
        "call2": (
            f"tuple({numbers})",
            f"set({numbers})",
            f"bool({small})",
            f"abs(-{small}.5)",
            f"range({small})",
        ),
        "method": (f"{word!r}.upper()", f"{word!r}.split('e')", f"{word!r}.count('e')", f"{word!r}.encode()"),
        "method2": (
            f"{word!r}.isalpha()",
            f"{numbers}.index({numbers[0]})",
            f"{{{word!r}: {small}}}.get({word!r})",
        ),
        "slice": (
            f"{word!r}[1:]",
            f"{numbers}[:1]",
            f"{tuple(numbers)}[1:]",
            f"{numbers}[0]",
            f"{word!r}[0]",
        ),
    }
    form = rng.choice(list(forms))
    index = rng.randrange(len(forms[form]))
    source = forms[form][index]
    wrap = rng.choice(("", "", "[]", "()"))
    if wrap == "[]":
        source = f"[{source}]"
    elif wrap == "()":
        source = f"({source}, {small})"
    answer = type(eval(source)).__name__
    return Question(
        "type",
        f"{form}{index}{wrap}",
        rng.choice(_TYPE).format(source),
        answer,
        code(answer),
        f"It is a `{answer}`.",
    )


def raises_question(rng: random.Random) -> Question:
    """The exception that an expression raises, or none."""
    word, other = rng.sample(WORDS, 2)
    number, small = rng.randint(10, 99), rng.randint(2, 9)
    numbers = [rng.randint(1, 9) for _ in range(rng.randint(2, 4))]
    index = rng.randint(0, 7)
    forms = (
        f"{numbers}[{index}]",
        f"{tuple(numbers)}[{index}]",
        f"{word!r}[{rng.randint(0, 12)}]",
        f"{{{word!r}: {number}}}[{rng.choice((word, other))!r}]",
        f"{{{small}: {word!r}}}[{rng.choice((small, number))}]",
        f"{number} {rng.choice(('/', '//', '%'))} {rng.choice((0, small))}",
        f"int({rng.choice((word, str(number)))!r})",
        f"float({rng.choice((word, f'{small}.5'))!r})",
        f"{word!r} + {rng.choice((str(number), repr(other)))}",
        f"{number} + {rng.choice((repr(word), str(small)))}",
        f"len({rng.choice((str(number), repr(word)))})",
        f"sorted({rng.choice((str(number), str(numbers)))})",
        f"{rng.choice((str(numbers), repr(word)))}.upper()",
        f"{rng.choice((str(numbers), repr(word)))}.append({small})",
        f"({number}).{rng.choice(('bit_length()', 'split()', 'lower()'))}",
        f"{rng.choice((word, repr(word), str(number)))} * 2",
        f"print({rng.choice((word, repr(word)))})",
        f"{numbers}.index({rng.randint(1, 9)})",
        f"{numbers}.remove({rng.randint(1, 9)})",
        f"{word!r}.index({rng.choice('aeioz')!r})",
        f"[].pop({rng.choice(('', '0'))})",
        f"{numbers}.pop({index})",
        f"min({rng.choice(([], numbers))})",
        f"next(iter({rng.choice(([], numbers))}))",
        f"chr({rng.choice((number, -number, repr(word)))})",
        f"set({rng.choice((numbers, [numbers], small))})",
    )
    source = rng.choice(forms)
    answer = exception_of(source)
    prompt = rng.choice(_RAISES).format(source)
    if answer is None:
        return Question("raises", source, prompt, "No exception", words("No exception"), "No exception.")
    return Question("raises", source, prompt, answer, code(answer), f"It raises `{answer}`.")


def exception_of(source: str) -> str | None:
    """Name of the exception that one of our own expressions raises; None where it raises none."""
    try:
        eval(source, {"print": str})
    except Exception as error:  # which exception it is, is the answer
        return type(error).__name__
    return None


_STATEMENTS = (
    "if {n} > {m}: pass",
    "for {v} in {l}: print({v})",
    "while {v} < {n}: {v} += {m}",
    "def {v}({w}): return {w}",
    "def {v}({w}, {u}={n}): return {w} + {u}",
    "class {c}: pass",
    "{v} = {l}",
    "{v} = {{{s}: {n}}}",
    "{v} = ({n}, {m})",
    "print({s}, {n})",
    "{v} = lambda {w}: {w} * {n}",
    "import {v}",
    "from {v} import {w}",
    "return_{v} = {n}",
    "{v}[{n}] = {s}",
    "with open({s}) as {w}: pass",
    "assert {v} == {n}, {s}",
    "{v} = [{w} for {w} in {l}]",
    "{v} = {n} if {w} else {m}",
    "{v}.{w}({n}, key={m})",
    "del {v}[{n}]",
    "try: {v}()\nexcept ValueError: pass",
    "{v}, {w} = {m}, {n}",
    "{v} += {n} * ({m} + {w})",
)
_DAMAGE: tuple[Callable[[str], str], ...] = (
    lambda s: s.replace(":", "", 1),
    lambda s: s.replace(")", "", 1),
    lambda s: s.replace("(", "", 1),
    lambda s: s.replace("]", "", 1),
    lambda s: s.replace("}", "", 1),
    lambda s: s.replace(",", "", 1),
    lambda s: s.replace("=", "= =", 1),
    lambda s: s.replace("'", "", 1),
    lambda s: s.replace(" in ", " ", 1),
    lambda s: s.replace(" = ", " ", 1),
    lambda s: s + " +",
    lambda s: s + ")",
    lambda s: s.replace("return", "return return", 1),
    lambda s: s.replace("import ", "import = ", 1),
    lambda s: "else " + s,
)


def valid_question(rng: random.Random) -> Question:
    """Whether a statement, half of the time a damaged one, is valid Python."""
    v, w, u = rng.sample(WORDS, 3)
    names = {"v": v, "w": w, "u": u, "c": v.title(), "s": repr(rng.choice(WORDS)), "n": rng.randint(2, 99)}
    names |= {"m": rng.randint(2, 99), "l": [rng.randint(1, 9) for _ in range(3)]}
    form = rng.randrange(len(_STATEMENTS))
    whole = _STATEMENTS[form].format(**names)
    if rng.random() < 0.5:
        # The split goes by statement and damage together; a whole statement's goes by its words.
        return _valid(rng, whole, "Yes", f"{form}-{v}")
    while (
        True
    ):  # some damage does no harm: `f(1, 2)` without its comma is broken, `x = 1` without a bracket is not
        damage = rng.randrange(len(_DAMAGE))
        source = _DAMAGE[damage](whole)
        try:
            compile(source, "<statement>", "exec")
        except SyntaxError:
            return _valid(rng, source, "No", f"{form}-{damage}")


def _valid(rng: random.Random, source: str, answer: str, key: str) -> Question:
    return Question("valid", key, rng.choice(_VALID).format(source), answer, words(answer), f"{answer}.")
