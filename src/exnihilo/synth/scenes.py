"""The scenes of word problems: who counts what, and the sentences in which the count changes.

Every sentence says one thing and has one number, written in digits; the number that it changes is never said, so that
who answers must have kept count.
"""

from __future__ import annotations

from dataclasses import dataclass

_NAMES = """
Ada Amir Anja Bao Bela Bruno Carla Chidi Clara Dana Davi Elif Emil Fadi Femi Freya Goran Greta Hana Hugo Ines Ivan Jana
Jonas Kai Kira Lars Leila Lina Luca Mara Mateo Mina Nadia Nils Nora Omar Otto Pavel Petra Quinn Rafa Rina Rosa Samir
Sofia Sven Tara Theo Uma Vera Viktor Wanda Yara Yusuf Zoe
"""
NAMES = _NAMES.split()


@dataclass(frozen=True)
class Scene:
    """Sentences by what they do to the count; `{who}` is a name, `{n}` (and `{m}`) a number.

    `start` gives it, `groups` gives it as n times m, `more` adds, `fewer` takes away, `times` multiplies; `share`
    divides it and `price` multiplies it, each with a question of its own; `asked` asks for the count itself.
    """

    name: str
    start: tuple[str, ...]
    groups: tuple[str, ...]
    more: tuple[str, ...]
    fewer: tuple[str, ...]
    times: tuple[str, ...]
    share: tuple[str, ...]
    price: tuple[str, ...]
    asked: tuple[str, ...]


SCENES = (
    Scene(
        "marbles",
        start=("{who} has {n} marbles.", "There are {n} marbles in the bag of {who}."),
        groups=(
            "{who} has {n} bags with {m} marbles in each.",
            "{who} fills {n} bags with {m} marbles each.",
        ),
        more=("{who} finds {n} more.", "A friend gives {who} {n} marbles.", "{who} wins {n} in a game."),
        fewer=("{who} loses {n} of them.", "{who} gives {n} to a friend.", "Then {n} roll away."),
        times=("{who} trades and has {n} times as many.",),
        share=("{who} splits them evenly between {n} boxes. How many marbles are in one box?",),
        price=("Each marble is worth {n} cents. How many cents are all of them worth?",),
        asked=("How many marbles does {who} have now?", "How many marbles are there in the end?"),
    ),
    Scene(
        "eggs",
        start=("{who} collects {n} eggs.", "There are {n} eggs in the basket of {who}."),
        groups=("{who} has {n} nests with {m} eggs in each.", "{who} packs {n} boxes with {m} eggs each."),
        more=("The hens lay {n} more.", "A neighbour brings {n} eggs.", "{who} finds {n} in the straw."),
        fewer=("{who} cooks {n} of them.", "{who} drops {n} eggs.", "A fox takes {n}."),
        times=("By the weekend there are {n} times as many.",),
        share=("{who} puts them evenly into {n} boxes. How many eggs are in one box?",),
        price=("Each egg sells for {n} cents. How many cents does {who} get for all?",),
        asked=("How many eggs are left?", "How many eggs does {who} have at the end?"),
    ),
    Scene(
        "bus",
        start=("A bus leaves with {n} people, and {who} drives it.", "{who} drives a bus with {n} people."),
        groups=("{who} drives a bus with {n} rows of {m} people.",),
        more=("At the market {n} people get on.", "At the school {n} more get on.", "Then {n} climb in."),
        fewer=("At the station {n} people get off.", "At the bridge {n} get off.", "Then {n} leave."),
        times=("At the stadium the number grows to {n} times as many.",),
        share=("They all change evenly into {n} vans. How many people are in one van?",),
        price=("Each person pays {n} coins. How many coins do all pay together?",),
        asked=("How many people are on the bus now?", "How many people does {who} drive in the end?"),
    ),
    Scene(
        "books",
        start=("A shelf of {who} holds {n} books.", "{who} owns {n} books."),
        groups=("{who} has {n} shelves with {m} books on each.",),
        more=("{who} buys {n} more books.", "{who} gets {n} as a present.", "The library adds {n} books."),
        fewer=("{who} lends {n} books.", "{who} sells {n} of them.", "{who} throws {n} old ones out."),
        times=("After a year {who} has {n} times as many.",),
        share=("They go evenly onto {n} new shelves. How many books stand on one shelf?",),
        price=("{who} needs {n} days for each book. How many days does reading all of them take?",),
        asked=("How many books does {who} have now?", "How many books are there?"),
    ),
    Scene(
        "savings",
        start=("{who} has saved {n} coins.", "There are {n} coins in the jar of {who}."),
        groups=("{who} works {n} days for {m} coins a day.", "{who} saves for {n} weeks, {m} coins a week."),
        more=("{who} earns {n} coins.", "An aunt sends {n} coins.", "{who} sells a toy for {n} coins."),
        fewer=(
            "{who} spends {n} coins on food.",
            "A ticket costs {who} {n} coins.",
            "{who} pays {n} coins back.",
        ),
        times=("With luck the sum becomes {n} times as much.",),
        share=("{who} shares the money evenly among {n} children. How many coins does one child get?",),
        price=("For each coin {who} gets {n} stamps. How many stamps does {who} get?",),
        asked=("How many coins does {who} have now?", "How many coins are left?"),
    ),
    Scene(
        "garden",
        start=("{who} grows {n} tulips.", "In the garden of {who} stand {n} tulips."),
        groups=("{who} plants {n} rows of {m} tulips.", "{who} has {n} beds with {m} tulips in each."),
        more=("{who} plants {n} more.", "In spring {n} new ones open.", "A gardener adds {n} tulips."),
        fewer=("{who} picks {n} of them.", "Snails eat {n}.", "{who} sells {n} tulips."),
        times=("A year later there are {n} times as many.",),
        share=("{who} ties them evenly into {n} bunches. How many tulips are in one bunch?",),
        price=("Each tulip has {n} leaves. How many leaves do they have together?",),
        asked=("How many tulips are there now?", "How many tulips does {who} have?"),
    ),
    Scene(
        "bakery",
        start=("{who} bakes {n} rolls.", "On the counter of {who} lie {n} rolls."),
        groups=(
            "{who} bakes {n} trays with {m} rolls on each.",
            "{who} fills {n} baskets with {m} rolls each.",
        ),
        more=("{who} bakes {n} more.", "A helper brings {n} rolls.", "From the oven come {n} more."),
        fewer=("{who} sells {n} of them.", "{who} burns {n} rolls.", "A school buys {n}."),
        times=("For a feast {who} makes it {n} times as many.",),
        share=("{who} packs them evenly into {n} bags. How many rolls are in one bag?",),
        price=("Each roll costs {n} coins. How many coins do all of them cost?",),
        asked=("How many rolls are left?", "How many rolls does {who} have now?"),
    ),
    Scene(
        "sheep",
        start=("{who} keeps {n} sheep.", "On the hill of {who} graze {n} sheep."),
        groups=("{who} has {n} fields with {m} sheep on each.", "{who} counts {n} flocks of {m} sheep."),
        more=("{who} buys {n} sheep.", "In March {n} lambs are born.", "From the valley {n} more come."),
        fewer=("{who} sells {n} sheep.", "Over the fence {n} run away.", "A wolf scares {n} off."),
        times=("After some years the flock is {n} times as large.",),
        share=("{who} leads them evenly into {n} barns. How many sheep are in one barn?",),
        price=("Each sheep gives {n} bags of wool. How many bags of wool are that?",),
        asked=("How many sheep does {who} have now?", "How many sheep are there in the end?"),
    ),
)
