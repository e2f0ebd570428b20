from pathlib import Path
from typing import Any

import pytest

from asr.data.loader import DataConfig, load_training_utterances
from asr.data.manifest import Utterance, write_manifest


def encode(text: str) -> list[int]:
    return [1] * len(text)


def test_training_utterances_come_from_the_manifest(tmp_path: Path) -> None:
    utterances = [
        Utterance(
            id=f"u{number}",
            audio_filepath=tmp_path / f"u{number}.flac",
            duration_seconds=0.2 + 0.05 * number,
            text="a" * number,
        )
        for number in range(14)
    ]
    write_manifest(tmp_path / "train.jsonl", utterances)
    settings = DataConfig(
        train=tmp_path / "train.jsonl",
        batch_seconds=1,
        min_seconds=0.23,
        max_seconds=0.68,
        workers=0,
        buckets=1,
    )
    result = load_training_utterances(
        settings,
        encode=encode,
        fits=lambda seconds, labels: len(labels) < 8,
        unknown_characters=lambda text: set(),
    )
    assert [each.id for each in result.utterances] == [f"u{number}" for number in range(1, 8)]
    assert result.utterances[0].audio_filepath == utterances[1].audio_filepath
    assert result.report.too_short == ("u0",)
    assert result.report.too_long == ("u10", "u11", "u12", "u13")
    assert result.report.too_short_for_transcript == ("u8", "u9")


def test_no_training_manifest_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"found none; set data\.train"):
        load_training_utterances(
            DataConfig(batch_seconds=1, workers=0, buckets=1),
            encode=encode,
            fits=lambda seconds, labels: True,
            unknown_characters=lambda text: set(),
        )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_seconds", 0),
        ("min_seconds", -1),
        ("max_seconds", 0.05),
        ("workers", -1),
        ("buckets", 0),
    ],
)
def test_value_out_of_range_is_an_error(name: str, value: float) -> None:
    settings: dict[str, Any] = {"batch_seconds": 60, "workers": 0, "buckets": 10, name: value}
    with pytest.raises(ValueError, match=name):
        DataConfig(**settings)
