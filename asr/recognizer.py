"""A trained recogniser: audio to hypotheses, log-probabilities and alignments."""

import logging
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from asr.config import load_config
from asr.ctc import Decoder, GreedyDecoder, build_model
from asr.data.manifest import Utterance
from asr.decoders import BATCH_SECONDS, DecoderConfig, DecoderName, build_decoder
from asr.devices import AUTO, find_device
from asr.features.frontend import Frontend
from asr.features.normalisation import Normalisation
from asr.files import (
    CONFIG_FILE,
    LM_DESCRIPTION_FILE,
    NORMALISATION_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
)
from asr.inference.acoustic_model import AcousticModel, to_hypotheses
from asr.inference.alignment import Aligner
from asr.inference.audio_input import (
    AudioInput,
    UntilError,
    duration_seconds,
    plan_batches,
    read_batches,
    read_input_blocks,
)
from asr.inference.long_recordings import (
    CountedBlocks,
    LongformConfig,
    cut_recording,
    recording_posteriors,
)
from asr.inference.streaming import RecognitionStream, chunked_mode
from asr.inference.torch_model import TorchAcousticModel
from asr.model.weights import load_weights, read_weights
from asr.tokens.tokenizer import Tokenizer
from asr.transcripts.hypothesis import Hypothesis, Outcome

logger = logging.getLogger(__name__)


