"""Seeds: equal for equal names, independent for different ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from exnihilo.core.build import build
from exnihilo.core.seeds import derive


def test_core_17_streams_of_one_seed_differ_and_are_uncorrelated() -> None:
    names = [
        ("init",),
        ("data",),
        ("row", 0),
        ("row", 1),
        ("row", "1"),
        ("ro", "w1"),
        ("a", "bc"),
        ("ab", "c"),
        (),
    ]
    seeds = [derive(1, *name) for name in names]
    assert len(set(seeds)) == len(names)
    drawn = np.stack([np.random.default_rng(seed).standard_normal(10_000) for seed in seeds])
    correlation = np.corrcoef(drawn) - np.eye(len(seeds))
    # 4 standard errors of a correlation of 10,000 independent pairs.
    assert np.abs(correlation).max() < 0.04


def test_core_17_ranks_draw_different_streams_and_a_changed_seed_changes_all() -> None:
    ranks = [derive(seed, "rank", rank) for seed in range(50) for rank in range(50)]
    assert len(set(ranks)) == 2500
    assert derive(1, "init") != derive(2, "init")
    assert derive(1) != 1


def test_core_17_a_seed_is_the_same_in_every_process_and_fits_63_bits() -> None:
    assert derive(1, "init") == derive(1, "init") == GOLDEN
    assert all(0 <= derive(seed, "x") < 2**63 for seed in range(1000))


# Changing this changes every run that anybody made.
GOLDEN = 8547811266098858728


def test_core_17_a_stage_gets_a_seed_of_its_own_from_the_runs_seed(tmp_path: Path, toys: Any) -> None:
    seeds = []

    def note(config: Any, inputs: Any, work: Any) -> None:
        seeds.append(work.seed)
        (work.path / "x").write_text("x")

    for number, (stage, seed) in enumerate(
        [(toys.collect, 1), (toys.collect, 2), (toys.train, 1), (toys.collect, 1)]
    ):
        inputs = {"corpus": tmp_path / "0"} if stage is toys.train else {}
        config = stage.config(corpus="0") if stage is toys.train else stage.config()
        build(
            type(stage)(stage.verb, stage.kind, stage.config, note, ""),
            config,
            inputs,
            tmp_path / str(number),
            seed=seed,
        )
    assert seeds[0] == seeds[3]
    assert len(set(seeds)) == 3
