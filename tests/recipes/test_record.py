"""YAML that is written is read back equal, by our reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from exnihilo.core.config import read_yaml
from exnihilo.recipes.paths import absolute, relative
from exnihilo.recipes.record import to_yaml


@pytest.mark.parametrize(
    "value",
    ["1e-3", "1e5", "010", "0x10", "1_000", "no", "on", "~", "null", "", " a ", "a: b", "# c", "2024-01-01",
     "1:30", "-", "+1", ".5", ".inf", "é\n\tü", "'", '"', "=", "<<", "@x", "`", "%", 1e-3, 1e-30, 3.0, 10**20,
     True, None, []],
)  # fmt: skip
def test_core_3_every_scalar_survives_yaml(value: object, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(to_yaml({"value": value, "list": [value], "deep": {"é": value}}), encoding="utf-8")
    read = read_yaml(file)
    assert read == {"value": value, "list": [value], "deep": {"é": value}}
    assert type(read["value"]) is type(value)


def test_paths_are_written_so_that_they_cannot_be_taken_for_stages(tmp_path: Path) -> None:
    write, read = relative(tmp_path / "runs" / "a"), absolute(tmp_path / "runs" / "a")
    cases = {"x": "../../x", "runs/a/x": "./x", "runs/b/x*.txt": "../b/x*.txt", "runs/a": "."}
    for path, written in cases.items():
        assert write(str(tmp_path / path)) == written
        assert read(written) == str(tmp_path / path)
    assert absolute(tmp_path)("~/x") == str(Path.home() / "x")
