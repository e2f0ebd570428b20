"""Every encoder with every attention, small."""

from collections.abc import Sequence
from dataclasses import dataclass

from asr.model.attention import ATTENTION, Mode
from asr.model.encoders import ENCODERS
from tests.model.attention.served import serves

_SIZES: dict[str, dict[str, object]] = {"conformer": {"kernel_frames": 7}}

_CONDITION: dict[str, object] = {
    "intermediate_layers": [1],
    "intermediate_weight": 0.3,
    "intermediate_use": "condition",
}


@dataclass(frozen=True)
class Pair:
    """An encoder's word and an attention's, and whether the first block conditions the second."""

    encoder: str
    word: str
    conditions: bool = False

    def __str__(self) -> str:
        return f"{self.encoder}-{self.word}{'-condition' if self.conditions else ''}"

    def serves(self, mode: Mode) -> bool:
        return serves(self.word, mode)

    def section(self, **settings: object) -> dict[str, object]:
        """A section `[model]`."""
        return {
            "encoder": self.encoder,
            "width": 32,
            "layers": 2,
            "heads": 4,
            "dropout": 0.0,
            "subsampling": {"factor": 4, "channels": 8},
            "attention": {"kind": self.word},
            **_SIZES.get(self.encoder, {}),
            **(_CONDITION if self.conditions else {}),
            **settings,
        }


PAIRS = [Pair(encoder, word) for encoder in sorted(ENCODERS) for word in sorted(ATTENTION)]
CONDITIONED = [Pair(encoder, "transformer_xl", conditions=True) for encoder in sorted(ENCODERS)]


def served(pairs: Sequence[Pair], *modes: Mode) -> list[tuple[Pair, Mode]]:
    """Each pair with each of the modes that its mechanism serves."""
    return [(pair, mode) for pair in pairs for mode in modes if pair.serves(mode)]
