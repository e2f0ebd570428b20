"""Global feature normalisation (CMVN): training-data statistics, stored with an experiment."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from asr.files import write_text


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Statistics of the frontend's features before normalisation.

    Args:
        mean: One value a feature, in its unit.
        standard_deviation: One value a feature, > 0.
        frames: Feature frames that they were estimated on.
    """

    mean: tuple[float, ...]
    standard_deviation: tuple[float, ...]
    frames: int

    def save(self, path: Path) -> None:
        """Write as JSON, atomically."""
        write_text(path, json.dumps(asdict(self)) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Normalisation":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is damaged.
        """
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            loaded = cls(
                mean=tuple(float(value) for value in record["mean"]),
                standard_deviation=tuple(float(value) for value in record["standard_deviation"]),
                frames=int(record["frames"]),
            )
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"expected feature statistics in {path}, found a damaged file ({error}); "
                "copy it anew from the experiment"
            ) from None
        if (
            len(loaded.mean) != len(loaded.standard_deviation)
            or min(loaded.standard_deviation) <= 0
        ):
            raise ValueError(
                f"expected one positive deviation for each mean in {path}; the file is damaged"
            )
        return loaded


def estimate_normalisation(features: Iterable[Tensor]) -> Normalisation:
    """Global mean and standard deviation of features over all frames.

    Args:
        features: Tensors (time, feature) of real frames only, not normalised.

    Returns:
        The statistics; a feature that never varies gets deviation 1.

    Raises:
        ValueError: There is no frame.
    """
    count = 0
    total = squares = torch.zeros(1, dtype=torch.float64)
    for utterance in features:
        frames = utterance.double()
        count += frames.shape[0]
        total = total + frames.sum(dim=0)
        squares = squares + frames.square().sum(dim=0)
    if count == 0:
        raise ValueError("expected feature frames to estimate statistics from, found none")
    mean = total / count
    variance = (squares / count - mean.square()).clamp(min=0)
    deviation = torch.where(variance > 1e-8, variance.sqrt(), torch.ones_like(variance))
    return Normalisation(
        mean=tuple(mean.tolist()), standard_deviation=tuple(deviation.tolist()), frames=count
    )
