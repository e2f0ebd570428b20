"""Loss and error rates on the validation data."""

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from lightning.fabric import Fabric

from asr.data.loader import EvaluationLoader
from asr.decoding.greedy import greedy_decode
from asr.scoring.counts import ErrorCounts, count_errors_batch, pool
from asr.tokens.tokenizer import Tokenizer
from asr.training.engine import sum_over_processes
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
            error rate of greedy decoding as fractions (`wer`, `cer`).
        """
        words = pool(())
        characters = pool(())
        sums = torch.zeros(3, dtype=torch.float64)
        for batch in self._loader:
            if stop():
                return None
            output = learner.evaluate(batch)
            durations_seconds = (batch.waveform_lengths / self._sample_rate_hz).tolist()
            hypotheses = greedy_decode(
                output["log_probs"],
                output["lengths"],
                self._tokenizer,
                frame_seconds=self._frame_seconds,
                durations_seconds=durations_seconds,
            )
            said = [self._references[name] for name in batch.ids]
            heard = [hypothesis.text for hypothesis in hypotheses]
            words += pool(count_errors_batch(said, heard, unit="word"))
            characters += pool(count_errors_batch(said, heard, unit="character"))
            ctc = output["nats"].double().cpu()
            aligned = ctc.isfinite()
            labels = batch.label_lengths.cpu()[aligned].sum()
            sums += torch.stack([ctc[aligned].sum(), labels.double(), (~aligned).sum().double()])
        return self._reduce(words, characters, sums)

    def _reduce(
        self, words: ErrorCounts, characters: ErrorCounts, sums: torch.Tensor
    ) -> dict[str, float]:
        counts = torch.tensor(
            [
                words.errors,
                words.reference_length,
                characters.errors,
                characters.reference_length,
                *sums.tolist(),
            ],
            dtype=torch.float64,
        )
        total = sum_over_processes(self._fabric, counts)
        word_errors, word_length, errors, length, loss, labels, left_out = total.tolist()
        if left_out:
            logger.warning(
                "%d validation utterances are too short for their transcript: not in the loss",
                left_out,
            )
        return {
            "loss": loss / max(labels, 1),
            "wer": word_errors / max(word_length, 1),
            "cer": errors / max(length, 1),
        }
