"""What a recogniser thinks of texts that another one found."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.ctc import ctc_losses
from asr.inference.acoustic_model import AcousticModel
from asr.inference.audio_input import AudioInput
from asr.inference.long_recordings import LongformConfig, recording_posteriors
from asr.tokens.tokenizer import Tokenizer

IMPOSSIBLE = -1e9
"""Log-probability of a text that cannot be spelled, or has more labels than there are frames."""
# Texts scored at once: each has a copy of the recording's log-probabilities.
_TEXTS = 16


def text_log_probs(
    item: AudioInput,
    texts: Sequence[str],
    *,
    acoustic_model: AcousticModel,
    tokenizer: Tokenizer,
    longform: LongformConfig | None = None,
) -> list[float]:
    """Score texts of a recording by a recogniser's CTC, summed over alignments.

    Args:
        item: The recording.
        texts: Normalised.
        acoustic_model: Waveforms to log-posteriors.
        tokenizer: Text to labels.
        longform: How long audio is cut.

    Returns:
        Natural log-probability of each text, `IMPOSSIBLE` at the least.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The recording cannot be used.

    Source: Graves et al. 2006, section 4.1.
    """
    heard = recording_posteriors(item, acoustic_model, longform or LongformConfig())
    if not len(heard.log_probs):
        return [IMPOSSIBLE if text else 0.0 for text in texts]
    labels = [
        None if tokenizer.unknown_characters(text) else tokenizer.encode(text) for text in texts
    ]
    scores: list[float] = []
    for first in range(0, len(labels), _TEXTS):
        scores += _scores(heard.log_probs, labels[first : first + _TEXTS])
    return scores


def _scores(posteriors: Tensor, labels: Sequence[list[int] | None]) -> list[float]:
    """Scores of some texts, None for one without labels, under log-posteriors (time, vocab)."""
    spelled = [torch.tensor(each or [], dtype=torch.int64) for each in labels]
    losses = ctc_losses(
        posteriors.expand(len(labels), -1, -1),
        torch.full((len(labels),), len(posteriors)),
        pad_sequence(spelled, batch_first=True),
        torch.tensor([len(each) for each in spelled]),
    )
    return [
        IMPOSSIBLE if each is None else score
        for each, score in zip(labels, (-losses).clamp(min=IMPOSSIBLE).tolist(), strict=True)
    ]
