"""The options of decoding, in Python: what they need, their defaults, and what they build."""

from pathlib import Path
from typing import Any

import pytest
import torch

from asr.ctc import BeamSearch, GreedyDecoder, LexiconDecoder
from asr.data.text_corpus import read_text_corpus
from asr.decoders import DEFAULTS, DecoderConfig, DecoderOptionError, build_decoder
from asr.lm.ngram import train_ngram
from asr.recognizer import load
from asr.tokens.tokenizer import Tokenizer
from tests.conftest import NoiseMaker

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def token_lm(letters: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lm") / "ngram"
    text = folder.with_name("text.txt")
    text.write_text("a lazy dog\nthe fox jumps over a dog\na quick brown fox\n")
    train_ngram(read_text_corpus([text], letters), letters, folder, order=3)
    return folder


@pytest.fixture(scope="module")
def arpa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lm") / "words.arpa"
    lines = [
        "\\data\\",
        "ngram 1=4",
        "ngram 2=1",
        "",
        "\\1-grams:",
        "-99\t<s>",
        "-1\t</s>",
        "-1\tfox",
    ]
    lines += ["-1\tdog", "", "\\2-grams:", "-1\tfox dog", "", "\\end\\", ""]
    path.write_text("\n".join(lines))
    return path


def test_greedy_is_the_default(letters: Tokenizer) -> None:
    assert isinstance(build_decoder(DecoderConfig(), tokenizer=letters, device=CPU), GreedyDecoder)


def test_defaults_reach_the_searches(letters: Tokenizer, token_lm: Path, arpa: Path) -> None:
    beam = build_decoder(DecoderConfig(decoder="beam"), tokenizer=letters, device=CPU)
    fused = build_decoder(DecoderConfig(lm=token_lm), tokenizer=letters, device=CPU)
    words = build_decoder(DecoderConfig(lm=arpa), tokenizer=letters, device=CPU)
    assert isinstance(beam, BeamSearch)
    assert isinstance(fused, BeamSearch)
    assert isinstance(words, LexiconDecoder)
    assert (beam.scorer, fused.scorer is None) == (None, False)
    for search, kind in ((beam, "beam"), (fused, "token_lm"), (words, "word_lm")):
        for name, value in DEFAULTS[kind].items():  # type: ignore[index]
            if name != "lexicon":
                assert getattr(search.config, name) == value, name


@pytest.mark.parametrize("kind", ["token_lm", "word_lm"])
def test_no_language_model_counts_nothing_by_default(kind: str) -> None:
    assert DEFAULTS[kind]["lm_weight"] > 0  # type: ignore[index]


@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        ({"decoder": "magic"}, "decoder", r"must be one of \['beam', 'greedy'\], not 'magic'"),
        ({"beam_size": 4}, "beam_size", "found beam_size, which needs decoder beam or lm; correct"),
        ({"decoder": "beam", "lm_weight": 0.5}, "lm_weight", "which needs lm; correct"),
        ({"decoder": "beam", "beam_size": 0}, "beam_size", "finite and at least 1, not 0"),
        ({"decoder": "beam", "nbest": 9}, "nbest", "must be at most beam_size, which is 8"),
        ({"decoder": "beam", "blank_penalty": float("nan")}, "blank_penalty", "must be finite"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], option: str, message: str) -> None:
    with pytest.raises(DecoderOptionError, match=message) as caught:
        DecoderConfig(**options)
    assert caught.value.option == option
    assert "\n" not in str(caught.value)


def test_negative_weight(token_lm: Path) -> None:
    with pytest.raises(DecoderOptionError, match="lm_weight, which must be finite and at least 0"):
        DecoderConfig(lm=token_lm, lm_weight=-0.1)


def test_no_language_model_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none, found nothing; give a folder that"):
        DecoderConfig(lm=tmp_path / "none")


def test_load_takes_the_options_of_decoding(
    tiny_experiment: Path, token_lm: Path, noise: NoiseMaker
) -> None:
    options: dict[str, Any] = {"lm_weight": 0.7, "length_bonus": 1.5, "beam_size": 6, "nbest": 4}
    loaded = load(tiny_experiment, device="cpu", lm=str(token_lm), **options)
    config = DecoderConfig(lm=token_lm, **options)
    expected = load(
        tiny_experiment,
        decoder=build_decoder(config, tokenizer=loaded.tokenizer, device=CPU),
    )
    inputs = [(noise(1.0), 16000)]
    [one], [other] = loaded.transcribe(inputs), expected.transcribe(inputs)
    assert len(one.nbest) == 4
    assert one == other
    assert any(item.lm_scores["lm_score"] < 0 for item in one.nbest)


def test_options_are_checked_before_the_experiment(tmp_path: Path) -> None:
    with pytest.raises(DecoderOptionError, match="found nbest, which needs"):
        load(tmp_path / "none", nbest=2)


def test_a_decoder_that_is_made_takes_no_options(tiny_experiment: Path) -> None:
    with pytest.raises(ValueError, match="found beam_size, nbest; give them to that decoder"):
        load(tiny_experiment, decoder=GreedyDecoder(), beam_size=4, nbest=2)
