"""Telling that memory ran out, whoever says so."""

from __future__ import annotations

SAYINGS = ("can't allocate memory", "not enough memory", "out of memory", "std::bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, of the machine or of a device.

    A GPU has an error of its own (`torch.OutOfMemoryError`, a RuntimeError); for the CPU PyTorch raises a bare
    RuntimeError, "[enforce fail at alloc_cpu.cpp …] DefaultCPUAllocator: can't allocate memory …", and Python,
    NumPy and Arrow raise a MemoryError.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(saying in str(error).lower() for saying in SAYINGS)
