"""The largest batch, tried before training."""

import logging
from collections.abc import Sequence

import torch

from asr.data.batch import Batch
from asr.data.manifest import Utterance
from asr.devices import is_out_of_memory, peak_memory_bytes
from asr.files import first_line
from asr.training.learner import Learner
from asr.training.objective import TrainingBatch

logger = logging.getLogger(__name__)


def largest_batch(
    utterances: Sequence[Utterance],
    *,
    batch_seconds: float,
    slowest_speed: float,
    sample_rate_hz: int,
    longest_labels: int,
) -> Batch:
    """A batch of noise as large as any of training.

    Args:
        utterances: What is trained on.
        batch_seconds: Audio seconds of a batch.
        slowest_speed: Smallest factor of speed perturbation.
        sample_rate_hz: Rate of the waveforms.
        longest_labels: Tokens of the longest transcript.

    Returns:
        As many of the longest utterances as a batch holds: those need most memory.
    """
    seconds = max(utterance.duration_seconds for utterance in utterances) / slowest_speed
    count = max(1, int(batch_seconds / seconds))
    samples = int(seconds * sample_rate_hz)
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(longest_labels).repeat(count, 1) % 2 + 1
    return Batch(
        ids=tuple(f"probe-{number}" for number in range(count)),
        waveforms=torch.randn(count, samples, generator=generator) * 0.01,
        waveform_lengths=torch.full((count,), samples),
        labels=labels,
        label_lengths=torch.full((count,), longest_labels),
    )


def probe_memory(learner: Learner, batch: TrainingBatch, *, device: torch.device) -> None:
    """Run a batch forward and backward, leaving the learner as it was, and log the peak.

    The optimizer's state takes its memory meanwhile.

    Args:
        learner: It has made no step.
        batch: The largest of training.
        device: Where the learner is.

    Raises:
        ValueError: Memory does not suffice.
    """
    state = learner.model_state()
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    learner.train_mode()
    try:
        with learner.optimizer_memory(), learner.objective.largest_pass():
            learner.backward(batch, share=1.0, last=True)
        if cuda:
            torch.cuda.synchronize(device)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ValueError(
            f"expected memory for a batch of {batch.size}, found: {first_line(error)}; lower "
            f"{learner.objective.batch_setting} (and raise training.accumulate)"
        ) from None
    finally:
        learner.forget_gradients()
    learner.load_model_state(state)
    try:
        peak = f"{peak_memory_bytes(device) / 2**30:.2f} GiB"
    except OSError as error:
        peak = f"not known ({error})"
    logger.info("largest batch: %s, peak memory %s on %s", batch.size, peak, device)
