"""What the parts of wikitext are called: sections that list sources, namespaces, templates, elements."""

from __future__ import annotations


def _headings(listed: str) -> frozenset[str]:
    return frozenset(listed.split("|"))


# Headings of sections without prose, by language of the site.
LISTING_SECTIONS = {
    "en": _headings(
        "references|notes|footnotes|external links|see also|further reading|bibliography|sources|citations"
        "|notes and references|works cited|gallery"
    ),
    "de": _headings(
        "einzelnachweise|weblinks|literatur|siehe auch|quellen|anmerkungen|fußnoten|belege|nachweise"
    ),
    "fr": _headings(
        "références|notes et références|liens externes|voir aussi|bibliographie|notes|articles connexes|sources"
        "|annexes"
    ),
    "es": _headings(
        "referencias|enlaces externos|véase también|bibliografía|notas|notas y referencias|fuentes"
        "|lecturas adicionales"
    ),
    "zh": _headings(
        "参考文献|參考文獻|参考资料|參考資料|外部链接|外部連結|外部連接|参见|參見|参看|參看|注释|註釋|注解|脚注"
        "|延伸阅读|延伸閱讀|相关条目|相關條目"
    ),
    "ar": _headings(
        "مراجع|المراجع|وصلات خارجية|روابط خارجية|انظر أيضا|انظر أيضًا|اقرأ أيضا|اقرأ أيضًا|هوامش|ملاحظات|مصادر"
        "|المصادر"
    ),
}

NOT_TEXT = frozenset({"file", "image", "category", "media"})  # namespaces, under their names in any site

# Templates that stand for text: which of their arguments it is, or which sign.
TEXT_TEMPLATES = {"lang": 2, "nowrap": 1, "nobr": 1, "abbr": 1, "small": 1, "transl": 2, "ipa": 1}
SIGN_TEMPLATES = {"nbsp": "\u00a0", "ndash": "–", "mdash": "—", "snd": " – ", "spaced ndash": " – ", "!": "|"}

# Elements that go with what is in them, and those that are kept as they stand.
DROPPED = frozenset(
    {"ref", "references", "gallery", "timeline", "score", "graph", "mapframe", "maplink", "templatedata"}
    | {"imagemap", "style", "hiero", "chem", "ce"}
)
VERBATIM = frozenset({"nowiki", "pre", "code", "tt", "syntaxhighlight", "source", "math"})
