"""What prefix beam search costs beyond the encoder, as a share of the audio's duration.

Log-probabilities at 25 frames a second that are made up: four labels a second, each with some
probability in two frames, blank elsewhere, and noise that lets every label compete. Each row is the
median of several decodings, in time that the process spent on CPUs (on a GPU, in elapsed time).
"""

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor

from asr.ctc import BeamConfig, BeamSearch, Decoder, GreedyDecoder

_FRAMES_PER_SECOND = 25
_FRAMES_PER_LABEL = 6
_BATCHES = (1, 8)
_VOCABULARIES = (65, 1025)
_MOST = 0.05


def main() -> None:
    """Measure and print one row a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each item")
    parser.add_argument("--beam-size", type=int, default=8)
    parser.add_argument("--candidate-labels", type=int)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    config = BeamConfig(beam_size=args.beam_size, candidate_labels=args.candidate_labels)
    decoders: dict[str, Decoder[Any]] = {
        "greedy": GreedyDecoder(),
        f"beam {args.beam_size}": BeamSearch(config),
    }
    print("decoder     vocab  batch  ms/frame  x real time              spread")
    for (name, decoder), vocab, batch in product(decoders.items(), _VOCABULARIES, _BATCHES):
        log_probs = made_up_log_probs(batch, int(args.seconds * _FRAMES_PER_SECOND), vocab)
        times = _times(decoder, log_probs.to(args.device), repeats=args.repeats)
        shares = [seconds / (batch * args.seconds) for seconds in times]
        share = statistics.median(shares)
        print(
            f"{name:10} {vocab:6} {batch:6} "
            f"{1000 * statistics.median(times) / log_probs.shape[1]:9.3f} {share:12.5f} "
            f"{min(shares):8.5f} .. {max(shares):.5f}"
            + (f"  above {_MOST}" if share > _MOST else ""),
            flush=True,
        )


def made_up_log_probs(batch: int, frames: int, vocab: int) -> Tensor:
    """(batch, time, vocab) like those of a trained model."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, frames, vocab, generator=generator)
    logits[:, :, 0] += 8.0
    starts = torch.arange(0, frames - 1, _FRAMES_PER_LABEL)
    labels = torch.randint(1, vocab, (batch, len(starts)), generator=generator)
    rivals = torch.randint(1, vocab, (batch, len(starts)), generator=generator)
    for place, height in ((starts, 7.0), (starts + 1, 9.0)):
        logits[:, place] = logits[:, place].scatter_add(
            2, labels.unsqueeze(2), torch.full((batch, len(starts), 1), height)
        )
        logits[:, place] = logits[:, place].scatter_add(
            2, rivals.unsqueeze(2), torch.full((batch, len(starts), 1), height - 2.0)
        )
    return logits.log_softmax(dim=2)


def _times(decoder: Decoder[Any], log_probs: Tensor, *, repeats: int) -> list[float]:
    batch, frames, _ = log_probs.shape
    lengths = torch.full((batch,), frames, device=log_probs.device)
    clock: Callable[[], float] = time.process_time
    if log_probs.device.type != "cpu":
        clock = time.perf_counter

    def run() -> float:
        start = clock()
        state = decoder.start(batch, device=log_probs.device)
        decoder.finish(decoder.step(state, log_probs, lengths))
        return clock() - start

    run()
    return [run() for _ in range(repeats)]


if __name__ == "__main__":
    main()
