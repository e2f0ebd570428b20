"""What a computation costs: peak bytes of tensors, operations, time."""

import statistics
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all storages that operators make, while they live."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def peak_bytes(compute: Callable[[], object]) -> int:
    """Peak bytes of the tensors that a computation makes: the most that live at once.

    Inputs and parameters do not count, and neither does what the process holds beside tensors; for
    that see `asr.devices.peak_memory_bytes`.
    """
    mode = _LiveBytes()
    with mode:
        compute()
    return mode.peak


def _elements(*args: Any, out_val: Any = None, **_: Any) -> int:  # noqa: ANN401
    return int(out_val.numel())


def _summed(x: Any, *args: Any, **_: Any) -> int:  # noqa: ANN401
    return int(x.numel())


def operations(compute: Callable[[], object], *, products_only: bool = False) -> int:
    """Floating-point operations of matrix products, and of elementwise products and sums.

    Args:
        compute: The computation; fused attention kernels count as the products they stand for.
        products_only: Whether only products of two batches of matrices count, which leaves out
            linear maps.
    """
    aten = torch.ops.aten
    mapping = {aten.mul: _counted(_elements), aten.sum: _counted(_summed)}
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    math = torch.nn.attention.SDPBackend.MATH
    with torch.no_grad(), torch.nn.attention.sdpa_kernel(math), counter:
        compute()
    if products_only:
        return int(counter.get_flop_counts()["Global"].get(aten.bmm, 0))
    return int(counter.get_total_flops())


def _counted(function: Callable[..., int]) -> Callable[..., int]:
    # Torch hands such a function real tensors where it would otherwise hand their shapes.
    function._get_raw = True  # type: ignore[attr-defined]
    return function


@torch.no_grad()
def wall_seconds(compute: Callable[[], object], *, repeats: int = 3) -> float:
    """Median wall time on one thread, after one pass to warm up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        compute()
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            compute()
            times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return statistics.median(times)
