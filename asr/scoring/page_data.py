"""What the page of a score shows: systems, confusions and every utterance, as numbers and words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.data.manifest import Utterance
from asr.scoring.counts import AlignedPair, align_words_batch
from asr.scoring.page_plots import Plots, make_plots
from asr.tokens.normaliser import normalise

SYSTEM_LABELS = "ABCDEF"
"""One for each system of a page; the plots have as many marks and colours."""
_SHOWN_CONFUSIONS = 100

Step = str | tuple[str | None, str | None]


@dataclass(frozen=True, kw_only=True)
class System:
    """The hypotheses of one system.

    Args:
        name: What tells it from the other systems of the page.
        path: The hypothesis file.
        texts: Text by utterance id.
    """

    name: str
    path: Path
    texts: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ShownSystem:
    """What the page's script calls a system.

    Args:
        label: One letter.
        name: The system's name.
    """

    label: str
    name: str


@dataclass(frozen=True, kw_only=True)
class ShownHypothesis:
    """What one system made of an utterance.

    Args:
        counts: Substitutions, deletions and insertions of words.
        alignment: Runs of hits, as their words joined by blanks, and between them the errors, as
            reference and hypothesis; None where a side has no word.
        missing: Whether the system has no hypothesis, which counts as an empty one.
        text: The hypothesis as written; None where that is what the alignment shows.
    """

    counts: tuple[int, int, int]
    alignment: tuple[Step, ...]
    missing: bool
    text: str | None


@dataclass(frozen=True, kw_only=True)
class ShownUtterance:
    """One utterance of the page.

    Args:
        id: The utterance.
        speaker: Its speaker; None where unknown.
        seconds: Length of the audio.
        words: Words of the reference.
        text: The reference as written; None where that is what the alignment shows.
        audio: URL of the audio file, relative to the page; None where the page holds the audio.
        offset: Where the audio starts within the file, in seconds.
        hypotheses: What each system made of it.
    """

    id: str
    speaker: str | None
    seconds: float
    words: int
    text: str | None
    audio: str | None
    offset: float
    hypotheses: tuple[ShownHypothesis, ...]


@dataclass(frozen=True, kw_only=True)
class Confusions:
    """Errors of one kind, the most frequent first.

    Args:
        different: How many different ones there are.
        most: Reference, hypothesis and count of the most frequent; None where a side has no word.
    """

    different: int
    most: tuple[tuple[str | None, str | None, int], ...]


@dataclass(frozen=True, kw_only=True)
class PageData:
    """All that the page's script works on; its JSON has these fields.

    Args:
        systems: The systems, the scored one first.
        plots: What is drawn.
        confusions: Substitutions, deletions and insertions of each system.
        utterances: Every utterance, in the order of the references.
    """

    systems: tuple[ShownSystem, ...]
    plots: Plots
    confusions: tuple[tuple[Confusions, Confusions, Confusions], ...]
    utterances: tuple[ShownUtterance, ...]


def make_data(
    references: Sequence[Utterance], systems: Sequence[System], audio: Sequence[str | None]
) -> PageData:
    """Align every utterance and add up what the page shows.

    Args:
        references: Utterances with transcripts.
        systems: At most as many as `SYSTEM_LABELS`; an utterance without text counts as an empty
            hypothesis.
        audio: URL of each utterance's audio; None where the page holds it.

    Returns:
        The data of the page.
    """
    said = [utterance.text or "" for utterance in references]
    alignments = [
        align_words_batch(said, [system.texts.get(item.id, "") for item in references])
        for system in systems
    ]
    hypotheses = [
        [
            _hypothesis(alignment, system.texts.get(item.id))
            for item, alignment in zip(references, aligned, strict=True)
        ]
        for system, aligned in zip(systems, alignments, strict=True)
    ]
    words = [sum(pair.reference is not None for pair in aligned) for aligned in alignments[0]]
    return PageData(
        systems=tuple(
            ShownSystem(label=label, name=system.name)
            for label, system in zip(SYSTEM_LABELS, systems, strict=False)
        ),
        plots=make_plots(
            references, words, [[sum(item.counts) for item in column] for column in hypotheses]
        ),
        confusions=tuple(map(_confusions, alignments)),
        utterances=tuple(
            ShownUtterance(
                id=item.id,
                speaker=item.speaker,
                seconds=round(item.duration_seconds, 2),
                words=words[index],
                text=_as_written(said[index]),
                audio=audio[index],
                offset=item.offset_seconds,
                hypotheses=tuple(column[index] for column in hypotheses),
            )
            for index, item in enumerate(references)
        ),
    )


def _hypothesis(alignment: Sequence[AlignedPair], text: str | None) -> ShownHypothesis:
    kinds = Counter(pair.error for pair in alignment)
    return ShownHypothesis(
        counts=(kinds["S"], kinds["D"], kinds["I"]),
        alignment=tuple(_steps(alignment)),
        missing=text is None,
        text=_as_written(text or ""),
    )


def _steps(alignment: Sequence[AlignedPair]) -> list[Step]:
    steps: list[Step] = []
    hits: list[str] = []
    for pair in alignment:
        if not pair.error and pair.reference is not None:
            hits.append(pair.reference)
            continue
        if hits:
            steps.append(" ".join(hits))
            hits = []
        steps.append((pair.reference, pair.hypothesis))
    return [*steps, " ".join(hits)] if hits else steps


def _as_written(text: str) -> str | None:
    return None if normalise(text) == text else text


def _confusions(
    alignments: Sequence[Sequence[AlignedPair]],
) -> tuple[Confusions, Confusions, Confusions]:
    counted: dict[str, Counter[tuple[str | None, str | None]]] = {kind: Counter() for kind in "SDI"}
    for alignment in alignments:
        for pair in alignment:
            if pair.error:
                counted[pair.error][pair.reference, pair.hypothesis] += 1
    return _most(counted["S"]), _most(counted["D"]), _most(counted["I"])


def _most(counter: Counter[tuple[str | None, str | None]]) -> Confusions:
    # The words decide between equal counts, so that the same files give the same page.
    ordered = sorted(
        counter.items(), key=lambda item: (-item[1], item[0][0] or "", item[0][1] or "")
    )
    return Confusions(
        different=len(ordered),
        most=tuple((*words, count) for words, count in ordered[:_SHOWN_CONFUSIONS]),
    )
