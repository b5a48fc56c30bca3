"""How much of a page's main text is kept, and how much else, by lines: precision and recall over layouts of the web.

A page is written with its main text between the marks ⟦ and ⟧, each expected line once. Precision is the share of
the extracted lines that are expected, recall the share of the expected lines that were extracted.
"""
# ruff: noqa: E501  (pages are as wide as they are)

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from exnihilo.corpus.findings import Found
from exnihilo.corpus.html import read_html

ARTICLE = (
    "⟦The river carries sand and gravel down from the hills every spring.⟧",
    "⟦In summer the water is low, and children cross it on foot.⟧",
    "⟦By October the first storms have washed the banks away again.⟧",
)
PAGES = {
    "blog": """<header class="site-header"><a href="/">My blog</a><nav><a href="/a">About</a></nav></header>
        <div class="content"><h1>⟦Along the river⟧</h1><p class="byline">⟦By A. Walker, 4 May 2021⟧</p><p>{0}</p><p>{1}</p>
        <p>{2}</p><div class="share-buttons"><a href="#">Tweet</a><a href="#">Mail</a></div></div>
        <div class="sidebar"><h3>Recent posts</h3><ul><li><a href="1">One</a></li></ul></div>
        <footer>© 2021 My blog</footer>""",
    "news": """<div id="top-banner">Subscribe now for one euro</div><ul class="menu"><li><a href="1">Politics</a></li><li>
        <a href="2">Sports</a></li><li><a href="3">Culture</a></li></ul><article><h1>⟦Hochwasser am Oberlauf⟧</h1>
        <p>⟦Der Fluss ist in der Nacht um einen Meter gestiegen.⟧</p><figure><img src="a.jpg" alt="Foto"><figcaption>
        ⟦Sandsäcke an der Brücke.⟧</figcaption></figure><aside>Lesen Sie auch: Ebbe im Herbst</aside>
        <p>⟦Die Feuerwehr rät, die Keller zu räumen.⟧</p></article><section class="related"><h2>Mehr zum Thema</h2>
        <p><a href="4">Damm gebrochen</a></p></section><div class="cookie-consent"><p>Wir verwenden Cookies.</p></div>""",
    "documentation": """<nav class="toc"><a href="#a">Install</a><a href="#b">Use</a></nav><main><h1>⟦Measuring the flow⟧</h1>
        <p>⟦Call the function with a station's name.⟧</p><pre><code>⟦flow = measure("upper bridge")⟧
⟦print(flow.mean())⟧</code></pre><ul><li>⟦mean: cubic metres a second⟧</li><li>⟦peak: the largest of the day⟧</li></ul>
        </main><div class="pagination"><a href="p">Previous</a><a href="n">Next</a></div>""",
    "encyclopedia": """<div id="mw-navigation"><ul><li><a href="1">Accueil</a></li><li><a href="2">Aide</a></li><li>
        <a href="3">Dons</a></li></ul></div><div id="content" class="mw-body"><h1>⟦Loire⟧</h1><p>⟦La <a href="f">Loire</a>
        est le plus long <a href="g">fleuve</a> de <a href="h">France</a>.⟧</p><table class="infobox"><tr><th>⟦Longueur
        </th><td>1 006 km⟧</td></tr></table><h2>⟦Cours⟧<span class="editsection">[modifier]</span></h2>
        <p>⟦Elle prend sa source au mont Gerbier-de-Jonc.⟧</p></div><div id="footer">Conditions d’utilisation</div>""",
    "forum": """<div class="breadcrumbs"><a href="/">Foro</a> › <a href="/r">Ríos</a></div><div class="post"><p>⟦¿Alguien ha
        cruzado el río en verano?⟧</p></div><div class="post"><p>⟦Sí, en julio el agua llega a las rodillas.⟧</p>
        <div class="signature">Enviado desde mi móvil</div></div><div class="post"><p>⟦Con cuidado: las piedras
        resbalan.⟧</p></div><form class="search"><input name="q"><button>Buscar</button></form>""",
    "shop": """<header><nav><a href="/c">Cart</a></nav></header><div class="product"><h1>⟦Walking pole, 120 cm⟧</h1>
        <p>⟦Made of ash, with a steel tip for wet stones.⟧</p><button>Add to cart</button></div><div class="recommended">
        <h2>Others bought</h2><p>Boots</p><p>Maps</p></div><footer><p>Imprint</p><p>Returns</p></footer>""",
    "chinese news": """<div class="nav"><a href="1">首页</a><a href="2">国际</a><a href="3">体育</a></div><div class="article">
        <h1>⟦河水上涨⟧</h1><p>⟦昨天夜里，河水上涨了一米。⟧</p><p>⟦两岸的居民已经撤离，没有人受伤。⟧</p></div>
        <div class="copyright">版权所有 二〇二一年</div>""",
    "arabic blog": """<div class="menu"><a href="1">الرئيسية</a><a href="2">اتصل بنا</a></div><div dir="rtl"><h1>⟦على ضفة
        النهر⟧</h1><p>⟦يحمل النهر الرمل والحصى من الجبال كل ربيع.⟧</p><p>⟦وفي الصيف يعبره الأطفال مشيا.⟧</p></div>
        <div class="social"><a href="3">تابعنا</a></div>""",
    "russian page in tables": """<table width="100%"><tr><td><a href="1">Главная</a> <a href="2">Карта</a> <a href="3">Почта</a>
        </td></tr></table><table><tr><td><h2>⟦Весеннее половодье⟧</h2><p>⟦Река несёт песок и камни через долину.⟧</p>
        <p>⟦К маю вода уходит, и берега снова сухие.⟧</p></td></tr></table><p><small>Счётчик посещений: 1042</small></p>""",
    "recipe": """<div class="ads">Buy our pans</div><div class="entry"><h1>⟦Trout with butter⟧</h1><p>⟦Clean the fish on the
        bank, as soon as it is caught.⟧</p><ul><li>⟦one trout⟧</li><li>⟦50 g of butter⟧</li><li>⟦salt⟧</li></ul><ol>
        <li>⟦Heat the butter.⟧</li><li>⟦Fry the trout for four minutes a side.⟧</li></ol></div>
        <div class="newsletter"><p>Get recipes by mail</p></div><div class="comments"><p>⟦Lovely!⟧</p></div>""",
    "links in the text": """<nav>Menu</nav><article><h1>⟦Rivers by length⟧</h1><p>⟦These are the three longest.⟧</p><ol>
        <li>⟦<a href="1">The Nile</a>, in eleven countries⟧</li><li>⟦<a href="2">The Amazon</a>, the widest of all⟧</li>
        <li>⟦<a href="3">The Yangtze</a>, within one country⟧</li></ol></article><div id="social-bar">Follow us</div>""",
    "unmarked": """<div class="x1"><a href="1">Home</a> | <a href="2">News</a> | <a href="3">Contact</a></div>
        <div class="x2"><p>{0}</p><p>{1}</p><p>{2}</p></div><div class="x3">All rights reserved.</div>""",
    "hungarian poem": """<div role="navigation"><a href="1">Kezdőlap</a></div><div role="main"><h1>⟦A folyó⟧</h1>
        <p>⟦Viszi a víz a homokot,⟧<br>⟦viszi a kavicsot,⟧<br>⟦s tavasszal a partot is.⟧</p></div>
        <div role="contentinfo">Impresszum</div>""",
    "questions": """<div class="has-sidebar"><h1>⟦Why is the river brown?⟧</h1><div class="answer"><p>⟦Because it carries clay
        after the rain.⟧</p></div><div class="answer"><p>⟦Upstream there is a quarry, too.⟧</p></div><div id="sidebar">
        <h4>Hot questions</h4><p>Why is the sky blue?</p></div></div><dialog>Sign in to vote</dialog>""",
}  # fmt: skip


