"""Which modes each mechanism serves."""

from asr.model.attention import ATTENTION, Attention, Mode, build_attentions
from asr.model.encoders.base import parse_attention


def mechanism(word: str) -> Attention:
    (attention,) = build_attentions(
        parse_attention({"kind": word}), width=32, heads=4, dropout=0.0, layers=1
    )
    return attention


def serves(word: str, mode: Mode) -> bool:
    try:
        mechanism(word).check_mode(mode)
    except ValueError:
        return False
    return True


def served(*modes: Mode) -> list[tuple[str, Mode]]:
    """Every mechanism with each of the modes that it serves."""
    return [(word, mode) for word in sorted(ATTENTION) for mode in modes if serves(word, mode)]
