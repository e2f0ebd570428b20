"""Streaming recognition: audio in blocks of any length, text after every chunk."""

import math
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr.ctc import Decoder
from asr.data.resampling import BlockResampler
from asr.inference.acoustic_model import AcousticModel, to_hypotheses
from asr.inference.audio_input import (
    AudioInput,
    Samples,
    UntilError,
    mono_samples,
    read_input_blocks,
)
from asr.model.attention import Mode, chunked
from asr.tokens.tokenizer import Tokenizer
from asr.transcripts.hypothesis import Hypothesis, Outcome
from asr.transcripts.word_times import spell_words


def chunked_mode(*, chunk_seconds: float, left_seconds: float | None, frame_seconds: float) -> Mode:
    """Chunked attention mode whose spans are nearest to those asked for.

    Args:
        chunk_seconds: Length of a chunk, > 0; at least one frame is taken.
        left_seconds: What frames may attend to before their chunk; None or infinity is all.
        frame_seconds: Distance between encoder frames.

    Returns:
        The mode, in whole encoder frames.

    Raises:
        ValueError: A chunk is not positive and finite, or the left context is negative.
    """
    if not 0 < chunk_seconds < math.inf:
        raise ValueError(
            f"expected chunk_seconds above 0 and finite, found {chunk_seconds}; correct it"
        )
    if left_seconds is not None and not left_seconds >= 0:
        raise ValueError(
            f"expected left_seconds of at least 0, found {left_seconds}; raise it or leave it out"
        )
    if left_seconds == math.inf:
        left_seconds = None
    left = None if left_seconds is None else round(left_seconds / frame_seconds)
    return chunked(max(1, round(chunk_seconds / frame_seconds)), left)


# Labels at the end that are spelled anew each time; decoders seldom change earlier ones.
_OPEN_LABELS = 64


