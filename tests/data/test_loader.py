import multiprocessing
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asr.data.audio_containers import AudioError
from asr.data.batch import Batch
from asr.data.loader import (
    DataConfig,
    EvaluationLoader,
    TrainingLoader,
    build_training_loader,
    build_validation_loader,
)
from asr.data.manifest import Utterance, write_manifest
from asr.features.augmentation import AugmentationConfig, WaveformAugment

RATE_HZ = 16000


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    folder = tmp_path_factory.mktemp("audio")
    generator = np.random.default_rng(0)
    made = []
    for number in range(14):
        seconds = 0.2 + 0.05 * number
        path = folder / f"u{number}.flac"
        soundfile.write(path, generator.normal(0, 0.1, round(seconds * RATE_HZ)), RATE_HZ)
        made.append(
            Utterance(
                id=f"u{number}", audio_filepath=path, duration_seconds=seconds, text="a" * number
            )
        )
    return made


def encode(text: str) -> list[int]:
    return [1] * len(text)


def config(workers: int = 0) -> DataConfig:
    return DataConfig(batch_seconds=1.5, workers=workers, buckets=3)


def training_loader(
    utterances: list[Utterance], *, workers: int = 0, rank: int = 0, world_size: int = 1
) -> TrainingLoader:
    augmentation = AugmentationConfig(
        speed_factors=(0.9, 1.0, 1.1),
        noise_probability=0.5,
        noise_snr_db=(5.0, 20.0),
        band_limit_probability=0.5,
        band_limit_hz=(3000.0, 7000.0),
        gain_db=(-6.0, 6.0),
    )
    return build_training_loader(
        config(workers),
        utterances,
        encode=encode,
        augment=WaveformAugment(augmentation, sample_rate_hz=RATE_HZ),
        sample_rate_hz=RATE_HZ,
        seed=7,
        rank=rank,
        world_size=world_size,
    )


def validation_loader(
    utterances: list[Utterance],
    *,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
) -> EvaluationLoader:
    return build_validation_loader(
        config(workers),
        utterances,
        encode=encode,
        sample_rate_hz=RATE_HZ,
        rank=rank,
        world_size=world_size,
        pin_memory=pin_memory,
    )


def assert_same(batches: list[Batch], expected: list[Batch]) -> None:
    assert [batch.ids for batch in batches] == [batch.ids for batch in expected]
    for batch, other in zip(batches, expected, strict=True):
        assert torch.equal(batch.waveforms, other.waveforms)
        assert torch.equal(batch.waveform_lengths, other.waveform_lengths)
        assert torch.equal(batch.labels, other.labels)
        assert torch.equal(batch.label_lengths, other.label_lengths)


def take(loader: TrainingLoader, count: int) -> list[Batch]:
    batches = iter(loader)
    return [next(batches) for _ in range(count)]


def epochs(loader: TrainingLoader, count: int) -> list[Batch]:
    return [batch for _ in range(count) for batch in loader]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.slow
def test_resume_inside_an_epoch_equals_the_uninterrupted_run(
    utterances: list[Utterance], workers: int
) -> None:
    uninterrupted = epochs(training_loader(utterances), 3)
    length = len(training_loader(utterances))
    assert length >= 4
    assert len(uninterrupted) == 3 * length

    killed = training_loader(utterances, workers=workers)
    batches = epochs(killed, 1) + take(killed, 2)
    resumed = training_loader(utterances, workers=workers)
    resumed.load_state_dict({"epoch": 1, "next_batch": 2})
    assert_same(batches + epochs(resumed, 2), uninterrupted)


@pytest.mark.parametrize("workers", [0, 1])
def test_abandoned_iteration_goes_on_with_the_next_batch(
    utterances: list[Utterance], workers: int
) -> None:
    loader = training_loader(utterances, workers=workers)
    batches = take(loader, 1) + take(loader, 2) + epochs(loader, 1)
    assert_same(batches, epochs(training_loader(utterances), 1))


def test_after_its_last_batch_comes_the_next_epoch(utterances: list[Utterance]) -> None:
    loader = training_loader(utterances)
    loader.load_state_dict({"epoch": 4, "next_batch": len(loader) - 1})
    [last] = loader
    expected = epochs(training_loader(utterances), 6)[5 * len(loader) - 1 :]
    assert_same([last, *epochs(loader, 1)], expected)


def test_iteration_leaves_the_global_generator_alone(utterances: list[Utterance]) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    epochs(training_loader(utterances), 1)
    list(validation_loader(utterances))
    assert torch.equal(torch.get_rng_state(), before)


