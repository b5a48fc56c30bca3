from __future__ import annotations

import random

from exnihilo.infer.prefixes import Node, prefix_tree, read_together


def _all(nodes: list[Node]) -> list[Node]:
    return [each for node in nodes for each in (node, *_all(node.children))]


def test_a_tree_of_headers_questions_and_samples() -> None:
    header = list(range(30))
    questions = [header + [100 + q] * 10 for q in range(3)]
    prompts = [question for question in questions for _ in range(4)] + [[7] * 20]
    (top,) = prefix_tree(prompts)
    assert (top.start, top.stop, sorted(top.rows)) == (0, 30, list(range(12)))
    below = sorted((node.start, node.stop, tuple(sorted(node.rows))) for node in top.children)
    assert below == [(30, 40, (0, 1, 2, 3)), (30, 40, (4, 5, 6, 7)), (30, 40, (8, 9, 10, 11))]
    assert prefix_tree(prompts, start=30)[0].start == 30


def test_what_saves_little_is_no_node() -> None:
    assert prefix_tree([[1, 2, 3, 4], [1, 2, 3, 5]]) == []
    assert prefix_tree([[1, 2]] * 8) == []
    (node,) = prefix_tree([[1, 2]] * 9)
    assert (node.start, node.stop) == (0, 2)
    assert prefix_tree([]) == prefix_tree([[1] * 50]) == []


def test_every_node_is_what_its_rows_have_in_common() -> None:
    draw = random.Random(0)
    for _ in range(50):
        prompts = [[draw.choice([1, 1, 1, 2]) for _ in range(draw.randrange(1, 40))] for _ in range(12)]
        for node in _all(prefix_tree(prompts)):
            shared = prompts[node.rows[0]][: node.stop]
            assert all(prompts[row][: node.stop] == shared for row in node.rows)
            assert (len(node.rows) - 1) * (node.stop - node.start) >= 16
            for child in node.children:
                assert child.start == node.stop and set(child.rows) <= set(node.rows)


def test_reading_together_takes_the_level_that_saves_most() -> None:
    leaves = [Node([0, 1, 2], 10, 40), Node([3, 4, 5], 10, 40)]
    top = Node([0, 1, 2, 3, 4, 5, 6], 0, 10, leaves)

    def gain(node: Node) -> int:
        return (len(node.rows) - 1) * node.stop - 50

    assert gain(top) < sum(map(gain, leaves))
    assert read_together([top], gain) == leaves
    top.stop = 30
    assert read_together([top], gain) == [top]
    assert read_together([top], lambda node: -1) == []
