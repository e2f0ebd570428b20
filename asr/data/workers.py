"""Data loader processes: how they start, stop, meet signals and report broken audio."""

import atexit
import functools
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.synchronize import Event
from types import FrameType

import torch
from torch.utils.data import DataLoader

from asr.data.audio_containers import AudioError
from asr.data.batch import Batch
from asr.data.dataset import BrokenExample, Example, SpeechDataset, collate

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def make_torch_loader(
    dataset: SpeechDataset,
    keys: Sequence[list[tuple[int, int]]],
    *,
    workers: int,
    persistent: bool,
    pin_memory: bool = False,
) -> DataLoader[Example | BrokenExample]:
    """Torch data loader whose processes are independent of this process's threads.

    Args:
        dataset: Utterances by (epoch, index).
        keys: Keys of each batch; read anew at each `iter()`, so a list may change in between.
        workers: Loader processes, of one thread each; 0 loads in this process.
        persistent: Whether the processes live on after an iteration.
        pin_memory: Whether batches lie in page-locked memory, for a GPU; a thread copies them.

    Returns:
        A loader to iterate over with `loaded_batches`.
    """
    # A generator of its own: the loader draws a number at each iter(), and a resumed run has
    # another number of these than an uninterrupted one.
    generator = torch.Generator()
    if workers == 0:
        return DataLoader(
            dataset,
            batch_sampler=keys,
            collate_fn=collate,
            generator=generator,
            pin_memory=pin_memory,
        )
    # Not fork: it would copy locks that torch's threads hold at that moment.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    exiting = context.Event()
    atexit.register(exiting.set)
    with _quiet_torch():
        return DataLoader(
            dataset,
            batch_sampler=keys,
            collate_fn=collate,
            generator=generator,
            pin_memory=pin_memory,
            num_workers=workers,
            persistent_workers=persistent,
            multiprocessing_context=context,
            worker_init_fn=functools.partial(_start_worker, exiting=exiting),
        )


def loaded_batches(loader: DataLoader[Example | BrokenExample]) -> Iterator[Batch]:
    """Iterate over a loader.

    Raises:
        AudioError: An audio file cannot be read; raised when its batch is due.
        OSError: A loader process is gone.
    """
    with _signals_held_back():
        if loader.num_workers:
            forkserver.ensure_running()
        with _quiet_torch():
            batches = iter(loader)
    while True:
        try:
            batch = next(batches, None)
        except (EOFError, ConnectionError, RuntimeError) as error:
            gone = "exited unexpectedly" in str(error) or not isinstance(error, RuntimeError)
            if not loader.num_workers or not gone:
                raise
            raise OSError(
                "expected the loader processes to live, found one gone (killed, perhaps for "
                "memory); lower data.workers or data.batch_seconds, and go on with --resume"
            ) from error
        if batch is None:
            return
        if isinstance(batch, BrokenExample):
            raise AudioError(batch.message)
        yield batch


@contextmanager
def _quiet_torch() -> Iterator[None]:
    """Without torch's paragraph on too many processes, which `build_training_loader` reports."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        yield


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Deliver SIGINT and SIGTERM afterwards; a process started meanwhile holds them back for good.

    A signal to the whole process group (Ctrl-C, timeout, a batch system) thus leaves the loader
    processes to serve the training process until it has saved.
    """
    former = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _end_with_parent() -> None:
    """End this process when the training process is gone, even killed.

    Torch watches the process id of the parent, which is the fork server here; and that one lives
    as long as its children do.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _start_worker(worker: int, *, exiting: Event) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        # At the exit of the training process multiprocessing ends its children by SIGTERM.
        if exiting.is_set():
            os._exit(0)

    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
