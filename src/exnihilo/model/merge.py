"""The stage `merge`: adapters, ours or `peft`'s, added to the weights of the model that they were trained on."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from exnihilo.core.config import AdapterRef, Config, ModelRef, why
from exnihilo.core.stage import Inputs, Stage
from exnihilo.core.workspace import Workspace


class MergeConfig(Config):
    """Make one model of a base and adapters."""

    model: ModelRef = Field(
        description="the model that the adapters were trained on",
        json_schema_extra=why(
            "there is no default: adapters are differences, and mean nothing on another model",
            example="runs/mine/base",
        ),
    )
    adapter: AdapterRef = Field(
        description="folder in PEFT's layout: adapter_config.json and adapter_model.safetensors",
        json_schema_extra=why(
            "there is no default: name the `adapter` folder of a model trained with lora, or one that peft saved",
            example="runs/mine/sft/adapter",
        ),
    )


def run(config: MergeConfig, inputs: Inputs, work: Workspace) -> None:
    """Write the merged model's folder, with the adapters in it. Raises Refused as `load_adapter`."""
    from exnihilo.model.adapter_folder import load_adapter, save_tuned
    from exnihilo.model.adapters import adapters_of
    from exnihilo.model.folder import load_with_tokenizer

    base, folder = inputs["model"], inputs["adapter"]
    assert isinstance(base, Path) and isinstance(folder, Path)
    model, _ = load_with_tokenizer(base)
    load_adapter(model, folder)
    adapters = adapters_of(model).values()
    kind = "DoRA" if any(adapter.magnitude is not None for adapter in adapters) else "LoRA"
    ranks = sorted({adapter.rank for adapter in adapters})
    work.summary["parameters"] = model.config.parameters
    work.lines.append(
        f"{len(adapters)} adapters merged: {kind} of rank {' and '.join(str(rank) for rank in ranks)}"
    )
    save_tuned(model, base, work.path)


STAGE = Stage("merge", "model", MergeConfig, run, "Add adapters to a model's weights.")
