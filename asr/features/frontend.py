"""Frontend: waveforms to normalised features, in batches on the model's device."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from asr.features.base import Features, FrontendConfig
from asr.features.log_mel import LogMel, LogMelConfig
from asr.features.normalisation import Normalisation
from asr.lengths import rounded_length, valid_mask
from asr.schema import parse_choice


@dataclass(frozen=True)
class FrontendEntry:
    """A frontend: the class of its settings, and its builder.

    What is built maps waveforms (batch, sample) in -1 .. 1 and their lengths (batch,) to
    `Features` that are not normalised, with as many frames as the settings' `frames` says.
    """

    config: type[FrontendConfig]
    build: Callable[[Any], nn.Module]


FRONTENDS: Mapping[str, FrontendEntry] = {
    "log_mel": FrontendEntry(LogMelConfig, LogMel),
}
_DEFAULT_KIND = "log_mel"


def parse_frontend(section: object) -> FrontendConfig:
    """Section `[features]` as the config class of its `kind`; without one, log-mel filter banks.

    Raises:
        ValueError: The word is unknown, or a setting is wrong.
    """
    if isinstance(section, Mapping):
        section = {"kind": _DEFAULT_KIND, **section}
    classes = {word: entry.config for word, entry in FRONTENDS.items()}
    return parse_choice(section, key="kind", classes=classes, where="features")


def build_features(config: FrontendConfig) -> nn.Module:
    """The features of section `[features]` before normalisation; see FrontendEntry."""
    return FRONTENDS[config.kind].build(config)


class Frontend(nn.Module):
    """Features of waveforms, normalised to zero mean and unit variance.

    Args:
        config: The section `[features]`.
        normalisation: Statistics of the training data; None with normalisation by utterance.

    Raises:
        ValueError: There are statistics where none belong, none where some do, or of another size.
    """

    mean: Tensor
    inverse_deviation: Tensor

    def __init__(self, config: FrontendConfig, normalisation: Normalisation | None) -> None:
        super().__init__()
        if (normalisation is None) == (config.normalisation == "global"):
            raise ValueError(
                "expected statistics exactly when normalisation is 'global', found normalisation = "
                f"{config.normalisation!r} with{'out' if normalisation is None else ''} statistics"
            )
        if normalisation is not None and len(normalisation.mean) != config.feature_size:
            raise ValueError(
                f"expected statistics of {config.feature_size} features, found "
                f"{len(normalisation.mean)}; use the normalisation file of the same experiment"
            )
        self.config = config
        self.raw_features = build_features(config)
        if normalisation is not None:
            mean = torch.tensor(normalisation.mean)
            deviation = torch.tensor(normalisation.standard_deviation)
            self.register_buffer("mean", mean, persistent=False)
            self.register_buffer("inverse_deviation", deviation.reciprocal(), persistent=False)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Features:
        """Compute normalised features.

        Args:
            waveforms: (batch, sample) in -1 .. 1.
            lengths: (batch,) int64, samples.

        Returns:
            Features, zero where padded; time is rounded up to one of a few lengths.
        """
        raw = self.raw_features(waveforms, lengths)
        valid = valid_mask(raw.lengths, raw.features.shape[1]).unsqueeze(2)
        if self.config.normalisation == "global":
            features = (raw.features - self.mean) * self.inverse_deviation
        else:
            count = raw.lengths.clamp(min=1).view(-1, 1, 1)
            centred = raw.features - raw.features.sum(dim=1, keepdim=True) / count
            centred = centred.masked_fill(~valid, 0.0)
            variance = centred.square().sum(dim=1, keepdim=True) / count
            features = centred * (variance + 1e-5).rsqrt()
        features = features.masked_fill(~valid, 0.0)
        padding = rounded_length(features.shape[1]) - features.shape[1]
        return Features(
            features=nn.functional.pad(features, (0, 0, 0, padding)), lengths=raw.lengths
        )
