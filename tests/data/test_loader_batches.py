import numpy as np
import pytest
import soundfile

from asr.data.loader import DataConfig, build_training_loader, build_validation_loader
from asr.data.manifest import Utterance
from asr.features.augmentation import AugmentationConfig, WaveformAugment

RATE_HZ = 16000


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    folder = tmp_path_factory.mktemp("audio")
    found = []
    for number in range(40):
        samples = np.full(round((0.2 + 0.01 * number) * RATE_HZ), 0.1)
        soundfile.write(folder / f"u{number}.wav", samples, RATE_HZ)
        seconds = len(samples) / RATE_HZ
        path = folder / f"u{number}.wav"
        found.append(
            Utterance(id=path.stem, audio_filepath=path, duration_seconds=seconds, text="")
        )
    return found


def test_training_batches_are_of_one_bucket_and_within_the_limit_at_any_speed(
    utterances: list[Utterance],
) -> None:
    loader = build_training_loader(
        DataConfig(batch_seconds=1.0, workers=0, buckets=8),
        utterances,
        encode=lambda text: [],
        augment=WaveformAugment(
            AugmentationConfig(speed_factors=(0.5, 1.0)), sample_rate_hz=RATE_HZ
        ),
        sample_rate_hz=RATE_HZ,
        seed=0,
    )
    samples, room = 0, 0
    for batch in loader:
        assert batch.waveforms.numel() <= RATE_HZ or len(batch.ids) == 1
        samples, room = samples + int(batch.waveform_lengths.sum()), room + batch.waveforms.numel()
    # In one bucket, lengths of 0.2 s to 1.2 s would fill two thirds.
    assert samples / room > 0.9


def test_processes_validate_each_utterance_once(utterances: list[Utterance]) -> None:
    names = [
        name
        for rank in range(2)
        for batch in build_validation_loader(
            DataConfig(batch_seconds=1.0, workers=0, buckets=1),
            utterances,
            encode=lambda text: [],
            sample_rate_hz=RATE_HZ,
            rank=rank,
            world_size=2,
        )
        for name in batch.ids
    ]
    assert sorted(names) == sorted(item.id for item in utterances)
