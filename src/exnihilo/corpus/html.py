"""The main text of a web page, without its navigation, banners and footers.

resiliparse parses the page and lays out its text. What to leave out is decided here, because its own
main-content heuristic (2.0.1) drops every unordered list, also in the middle of an article.
"""

from __future__ import annotations

import re
from typing import Any

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.sniff import Format

# Elements that are never the text of a page, by tag, by attribute and by ARIA role.
_NEVER_TEXT = (
    "script, style, noscript, template, nav, footer, aside, button, select, input, textarea, iframe, object,"
    " embed, img, svg, canvas, audio, video, dialog, menu, [hidden], [aria-hidden=true], [role=navigation],"
    " [role=banner], [role=contentinfo], [role=search], [role=complementary], [role=dialog], [role=alert],"
    " [role=menu], [role=menubar], [role=toolbar]"
)
_NAMES = re.compile(
    r"(?:^|[-_ ])(?:nav|navbar|navigation|menu|sidebar|breadcrumbs?|cookies?|consent|gdpr|banner|adverts?|"
    r"ads?|sponsor(?:ed)?|share|sharing|social|related|recommended|newsletter|subscribe|pagination|pager|skip|popup|"
    r"modal|footer|masthead|copyright)(?:$|[-_ ])",
    re.IGNORECASE,
)
_CONTAINERS = frozenset({"div", "section", "ul", "ol", "table", "p", "header", "form", "span"})
# A list of links (a menu, related posts) has nearly all of its letters in links; prose has a few percent.
_LINK_SHARE = 0.8
_LINK_COUNT = 3
# A wrapper around most of the page is no banner, whatever its class says ("has-sidebar").
_WRAPPER_SHARE = 0.5
# Where HTML's standard says that a page must state its encoding.
_PRESCAN = 1024
_CHARSET = re.compile(rb"""(?:charset|<\?xml[^>]*encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
# An element marked as the main one is believed if it holds at least this share of the page's letters.
_MAIN_SHARE = 0.25


def stated_encoding(data: bytes) -> str | None:
    """The encoding that a page's meta tag or XML declaration names in its first bytes, as it is written there."""
    found = _CHARSET.search(data[:_PRESCAN])
    return found.group(1).decode("ascii") if found else None


def read_html(html: str, name: str) -> Found | Skipped:
    """The main text of a page, and its title in `meta`."""
    tree = HTMLTree.parse(html)
    body = tree.body
    text = main_text(tree) if body is not None else ""
    if not text:
        return Skipped("no text in the page", name)
    title = " ".join((tree.title or "").split())
    return Found(text, Format.HTML, {"path": name} | ({"title": title} if title else {}))


def main_text(tree: HTMLTree) -> str:
    """The text of a parsed page by paragraphs, lists and preformatted blocks. The tree is altered."""
    body = tree.body
    _remove_boilerplate(body, _letters(body))
    root = _main_element(body)
    # Images are gone by now: alt_texts=False would drop whole figures, with the code or caption in them.
    text: str = extract_plain_text(root.html, preserve_formatting=True)
    lines = [line.rstrip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _main_element(body: Any) -> Any:
    for selector in ("main", "[role=main]", "article"):
        found = list(body.query_selector_all(selector))
        if len(found) == 1 and _letters(found[0]) >= _MAIN_SHARE * _letters(body):
            return found[0]
    return body


def _remove_boilerplate(body: Any, page_letters: int) -> None:
    # A stack of its own: pages with thousands of nested elements exist.
    stack = [body.first_element_child]
    while stack:
        element = stack.pop()
        if element is None:
            continue
        stack.append(element.next_element_sibling)
        if _is_boilerplate(element, page_letters):
            element.decompose()
        else:
            stack.append(element.first_element_child)


def _is_boilerplate(element: Any, page_letters: int) -> bool:
    if element.matches(_NEVER_TEXT):
        return True
    if element.tag not in _CONTAINERS:
        return False
    names = f"{element.class_name or ''} {element.id or ''}"
    if _NAMES.search(names) and _letters(element) < _WRAPPER_SHARE * page_letters:
        return True
    return element.tag in ("ul", "ol", "div", "table") and _is_list_of_links(element)


def _is_list_of_links(element: Any) -> bool:
    links = list(element.query_selector_all("a"))
    if len(links) < _LINK_COUNT:
        return False
    return sum(map(_letters, links)) >= _LINK_SHARE * max(_letters(element), 1)


def _letters(element: Any) -> int:
    return sum(map(len, element.text.split()))
