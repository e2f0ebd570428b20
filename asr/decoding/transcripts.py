"""What a decoder finds in the frames of an acoustic model, as transcripts with times."""

from collections.abc import Sequence

from asr.decoding.acoustic_model import AcousticModel
from asr.tokens.tokenizer import Tokenizer
from asr.transcripts.hypothesis import Hypothesis
from asr.transcripts.tokens import Decoded
from asr.transcripts.word_times import to_hypothesis


def transcripts(
    decoded: Sequence[Decoded],
    samples: Sequence[int],
    *,
    acoustic_model: AcousticModel,
    tokenizer: Tokenizer,
) -> list[Hypothesis]:
    """Turn what a decoder gives for whole recordings into transcripts.

    Args:
        decoded: One for each recording.
        samples: Length of each recording at the acoustic model's rate.
        acoustic_model: Gives the times of frames.
        tokenizer: Gives the text of labels.

    Returns:
        One hypothesis a recording.
    """
    return [
        to_hypothesis(
            item,
            tokenizer,
            frame_seconds=acoustic_model.frame_seconds,
            frame_offset_seconds=acoustic_model.frame_offset_seconds,
            duration_seconds=length / acoustic_model.sample_rate_hz,
        )
        for item, length in zip(decoded, samples, strict=True)
    ]
