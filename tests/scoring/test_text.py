from pathlib import Path

import numpy as np

from asr.data.manifest import Utterance
from asr.scoring.report import score
from asr.scoring.text import to_text


def test_text_shows_corrected_p_values_and_signed_intervals() -> None:
    generator = np.random.default_rng(3)
    references = [
        Utterance(
            id=f"u{index}",
            audio_filepath=Path("/a"),
            duration_seconds=1.0,
            text="A B C D",
            speaker=f"s{index % 20}",
        )
        for index in range(60)
    ]
    texts = ("A B C D", "A B C", "A B", "A")

    def system(shares: list[float]) -> dict[str, str]:
        drawn = generator.choice(4, size=60, p=shares)
        return {item.id: texts[place] for item, place in zip(references, drawn, strict=True)}

    report = score(
        references,
        system([0.55, 0.25, 0.1, 0.1]),
        against={"near": system([0.5, 0.25, 0.15, 0.1]), "far": system([0.3, 0.3, 0.2, 0.2])},
    )
    shown = to_text(report)
    for comparison in report.comparisons:
        assert comparison.by_speaker is not None
        for tests in (comparison.by_utterance, comparison.by_speaker):
            low, high = tests.interval.low, tests.interval.high
            assert low is not None
            assert high is not None
            assert f"95 % [{100 * low:+.2f}, {100 * high:+.2f}]" in shown
            assert f"p = {tests.matched_pairs_holm_p:.4f} (matched pairs, Holm over 2)" in shown
            assert f"p = {tests.bootstrap_holm_p:.4f} (paired bootstrap, Holm over 2)" in shown
    far = report.comparisons[1].by_utterance
    assert far.matched_pairs_p != far.matched_pairs_holm_p
    assert far.bootstrap_p != far.bootstrap_holm_p
    near = report.comparisons[0].by_utterance.interval
    assert near.high is not None
    assert near.high > 0
    # Twenty speakers are enough.
    assert "speakers are few" not in shown
