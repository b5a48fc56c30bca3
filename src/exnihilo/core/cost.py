"""What a run cost: energy and CO2 equivalents, by stated assumptions (arXiv 1906.02243).

The power drawn is assumed, not measured: full load on every usable core and device for the whole time, and
the memory of the machine. Give the watts of your machine where you know them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PUE = 1.58
"""Power usage effectiveness: energy of a data centre per energy of its machines (1906.02243)."""
CO2E_LB_PER_KWH = 0.954
"""Pounds of CO2 equivalents per kWh, the mean of the United States' grid (1906.02243)."""
KG_PER_LB = 0.45359237
WATTS_PER_CORE = 12.0
"""Assumed power of a CPU core under full load: server parts take 7 to 15 W a core, laptops less."""
WATTS_PER_GIB = 0.3725
"""Assumed power of memory (arXiv 2007.07610)."""
WATTS_PER_GPU = 300.0
"""Assumed power of a GPU under full load; data-centre parts take 300 to 700 W."""


@dataclass(frozen=True)
class Cost:
    """Energy and carbon of some time on a machine; `energy_formula` and `carbon_formula` show the sums."""

    seconds: float
    watts: float
    kwh: float
    co2e_lb: float
    co2e_kg: float
    energy_formula: str
    carbon_formula: str


def cost(
    seconds: float,
    machine: Mapping[str, Any],
    *,
    watts_per_core: float = WATTS_PER_CORE,
    watts_per_gib: float = WATTS_PER_GIB,
    watts_per_gpu: float = WATTS_PER_GPU,
) -> Cost:
    """The cost of `seconds` on a machine as `describe()` or a manifest has it (cores, memory_gib, gpu)."""
    cores, memory, devices = machine["cores"], machine["memory_gib"], len(machine.get("gpu") or ())
    watts = cores * watts_per_core + memory * watts_per_gib + devices * watts_per_gpu
    kwh = PUE * seconds / 3600 * watts / 1000
    pounds = CO2E_LB_PER_KWH * kwh
    terms = [f"{cores} cores × {watts_per_core:g} W", f"{memory:g} GiB × {watts_per_gib:g} W"]
    if devices:
        terms.append(f"{devices} GPU × {watts_per_gpu:g} W")
    return Cost(
        seconds=seconds,
        watts=watts,
        kwh=kwh,
        co2e_lb=pounds,
        co2e_kg=pounds * KG_PER_LB,
        energy_formula=(
            f"PUE {PUE} × {seconds / 3600:.4g} h × ({' + '.join(terms)}) / 1000"
            f" = {kwh:.4g} kWh (power assumed)"
        ),
        carbon_formula=(
            f"{CO2E_LB_PER_KWH} lb/kWh × {kwh:.4g} kWh = {pounds:.4g} lb = {pounds * KG_PER_LB:.4g} kg CO2e"
        ),
    )
