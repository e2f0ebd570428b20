"""The parts of the synthetic corpus: sentences, voices, effects, and the engine's errors."""

import importlib.util
import itertools
import os
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr.data.corpora.synthetic import speech
from asr.data.corpora.synthetic.corpus import generate
from asr.data.corpora.synthetic.effects import SAMPLE_RATE_HZ, record
from asr.data.corpora.synthetic.grammar import sentences, vocabulary
from asr.data.corpora.synthetic.plan import PlannedUtterance, plan
from asr.data.corpora.synthetic.speech import engine_version, speak
from asr.data.corpora.synthetic.voices import SPLITS, VOICES

TRAIN_UTTERANCES = 790


def test_sentences_are_short_and_plain_and_none_comes_twice() -> None:
    spoken: set[str] = set()
    drawn = list(itertools.islice(sentences("a", spoken), 300))
    drawn += itertools.islice(sentences("b", spoken), 300)
    assert len(set(drawn)) == 600
    assert all(re.fullmatch(r"[a-z']+( [a-z']+){2,11}", sentence) for sentence in drawn)


def test_training_has_every_word_often_and_no_sentence_of_the_other_parts() -> None:
    spoken: set[str] = set()
    held_out = {
        utterance.text
        for split, count in (("test", 320), ("dev", 105))
        for utterance in itertools.islice(plan(split, seed=0, spoken=spoken), count)  # type: ignore[arg-type]
    }
    train = [
        u.text for u in itertools.islice(plan("train", seed=0, spoken=spoken), TRAIN_UTTERANCES)
    ]
    counts = Counter(word for text in train for word in text.split())
    assert held_out.isdisjoint(train)
    assert 150 <= len(vocabulary()) <= 300
    assert set(counts) == vocabulary()
    assert min(counts.values()) >= 25


def test_no_part_shares_a_variant_or_a_speaker_with_another() -> None:
    for one, other in itertools.combinations(SPLITS, 2):
        for attribute in ("variant", "speaker"):
            ours = {getattr(voice, attribute) for voice in VOICES[one]}
            assert ours.isdisjoint(getattr(voice, attribute) for voice in VOICES[other])
    assert len({voice.name for voice in VOICES["train"]}) == 40
    assert len({voice.variant for voice in VOICES["test"]}) >= 8


def test_a_plan_does_not_depend_on_how_much_of_it_is_drawn() -> None:
    few = list(itertools.islice(plan("dev", seed=4, spoken=set()), 3))
    many = list(itertools.islice(plan("dev", seed=4, spoken=set()), 80))
    assert many[:3] == few
    assert len({utterance.id for utterance in many}) == 80
    assert many[75].id == "2001-200101-0000"


def speech_like() -> np.ndarray:
    tone = np.sin(2 * np.pi * 440 * np.arange(22050) / 22050)
    return (12000 * tone).astype(np.int16)


def test_recording_resamples_pads_and_stays_in_range() -> None:
    levels_db, noises_db = [], []
    for seed in range(20):
        samples = record(
            speech_like(),
            rate_hz=22050,
            lead_seconds=0.25,
            tail_seconds=0.5,
            generator=np.random.default_rng(seed),
        )
        assert len(samples) == round(1.75 * SAMPLE_RATE_HZ)
        assert np.max(np.abs(samples)) <= 0.9001
        levels_db.append(10 * np.log10(np.mean(samples**2)))
        # The lead holds noise alone: no effect moves the direct sound or spreads it backwards.
        noises_db.append(levels_db[-1] - 10 * np.log10(np.mean(samples[:3200] ** 2)))
        spectrum = np.abs(np.fft.rfft(samples[4000:20000]))
        assert np.argmax(spectrum) == 440
    assert -30.1 < min(levels_db) < max(levels_db) < -19.9
    assert 17 < min(noises_db) < 26
    assert 28 < max(noises_db) < 38


def test_missing_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match=r"run: tools/setup\.sh synthetic") as error:
        engine_version()
    assert "\n" not in str(error.value)


def test_system_without_fork_and_file_locks_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(speech, "require_espeak", lambda _: None)
    monkeypatch.delattr(os, "fork")
    # Python takes None for a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(OSError, match=r"expected a system with os\.fork") as error:
        generate(tmp_path / "corpus")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "corpus").exists()


def planned() -> list[PlannedUtterance]:
    pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")
    return list(itertools.islice(plan("train", seed=0, spoken=set()), 4))


def test_an_utterance_does_not_depend_on_what_was_spoken_before(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    utterances = planned()
    together = speak(utterances, first, jobs=1)
    alone = [speak([utterance], second, jobs=1)[0] for utterance in reversed(utterances)][::-1]
    assert [u.pcm.read_bytes() for u in together] == [u.pcm.read_bytes() for u in alone]


@pytest.mark.parametrize(
    ("accent", "variant", "message"),
    [("en-us", "nobody", "voice variant"), ("xx-none", "", "voice of espeak-ng")],
)
def test_an_unknown_voice_is_an_error(
    tmp_path: Path, accent: str, variant: str, message: str
) -> None:
    utterance = planned()[0]
    voice = replace(utterance.voice, accent=accent, variant=variant)
    with pytest.raises(ChildProcessError, match=message):
        speak([replace(utterance, voice=voice)], tmp_path, jobs=1)


def test_words_that_the_engine_joins_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ChildProcessError, match="word times"):
        speak([replace(planned()[0], text="alice is in the kitchen")], tmp_path, jobs=1)
