"""All cases of bad input, in the groups in which the page shows them."""

from __future__ import annotations

from dataclasses import dataclass

import bad_artifacts
import bad_conversations
import bad_looks
import bad_machine
import bad_models
import bad_names
import bad_options
import bad_questions
import bad_recipes
import bad_rows
import bad_sizes
import bad_text
import bad_tokenizers
import bad_values
import bad_wiring
from bad_case import Case


@dataclass(frozen=True)
class Group:
    """Cases of one kind, with a title and a sentence about what they have in common."""

    title: str
    about: str
    cases: list[Case]


GROUPS = [
    Group(
        "Options and keys",
        "Found before any work begins, with the nearest name that there is.",
        bad_options.CASES,
    ),
    Group(
        "Impossible and contradictory values",
        "The answer names the key, the value and what is allowed.",
        bad_values.CASES,
    ),
    Group("Recipes and config files", "All mistakes of a recipe are told at once.", bad_recipes.CASES),
    Group("Wiring", "What a stage reads, checked before the first stage runs.", bad_wiring.CASES),
    Group(
        "Missing recipes, runs and models",
        "What was looked for, and what to give instead.",
        bad_names.CASES,
    ),
    Group(
        "Text",
        "Files and rows that cannot be read are left out and counted; only where nothing is left it is a failure.",
        bad_text.CASES,
    ),
    Group("Too little and too long", "Sizes that do not go together.", bad_sizes.CASES),
    Group(
        "Files of conversations",
        "`exnihilo data check FILE` shows what a file holds.",
        bad_conversations.CASES,
    ),
    Group(
        "Conversations",
        "A bad row is left out and told; a file of bad rows alone is refused.",
        bad_rows.CASES,
    ),
    Group(
        "Questions with verifiers",
        "A question that cannot be checked is refused.",
        bad_questions.CASES,
    ),
    Group("Tokenizers and chat templates", "Checked before anything is trained.", bad_tokenizers.CASES),
    Group("Models", "A folder in the Hugging Face layout that somebody brought.", bad_models.CASES),
    Group(
        "Altered artifacts", "An input is compared with its hashes before it is used.", bad_artifacts.CASES
    ),
    Group("Looks and experiments", "Of `explain`, `tokens show` and `lab`.", bad_looks.CASES),
    Group("This machine", "Ports, folders, space and memory.", bad_machine.CASES),
]
CASES = [case for group in GROUPS for case in group.cases]
