"""The data that an experiment trains on and validates with."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.fabric import Fabric
from torch import Tensor

from asr.config import ExperimentConfig
from asr.ctc import CtcModel, minimum_frames
from asr.data.audio import read_audio
from asr.data.loader import (
    EvaluationLoader,
    TrainingLoader,
    build_training_loader,
    build_validation_loader,
    load_training_utterances,
)
from asr.data.manifest import Utterance, read_manifest
from asr.features.augmentation import WaveformAugment
from asr.features.base import FrontendConfig
from asr.features.frontend import build_features
from asr.features.normalisation import Normalisation, estimate_normalisation
from asr.files import Experiment, write_atomically
from asr.tokens.normaliser import normalise
from asr.tokens.tokenizer import Tokenizer

_NORMALISATION_UTTERANCES = 500


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Loaders and what they hold.

    Args:
        utterances: What is trained on.
        training: Batches to train on.
        validation: Batches to validate on.
        references: Transcript of each validation utterance id.
    """

    utterances: list[Utterance]
    training: TrainingLoader
    validation: EvaluationLoader
    references: dict[str, str]


def load_data(
    config: ExperimentConfig, model: CtcModel, tokenizer: Tokenizer, *, fabric: Fabric
) -> TrainingData:
    """Make the loaders of this process.

    Raises:
        FileNotFoundError: A manifest is missing.
        ValueError: There is nothing to train on or to validate with.
    """
    fastest = max(config.augmentation.speed_factors, default=1.0)

    def fits(duration_seconds: float, labels: Sequence[int]) -> bool:
        frames = config.features.frames_of_seconds(duration_seconds / max(fastest, 1.0))
        return model.output_length(frames) >= max(minimum_frames(labels), 1)

    rate_hz = config.features.sample_rate_hz
    on_gpu = fabric.device.type == "cuda"
    selected = load_training_utterances(
        config.data,
        encode=tokenizer.encode,
        fits=fits,
        unknown_characters=tokenizer.unknown_characters,
    )
    training = build_training_loader(
        config.data,
        selected.utterances,
        encode=tokenizer.encode,
        augment=WaveformAugment(config.augmentation, sample_rate_hz=rate_hz),
        sample_rate_hz=rate_hz,
        seed=config.training.seed,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        pin_memory=on_gpu,
    )
    assert config.data.validation is not None
    spoken = [item for item in read_manifest(config.data.validation) if item.text is not None]
    if not spoken:
        raise ValueError(
            f"expected utterances with text in {config.data.validation}, found none; "
            "give another data.validation"
        )

    def encode_known(text: str) -> list[int]:
        # Characters that training never had are errors to be counted, no reason to stop.
        unknown = tokenizer.unknown_characters(text)
        return tokenizer.encode("".join(c for c in normalise(text) if c not in unknown))

    validation = build_validation_loader(
        config.data,
        spoken,
        encode=encode_known,
        sample_rate_hz=rate_hz,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        pin_memory=on_gpu,
    )
    return TrainingData(
        utterances=selected.utterances,
        training=training,
        validation=validation,
        references={item.id: item.text for item in spoken if item.text is not None},
    )


def load_normalisation(
    config: FrontendConfig,
    utterances: Sequence[Utterance],
    experiment: Experiment,
    *,
    fabric: Fabric,
    begins: bool = True,
    keep_from: Path | None = None,
) -> Normalisation | None:
    """Feature statistics of an experiment; where training begins, the main process makes them.

    Args:
        config: The section `[features]`.
        utterances: What is trained on.
        experiment: The folder that holds them.
        fabric: Lightning's launched engine.
        begins: Whether training begins, so that there may be none yet.
        keep_from: Experiment to copy them from; None to estimate them on `utterances`.

    Returns:
        The statistics; None with normalisation by utterance.

    Raises:
        FileNotFoundError: There are none, although training goes on.
        ValueError: The file is damaged, or there is no feature frame.
    """
    if config.normalisation != "global":
        return None
    missing = not experiment.normalisation.is_file()
    if missing and not begins:
        raise FileNotFoundError(
            f"expected the feature statistics of the training at {experiment.normalisation}, found "
            "no file; copy it back, as others would make the weights worthless"
        )
    # Other processes may look only after the main one has written.
    fabric.barrier()
    if fabric.is_global_zero and missing and keep_from is not None:
        content = Experiment(keep_from).normalisation.read_bytes()
        write_atomically(experiment.normalisation, lambda stream: stream.write(content))
    elif fabric.is_global_zero and missing:
        stride = math.ceil(len(utterances) / _NORMALISATION_UTTERANCES)
        statistics = estimate_normalisation(_raw_features(config, utterances[::stride]))
        statistics.save(experiment.normalisation)
    fabric.barrier()
    return Normalisation.load(experiment.normalisation)


def _raw_features(config: FrontendConfig, utterances: Iterable[Utterance]) -> Iterator[Tensor]:
    raw_features = build_features(config)
    for utterance in utterances:
        waveform = read_audio(
            utterance.audio_filepath,
            sample_rate_hz=config.sample_rate_hz,
            offset_seconds=utterance.offset_seconds,
            duration_seconds=utterance.duration_seconds,
        )
        computed = raw_features(waveform.unsqueeze(0), torch.tensor([waveform.numel()]))
        yield computed.features[0, : int(computed.lengths[0])]
