import importlib.util
from pathlib import Path

import pytest

from asr.tokens import pronunciation
from asr.tokens.normaliser import normalise
from asr.tokens.pronunciation import pronounce


@pytest.fixture
def espeak() -> None:
    pytest.importorskip("espeakng_loader", reason="the extra `synthetic` is not installed")


@pytest.mark.usefixtures("espeak")
def test_phones_of_a_word_do_not_depend_on_others() -> None:
    words = ["THE", "CHEESE", "CHEESE'S", "BETTER", "A", "I"]
    found = pronounce(words, voice="en-us")
    assert found == {
        "THE": "\u00d0\u018f",
        "CHEESE": "T\u01a9IZ",
        "CHEESE'S": "T\u01a9IZ\u1d7bZ",
        "BETTER": "B\u0190\u027e\u025a",
        "A": "\u2c6f",
        "I": "A\ua7ae",
    }
    for word, phones in found.items():
        assert normalise(phones) == phones
        assert pronounce([word, word], voice="en-us") == {word: phones}


@pytest.mark.usefixtures("espeak")
def test_other_languages_and_what_has_no_phones() -> None:
    assert pronounce(["ZAHL", "A"], voice="de") == {"ZAHL": "TS\u2c6dL", "A": "\u2c6d"}
    assert pronounce(["\u02bb" * 3], voice="en-us") == {}
    assert pronounce([], voice="en-us") == {}


@pytest.mark.usefixtures("espeak")
def test_unknown_voice() -> None:
    with pytest.raises(ValueError, match=r"^expected a voice of espeak-ng, found 'xx'; give"):
        pronounce(["A"], voice="xx")


def test_failing_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    (tmp_path / "espeak_phones.py").write_text("raise SystemExit('no such library')")
    monkeypatch.setattr(pronunciation, "__file__", str(tmp_path / "pronunciation.py"))
    with pytest.raises(ChildProcessError, match=r"found exit status 1; it said: no such library$"):
        pronounce(["A"], voice="en-us")


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match=r"run: tools/setup\.sh synthetic$"):
        pronounce(["A"], voice="en-us")
