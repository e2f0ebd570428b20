"""One recogniser in a process of its own: a measured step for each line on standard input.

Lines are JSON. The first answer tells what was built; then `training` or `inference` runs one.
"""

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from asr.devices import peak_memory_bytes
from tools.ctc_step import inference_pass, random_batch, training_step, wall_seconds
from tools.peers.shape import MEL_BINS, VOCAB_SIZE, Shape
from tools.peers.systems import SYSTEMS

MATRIX_PRODUCT = "matrix product"
"""The name of the worker that only multiplies matrices."""
RunMaker = Callable[[], Callable[[], Tensor]]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker runs.

    Args:
        system: A key of SYSTEMS, or MATRIX_PRODUCT.
        width: Features of each encoder frame, or the size of the matrices.
        layers: Blocks.
        frames: Feature frames of each utterance.
        bfloat16: Autocast, as against float32.
        device: Where to.
    """

    system: str
    width: int
    layers: int
    frames: list[int]
    bfloat16: bool
    device: str


def main() -> None:
    """Serve until standard input ends."""
    # Libraries print; only answers may go to standard output.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = Job(**json.loads(sys.argv[1]))
    makers, about = _build(job)
    print(json.dumps(about), file=answers, flush=True)
    runs: dict[str, Callable[[], Tensor]] = {}
    libc = ctypes.CDLL(None)
    before_rest = time.process_time()
    for line in sys.stdin:
        idle_cpu_seconds = time.process_time() - before_rest
        command = json.loads(line)
        if command not in runs:
            runs = {command: makers[command]()}
        run = runs[command]
        # After a rest memory is gone and caches are cold, hence one step that does not count.
        wall_seconds(run, job.device)
        seconds, value = wall_seconds(run, job.device)
        # While others run this process must leave them the memory too.
        libc.malloc_trim(0)
        answer = {
            "seconds": seconds,
            "value": float(value),
            "peak_bytes": peak_memory_bytes(torch.device(job.device)),
            "idle_cpu_seconds": idle_cpu_seconds,
        }
        print(json.dumps(answer), file=answers, flush=True)
        before_rest = time.process_time()


def _build(job: Job) -> tuple[dict[str, RunMaker], dict[str, Any]]:
    """What makes each kind of step, and what the first answer tells."""
    torch.manual_seed(0)
    about: dict[str, Any] = {"threads": torch.get_num_threads()}
    if job.system == MATRIX_PRODUCT:
        kind = torch.bfloat16 if job.bfloat16 else torch.float32
        size = (job.width, job.width)
        left, right = (torch.randn(size, device=job.device).to(kind) for _ in range(2))
        make = partial(_product, left, right)
        return {"training": make, "inference": make}, about
    entry = SYSTEMS[job.system]
    system = entry.build(Shape(width=job.width, layers=job.layers))
    system.model.to(job.device)
    batch = random_batch(job.frames, mel_bins=MEL_BINS, vocab_size=VOCAB_SIZE, device=job.device)
    about |= {
        "version": version(entry.distribution),
        "parameters": sum(each.numel() for each in system.model.parameters()),
        "loaded_bytes": peak_memory_bytes(torch.device(job.device)),
    }
    makers: dict[str, RunMaker] = {
        "training": partial(training_step, system, batch, bfloat16=job.bfloat16),
        "inference": partial(inference_pass, system, batch, bfloat16=job.bfloat16),
    }
    return makers, about


def _product(left: Tensor, right: Tensor) -> Callable[[], Tensor]:
    return lambda: (left @ right)[0, 0]


if __name__ == "__main__":
    main()
