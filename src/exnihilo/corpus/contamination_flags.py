"""Which items of evaluation sets training text holds, as a file that the report of an evaluation can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from exnihilo.core.errors import Refused
from exnihilo.core.files import write_json
from exnihilo.corpus import folded
from exnihilo.corpus.contamination import Hits, Index


class Flags:
    """Of each item of an index, in how many texts it was found and how much of it at most.

    The order in which hits come doesn't count, and `merge` joins what several processes have seen.

    Attributes:
        verbatim, altered: float64[items]: the largest share of an item's words in one run of a text, and of its
            5-grams close together in one; 0 where it wasn't found so.
        documents: int64[items]: texts that hold it.
    """

    def __init__(self, index: Index) -> None:
        self.index = index
        self.verbatim = np.zeros(len(index.items))
        self.altered = np.zeros(len(index.items))
        self.documents = np.zeros(len(index.items), dtype=np.int64)

    def add(self, hits: Hits) -> None:
        """Enter what was found in a batch, whose texts are in no other."""
        np.maximum.at(self.verbatim, hits.item[~hits.altered], hits.share[~hits.altered])
        np.maximum.at(self.altered, hits.item[hits.altered], hits.share[hits.altered])
        pairs = np.unique(np.stack([hits.text, hits.item]), axis=1)
        np.add.at(self.documents, pairs[1], 1)

    def merge(self, other: Flags) -> None:
        """Enter what was found in other texts with the same index."""
        self.verbatim = np.maximum(self.verbatim, other.verbatim)
        self.altered = np.maximum(self.altered, other.altered)
        self.documents = self.documents + other.documents

    def as_dict(self) -> dict[str, Any]:
        """{"normalisation", "sets": {name: {"items", "flagged": {id: {"documents", "verbatim", "altered"}}}}}.

        An item that a set holds several times is one.
        """
        sets: dict[str, dict[str, Any]] = {}
        ids: dict[str, set[str]] = {}
        for number, item in enumerate(self.index.items):
            ids.setdefault(item.set, set()).add(item.id)
            flagged = sets.setdefault(item.set, {"items": 0, "flagged": {}})["flagged"]
            if self.documents[number]:
                flagged[item.id] = {
                    "documents": int(self.documents[number]),
                    "verbatim": round(float(self.verbatim[number]), 4),
                    "altered": round(float(self.altered[number]), 4),
                }
        for name, one in sets.items():
            one["items"] = len(ids[name])
            one["flagged"] = dict(sorted(one["flagged"].items()))
        return {"normalisation": folded.NAME, "sets": dict(sorted(sets.items()))}

    def write(self, path: Path) -> None:
        """Write `as_dict` as JSON."""
        write_json(path, self.as_dict())


def flagged_ids(path: Path, set: str) -> frozenset[str]:
    """The ids of a set's items (`EvaluationItem.id`) that training text held, from a file of `Flags.write`.

    Raises Refused for a file that is none, and where that set was not looked for: it is not known to be clean then.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        name, sets = found["normalisation"], found["sets"]
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}; decontaminate the training text first") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(
            f"{path}: not a file of contamination flags; decontaminate the training text again"
        ) from error
    if name != folded.NAME:
        raise Refused(f"{path}: made with {name}, not {folded.NAME}; decontaminate the training text again")
    if set not in sets:
        raise Refused(
            f"{path}: {set} was not looked for, only {', '.join(sets) or 'nothing'}; decontaminate with it, too"
        )
    return frozenset(sets[set]["flagged"])
