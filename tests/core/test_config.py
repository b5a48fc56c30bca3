"""Configs: what is accepted, and what is refused with a line that says how to mend it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import Field, field_validator, model_validator

from exnihilo.core.config import (
    Config,
    Count,
    ModelRef,
    Ref,
    TokensRef,
    key_table,
    merge,
    parse_flags,
    read_yaml,
    references,
    resolve,
    result_config,
    validate,
)
from exnihilo.core.errors import ConfigError


class Optim(Config):
    lr: float = Field(0.02, gt=0, description="peak learning rate")
    kind: Literal["muon", "adamw"] = "muon"
    clip: float | None = Field(1.0, ge=0)


class Model(Config):
    params: Count | None = None
    depth: int | None = Field(None, ge=1)


class FromPath(Config):
    path: str
    name: str | None = None


class FromPython(Config):
    python: bool


class Train(Config):
    tokens: TokensRef = "tokens"
    source: FromPath | FromPython | list[FromPath | FromPython] = Field(FromPython(python=True), alias="from")
    vocabulary: int | Literal["auto"] = "auto"
    model: Model = Model()
    optim: Optim = Optim()
    name: str = "x"
    stop: list[str] = Field(default_factory=list)
    steps: int = Field(10, ge=0, json_schema_extra={"horizon": True})
    log_every: int = Field(10, json_schema_extra={"cosmetic": True})
    compile: bool = False
    threshold: float | None = 0.5


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refused(**given: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(Train, **{"environ": {}, **given})
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_core_1_unknown_key_in_yaml_names_file_path_and_nearest(tmp_path: Path) -> None:
    file = write(tmp_path / "r.yaml", "stpes: 5\nmodel: {depht: 3}\n")
    assert refused(files=[file], where="base").splitlines() == [
        f"{file}: base.model.depht: unknown key; did you mean base.model.depth?",
        f"{file}: base.stpes: unknown key; did you mean base.steps?",
    ]


def test_core_1_unknown_key_as_a_flag() -> None:
    flags = parse_flags(["--stpes", "5"])
    assert refused(flags=flags, where="base") == "--base.stpes: unknown key; did you mean --base.steps?"
    assert refused(flags=flags) == "--stpes: unknown key; did you mean --steps?"


def test_core_1_unknown_key_in_the_environment_of_a_stage() -> None:
    assert refused(environ={"EXNIHILO_BASE__STPES": "5"}, where="base") == (
        "EXNIHILO_BASE__STPES: base.stpes: unknown key; did you mean base.steps?"
    )


def test_a_key_in_the_wrong_section_is_found_and_one_like_nothing_lists_what_is_allowed() -> None:
    assert refused(flags={"lr": "1"}) == "--lr: unknown key; did you mean --optim.lr?"
    line = refused(flags={"optim": {"zzz": "1"}})
    assert line == "--optim.zzz: unknown key; allowed: lr, kind, clip"


def test_a_misspelt_required_key_is_one_problem() -> None:
    class Needs(Config):
        tokens: TokensRef

    with pytest.raises(ConfigError) as caught:
        validate(Needs, {"tokns": "x"}, where="r.yaml")
    assert str(caught.value) == "r.yaml: tokns: unknown key; did you mean tokens?"
    with pytest.raises(
        ConfigError, match=r"^r\.yaml: tokens: required; allowed: tokens \(a stage or a path\)$"
    ):
        validate(Needs, {}, where="r.yaml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [1", "r.yaml:1: expected ',' or ']'"),
        (b"a: 1\nsteps: 3\nsteps: 4\n", "r.yaml:3: the key 'steps' is given twice"),
        (b"no: 1\n", "r.yaml:1: the key False is not text"),
        (b"a: \xff\n", "not UTF-8 text (byte 3)"),
        (b"- a\n", "a mapping of keys is wanted, not a list"),
        (b"a: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
        (None, "No such file or directory"),
    ],
)
def test_core_2_a_bad_file_is_one_line_and_exit_code_2(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "r.yaml"
    if content is not None:
        path.write_bytes(content)
    line = refused(files=[path])
    assert said in line
    assert line.startswith(str(path))
    assert "\n" not in line


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"steps": "abc"}, 'r: steps: got "abc"; allowed: int ≥ 0'),
        ({"steps": -1}, "r: steps: got -1; allowed: int ≥ 0"),
        ({"steps": 2.5}, "r: steps: got 2.5; allowed: int ≥ 0"),
        ({"steps": True}, "r: steps: got true; allowed: int ≥ 0"),
        ({"model": {"depth": 0}}, "r: model.depth: got 0; allowed: int ≥ 1 | null"),
        ({"model": {"params": "8.5"}}, 'r: model.params: got "8.5"; allowed: count such as 8M | null'),
        ({"model": 3}, "r: model: got 3; allowed: mapping of params, depth"),
        ({"optim": {"kind": "muom"}}, 'r: optim.kind: got "muom"; allowed: muon | adamw'),
        ({"optim": {"lr": float("nan")}}, "r: optim.lr: got NaN; allowed: float > 0"),
        ({"vocabulary": "all"}, 'r: vocabulary: got "all"; allowed: int | auto'),
        ({"stop": "a"}, 'r: stop: got "a"; allowed: list of text'),
        ({"name": 3}, "r: name: got 3; allowed: text (quote it: it is text here)"),
        ({"from": {"pth": "x"}}, "r: from.pth: unknown key; did you mean from.path?"),
        ({"from": [{"path": 1}]}, "r: from[0].path: got 1; allowed: text (quote it: it is text here)"),
    ],
)
def test_core_2_a_bad_value_says_what_was_given_and_what_is_allowed(
    values: dict[str, Any], line: str
) -> None:
    assert refused(files=[("r", values)]) == line


def test_core_2_every_problem_is_listed_at_once_with_where_it_was_written() -> None:
    lines = refused(
        files=[("a.yaml", {"steps": "x"}), ("b.yaml", {"model": {"depth": 0}})],
        flags=parse_flags(["--optim.lr", "fast"]),
        environ={"EXNIHILO_VOCABULARY": "y"},
    )
    assert lines.splitlines() == [
        'EXNIHILO_VOCABULARY: vocabulary: got "y"; allowed: int | auto',
        "b.yaml: model.depth: got 0; allowed: int ≥ 1 | null",
        '--optim.lr: got "fast"; allowed: float > 0',
        'a.yaml: steps: got "x"; allowed: int ≥ 0',
    ]


def test_a_flag_needs_its_value_and_is_given_once() -> None:
    assert refused(flags=parse_flags(["--steps"])) == "--steps: a value is missing; allowed: int ≥ 0"
    assert refused(flags=parse_flags(["--steps", "1", "--steps=2"])) == "--steps: given 2 times; give it once"
    assert resolve(Train, flags=parse_flags(["--compile"]), environ={}).compile is True
    assert resolve(Train, flags=parse_flags(["--stop", "a", "--stop", "b"]), environ={}).stop == ["a", "b"]


def test_a_schemas_own_message_is_kept() -> None:
    class Checked(Config):
        a: int = 1
        b: int = 2

        @model_validator(mode="after")
        def _ordered(self) -> Checked:
            if self.a > self.b:
                raise ValueError("a must not be above b; lower a")
            return self

    with pytest.raises(ConfigError, match=r"^r\.yaml: a must not be above b; lower a$"):
        validate(Checked, {"a": 3}, where="r.yaml")


def test_a_schemas_own_message_about_a_count_is_kept() -> None:
    class Checked(Config):
        width: Count = 64

        @field_validator("width", mode="after")
        @classmethod
        def _multiple(cls, width: int) -> int:
            if width % 64:
                raise ValueError("give a multiple of 64")
            return width

    assert validate(Checked, {"width": "64k"}, where="r").width == 64_000
    with pytest.raises(ConfigError, match=r"^r: width: give a multiple of 64 \(got 65\)$"):
        validate(Checked, {"width": 65}, where="r")


def test_core_3_yaml_scalars(tmp_path: Path) -> None:
    file = write(tmp_path / "r.yaml", "optim: {lr: 1e-3, clip: 1E+2}\nsteps: 1_000\nmodel: {params: 3.5M}\n")
    config = resolve(Train, files=[file], environ={})
    assert config.optim.lr == 0.001 and isinstance(config.optim.lr, float)
    assert (config.optim.clip, config.steps, config.model.params) == (100.0, 1000, 3_500_000)


@pytest.mark.parametrize("word", ["no", "yes", "on", "Off"])
def test_core_3_a_bare_boolean_in_a_text_field_is_an_error_that_says_so(tmp_path: Path, word: str) -> None:
    seen = "true" if word in ("yes", "on") else "false"
    hint = "(YAML reads a bare yes, no, on or off as true or false: quote it)"
    file = write(tmp_path / "r.yaml", f"name: {word}\n")
    assert refused(files=[file]) == f"{file}: name: got {seen}; allowed: text {hint}"
    file = write(tmp_path / "list.yaml", f"stop: [a, {word}]\n")
    assert refused(files=[file]) == f'{file}: stop: got ["a", {seen}]; allowed: list of text {hint}'
    assert resolve(Train, files=[write(tmp_path / "q.yaml", f"name: '{word}'\n")], environ={}).name == word


def test_core_3_text_that_yaml_1_1_takes_for_a_number_or_a_date_stays_text(tmp_path: Path) -> None:
    file = write(
        tmp_path / "r.yaml", "a: 1:30\nb: 2024-01-01\nc: 010\nd: 0x1f\ne: 1e3x\nf: .5\ng: -1\nh: null\n"
    )
    assert read_yaml(file) == {
        "a": "1:30", "b": "2024-01-01", "c": 10, "d": "0x1f", "e": "1e3x", "f": 0.5, "g": -1, "h": None
    }  # fmt: skip


def test_a_byte_order_mark_and_an_empty_file_are_fine(tmp_path: Path) -> None:
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfsteps: 3\r\n")
    assert read_yaml(tmp_path / "bom.yaml") == {"steps": 3}
    assert read_yaml(write(tmp_path / "empty.yaml", "# nothing\n")) == {}


def test_core_4_a_flag_beats_a_file() -> None:
    assert resolve(Train, files=[("a", {"steps": 1})], flags={"steps": "2"}, environ={}).steps == 2


def test_core_4_a_later_file_beats_an_earlier_one() -> None:
    files = [("a", {"steps": 1, "optim": {"lr": 0.5}}), ("b", {"steps": 2, "optim": {"clip": 3.0}})]
    config = resolve(Train, files=files, environ={})
    assert (config.steps, config.optim.lr, config.optim.clip) == (2, 0.5, 3.0)


def test_core_4_a_file_beats_the_environment() -> None:
    environ = {"EXNIHILO_STEPS": "7", "EXNIHILO_OPTIM__LR": "0.25"}
    config = resolve(Train, files=[("a", {"steps": 1})], environ=environ)
    assert (config.steps, config.optim.lr) == (1, 0.25)


def test_core_4_the_environment_beats_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXNIHILO_OWN_TEXT__STEPS", "7")
    assert resolve(Train, where="own-text").steps == 7
    assert resolve(Train, where="other").steps == 10


def test_core_4_the_resolved_config_gives_itself_again_under_any_environment(tmp_path: Path) -> None:
    first = resolve(
        Train, flags=parse_flags(["--model.params", "8M"]), environ={"EXNIHILO_OPTIM__LR": "1e-4"}
    )
    dumped = first.model_dump(mode="json", by_alias=True)
    file = write(tmp_path / "resolved.yaml", yaml.safe_dump(dumped))
    assert resolve(Train, files=[file], environ={}) == first
    assert resolve(Train, files=[file], environ={"EXNIHILO_OPTIM__LR": "9", "EXNIHILO_STEPS": "9"}) == first


@pytest.mark.parametrize(
    "layer",
    [
        {"files": [("a", {"threshold": 0, "steps": 0})]},
        {"flags": {"threshold": "0", "steps": "0"}},
        {"environ": {"EXNIHILO_THRESHOLD": "0", "EXNIHILO_STEPS": "0"}},
    ],
)
def test_core_5_zero_is_a_value_in_every_layer(layer: dict[str, Any]) -> None:
    config = resolve(Train, **{"environ": {}, **layer})
    assert config.threshold == 0.0 and config.threshold is not None
    assert config.steps == 0
    assert result_config(config)["threshold"] == 0.0


def test_core_5_zero_in_a_later_layer_beats_a_number_in_an_earlier_one_and_null_is_off() -> None:
    files = [("a", {"threshold": 0.7}), ("b", {"threshold": 0})]
    assert resolve(Train, files=files, environ={}).threshold == 0.0
    assert resolve(Train, files=files, flags={"threshold": "null"}, environ={}).threshold is None


@pytest.mark.parametrize(
    ("argv", "key", "value"),
    [
        (["--optim.lr", "1e-3"], ("optim", "lr"), 0.001),
        (["--optim.lr=5"], ("optim", "lr"), 5.0),
        (["--optim.clip", "none"], ("optim", "clip"), None),
        (["--model.params", "8M"], ("model", "params"), 8_000_000),
        (["--model.params", "2.5k"], ("model", "params"), 2500),
        (["--model.params", "8e6"], ("model", "params"), 8_000_000),
        (["--model.params", "1G"], ("model", "params"), 10**9),
        (["--vocabulary", "500"], ("vocabulary",), 500),
        (["--vocabulary", "auto"], ("vocabulary",), "auto"),
        (["--compile", "yes"], ("compile",), True),
        (["--compile", "false"], ("compile",), False),
        (["--name", "no"], ("name",), "no"),
        (["--name", "123"], ("name",), "123"),
        (["--name", "-1"], ("name",), "-1"),
        (["--name=--x"], ("name",), "--x"),
        (["--name=a=b"], ("name",), "a=b"),
        (["--stop", "a, b"], ("stop",), ["a", "b"]),
        (["--stop", '["a,b", "1"]'], ("stop",), ["a,b", "1"]),
        (["--stop="], ("stop",), []),
        (["--log-every", "3"], ("log_every",), 3),
        (["--from.path", "./x y"], ("source", "path"), "./x y"),
        (["--from", '[{"python": true}]'], ("source",), [FromPython(python=True)]),
    ],
)
def test_flags_are_read_by_the_schemas_types(argv: list[str], key: tuple[str, ...], value: Any) -> None:
    found: Any = resolve(Train, flags=parse_flags(argv), environ={})
    for part in key:
        found = getattr(found, part)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "argv", [["x"], ["--a", "1", "2"], ["--"], ["--a..b", "1"], ["--a", "1", "--a.b", "2"]]
)
def test_what_is_no_flag_is_refused(argv: list[str]) -> None:
    with pytest.raises(ConfigError):
        parse_flags(argv)


def test_flags_are_text_until_a_schema_reads_them() -> None:
    assert parse_flags(["--optim.lr", "1e-3", "--flag", "--a.b=c"]) == {
        "optim": {"lr": "1e-3"}, "flag": True, "a": {"b": "c"}
    }  # fmt: skip


def test_merge_lays_mappings_over_each_other_and_leaves_them_as_they_were() -> None:
    below = {"a": {"x": 1, "y": 2}, "b": 1}
    assert merge(below, {"a": {"y": 3}}, {"b": {"z": 1}}) == {"a": {"x": 1, "y": 3}, "b": {"z": 1}}
    assert below == {"a": {"x": 1, "y": 2}, "b": 1}


def test_references_are_found_plain_optional_and_in_lists() -> None:
    class Refers(Config):
        base: Ref("model")  # type: ignore[valid-type]
        tokens: TokensRef | None = None
        models: list[ModelRef] = Field(default_factory=list)
        others: list[Ref("model")] | None = None  # type: ignore[valid-type]
        path: str = ""

    assert references(Refers) == {"base": "model", "tokens": "tokens", "models": "model", "others": "model"}
    assert references(Train) == {"tokens": "tokens"}


def test_what_decides_the_result_leaves_out_references_cosmetic_keys_and_the_horizon() -> None:
    config = resolve(Train, flags={"log_every": "3", "tokens": "elsewhere"}, environ={})
    assert result_config(config) == result_config(Train())
    assert "tokens" not in result_config(config) and "log_every" not in result_config(config)
    assert result_config(config)["steps"] == 10
    assert "steps" not in result_config(config, horizon=False)


def test_the_key_table_lists_every_key_with_its_type_default_and_description() -> None:
    rows = {row.key: row for row in key_table(Train)}
    assert (rows["optim.lr"].type, rows["optim.lr"].default) == ("float > 0", "0.02")
    assert rows["optim.lr"].description == "peak learning rate"
    assert rows["optim.kind"].type == "muon | adamw"
    assert rows["from.path"].default == "required"
    assert rows["vocabulary"].default == "auto"
    assert rows["tokens"].type == "tokens (a stage or a path)"
    assert "optim" not in rows


def test_a_config_cannot_be_changed_and_its_dump_is_json() -> None:
    config = Train()
    with pytest.raises(ValueError, match="frozen"):
        config.steps = 3  # type: ignore[misc]
    assert json.loads(json.dumps(config.model_dump(mode="json", by_alias=True)))["from"] == {"python": True}


def test_core_4_a_flag_can_unset_an_optional_count() -> None:
    class Horizon(Config):
        steps: Count | None = 8

    assert resolve(Horizon, flags={"steps": "null"}, environ={}).steps is None
    assert resolve(Horizon, flags={"steps": "8M"}, environ={}).steps == 8_000_000
