"""What a recogniser thinks of texts that another one found."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.decoding.acoustic_model import AcousticModel
from asr.decoding.audio_input import AudioInput
from asr.decoding.longform import LongformConfig
from asr.decoding.recording_posteriors import recording_posteriors
from asr.model.ctc import ctc_losses
from asr.tokens.tokenizer import Tokenizer

IMPOSSIBLE = -1e4
"""Log-probability of a text that cannot be spelled, or has more labels than there are frames."""
# Texts scored at once: each has a copy of the recording's log-probabilities.
_TEXTS = 16


class TextScorer:
    """Scores texts of recordings by a recogniser's CTC, summed over alignments.

    Args:
        acoustic_model: Waveforms to log-posteriors.
        tokenizer: Text to labels.
        longform: How long audio is cut.

    Source: Graves et al. 2006, section 4.1.
    """

    def __init__(
        self,
        acoustic_model: AcousticModel,
        tokenizer: Tokenizer,
        *,
        longform: LongformConfig | None = None,
    ) -> None:
        self._acoustic_model = acoustic_model
        self._tokenizer = tokenizer
        self._longform = longform or LongformConfig()

    def log_probs(self, item: AudioInput, texts: Sequence[str]) -> list[float]:
        """Score texts.

        Args:
            item: The recording.
            texts: Normalised.

        Returns:
            Natural log-probability of each text, `IMPOSSIBLE` at the least.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The recording cannot be used.
        """
        heard = recording_posteriors(item, self._acoustic_model, self._longform)
        if not len(heard.log_probs):
            return [IMPOSSIBLE if text else 0.0 for text in texts]
        scores: list[float] = []
        for first in range(0, len(texts), _TEXTS):
            scores += self._score(heard.log_probs, texts[first : first + _TEXTS])
        return scores

    def _score(self, posteriors: Tensor, texts: Sequence[str]) -> list[float]:
        """Scores of some texts under log-posteriors (time, vocab)."""
        labels = [
            None if self._tokenizer.unknown_characters(text) else self._tokenizer.encode(text)
            for text in texts
        ]
        spelled = [torch.tensor(each or [], dtype=torch.int64) for each in labels]
        lengths = torch.tensor([len(each) for each in spelled])
        losses = ctc_losses(
            posteriors.expand(len(texts), -1, -1),
            torch.full((len(texts),), len(posteriors)),
            pad_sequence(spelled, batch_first=True),
            lengths,
        )
        return [
            IMPOSSIBLE if each is None else score
            for each, score in zip(labels, (-losses).clamp(min=IMPOSSIBLE).tolist(), strict=True)
        ]
