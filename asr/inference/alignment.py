"""Forced alignment of recordings: when the words of a known transcript were spoken."""

from collections.abc import Iterator, Sequence

import torch

from asr.ctc import TooFewFramesError, align_labels
from asr.data.manifest import Utterance
from asr.inference.acoustic_model import AcousticModel
from asr.inference.audio_input import AudioInput
from asr.inference.long_recordings import (
    LongformConfig,
    RecordingPosteriors,
    recording_posteriors_or_error,
)
from asr.tokens.tokenizer import Tokenizer
from asr.transcripts.hypothesis import Hypothesis, Outcome
from asr.transcripts.tokens import Decoded
from asr.transcripts.word_times import to_hypothesis


class Aligner:
    """Forced alignment of recordings of any length with their transcripts.

    Args:
        acoustic_model: Waveforms to log-posteriors.
        tokenizer: Text to labels and back.
        longform: How long audio is cut.
    """

    def __init__(
        self,
        acoustic_model: AcousticModel,
        tokenizer: Tokenizer,
        *,
        longform: LongformConfig | None = None,
    ) -> None:
        self.acoustic_model = acoustic_model
        self.tokenizer = tokenizer
        self.longform = longform or LongformConfig()

    def outcomes(self, utterances: Sequence[Utterance]) -> Iterator[Outcome]:
        """Align utterances; one whose audio or text cannot be used fails for itself.

        Args:
            utterances: Stretches of audio with their transcripts.

        Yields:
            What became of each utterance, in order.
        """
        for index, utterance in enumerate(utterances):
            if utterance.text is None:
                error = ValueError("expected a transcript to align, found none; add its text")
                yield Outcome(index=index, error=error)
                continue
            found = self._aligned(utterance, utterance.text)
            if isinstance(found, Hypothesis):
                yield Outcome(index=index, hypothesis=found)
            else:
                yield Outcome(index=index, error=found)

    def align(self, item: AudioInput, text: str) -> Hypothesis:
        """Align one recording of any length.

        Memory grows by the log-posteriors, 4 bytes a frame and label; the audio and the states
        of the search are held in stretches.

        Args:
            item: The recording.
            text: Its transcript; it is normalised first.

        Returns:
            The normalised transcript with word times; the score is that of the best path.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The recording cannot be used or is too short for the text, the text has no
                words or characters that the tokenizer lacks.
        """
        found = self._aligned(item, text)
        if not isinstance(found, Hypothesis):
            raise found
        return found

    def _aligned(self, item: AudioInput, text: str) -> Hypothesis | OSError | ValueError:
        """The aligned transcript, or what is wrong with this recording or its text."""
        try:
            labels = self.tokenizer.encode(text)
        except ValueError as error:
            return error
        if not labels:
            return ValueError(f"expected a transcript with words, found {text[:80]!r}; correct it")
        model = self.acoustic_model
        heard = recording_posteriors_or_error(item, model, self.longform)
        if not isinstance(heard, RecordingPosteriors):
            return heard
        frames = torch.tensor([len(heard.log_probs)])
        try:
            [alignment] = align_labels(heard.log_probs.unsqueeze(0), frames, [labels])
        except TooFewFramesError as error:
            return error
        return to_hypothesis(
            Decoded(best=alignment),
            self.tokenizer,
            frame_seconds=model.frame_seconds,
            frame_offset_seconds=model.frame_offset_seconds,
            duration_seconds=heard.duration_seconds,
        )
