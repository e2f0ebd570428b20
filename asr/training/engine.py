"""Lightning's engine: devices, processes and precision."""

import logging
import time

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.precision import MixedPrecision
from lightning.fabric.strategies.ddp import DDPStrategy
from lightning.fabric.strategies.model_parallel import ModelParallelStrategy
from lightning.fabric.strategies.strategy import Strategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from asr.devices import automatic_device_type
from asr.model.branches import Branch
from asr.training.config import TrainingConfig

logger = logging.getLogger(__name__)

# Smaller branches travel with the rest: small messages cost more than they save.
_SHARDED_PARAMETERS = 1_000_000
# Memory traffic of a training step is less in bfloat16, which pays for somewhat slower products.
_SLOW = 1.3


def launch(config: TrainingConfig) -> Fabric:
    """Start the processes that the config asks for.

    Every process runs the whole command; this one returns in each of them.

    Args:
        config: The training section.

    Returns:
        The launched engine.

    Raises:
        ValueError: The devices are not there.
    """
    accelerator: str = config.accelerator
    if accelerator == "auto":
        accelerator = automatic_device_type()
    if accelerator == "cuda" and torch.cuda.device_count() < config.devices:
        raise ValueError(
            f"expected {config.devices} CUDA devices, found {torch.cuda.device_count()}; lower "
            "training.devices or set training.accelerator to 'cpu'"
        )
    # Lightning tells how many processes it has found; the log of training does not need it.
    for name in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator=accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=_strategy(config),
    )
    fabric.launch()
    if not fabric.is_global_zero:
        logging.getLogger("asr").setLevel(logging.ERROR)
    if config.threads:
        torch.set_num_threads(config.threads)
    return fabric


def decide_precision(fabric: Fabric, config: TrainingConfig, *, former: str | None) -> str:
    """Precision of the model's large products, the same on all processes.

    The main process decides and tells the others. Nothing is in that precision before.

    Args:
        fabric: The launched engine; its precision is set.
        config: The training section.
        former: What the experiment was trained in so far; None where it begins, or where version
            0.1.0 recorded nothing. With `auto` it is kept, whatever is faster here.

    Returns:
        "float32" or "bfloat16".
    """
    decided: str = fabric.broadcast(
        _decide(config, fabric.device.type, former) if fabric.is_global_zero else ""
    )
    if decided == "bfloat16":
        fabric.strategy.precision = MixedPrecision("bf16-mixed", device=fabric.device.type)
    return decided


def _decide(config: TrainingConfig, device_type: str, former: str | None) -> str:
    if config.precision == "float32":
        return config.precision
    faster = "bfloat16" if _bfloat16_pays(device_type) else "float32"
    if config.precision == "bfloat16":
        if faster != "bfloat16":
            logger.warning(
                "bfloat16 is slower than float32 on this processor; training.precision=auto takes "
                "the faster one"
            )
        return config.precision
    if former is None:
        logger.info("precision: %s, the faster one here", faster)
        return faster
    if former != faster:
        logger.warning(
            "precision: %s, as this experiment was trained so far; here %s would be chosen",
            former,
            faster,
        )
    return former


def _bfloat16_pays(device_type: str) -> bool:
    """Whether training in bfloat16 is the faster way on this machine.

    AMX multiplies bfloat16 four times as fast as float32, AVX-512 alone at half its speed, and a
    processor with neither dozens of times slower.
    """
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return _product_seconds(torch.bfloat16) <= _SLOW * _product_seconds(torch.float32)


def _product_seconds(dtype: torch.dtype) -> float:
    """The quickest of several products of 512 x 512 matrices."""
    matrix = torch.ones(512, 512, dtype=dtype)
    matrix @ matrix
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def sum_over_processes(fabric: Fabric, tensor: Tensor) -> Tensor:
    """Sum of each process's tensor, on the device; a collective operation."""
    total = tensor.to(fabric.device, copy=True)
    if fabric.world_size > 1:
        # Not Lightning's all_reduce, which waits for all processes at a barrier first.
        torch.distributed.all_reduce(total)
    return total


def largest_over_processes(fabric: Fabric, number: int) -> int:
    """The largest of the processes' numbers; a collective operation."""
    if fabric.world_size == 1:
        return number
    largest = torch.tensor(number, device=fabric.device)
    torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX)
    return int(largest)


def _strategy(config: TrainingConfig) -> Strategy | str:
    processes = config.devices * config.nodes
    if processes == 1:
        return "auto"
    if config.strategy == "ddp":
        return DDPStrategy()
    return ModelParallelStrategy(_shard, data_parallel_size=processes, tensor_parallel_size=1)


def _shard(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    data_parallel = mesh["data_parallel"]
    for parameter in module.parameters():
        # Shares are cut along the first dimension, whatever the order in memory was.
        parameter.data = parameter.data.contiguous()
    for branch in module.modules():
        # Blocks are never called themselves, only their branches.
        if isinstance(branch, Branch):
            size = sum(parameter.numel() for parameter in branch.parameters())
            if size >= _SHARDED_PARAMETERS:
                fully_shard(branch, mesh=data_parallel)
    fully_shard(module, mesh=data_parallel)
    return module
