"""The running Python's library: real modules, rendered the same in every process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from exnihilo.core.artifact import Artifact
from exnihilo.core.documents import read_documents
from exnihilo.core.errors import ConfigError
from exnihilo.corpus import python_docs
from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.python_library import library_files, module_of, read_documentation, read_library

Run = Callable[..., Artifact]
MODULES = ["json", "math", "os", "posixpath", "functools", "select", "email.mime", "test"]


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], str]:
    """{(kind, module): text} of a few modules."""
    return {
        (one.kind, one.meta["module"]): one.text for one in read_library(MODULES) if isinstance(one, Found)
    }


def documentation(found: dict[tuple[str, str], str], module: str) -> str:
    return found["Python documentation", module]


def test_a_modules_source_and_documentation_share_a_path(run_collect: Run) -> None:
    artifact = run_collect({"python": True, "modules": ["json", "math"]})
    documents = list(read_documents(artifact.path))
    decoder = [one for one in documents if one.meta["module"] == "json.decoder"]
    assert [(one.source, one.licence, one.meta["path"]) for one in decoder] == [
        ("python-source", "PSF-2.0", "json/decoder.py"),
        ("python-docs", "PSF-2.0", "json/decoder.py"),
    ]
    assert decoder[0].text == Path(json.decoder.__file__).read_text()
    # A compiled module has no source; its name stands for its path.
    assert [(one.source, one.meta["path"]) for one in documents if one.meta["module"] == "math"] == [
        ("python-docs", "math")
    ]
    sources = {entry["source"]: entry["generator"] for entry in artifact.manifest["provenance"]}
    assert sources == {"python-source": "", "python-docs": "introspection"}
    assert len({one.id for one in documents}) == len(documents)


def test_entries_carry_full_names_signatures_and_docstrings(found: dict[tuple[str, str], str]) -> None:
    text = documentation(found, "json.decoder")
    assert text.startswith("Module json.decoder\nImplementation of JSONDecoder\n\n")
    assert (
        "json.decoder.JSONDecoder(*, object_hook=None, parse_float=None, parse_int=None, parse_constant=None,"
        " strict=True, object_pairs_hook=None)\n    Simple JSON <https://json.org> decoder"
    ) in text
    assert "\n\njson.decoder.JSONDecoder.raw_decode(self, s, idx=0)\n    Decode a JSON document" in text
    assert "math.comb(n, k, /)\n    Number of ways to choose" in documentation(found, "math")


def test_names_stand_where_they_are_defined(found: dict[tuple[str, str], str]) -> None:
    package = documentation(found, "json")
    assert "\njson.JSONDecoder is json.decoder.JSONDecoder\n" in package
    assert "json.JSONDecoder(" not in package
    # os borrows from the compiled posix; os.path is posixpath or ntpath by its common name.
    assert "\nos.getcwd()\n" in documentation(found, "os")
    assert "\nos.path.join(" in documentation(found, "posixpath")
    assert ("Python documentation", "posix") not in found
    # inspect.signature raises AttributeError for some functions of this one.
    assert "select.select(" in documentation(found, "select")


def test_tests_and_tables_are_left_out() -> None:
    paths = dict(library_files(Path(json.__file__).parents[1]))
    assert paths["json/decoder.py"] is None
    assert not any("site-packages" in path or "__pycache__" in path for path in paths)
    assert all(paths[path] == "tests" for path in paths if path.startswith("test/"))
    skipped = {one.example: one.reason for one in read_library(["encodings"]) if isinstance(one, Skipped)}
    assert skipped["encodings/cp1252.py"] == "character tables"
    assert "encodings/utf_8.py" not in skipped
    assert module_of("email/mime/__init__.py") == "email.mime"


def test_a_module_that_cannot_be_imported_is_skipped_and_others_go_on() -> None:
    windows = "winreg" if sys.platform != "win32" else "pwd"
    found = list(read_documentation([("no.such", "no/such.py"), (windows, windows), ("queue", "queue.py")]))
    assert [isinstance(one, Skipped) and one.reason for one in found[:2]] == ["not importable here"] * 2
    assert isinstance(found[2], Found) and found[2].text.startswith("Module queue\n")


def test_documentation_is_the_same_in_processes_with_other_hash_seeds() -> None:
    request = json.dumps(
        [[name, name] for name in ("json", "enum", "re", "typing", "pathlib", "weakref", "os")]
    )
    outputs = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-S", "-B", python_docs.__file__],
            input=request.encode(),
            capture_output=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "HOME": f"/home/{seed}", "PYTHONUTF8": "1"},
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
    text = outputs.pop().decode()
    assert " at 0x" not in text and sys.prefix not in text and sys.base_prefix not in text


def test_defaults_that_differ_between_processes_are_not_shown() -> None:
    set_of_strings, marker = {"one", "two"}, object()

    def sample(a=marker, b=set_of_strings, c=len, d=dict, e=(1, None), f="/usr/bin", g="x" * 99):  # type: ignore[no-untyped-def]
        return None

    shown = python_docs.signature(sample)
    assert shown == "(a=..., b=..., c=len, d=dict, e=(1, None), f=..., g=...)"


def test_an_unknown_module_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no 'jsn'; did you mean 'json'\?"):
        list(read_library(["jsn"]))