def lines(text: str) -> Counter[str]:
    """The lines of a text without the marks of lists and the cells' gaps: what a reader takes for one line."""
    found = (re.sub(r"\s+", " ", line).strip(" •|").strip() for line in text.split("\n"))
    return Counter(re.sub(r"^\d+\. ", "", line) for line in found if line)


def expected_lines(page: str) -> Counter[str]:
    parts = re.findall(r"⟦(.*?)⟧", page, re.DOTALL)
    cells = (re.sub(r"</t[hd]>\s*", " ", part.replace("\n", " ")) for part in parts)
    return lines("\n".join(re.sub(r"<[^>]*>", "", cell) for cell in cells))


def extracted_lines(page: str) -> Counter[str]:
    found = read_html(f"<html><body>{re.sub('[⟦⟧]', '', page)}</body></html>", "a.html")
    assert isinstance(found, Found)
    return lines(found.text)


def all_lines(page: str) -> Counter[str]:
    """The control: a reader that leaves nothing out."""
    tree = HTMLTree.parse(f"<html><body>{re.sub('[⟦⟧]', '', page)}</body></html>")
    return lines(extract_plain_text(tree.body.html, preserve_formatting=True))


def measure(read: Callable[[str], Counter[str]]) -> tuple[float, float, str]:
    """Precision and recall over all pages, and the lines that are wrong: + too much, - missing."""
    right = extracted = expected = 0
    wrong: list[str] = []
    for name, page in PAGES.items():
        page = page.format(*ARTICLE)
        got, wanted = read(page), expected_lines(page)
        right, extracted, expected = (
            right + (got & wanted).total(),
            extracted + got.total(),
            expected + wanted.total(),
        )
        wrong += [f"{name}: + {line}" for line in got - wanted] + [
            f"{name}: - {line}" for line in wanted - got
        ]
    return right / extracted, right / expected, "\n".join(wrong)


def test_precision_and_recall_of_lines_over_fourteen_layouts() -> None:
    assert len(PAGES) == 14
    precision, recall, wrong = measure(extracted_lines)
    assert precision >= 0.91 and recall >= 0.98, (
        f"{precision:.3f} {recall:.3f}\n{wrong}"
    )  # measured: 0.918, 0.982


def test_the_pages_tell_a_reader_that_leaves_nothing_out() -> None:
    precision, recall, _ = measure(all_lines)
    assert precision < 0.55 and recall >= 0.98  # measured: 0.544, 0.982
