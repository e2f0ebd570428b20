"""Plan of the synthetic corpus: each utterance with its sentence, voice and way of speaking."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asr.data.corpora.synthetic.grammar import sentences
from asr.data.corpora.synthetic.voices import VOICES, Split, Voice

_CHAPTER_UTTERANCES = 15


@dataclass(frozen=True, kw_only=True)
class PlannedUtterance:
    """One utterance before it is spoken.

    Args:
        split: The part it belongs to.
        number: Its place in the part, from 0.
        seed: Seed of its noise and reverberation, with the number and the part.
        voice: Who speaks.
        text: The sentence in lower case.
        rate_words_per_minute: Speaking rate, as espeak-ng counts it.
        pitch: Relative pitch, 0 to 100, 50 being the voice's own.
        pitch_range: Liveliness, 0 to 100, 50 being the voice's own.
        lead_seconds: Quiet before the first word.
        tail_seconds: Quiet after the last word.
    """

    split: Split
    number: int
    seed: int
    voice: Voice
    text: str
    rate_words_per_minute: int
    pitch: int
    pitch_range: int
    lead_seconds: float
    tail_seconds: float

    @property
    def chapter(self) -> int:
        """Numeric chapter id, unique over all speakers."""
        return self.voice.speaker * 100 + self._turn // _CHAPTER_UTTERANCES

    @property
    def id(self) -> str:
        """LibriSpeech's speaker-chapter-number."""
        return f"{self.voice.speaker}-{self.chapter}-{self._turn % _CHAPTER_UTTERANCES:04d}"

    @property
    def folder(self) -> Path:
        """The chapter's folder below LibriSpeech."""
        return Path(f"synthetic-{self.split}") / str(self.voice.speaker) / str(self.chapter)

    @property
    def _turn(self) -> int:
        return self.number // len(VOICES[self.split])


def plan(split: Split, *, seed: int, spoken: set[str]) -> Iterator[PlannedUtterance]:
    """Plan a part without end; the voices take turns.

    Args:
        split: The part.
        seed: Seed of the corpus.
        spoken: Sentences that must not come again; every planned one is added.

    Yields:
        The utterances in order; utterance `number` is the same however many are drawn.
    """
    voices = VOICES[split]
    for number, text in enumerate(sentences(f"{seed} {split}", spoken)):
        draw = random.Random(f"{seed} {split} {number}")
        yield PlannedUtterance(
            split=split,
            number=number,
            seed=seed,
            voice=voices[number % len(voices)],
            text=text,
            rate_words_per_minute=draw.randint(150, 205),
            pitch=draw.randint(35, 65),
            pitch_range=draw.randint(35, 65),
            lead_seconds=draw.uniform(0.06, 0.2),
            tail_seconds=draw.uniform(0.06, 0.2),
        )
