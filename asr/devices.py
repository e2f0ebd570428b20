"""Devices that models run on, and the peak memory of a process there."""

import sys

import torch

try:
    import resource
except ImportError:
    # Windows has no such module.
    resource = None  # type: ignore[assignment]

AUTO = "auto"
"""The name that leaves the choice to `find_device`."""


def automatic_device_type() -> str:
    """The kind of device that `auto` stands for: CUDA where torch has it, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def find_device(name: str) -> torch.device:
    """Find a device by its name; the one rule of all commands and of the Python interface.

    Args:
        name: `auto`, which is CUDA where torch has it and the CPU elsewhere, or a name that torch
            has for a device: cpu, cuda or cuda:N.

    Returns:
        The device.

    Raises:
        ValueError: torch cannot use it here.
    """
    if name == AUTO:
        name = automatic_device_type()
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"expected a device that torch can use, found {name!r} ({reason}); use 'auto', 'cpu', "
            "or 'cuda' on a machine with a GPU"
        ) from None
    return device


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine had no memory left."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        "can't allocate memory" in text or "out of memory" in text
    )


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory of this process: allocated by torch on a CUDA device, or else resident.

    On a CUDA device it counts from the last `torch.cuda.reset_peak_memory_stats`, on the CPU from
    the start of the process.

    Raises:
        OSError: The system does not tell the resident memory.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if resource is None:
        raise OSError(
            "expected a system that tells the peak memory of a process (Python's module resource), "
            f"found {sys.platform}; measure on Linux, macOS or a GPU"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, the others KiB.
    return peak if sys.platform == "darwin" else peak * 1024
