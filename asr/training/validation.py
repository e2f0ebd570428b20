"""Loss and error rates on the validation data."""

import logging
import math
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from lightning.fabric import Fabric
from torch import Tensor

from asr.ctc import greedy_decode
from asr.data.batch import Batch
from asr.data.loader import EvaluationLoader
from asr.scoring.counts import ErrorCounts, count_errors_batch, pool
from asr.tokens.tokenizer import Tokenizer
from asr.training.engine import largest_over_processes, sum_over_processes
from asr.training.learner import Learner

logger = logging.getLogger(__name__)


class Validator(Protocol):
    """Says how good the weights are."""

    def run(self, learner: Learner, *, stop: Callable[[], bool]) -> dict[str, float] | None:
        """Validate the weights that the model holds.

        Args:
            learner: Holds the model.
            stop: Asked before each batch whether to give up.

        Returns:
            `loss`, nats a label, and further figures by name, alike on all processes; None when
            stopped.
        """
        ...


class CtcValidator:
    """Decodes the validation data.

    Args:
        loader: The data; each process has its share.
        fabric: Adds up what the processes counted.
        tokenizer: Labels to text.
        references: Transcript of each utterance id.
        sample_rate_hz: Rate of the waveforms.
        frame_seconds: Distance of the frames of the model's output.
    """

    def __init__(
        self,
        loader: EvaluationLoader,
        *,
        fabric: Fabric,
        tokenizer: Tokenizer,
        references: Mapping[str, str],
        sample_rate_hz: int,
        frame_seconds: float,
    ) -> None:
        self._loader = loader
        self._fabric = fabric
        self._tokenizer = tokenizer
        self._references = references
        self._sample_rate_hz = sample_rate_hz
        self._frame_seconds = frame_seconds

    def run(self, learner: Learner, *, stop: Callable[[], bool]) -> dict[str, float] | None:
        """Validate; see Validator.

        Returns:
            Nats a label over all utterances that CTC can align (`loss`), and word and character
            error rate of greedy decoding as fractions (`wer`, `cer`); with chunks in training also
            the word error rate with the shortest ones (`streaming_wer`).
        """
        words = pool(())
        characters = pool(())
        streamed = pool(())
        sums = torch.zeros(3, dtype=torch.float64)
        passes = largest_over_processes(self._fabric, len(self._loader))
        for batch in self._loader:
            if stop():
                return None
            output = learner.evaluate(batch)
            said = [self._references[name] for name in batch.ids]
            assert output.log_probs is not None
            assert output.lengths is not None
            heard = self._texts(output.log_probs, output.lengths, batch)
            if output.streaming_log_probs is not None:
                texts = self._texts(output.streaming_log_probs, output.lengths, batch)
                streamed += pool(count_errors_batch(said, texts, unit="word"))
            words += pool(count_errors_batch(said, heard, unit="word"))
            characters += pool(count_errors_batch(said, heard, unit="character"))
            ctc = output.nats.double().cpu()
            aligned = ~ctc.isposinf()
            labels = batch.label_lengths.cpu()[aligned].sum()
            sums += torch.stack([ctc[aligned].sum(), labels.double(), (~aligned).sum().double()])
        # Shared weights are gathered by all processes together: none may make fewer passes.
        for _ in range(passes - len(self._loader)):
            learner.evaluate(batch)
        return self._reduce(words, characters, streamed, sums)

    def _texts(self, log_probs: Tensor, lengths: Tensor, batch: Batch) -> list[str]:
        """What greedy decoding makes of a batch."""
        hypotheses = greedy_decode(
            log_probs,
            lengths,
            self._tokenizer,
            frame_seconds=self._frame_seconds,
            durations_seconds=(batch.waveform_lengths / self._sample_rate_hz).tolist(),
        )
        return [hypothesis.text for hypothesis in hypotheses]

    def _reduce(
        self, words: ErrorCounts, characters: ErrorCounts, streamed: ErrorCounts, sums: Tensor
    ) -> dict[str, float]:
        counts = torch.tensor(
            [
                words.errors,
                words.reference_length,
                characters.errors,
                characters.reference_length,
                streamed.errors,
                streamed.reference_length,
                *sums.tolist(),
            ],
            dtype=torch.float64,
        )
        total = sum_over_processes(self._fabric, counts)
        errors, lengths = total[:6:2].tolist(), total[1:6:2].clamp(min=1).tolist()
        wer, cer, streaming_wer = (e / n for e, n in zip(errors, lengths, strict=True))
        loss, labels, left_out = total[6:].tolist()
        if left_out:
            logger.warning(
                "%d validation utterances are too short for their transcript: not in the loss",
                left_out,
            )
        mean = math.nan if left_out and not labels else loss / max(labels, 1)
        figures = {"loss": mean, "wer": wer, "cer": cer}
        if streamed.reference_length:
            figures["streaming_wer"] = streaming_wer
        return figures
