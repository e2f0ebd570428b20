from asr.inference.audio_input import plan_batches


def test_batches_hold_their_seconds_and_every_input_once() -> None:
    durations = [3.0, 8.0, 1.0, 20.0, 7.5, 3.0, 0.0]
    batches = plan_batches(list(enumerate(durations)), 16.0)
    assert batches == [[3], [1, 4], [0, 5, 2, 6]]
    for batch in batches[1:]:
        assert len(batch) * max(durations[index] for index in batch) <= 16.0


def test_no_inputs_make_no_batches() -> None:
    assert plan_batches([], 10.0) == []
