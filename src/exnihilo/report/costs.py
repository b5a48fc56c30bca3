"""What each stage cost: time, model FLOPs, energy and carbon."""

from __future__ import annotations

from dataclasses import dataclass, field

from exnihilo.core.cost import cost
from exnihilo.report import words
from exnihilo.report.run import RunFiles


@dataclass(frozen=True)
class CostRow:
    """A stage's cost as text; `total` marks the last row."""

    name: str
    cells: list[str]
    total: bool = False


@dataclass
class CostTable:
    """Rows with the formulas that made them."""

    heads: list[str]
    rows: list[CostRow] = field(default_factory=list)
    formulas: list[str] = field(default_factory=list)


def cost_table(run: RunFiles) -> CostTable:
    """Costs by stage and in all. A stage on another machine than the last one is counted with its own."""
    table = CostTable(["Time", "Model FLOPs", "Energy", "CO₂e"])
    seconds = flops = kwh = co2e = 0.0
    for stage in run.stages:
        spent = cost(stage.manifest["seconds"], stage.manifest["machine"])
        did = float(stage.summary.get("flops") or 0.0)
        table.rows.append(CostRow(stage.name, _cells(spent.seconds, did, spent.kwh, spent.co2e_kg)))
        seconds, flops = seconds + spent.seconds, flops + did
        kwh, co2e = kwh + spent.kwh, co2e + spent.co2e_kg
    table.rows.append(CostRow("In all", _cells(seconds, flops, kwh, co2e), total=True))
    whole = cost(seconds, run.stages[-1].manifest["machine"])
    table.formulas = [
        f"Energy: {whole.energy_formula}.",
        f"Carbon: {whole.carbon_formula}.",
        "Model FLOPs are those of training: for each token 6 for each parameter that multiplies it, "
        "and 12 × layers × attention width × keys attended.",
    ]
    return table


def _cells(seconds: float, flops: float, kwh: float, co2e_kg: float) -> list[str]:
    return [
        words.duration(seconds),
        words.count(flops) if flops else "–",
        f"{1000 * kwh:.3g} Wh" if kwh < 1 else f"{kwh:.3g} kWh",
        f"{1000 * co2e_kg:.3g} g" if co2e_kg < 1 else f"{co2e_kg:.3g} kg",
    ]
