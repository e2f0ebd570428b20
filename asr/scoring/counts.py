"""Errors of a hypothesis against its reference, by minimum edit distance."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import jiwer

from asr.tokens.normaliser import normalise

Unit = Literal["word", "character"]
_Chunks = list[jiwer.AlignmentChunk]


@dataclass(frozen=True, kw_only=True)
class ErrorCounts:
    """Errors and reference length of one utterance or, added up, of many.

    Args:
        substitutions: Reference units that the hypothesis has otherwise.
        deletions: Reference units that the hypothesis lacks.
        insertions: Hypothesis units that the reference lacks.
        reference_length: Units of the reference.
    """

    substitutions: int
    deletions: int
    insertions: int
    reference_length: int

    @property
    def errors(self) -> int:
        """All errors together; may exceed the reference length."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float | None:
        """Errors divided by reference length, as a fraction.

        The rule for empty references: over a set, errors and lengths are added up before the
        division, so that words inserted where nothing was said count in full. Where the whole
        reference is empty, the rate is 0 for an empty hypothesis and None for any other.
        """
        if self.reference_length == 0:
            return 0.0 if self.errors == 0 else None
        return self.errors / self.reference_length

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(
            substitutions=self.substitutions + other.substitutions,
            deletions=self.deletions + other.deletions,
            insertions=self.insertions + other.insertions,
            reference_length=self.reference_length + other.reference_length,
        )


@dataclass(frozen=True, kw_only=True)
class AlignedPair:
    """One step of an alignment.

    Args:
        reference: The reference's unit; None for an insertion.
        hypothesis: The hypothesis' unit; None for a deletion.
    """

    reference: str | None
    hypothesis: str | None

    @property
    def error(self) -> Literal["", "S", "D", "I"]:
        """The kind of error; empty for a hit."""
        if self.reference == self.hypothesis:
            return ""
        if self.hypothesis is None:
            return "D"
        return "I" if self.reference is None else "S"


def pool(counts: Iterable[ErrorCounts]) -> ErrorCounts:
    """The counts of a set of utterances: the sum, all zero for an empty set."""
    nothing = ErrorCounts(substitutions=0, deletions=0, insertions=0, reference_length=0)
    return sum(counts, start=nothing)


def count_errors(reference: str, hypothesis: str, *, unit: Unit) -> ErrorCounts:
    """Count the errors of one hypothesis; see `count_errors_batch`."""
    return count_errors_batch([reference], [hypothesis], unit=unit)[0]


def count_errors_batch(
    references: Sequence[str], hypotheses: Sequence[str], *, unit: Unit
) -> list[ErrorCounts]:
    """Count the errors of many hypotheses, each against its own reference.

    Args:
        references: What was said; both sides are normalised by `asr.tokens.normaliser`.
        hypotheses: What was recognised, in the order of the references.
        unit: Words, or characters; the blank between two words is a character as any other.

    Returns:
        The counts, in the order of the references. Where several alignments have the fewest errors,
        one of them decides how the errors divide into the three kinds.

    Raises:
        ValueError: The two have different lengths.
    """
    alignments = _align(references, hypotheses, unit=unit)
    return [_count(chunks, reference) for chunks, reference in zip(*alignments[:2], strict=True)]


def align_words(reference: str, hypothesis: str) -> tuple[AlignedPair, ...]:
    """Align the words of one hypothesis with its reference, as `count_errors` does."""
    return align_words_batch([reference], [hypothesis])[0]


def align_words_batch(
    references: Sequence[str], hypotheses: Sequence[str]
) -> list[tuple[AlignedPair, ...]]:
    """Align the words of many hypotheses, as `count_errors_batch` does and with its arguments."""
    alignments = _align(references, hypotheses, unit="word")
    return [_pairs(*aligned) for aligned in zip(*alignments, strict=True)]


def _pairs(chunks: _Chunks, said: list[str], recognised: list[str]) -> tuple[AlignedPair, ...]:
    pairs = []
    for chunk in chunks:
        left = said[chunk.ref_start_idx : chunk.ref_end_idx]
        right = recognised[chunk.hyp_start_idx : chunk.hyp_end_idx]
        steps = max(len(left), len(right))
        padded = zip(_pad(left, steps), _pad(right, steps), strict=True)
        pairs += [AlignedPair(reference=word, hypothesis=other) for word, other in padded]
    return tuple(pairs)


def _pad(words: list[str], length: int) -> list[str | None]:
    return [*words, *[None] * (length - len(words))]


def _align(
    references: Sequence[str], hypotheses: Sequence[str], *, unit: Unit
) -> tuple[list[_Chunks], list[list[str]], list[list[str]]]:
    if len(references) != len(hypotheses):
        raise ValueError(
            f"expected one hypothesis a reference, found {len(hypotheses)} hypotheses for "
            f"{len(references)} references; give an empty one where nothing was recognised"
        )
    if not references:
        return [], [], []  # jiwer would make one empty sentence of none
    process = jiwer.process_words if unit == "word" else jiwer.process_characters
    output = process(list(map(normalise, references)), list(map(normalise, hypotheses)))
    return output.alignments, output.references, output.hypotheses


def _count(chunks: _Chunks, reference: list[str]) -> ErrorCounts:
    lengths = {"substitute": 0, "delete": 0, "insert": 0, "equal": 0}
    for chunk in chunks:
        steps = chunk.ref_end_idx - chunk.ref_start_idx or chunk.hyp_end_idx - chunk.hyp_start_idx
        lengths[chunk.type] += steps
    return ErrorCounts(
        substitutions=lengths["substitute"],
        deletions=lengths["delete"],
        insertions=lengths["insert"],
        reference_length=len(reference),
    )
