"""The device that models run on."""

import torch

AUTO = "auto"
"""The name that leaves the choice to `find_device`."""


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
        name = "cuda" if torch.cuda.is_available() else "cpu"
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