class PartialText:
    """Partial transcript: labels that grow at their end, without spelling all of them each time.

    Args:
        tokenizer: Gives the text of labels.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._settled: list[int] = []
        self._settled_text = ""

    def of(self, labels: Sequence[int]) -> str:
        """The words of the labels, any labels, separated by single blanks."""
        labels = list(labels)
        if labels[: len(self._settled)] != self._settled:
            self._settled, self._settled_text = [], ""
        if len(labels) - len(self._settled) > 2 * _OPEN_LABELS:
            self._settle(labels)
        return self._joined(labels[len(self._settled) :])

    def _settle(self, labels: list[int]) -> None:
        """Spell all but the last labels for good, up to the start of a word."""
        end = len(labels) - _OPEN_LABELS
        while end > len(self._settled) and not self._tokenizer.starts_word(labels[end]):
            end -= 1
        self._settled_text = self._joined(labels[len(self._settled) : end])
        self._settled = labels[:end]

    def _joined(self, labels: list[int]) -> str:
        """The settled text and the words of the labels after it."""
        words = [text for text, _ in spell_words(labels, self._tokenizer)]
        return " ".join([self._settled_text, *words] if self._settled_text else words)


class StreamBatch:
    """Streaming recognition of a batch whose streams begin and advance chunk by chunk together.

    What is held grows with the text, and with the audio only where the left context is all or some
    streams are ahead of others.

    Args:
        acoustic_model: In chunked mode.
        tokenizer: Labels to text.
        decoder: Log-posteriors to labels.
        streams: How many.

    Raises:
        ValueError: The acoustic model cannot stream.
    """

    def __init__(
        self,
        acoustic_model: AcousticModel,
        tokenizer: Tokenizer,
        decoder: Decoder[Any],
        *,
        streams: int = 1,
    ) -> None:
        self._acoustic_model = acoustic_model
        self._model = acoustic_model.chunked_model()
        self._tokenizer = tokenizer
        self._decoder = decoder
        self._pending = [torch.empty(0)] * streams
        self._samples = [0] * streams
        self._ended = [False] * streams
        self._finished = False
        self._texts = [PartialText(tokenizer) for _ in range(streams)]
        self.chunks = 0
        """Chunks computed so far."""
        self.encoder_state: Any = None
        """What the model carries to the next chunk; None before the first."""
        self.decoder_state: Any = decoder.start(streams, device=acoustic_model.device)
        """What the decoder carries to the next chunk."""

    @torch.inference_mode()
    def accept(self, blocks: Sequence[Tensor | None]) -> list[str]:
        """Take the next audio.

        Args:
            blocks: (sample,) float32 at the acoustic model's rate, one a stream, of any length;
                None where the stream has ended before. The others wait for no ended one.

        Returns:
            The text of each stream so far; later audio may change its end.

        Raises:
            ValueError: An ended stream goes on, or the number of streams is another.
        """
        self._check_open()
        if len(blocks) != len(self._pending):
            raise ValueError(
                f"expected {len(self._pending)} blocks, one a stream, found {len(blocks)}; give "
                "None for streams that have ended"
            )
        for stream, block in enumerate(blocks):
            if block is None:
                self._ended[stream] = True
            elif self._ended[stream]:
                raise ValueError(
                    f"expected None for stream {stream}, which has ended, found audio; begin "
                    "another batch"
                )
            else:
                self._pending[stream] = torch.cat([self._pending[stream], block])
                self._samples[stream] += len(block)
        while self._is_ready():
            self._step()
        # Copies: views would keep all of a long block alive.
        self._pending = [pending.clone() for pending in self._pending]
        return self._text()

    @torch.inference_mode()
    def finish(self) -> list[Hypothesis]:
        """End all streams.

        Returns:
            One hypothesis a stream; audio too short for a frame gives an empty one.

        Raises:
            ValueError: They have ended already.
        """
        self._check_open()
        self._finished = True
        self._ended = [True] * len(self._ended)
        while any(len(pending) >= self._model.window_samples for pending in self._pending):
            self._step()
        return to_hypotheses(
            self._decoder.finish(self.decoder_state),
            self._samples,
            acoustic_model=self._acoustic_model,
            tokenizer=self._tokenizer,
        )

    def _check_open(self) -> None:
        if self._finished:
            raise ValueError("expected a stream that goes on, found a finished one; begin another")

    def _is_ready(self) -> bool:
        """Whether all streams that go on hold a whole chunk."""
        needed = self._model.needed_samples(first=self.encoder_state is None)
        waited_for = [
            len(pending) >= needed
            for pending, ended in zip(self._pending, self._ended, strict=True)
            if not ended
        ]
        return bool(waited_for) and all(waited_for)

    def _step(self) -> None:
        first = self.encoder_state is None
        needed = self._model.needed_samples(first=first)
        used = self._model.used_samples(first=first)
        posteriors, self.encoder_state = self._model.step(
            [pending[:needed] for pending in self._pending], self.encoder_state
        )
        self._pending = [pending[used:] for pending in self._pending]
        self.decoder_state = self._decoder.step(
            self.decoder_state, posteriors.log_probs, posteriors.lengths
        )
        self.chunks += 1

    def _text(self) -> list[str]:
        labels = self._decoder.best_labels(self.decoder_state)
        return [text.of(row) for text, row in zip(self._texts, labels, strict=True)]


class RecognitionStream:
    """Streaming recognition of one stream of audio.

    Args:
        acoustic_model: In chunked mode.
        tokenizer: Labels to text.
        decoder: Log-posteriors to labels.

    Raises:
        ValueError: The acoustic model cannot stream.
    """

    def __init__(
        self, acoustic_model: AcousticModel, tokenizer: Tokenizer, decoder: Decoder[Any]
    ) -> None:
        self.acoustic_model = acoustic_model
        self._batch = StreamBatch(acoustic_model, tokenizer, decoder)
        self._rate_hz: int | None = None
        self._resampler: BlockResampler | None = None

    @property
    def chunks(self) -> int:
        """Chunks computed so far."""
        return self._batch.chunks

    @property
    def chunk_seconds(self) -> float:
        """Length of a chunk."""
        frames = self.acoustic_model.mode.chunk_frames
        assert frames is not None
        return frames * self.acoustic_model.frame_seconds

    @property
    def left_seconds(self) -> float | None:
        """What frames may attend to before their chunk; None is all."""
        frames = self.acoustic_model.mode.left_frames
        return None if frames is None else frames * self.acoustic_model.frame_seconds

    @property
    def lookahead_seconds(self) -> float:
        """Audio after the end of a chunk that it waits for."""
        return self.acoustic_model.lookahead_samples / self.acoustic_model.sample_rate_hz

    def accept(self, samples: Samples, rate_hz: int) -> str:
        """Take the next audio.

        Args:
            samples: In -1 .. 1, (sample,) or (sample, channel), of any length.
            rate_hz: Their rate, the same in all blocks.

        Returns:
            The text so far; later audio may change its end.

        Raises:
            TypeError: Samples are of no floating-point type.
            ValueError: Samples cannot be used, their rate changes, or the stream is finished.
        """
        waveform = mono_samples(samples, rate_hz)
        if self._rate_hz is None:
            own_rate_hz = self.acoustic_model.sample_rate_hz
            if rate_hz != own_rate_hz:
                self._resampler = BlockResampler(from_hz=rate_hz, to_hz=own_rate_hz)
            self._rate_hz = rate_hz
        if rate_hz != self._rate_hz:
            raise ValueError(
                f"expected blocks of {self._rate_hz} Hz as the first, found {rate_hz} Hz; begin "
                "another stream"
            )
        if self._resampler is not None:
            waveform = self._resampler.accept(waveform)
        [text] = self._batch.accept([waveform])
        return text

    def finish(self) -> Hypothesis:
        """End the stream, wherever in a chunk it is.

        Returns:
            The transcript; audio too short for a frame gives an empty one.

        Raises:
            ValueError: The stream is finished already.
        """
        if self._resampler is not None:
            self._batch.accept([self._resampler.finish()])
        [hypothesis] = self._batch.finish()
        return hypothesis


class ComputeTimes:
    """Computing time of chunks, in seconds: the part of latency that is the machine's."""

    def __init__(self) -> None:
        self._seconds = array("f")

    @contextmanager
    def of_chunks(self, stream: RecognitionStream) -> Iterator[None]:
        """Count the time of this context if the stream computes a chunk in it."""
        computed, started = stream.chunks, time.perf_counter()
        yield
        if stream.chunks > computed:
            self.add(time.perf_counter() - started)

    def add(self, seconds: float) -> None:
        """Count one chunk."""
        self._seconds.append(seconds)

    def quantile(self, share: float) -> float:
        """The time that this share of the chunks takes at most; NaN where there is no chunk."""
        if not self._seconds:
            return float("nan")
        return float(np.quantile(np.asarray(self._seconds), share))


def stream_outcomes(
    open_stream: Callable[[], RecognitionStream],
    inputs: Sequence[AudioInput],
    *,
    times: ComputeTimes,
) -> Iterator[Outcome]:
    """Simulated streaming of recordings, one after another; one that cannot be read fails alone.

    Args:
        open_stream: Begins a stream.
        inputs: Files, stretches of files, or pairs of samples and rate.
        times: Where the time of each chunk is counted, its text included and reading not.

    Yields:
        What became of each input, in order.
    """
    for index, item in enumerate(inputs):
        stream = open_stream()
        rate_hz = stream.acoustic_model.sample_rate_hz
        # As a stream would bring them, so that no call computes more than one chunk.
        part_samples = round(stream.chunk_seconds * rate_hz)
        blocks = UntilError(read_input_blocks(item, sample_rate_hz=rate_hz))
        for block in blocks:
            for part in torch.split(block, part_samples):
                with times.of_chunks(stream):
                    stream.accept(part, rate_hz)
        if blocks.error is not None:
            yield Outcome(index=index, error=blocks.error)
            continue
        with times.of_chunks(stream):
            hypothesis = stream.finish()
        yield Outcome(index=index, hypothesis=hypothesis)
