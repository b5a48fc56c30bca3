"""The stage `export`: a model folder for other programs, in the precision that they want."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from exnihilo.core.config import Config, ModelRef, why
from exnihilo.core.stage import Inputs, Stage
from exnihilo.core.workspace import Workspace


class ExportConfig(Config):
    """Write a model as `transformers`, and every tool above it, loads it without code of its own."""

    model: ModelRef = Field(
        description="the model to export",
        json_schema_extra=why("there is no default: it is what you made", example="runs/mine/aligned"),
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32",
        description="precision of the weights on disk",
        json_schema_extra=why(
            "float32, in which models are trained here, so that nothing is lost; bfloat16 takes half of the "
            "space, and is what servers compute in"
        ),
    )


def run(config: ExportConfig, inputs: Inputs, work: Workspace) -> None:
    """Write the folder, read it back and compare. Raises Refused for a model that can't be read or does not fit the
    precision."""
    import torch

    from exnihilo.core.errors import ExnihiloError, Refused
    from exnihilo.model.folder import load_model, load_with_tokenizer, save_model

    folder = inputs["model"]
    assert isinstance(folder, Path)
    model, tokenizer = load_with_tokenizer(folder)
    dtype: torch.dtype = getattr(torch, config.precision)
    largest = max(float(parameter.detach().abs().max()) for parameter in model.parameters())
    if largest > torch.finfo(dtype).max:
        raise Refused(
            f"{folder}: a weight of {largest:.3g} is more than {config.precision} can hold; take precision bfloat16"
        )
    tokenizer.save(work.path)
    save_model(model, work.path, work.path, dtype)
    again = load_model(work.path).state_dict()
    for name, tensor in model.state_dict().items():
        if not torch.equal(tensor.to(dtype).float(), again[name]):
            raise ExnihiloError(
                f"{work.path}: {name} is not what was written; look at the disk and export again"
            )
    size = sum(file.stat().st_size for file in work.path.iterdir() if file.is_file())
    work.summary = {"parameters": model.config.parameters, "bytes": size}
    work.lines = [
        f"{model.config.layout}, {config.precision}, {size / 1e6:.1f} MB; written, read back and compared"
    ]


STAGE = Stage("export", "model", ExportConfig, run, "Write a model for other programs.")
