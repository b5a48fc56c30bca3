"""The family `scope`: questions from outside Python, and Python questions that look like them.

The right answer outside is an honest "I don't know". Half of the items are inside and have an answer, in the same
words and about the same cities and people: a model that says that it doesn't know to everything gets half of them.
"""

from __future__ import annotations

import random

from exnihilo.synth.question import Question, code

_PLACES = """
Paris London Berlin Madrid Lisbon Vienna Athens Oslo Dublin Prague Cairo Nairobi Lagos Tunis Lima Bogota Quito
Havana Toronto Boston Chicago Denver Dallas Seattle Tokyo Kyoto Seoul Beijing Hanoi Delhi Mumbai Dhaka Sydney Perth
Norway Sweden Finland Poland France Spain Italy Greece Turkey Egypt Kenya Ghana Chile Peru Brazil Mexico Canada
Japan China India Nepal
"""
_PEOPLE = """
Einstein Newton Darwin Curie Galileo Kepler Pasteur Tesla Edison Mozart Bach Chopin Verdi Rembrandt Picasso Monet
Shakespeare Tolstoy Homer Dante Cervantes Austen Dickens Plato Cleopatra Caesar Napoleon Lincoln Gandhi Magellan
Columbus Armstrong
"""
PLACES, PEOPLE = _PLACES.split(), _PEOPLE.split()
_THINGS = [
    "a violin",
    "a bridge",
    "bread",
    "soup",
    "a garden",
    "a boat",
    "cheese",
    "a kite",
    "a candle",
    "wine",
    "tea",
    "rice",
    "glass",
    "paper",
    "a chair",
]
_SUBJECTS = [
    "football",
    "chess",
    "opera",
    "sailing",
    "poetry",
    "astronomy",
    "medicine",
    "law",
    "painting",
    "dancing",
    "cooking",
    "history",
]

# Topic by topic, so that whole topics can be kept for evaluation.
_OUTSIDE: dict[str, tuple[str, ...]] = {
    "capital": ("What is the capital of {place}?", "Which city is the capital of {place}?"),
    "people-in": ("How many people live in {place}?", "What is the population of {place}?"),
    "weather": ("What is the weather in {place} today?", "Will it rain in {place} tomorrow?"),
    "travel": ("How do I get from {place} to {place2}?", "How far is it from {place} to {place2}?"),
    "born": ("When was {person} born?", "Where was {person} born?"),
    "work": ("What is {person} famous for?", "What did {person} discover?"),
    "family": ("Who was the mother of {person}?", "Did {person} have children?"),
    "recipe": ("How do I make {thing}?", "What do I need for making {thing}?"),
    "price": ("What does {thing} cost in {place}?", "Where can I buy {thing}?"),
    "opinion": ("Do you like {subject}?", "What do you think about {subject}?"),
    "champion": ("Who is the best at {subject} in {place}?", "Who won the {subject} prize in 19{two}?"),
    "language": (
        "How do you say {thing} in the language of {place}?",
        "Which language do they speak in {place}?",
    ),
    "self": ("How old are you?", "What did you do in {place}?", "Have you ever been to {place}?"),
    "year": ("What happened in {place} in 18{two}?", "Who ruled {place} in 17{two}?"),
    "river": ("Which river flows through {place}?", "How high are the mountains of {place}?"),
    "advice": ("Should I learn {subject}?", "Is {subject} good for me?"),
    "book": ("Which books did {person} write?", "Who wrote about {person}?"),
    "food": ("What do people eat in {place}?", "Is {thing} healthy?"),
}
_INSIDE = (
    "What does `len({word!r})` evaluate to?",
    "What is the type of `{word!r}`?",
    "What does `{word!r}.upper()` evaluate to?",
    "What does `{word!r}.lower()` evaluate to?",
    "What does `{word!r}[0]` evaluate to?",
    "What is `[{word!r}, {other!r}][1]`?",
    "What is `[{word!r}, {other!r}][0]`?",
    "What is the type of `[{word!r}, {other!r}]`?",
    "What does `{word!r} == {other!r}` evaluate to?",
)
REPLY = "I don't know. I only know Python and its library."


def scope_question(rng: random.Random) -> Question:
    """Outside or inside, with equal chance."""
    if rng.random() < 0.5:
        topic = rng.choice(list(_OUTSIDE))
        place, place2 = rng.sample(PLACES, 2)
        prompt = rng.choice(_OUTSIDE[topic]).format(
            place=place,
            place2=place2,
            person=rng.choice(PEOPLE),
            thing=rng.choice(_THINGS),
            subject=rng.choice(_SUBJECTS),
            two=rng.randint(10, 99),
        )
        return Question("scope", f"outside-{topic}", prompt, "I don't know", {"kind": "unknown"}, REPLY)
    form = rng.randrange(len(_INSIDE))
    word, other = rng.sample(PLACES + PEOPLE, 2)
    prompt = _INSIDE[form].format(word=word, other=other)
    source = prompt.split("`")[1]
    value = eval(source)  # our own text: a literal, or one method of it
    type_asked = "type" in prompt
    answer = type(value).__name__ if type_asked else repr(value)
    return Question(
        "scope",
        f"inside-{form}-{word}",
        prompt,
        answer,
        code(answer),
        f"It is {'a ' if type_asked else ''}`{answer}`.",
    )
