"""Where models run."""

import torch


def find_device(name: str) -> torch.device:
    """A device by the name that torch has for it: cpu, cuda or cuda:N.

    Raises:
        ValueError: torch cannot use it here.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"expected a device that torch can use, found {name!r} ({reason}); use 'cpu', or "
            "'cuda' on a machine with a GPU"
        ) from None
    return device


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine had no memory left."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        "can't allocate memory" in text or "out of memory" in text
    )
