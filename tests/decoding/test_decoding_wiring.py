from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asr.decoding.aligner import Aligner
from asr.decoding.alignment import align_labels
from asr.decoding.decoder import Decoded, Token, TokenSequence
from asr.decoding.lexicon import LexiconConfig, LexiconDecoder
from asr.decoding.longform import LongformConfig
from asr.decoding.voice_activity import cut_at_pauses
from asr.decoding.word_search import word_graph
from asr.language_models import NeuralLanguageModel
from asr.model.language_model import LanguageModel, LanguageModelConfig
from asr.recognizer import load
from asr.tokens.tokenizer import Tokenizer
from tests.conftest import NoiseMaker
from tests.decoding.lexicon_cases import VOCAB_SIZE, WORDS, arpa_text

RATE_HZ = 16000


class _OneLetter:
    """A decoder to which every item is an A in the frames 10 and 11."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._token = Token(
            label=tokenizer.pieces.index("A") + 1, start_frame=10, end_frame=12, posterior=0.5
        )

    def start(self, batch: int, *, device: torch.device) -> int:
        return batch

    def step(self, state: int, log_probs: Tensor, lengths: Tensor) -> int:
        return state

    def best_labels(self, state: int) -> list[list[int]]:
        return [[self._token.label]] * state

    def finish(self, state: int) -> list[Decoded]:
        best = TokenSequence(tokens=(self._token,), score=0.0, acoustic_score=0.0, lm_score=0.0)
        return [Decoded(best=best)] * state


def test_times_of_transcripts_begin_at_the_first_frames_own(
    tiny_experiment: Path, letters: Tokenizer, noise: NoiseMaker
) -> None:
    recognizer = load(tiny_experiment, decoder=_OneLetter(letters))
    [found] = recognizer.transcribe([(noise(1.0), RATE_HZ)])
    [word] = found.words
    offset = recognizer.acoustic_model.frame_offset_seconds
    assert offset > 0
    times = (word.start_seconds, word.end_seconds)
    assert times == pytest.approx((offset + 10 * 0.04, offset + 12 * 0.04))


def test_times_of_aligned_words_begin_there_too(tiny_experiment: Path, noise: NoiseMaker) -> None:
    recognizer = load(tiny_experiment)
    model, samples = recognizer.acoustic_model, noise(1.0)
    posteriors = model.posteriors([torch.from_numpy(samples)])
    labels = recognizer.tokenizer.encode("A")
    [expected] = align_labels(posteriors.log_probs, posteriors.lengths, [labels])
    [word] = Aligner(model, recognizer.tokenizer).align((samples, RATE_HZ), "A").words
    mark, letter = expected.tokens
    frames = ((mark.start_frame + mark.end_frame) / 2, letter.end_frame)
    times = [model.frame_offset_seconds + frame * model.frame_seconds for frame in frames]
    assert [word.start_seconds, word.end_seconds] == pytest.approx(times)


def test_windows_of_the_documentation() -> None:
    config = LongformConfig()
    spans = (config.limit_seconds, config.window_seconds, config.context_seconds)
    assert spans == (40.0, 20.0, 1.5)


def test_what_is_more_probably_speech_is_speech() -> None:
    class Detector:
        stretch_samples = 5

        def accept(self, block: Tensor) -> list[float]:
            return block.view(-1, 5).amax(dim=1).tolist()

    audio = torch.full((800,), 0.51)
    audio[600:620] = 0.49
    first, _ = cut_at_pauses(
        [audio],
        LongformConfig(window_seconds=7.0, context_seconds=0.1),
        Detector(),
        rate_hz=100,
        frame_samples=5,
        lookahead_samples=0,
    )
    assert first.stop_frame == 610 // 5


def test_a_prefix_of_words_hopes_for_the_most_probable_of_them() -> None:
    graph = word_graph([[(1, 2)], [(1, 3)], [(2,)]], [-2.0, -0.5, -3.0], labels=4)
    hopes = [graph.search(labels).max_score for labels in ([1], [1, 2], [1, 3], [2])]
    assert hopes == pytest.approx([-0.5, -2.0, -0.5, -3.0])


def test_hypotheses_go_on_with_the_candidate_labels_alone(tmp_path: Path) -> None:
    (tmp_path / "words.arpa").write_text(arpa_text(), encoding="utf-8")
    log_probs = torch.tensor([[0.1, 0.5, 0.3, 0.1], [0.2, 0.3, 0.4, 0.1]]).log()
    texts = []
    for candidates in (1, 4):
        config = LexiconConfig(
            beam_size=50, nbest=50, lm_weight=0.0, word_score=0.0, candidate_labels=candidates
        )
        decoder = LexiconDecoder(WORDS, tmp_path / "words.arpa", config, vocab_size=VOCAB_SIZE)
        state: Any = decoder.start(1, device=torch.device("cpu"))
        state = decoder.step(state, log_probs.unsqueeze(0), torch.tensor([2]))
        [found] = decoder.finish(state)
        texts.append({" ".join(word.text for word in each.words or ()) for each in found.nbest})
    # The most probable labels are 1, then 2, which spell AB; BA is 2, 1 or 3.
    assert "AB" in texts[0] & texts[1]
    assert "BA" in texts[1] - texts[0]


def test_a_search_shows_a_language_model_as_many_tokens_as_training_did(
    letters: Tokenizer,
) -> None:
    torch.manual_seed(0)
    config = LanguageModelConfig(
        width=16,
        layers=1,
        heads=2,
        dropout=0.0,
        attention={"kind": "transformer_xl"},  # type: ignore[arg-type]
    )
    model = LanguageModel(config, vocab_size=9).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    scorer = NeuralLanguageModel(letters, model, 6).scorer()
    state, labels = scorer.start(1), [3, 1, 4, 1, 5]
    for label in labels:
        state = scorer.advance(state, torch.tensor([label]))
    tokens = torch.tensor([[0, *labels]])
    expected = model(tokens, torch.tensor([6])).log_probs[:, -1, 1:]
    torch.testing.assert_close(scorer.scores(state), expected, atol=1e-5, rtol=1e-5)
