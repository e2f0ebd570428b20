"""A frontend that is not there yet: what one file and one line of `FRONTENDS` give."""

from pathlib import Path
from typing import Literal

import pytest
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from asr.config import load_config, save_config
from asr.ctc import build_model
from asr.features import frontend
from asr.features.base import Features, FrontendConfig
from asr.features.frontend import FRONTENDS, Frontend, FrontendEntry, build_features, parse_frontend
from asr.features.normalisation import Normalisation
from asr.inference.torch_model import TorchAcousticModel
from asr.lengths import valid_mask
from asr.model.attention import chunked
from asr.schema import STRICT
from asr.tokens.tokenizer import Tokenizer
from tests.conftest import TINY_CONFIG, NoiseMaker
from tests.inference.streams import assert_equals_one_pass, waveforms


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WaveformConfig(FrontendConfig):
    """Stretches of the waveform as features."""

    kind: Literal["waveform"]
    """The waveform itself."""
    stretch_samples: int = Field(default=160, gt=0)
    """Samples of a frame."""

    @property
    def feature_size(self) -> int:
        return self.stretch_samples

    @property
    def window_samples(self) -> int:
        return self.stretch_samples

    @property
    def hop_samples(self) -> int:
        return self.stretch_samples


class Stretches(nn.Module):
    def __init__(self, config: WaveformConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Features:
        size = self.config.stretch_samples
        padded = nn.functional.pad(waveforms, (0, max(0, size - waveforms.shape[1])))
        features = padded.unfold(1, size, size)
        # (batch, time, feature)
        frames = self.config.frames(lengths)
        valid = valid_mask(frames, features.shape[1]).unsqueeze(2)
        return Features(features=features.masked_fill(~valid, 0.0), lengths=frames)


@pytest.fixture(autouse=True)
def with_waveform(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {**FRONTENDS, "waveform": FrontendEntry(WaveformConfig, Stretches)}
    monkeypatch.setattr(frontend, "FRONTENDS", entries)


@pytest.mark.parametrize("kind", [*sorted(FRONTENDS), "waveform"])
def test_every_frontend_gives_what_its_settings_say(kind: str) -> None:
    config = parse_frontend({"kind": kind})
    module = build_features(config)
    waveform = torch.randn(1, 5000, generator=torch.Generator().manual_seed(0))
    for samples in (0, config.window_samples - 1, config.window_samples, 5000):
        alone = module(waveform[:, :samples], torch.tensor([samples]))
        padded = module(waveform, torch.tensor([samples]))
        frames = config.frames(samples)
        assert alone.lengths.tolist() == padded.lengths.tolist() == [frames]
        assert alone.features.shape[2] == config.feature_size
        torch.testing.assert_close(padded.features[:, :frames], alone.features[:, :frames])
        assert not padded.features[:, frames:].any()


def test_a_config_names_it_and_drops_what_belonged_to_the_former(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(TINY_CONFIG)
    config = load_config(
        tmp_path / "c.toml", ["features.kind=waveform", "features.stretch_samples=80"]
    )
    assert config.features == WaveformConfig(kind="waveform", stretch_samples=80)
    save_config(config, tmp_path / "saved.toml")
    assert load_config(tmp_path / "saved.toml") == config
    with pytest.raises(ValueError, match=r"features\.mel_bins: expected a known key"):
        load_config(tmp_path / "c.toml", ["features.kind=waveform", "features.mel_bins=80"])


def test_a_model_takes_its_features(tmp_path: Path, letters: Tokenizer, noise: NoiseMaker) -> None:
    (tmp_path / "c.toml").write_text(TINY_CONFIG)
    config = load_config(
        tmp_path / "c.toml", ["features.kind=waveform", "features.normalisation=utterance"]
    )
    model = build_model(
        config.model, vocab_size=letters.vocab_size, feature_size=config.features.feature_size
    )
    acoustic_model = TorchAcousticModel(Frontend(config.features, None), model)
    assert acoustic_model.frame_seconds == 0.04
    [waveform] = waveforms(noise, [8000])
    frames = acoustic_model.output_frames(8000)
    assert acoustic_model.posteriors([waveform]).lengths.tolist() == [frames]
    assert frames == 11


def test_its_streams_equal_one_pass(letters: Tokenizer, noise: NoiseMaker, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(TINY_CONFIG)
    config = load_config(tmp_path / "c.toml", ["features.kind=waveform"])
    model = build_model(
        config.model, vocab_size=letters.vocab_size, feature_size=config.features.feature_size
    )
    statistics = Normalisation(mean=(0.0,) * 160, standard_deviation=(0.1,) * 160, frames=1)
    acoustic_model = TorchAcousticModel(Frontend(config.features, statistics), model)
    assert_equals_one_pass(acoustic_model.under(chunked(4, 8)), letters, waveforms(noise))
