"""What holds for all pages: tables like the schemas, links that lead somewhere, names of files that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from key_tables import DOCS, KEYS, keys, schema_of, updated

from exnihilo.cli.stages import COMMANDS
from exnihilo.core.config import Config
from exnihilo.recipes.stages import VERBS

PAGES = sorted(page for page in DOCS.rglob("*.md") if "decisions" not in page.parts)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]+)?\)")


def ids(page: object) -> str:
    return page.relative_to(DOCS).as_posix() if isinstance(page, Path) else str(page)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_core_9_tables_are_those_of_the_schemas(page: Path) -> None:
    assert updated(page) == page.read_text(encoding="utf-8"), "run: python tests/docs/key_tables.py --write"


@pytest.mark.parametrize("verb", sorted({*VERBS, *COMMANDS, "recipes"}))
def test_core_9_every_verb_has_a_page_with_its_keys(verb: str) -> None:
    found = KEYS.search((DOCS / f"{verb}.md").read_text(encoding="utf-8"))
    assert found is not None and found[0] == keys(schema_of(verb))


def test_core_9_a_changed_default_shows_in_the_table() -> None:
    class Before(Config):
        rows: int = 8

    class After(Config):
        rows: int = 16

    assert keys(Before) != keys(After) and "`16`" in keys(After)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        file = page.parent / target if target else page
        assert file.is_file(), f"{page.name}: {target}"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor[1:] in [re.sub(r"[^\w-]", "", title.lower().replace(" ", "-")) for title in titles]


def test_every_page_is_linked_from_the_index() -> None:
    seen: set[Path] = set()
    waiting = [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = LINK.findall(page.read_text(encoding="utf-8"))
        waiting += [(page.parent / target).resolve() for target, _ in links if target]
    assert set(PAGES) <= {page.resolve() for page in seen}


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_files_of_the_code_that_a_page_names_are_there(page: Path) -> None:
    """`src/exnihilo/…` in full, and in a "Read next" also `room/file.py` and a file of the room named before."""
    text = page.read_text(encoding="utf-8")
    source = DOCS.parent / "src" / "exnihilo"
    for name in re.findall(r"`src/exnihilo/([\w/.]+)`", text):
        assert (source / name).is_file(), name
    room = source
    following = text.partition("## Read next")[2].partition("## Change one thing")[0]
    for name in re.findall(r"`([\w/]+\.(?:py|jinja))`", following):
        path = source / name.removeprefix("src/exnihilo/")
        if path.is_file():
            room = path.parent
        assert path.is_file() or (room / name).is_file(), name


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_no_page_names_a_place_of_one_machine(page: Path) -> None:
    assert not re.search(r"(?<![\w.])/(?:home|work|tmp|root|usr|var)/", page.read_text(encoding="utf-8"))
