"""What reaches the model: which utterances, augmented how, and which statistics."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from lightning.fabric import Fabric
from torch import Tensor

from asr.config import ExperimentConfig
from asr.ctc import build_model, minimum_frames
from asr.data import loader, workers
from asr.data.audio import read_audio
from asr.data.manifest import Utterance, read_manifest, write_manifest
from asr.features.frontend import build_features
from asr.features.normalisation import estimate_normalisation
from asr.files import Experiment
from asr.tokens.tokenizer import Tokenizer
from asr.training.data import TrainingData, load_data, load_normalisation
from asr.training.objective import CtcObjective
from asr.training.run import train

LoadConfig = Callable[..., ExperimentConfig]


def _process(rank: int = 0, world_size: int = 1, device: str = "cpu") -> Fabric:
    parts = {"global_rank": rank, "world_size": world_size, "is_global_zero": rank == 0}
    return cast(Fabric, SimpleNamespace(**parts, device=torch.device(device), barrier=lambda: None))


def _data(config: ExperimentConfig, fabric: Fabric) -> TrainingData:
    tokenizer = Tokenizer.load(Path(str(config.data.tokenizer)))
    model = build_model(config.model, vocab_size=tokenizer.vocab_size, feature_size=20)
    return load_data(config, model, tokenizer, fabric=fabric)


def test_training_alone_changes_speed_and_hides_features(
    load: LoadConfig, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {
        item.id: item.duration_seconds
        for name in ("train", "validation")
        for item in read_manifest(corpus / f"{name}.jsonl")
    }
    inputs = CtcObjective.inputs
    speeds: dict[bool, set[float]] = {True: set(), False: set()}
    hidden: dict[bool, list[bool]] = {True: [], False: []}

    def noted(objective: CtcObjective, batch: Any, *, augment: bool) -> tuple[Tensor, ...]:  # noqa: ANN401
        found = inputs(objective, batch, augment=augment)
        whole = inputs(objective, batch, augment=False)
        hidden[augment].append(not torch.equal(found[0], whole[0]))
        for name, samples in zip(batch.ids, batch.waveform_lengths.tolist(), strict=True):
            speeds[augment].add(round(16000 * seconds[name] / samples, 2))
        return found

    monkeypatch.setattr(CtcObjective, "inputs", noted)
    train(load("training.epochs=1"), tmp_path / "exp")
    assert speeds == {True: {0.9, 1.0, 1.1}, False: {1.0}}
    assert all(hidden[True])
    assert not any(hidden[False])


@pytest.mark.parametrize(("device", "pinned"), [("cpu", False), ("cuda", True)])
def test_batches_for_a_gpu_are_pinned(
    load: LoadConfig, monkeypatch: pytest.MonkeyPatch, device: str, pinned: bool
) -> None:
    asked = []
    make = workers.make_torch_loader

    def noted(*args: Any, pin_memory: bool, **rest: Any) -> object:  # noqa: ANN401
        asked.append(pin_memory)
        made = make(*args, pin_memory=pin_memory, **rest)
        assert made.pin_memory == pin_memory
        return made

    monkeypatch.setattr(loader, "make_torch_loader", noted)
    _data(load(), _process(device=device))
    assert asked == [pinned, pinned]


def test_processes_train_on_different_utterances(load: LoadConfig) -> None:
    shares = [
        {name for batch in _data(load(), _process(rank, 2)).training for name in batch.ids}
        for rank in range(2)
    ]
    assert min(map(len, shares)) > 3
    assert not shares[0] & shares[1]


@pytest.mark.parametrize(("speeds", "kept"), [("[]", ["a", "b"]), ("[0.9, 1.1]", ["a"])])
def test_what_has_too_few_frames_at_the_fastest_speed_is_left_out(
    load: LoadConfig, corpus: Path, tmp_path: Path, speeds: str, kept: list[str]
) -> None:
    config = load(f"data.train={tmp_path / 'train.jsonl'}", f"augmentation.speed_factors={speeds}")
    tokenizer = Tokenizer.load(Path(str(config.data.tokenizer)))
    model = build_model(config.model, vocab_size=tokenizer.vocab_size, feature_size=20)
    frames = model.output_length(config.features.frames_of_seconds(0.8))
    # Just enough frames, one of them for the blank between equal letters, and too few for three.
    repeats = {"b": (frames // 2 - 2, "OO"), "c": (frames // 2 - 3, "OOOO")}
    texts = {"a": "ON"} | {name: "ON" * count + end for name, (count, end) in repeats.items()}
    needed = [minimum_frames(tokenizer.encode(text)) for text in texts.values()]
    assert needed[1] <= frames < needed[2]
    assert len(tokenizer.encode(texts["c"])) <= frames
    items = [
        Utterance(id=name, audio_filepath=corpus / "u00.wav", duration_seconds=0.8, text=text)
        for name, text in texts.items()
    ]
    write_manifest(tmp_path / "train.jsonl", items)
    assert [item.id for item in _data(config, _process()).utterances] == kept


def test_statistics_are_those_of_stretches_from_all_over_the_data(
    load: LoadConfig, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asr.training.data._NORMALISATION_UTTERANCES", 4)
    features = load().features
    utterances = [
        Utterance(
            id=f"{number}",
            audio_filepath=corpus / f"u{number:02d}.wav",
            duration_seconds=0.3,
            offset_seconds=0.4,
        )
        for number in range(8)
    ]
    found = load_normalisation(features, utterances, Experiment(tmp_path), fabric=_process())
    log_mels = []
    for number in (0, 2, 4, 6):
        samples = read_audio(corpus / f"u{number:02d}.wav")[6400:11200]
        computed = build_features(features)(samples.unsqueeze(0), torch.tensor([4800]))
        log_mels.append(computed.features[0])
    assert found == estimate_normalisation(log_mels)