def test_every_tensor_of_a_batch_is_pinned(
    utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = next(iter(training_loader(utterances)))
    # Pinning itself needs a GPU.
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)
    pinned = batch.pin_memory()
    assert pinned.ids == batch.ids
    for name in ("waveforms", "waveform_lengths", "labels", "label_lengths"):
        assert torch.equal(getattr(pinned, name), getattr(batch, name) + 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_pinned_where_asked_for(utterances: list[Utterance], workers: int) -> None:
    plain = list(validation_loader(utterances))
    pinned = list(validation_loader(utterances, workers=workers, pin_memory=True))
    assert_same(pinned, plain)
    assert all(batch.waveforms.is_pinned() and batch.labels.is_pinned() for batch in pinned)
    assert not any(batch.waveforms.is_pinned() for batch in plain)


def test_state_of_another_corpus_is_an_error(utterances: list[Utterance]) -> None:
    loader = training_loader(utterances)
    with pytest.raises(ValueError, match=rf"next_batch in 0 \.\. {len(loader) - 1}, found 99"):
        loader.load_state_dict({"epoch": 0, "next_batch": 99})


def test_processes_share_an_epoch(utterances: list[Utterance]) -> None:
    loaders = [training_loader(utterances, rank=rank, world_size=2) for rank in range(2)]
    shares = [epochs(loader, 1) for loader in loaders]
    assert len(shares[0]) == len(shares[1]) == len(loaders[0])
    ids = [name for share in shares for batch in share for name in batch.ids]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_audio_is_an_error_in_the_training_process(
    utterances: list[Utterance], tmp_path: Path, workers: int
) -> None:
    broken = tmp_path / "broken.flac"
    broken.write_text("no audio")
    bad = Utterance(id="bad", audio_filepath=broken, duration_seconds=0.5, text="a")
    loader = training_loader([*utterances, bad], workers=workers)
    with pytest.raises(AudioError, match=r"^utterance 'bad': .*broken\.flac.*$") as caught:
        epochs(loader, 1)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_worker_outlives_signals_to_the_process_group(utterances: list[Utterance]) -> None:
    before = set(multiprocessing.active_children())
    loader = training_loader(utterances, workers=1)
    batches = iter(loader)
    received = [next(batches)]
    (worker,) = set(multiprocessing.active_children()) - before
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGINT)
    os.kill(worker.pid, signal.SIGTERM)
    received += batches
    received += epochs(loader, 1)
    assert worker.is_alive()
    assert_same(received, epochs(training_loader(utterances), 2))


def test_worker_that_is_killed_is_one_line(utterances: list[Utterance]) -> None:
    before = set(multiprocessing.active_children())
    batches = iter(training_loader(utterances, workers=1))
    next(batches)
    (worker,) = set(multiprocessing.active_children()) - before
    worker.kill()
    worker.join()
    with pytest.raises(OSError, match="expected the loader processes to live, found one gone"):
        list(batches)


_SCRIPT = """
import os, signal, sys
from pathlib import Path
from asr.data.loader import DataConfig, build_training_loader
from asr.data.manifest import read_manifest

received = []
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: received.append(number))
loader = build_training_loader(
    DataConfig(batch_seconds=1.5, workers=1, buckets=3),
    read_manifest(Path(sys.argv[1])),
    encode=lambda text: [1],
    augment=None,
    sample_rate_hz=16000,
    seed=0,
)
batches = iter(loader)
next(batches)
os.killpg(0, signal.SIGTERM)
os.killpg(0, signal.SIGINT)
assert len(received) == 2
assert 1 + len(list(batches)) + len(list(loader)) == 2 * len(loader)
batches = iter(loader)
next(batches)
print("loaded", flush=True)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(3)
"""


@pytest.mark.parametrize(("end", "status"), [("exit", 3), ("killed", -signal.SIGKILL)])
@pytest.mark.slow
def test_group_signals_leave_loading_alone_and_the_end_ends_the_workers(
    utterances: list[Utterance], tmp_path: Path, end: str, status: int
) -> None:
    write_manifest(tmp_path / "train.jsonl", utterances)
    # A worker that is left over holds the output open, so this would run into the limit.
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(tmp_path / "train.jsonl"), end],
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (status, "loaded\n")
    if end == "exit":
        assert done.stderr == ""


@pytest.mark.parametrize("world_size", [1, 2])
def test_validation_gives_every_utterance_unchanged(
    utterances: list[Utterance], world_size: int
) -> None:
    loaders = [
        validation_loader(utterances, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    shares = [list(loader) for loader in loaders]
    assert [len(share) for share in shares] == [len(loader) for loader in loaders]
    lengths = {
        name: int(length)
        for share in shares
        for batch in share
        for name, length in zip(batch.ids, batch.waveform_lengths, strict=True)
    }
    assert lengths == {each.id: round(each.duration_seconds * RATE_HZ) for each in utterances}
    assert_same(list(loaders[0]), shares[0])


def test_validation_with_a_worker_gives_the_same(utterances: list[Utterance]) -> None:
    assert_same(list(validation_loader(utterances, workers=1)), list(validation_loader(utterances)))


def test_more_workers_than_processors_is_one_line(
    utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        take(training_loader(utterances, workers=2), 1)
    (record,) = caplog.records
    assert "data.workers is 2 where there are 1 processors" in record.getMessage()