class Recognizer:
    """A trained recogniser: acoustic model, tokenizer and decoder.

    Args:
        acoustic_model: Waveforms to log-posteriors.
        tokenizer: Labels to text.
        longform: How long audio is cut.
        decoder: Log-posteriors to labels; by default the best label of every frame.
    """

    def __init__(
        self,
        acoustic_model: AcousticModel,
        tokenizer: Tokenizer,
        *,
        longform: LongformConfig | None = None,
        decoder: Decoder[Any] | None = None,
    ) -> None:
        self.acoustic_model = acoustic_model
        self.tokenizer = tokenizer
        self.longform = longform or LongformConfig()
        self.decoder = decoder or GreedyDecoder()

    def transcribe(
        self, inputs: Sequence[AudioInput], *, batch_seconds: float = BATCH_SECONDS
    ) -> list[Hypothesis]:
        """Decode recordings of any length.

        Args:
            inputs: Files, stretches of files, or pairs of samples in -1 .. 1 and rate in Hz; any
                rate, (sample,) or (sample, channel).
            batch_seconds: Most audio in a batch, padding included.

        Returns:
            One hypothesis an input, in order. Audio too short for one frame gives an empty one.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: An input cannot be used.
        """
        hypotheses: dict[int, Hypothesis] = {}
        for outcome in self.outcomes(inputs, batch_seconds=batch_seconds):
            if outcome.error is not None:
                raise outcome.error
            assert outcome.hypothesis is not None
            hypotheses[outcome.index] = outcome.hypothesis
        return [hypotheses[index] for index in range(len(inputs))]

    def outcomes(
        self, inputs: Sequence[AudioInput], *, batch_seconds: float = BATCH_SECONDS
    ) -> Iterator[Outcome]:
        """Decode recordings, each failing for itself.

        Args:
            inputs: As in `transcribe`.
            batch_seconds: Most audio in a batch, padding included.

        Yields:
            What became of each input, as soon as it is known, long recordings first.

        Raises:
            TypeError: `inputs` is a single path, or samples are of no floating-point type.
            ValueError: `batch_seconds` is not positive and finite.
        """
        _check_list(inputs)
        if not 0 < batch_seconds < math.inf:
            raise ValueError(
                f"expected batch_seconds above 0 and finite, found {batch_seconds}; correct it"
            )
        seconds: dict[int, float] = {}
        for index, item in enumerate(inputs):
            try:
                seconds[index] = duration_seconds(item)
            except (OSError, ValueError) as error:
                yield Outcome(index=index, error=error)
        limit = self.longform.limit_seconds
        long = [index for index in seconds if seconds[index] > limit]
        short = [(index, length) for index, length in seconds.items() if length <= limit]
        for index in long:
            yield self._decode_long(index, inputs[index], seconds[index], batch_seconds)
        batches = plan_batches(short, batch_seconds)
        rate_hz = self.acoustic_model.sample_rate_hz
        for batch in read_batches(inputs, batches, sample_rate_hz=rate_hz):
            waveforms: dict[int, Tensor] = {}
            for read in batch:
                if isinstance(read.samples, Tensor):
                    waveforms[read.index] = read.samples
                    self._warn_if_too_short(inputs[read.index], len(read.samples))
                else:
                    yield Outcome(index=read.index, error=read.samples)
            hypotheses = self.decode_batch(list(waveforms.values()))
            for index, hypothesis in zip(waveforms, hypotheses, strict=True):
                yield Outcome(index=index, hypothesis=hypothesis)

    def log_probs(self, inputs: Sequence[AudioInput]) -> list[Tensor]:
        """Compute the log-probabilities of every label in every frame of recordings of any length.

        Recordings go through the model one after another; long ones are cut as `transcribe` cuts
        them, so that of the audio no more than a window is held.

        Args:
            inputs: As in `transcribe`.

        Returns:
            One tensor (time, vocab) an input, in order: float32 on the CPU, natural logarithm,
            label 0 the blank, N + 1 labels of N token pieces. Audio too short for one frame gives
            no frames.

        Raises:
            FileNotFoundError: There is no such file.
            TypeError: `inputs` is a single path, or samples are of no floating-point type.
            ValueError: An input cannot be used.
        """
        _check_list(inputs)
        return [
            recording_posteriors(item, self.acoustic_model, self.longform).log_probs
            for item in inputs
        ]

    def align(self, item: AudioInput, text: str) -> Hypothesis:
        """Align a known transcript with its recording of any length: when was each word spoken?

        Args:
            item: A file, a stretch of a file, or a pair of samples in -1 .. 1 and rate in Hz.
            text: The transcript; it is normalised first.

        Returns:
            The normalised transcript with word times; the score is that of the best path.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The recording cannot be used or is too short for the text, the text has no
                words or characters that the tokenizer lacks.
        """
        aligner = Aligner(self.acoustic_model, self.tokenizer, longform=self.longform)
        return aligner.align(item, text)

    def decode_batch(self, waveforms: Sequence[Tensor]) -> list[Hypothesis]:
        """Decode waveforms in one pass, as one batch.

        Args:
            waveforms: Tensors (sample,) of float32 at the acoustic model's rate.

        Returns:
            One hypothesis a waveform, in order.
        """
        if not waveforms:
            return []
        posteriors = self.acoustic_model.posteriors(waveforms)
        state = self.decoder.start(len(waveforms), device=self.acoustic_model.device)
        state = self.decoder.step(state, posteriors.log_probs, posteriors.lengths)
        return self._transcripts(state, [len(waveform) for waveform in waveforms])

    def stream(
        self, *, chunk_seconds: float, left_seconds: float | None = None
    ) -> RecognitionStream:
        """Begin to recognise a stream of audio; spans are rounded to whole encoder frames.

        Args:
            chunk_seconds: Length of a chunk, after which there is new text.
            left_seconds: What frames may attend to before their chunk; None is all, and then time
                and memory of a chunk grow with the stream.

        Returns:
            The stream.

        Raises:
            ValueError: The model cannot stream, or a span is not positive.
        """
        model = self.acoustic_model
        mode = chunked_mode(
            chunk_seconds=chunk_seconds,
            left_seconds=left_seconds,
            frame_seconds=model.frame_seconds,
        )
        return RecognitionStream(model.under(mode), self.tokenizer, self.decoder)

    def _decode_long(
        self, index: int, item: AudioInput, seconds: float, batch_seconds: float
    ) -> Outcome:
        model = self.acoustic_model
        blocks = CountedBlocks(read_input_blocks(item, sample_rate_hz=model.sample_rate_hz))
        windows = UntilError(cut_recording(blocks, self.longform, model, seconds=seconds))
        windows_in_batch = max(1, int(batch_seconds // self.longform.window_seconds))
        state = self.decoder.start(1, device=model.device)
        coming = iter(windows)
        while (batch := list(islice(coming, windows_in_batch))) and windows.error is None:
            posteriors = model.posteriors([window.samples for window in batch])
            lengths = posteriors.lengths.tolist()
            for window, frames, log_probs in zip(batch, lengths, posteriors.log_probs, strict=True):
                kept = log_probs[:frames][window.kept(frames)].unsqueeze(0)
                kept_lengths = posteriors.lengths.new_tensor([kept.shape[1]])
                state = self.decoder.step(state, kept, kept_lengths)
        if windows.error is not None:
            return Outcome(index=index, error=windows.error)
        [hypothesis] = self._transcripts(state, [blocks.samples])
        return Outcome(index=index, hypothesis=hypothesis)

    def _warn_if_too_short(self, item: AudioInput, samples: int) -> None:
        if self.acoustic_model.output_frames(samples) > 0:
            return
        if isinstance(item, tuple):
            name = "samples"
        else:
            name = item.id if isinstance(item, Utterance) else str(item)
        logger.warning(
            "%s: expected audio of at least one encoder frame, found %.3f s; "
            "the hypothesis is empty",
            name,
            samples / self.acoustic_model.sample_rate_hz,
        )

    def _transcripts(self, state: Any, samples: Sequence[int]) -> list[Hypothesis]:  # noqa: ANN401
        """The transcripts of a decoder's state, whose items have so many samples."""
        return to_hypotheses(
            self.decoder.finish(state),
            samples,
            acoustic_model=self.acoustic_model,
            tokenizer=self.tokenizer,
        )


def load(
    path: str | Path,
    *,
    device: str = AUTO,
    decoder: DecoderName | Decoder[Any] | None = None,
    lm: str | Path | None = None,
    lm_weight: float | None = None,
    length_bonus: float | None = None,
    word_score: float | None = None,
    lexicon: str | Path | None = None,
    blank_penalty: float | None = None,
    beam_size: int | None = None,
    nbest: int | None = None,
    longform: LongformConfig | None = None,
) -> Recognizer:
    """Load a recogniser; nothing is unpickled.

    The options of decoding, from `decoder` to `nbest`, are those of `asr decode`, with the same
    defaults: see `asr.decoders`.

    Args:
        path: An experiment folder: `config.toml`, `tokenizer.model`, `model.safetensors` and, with
            global statistics, `normalisation.json`.
        device: Where the model runs, as torch names it; "auto" is CUDA where torch has it, else the
            CPU.
        decoder: "greedy" or "beam", by default greedy, and beam with `lm`; or a decoder that is
            made already, such as `asr.ctc.BeamSearch`, which takes no further options.
        lm: Language model: a folder that `asr lm train` wrote, an ARPA file or kenlm's binary.
        lm_weight: What the language model's log-probability is multiplied by.
        length_bonus: Added to the score for each token piece, with a language model of these.
        word_score: Added to the score for each word, with a language model of these.
        lexicon: File of the words to find instead of all that a language model of words has.
        blank_penalty: Taken from the blank's log-probability in every frame while searching.
        beam_size: Hypotheses kept after each frame.
        nbest: Transcripts given of each recording.
        longform: How long audio is cut.

    Returns:
        The recogniser, in evaluation mode.

    Raises:
        FileNotFoundError: The folder or a file in it, the language model or the lexicon is missing.
        ValueError: Options do not fit together, a file is damaged, the weights are of another
            architecture, the language model is of another tokenizer, or there is no such device.
    """
    options: dict[str, Any] = {
        "lm": None if lm is None else Path(lm),
        "lm_weight": lm_weight,
        "length_bonus": length_bonus,
        "word_score": word_score,
        "lexicon": None if lexicon is None else Path(lexicon),
        "blank_penalty": blank_penalty,
        "beam_size": beam_size,
        "nbest": nbest,
    }
    if decoder is None or isinstance(decoder, str):
        config = DecoderConfig(decoder=decoder, **options)
        recognizer = _load(Path(path), device=device, longform=longform)
        recognizer.decoder = build_decoder(
            config, tokenizer=recognizer.tokenizer, device=recognizer.acoustic_model.device
        )
        return recognizer
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ValueError(
            f"expected no further options with a decoder that is made already, found "
            f"{', '.join(given)}; give them to that decoder"
        )
    recognizer = _load(Path(path), device=device, longform=longform)
    recognizer.decoder = decoder
    return recognizer


def _load(folder: Path, *, device: str, longform: LongformConfig | None) -> Recognizer:
    """Load a recogniser that decodes greedily."""
    for name in (CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"expected an experiment folder with {name} at {folder}, found "
                f"{'no ' + name if folder.is_dir() else 'no folder'}; give the folder of a "
                "finished `asr train`"
            )
    if (folder / LM_DESCRIPTION_FILE).is_file():
        raise ValueError(
            f"expected a recogniser in {folder}, found a language model; give the folder of a "
            "finished `asr train`"
        )
    config = load_config(folder / CONFIG_FILE)
    tokenizer = Tokenizer.load(folder / TOKENIZER_FILE)
    normalisation = None
    if config.features.normalisation == "global":
        normalisation = Normalisation.load(folder / NORMALISATION_FILE)
    frontend = Frontend(config.features, normalisation)
    model = build_model(
        config.model, vocab_size=tokenizer.vocab_size, feature_size=config.features.feature_size
    )
    load_weights(model, read_weights(folder / WEIGHTS_FILE), path=folder / WEIGHTS_FILE)
    target = find_device(device)
    acoustic_model = TorchAcousticModel(frontend.to(target), model.to(target))
    return Recognizer(acoustic_model, tokenizer, longform=longform)


def _check_list(inputs: Sequence[AudioInput]) -> None:
    """Refuse a single path in the place of a list.

    Raises:
        TypeError: It is one.
    """
    if isinstance(inputs, str | Path):
        raise TypeError(f"expected a list of inputs, found {str(inputs)!r}; put it in a list")
