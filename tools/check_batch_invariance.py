"""Decode a manifest in batches of several sizes and shuffled: every transcript must stay the same.

    python tools/check_batch_invariance.py EXP MANIFEST [--device cpu]

Prints `identical: N/N` for each way of batching, against batches of one. Exit status 1 if any
differs.
"""

import argparse
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from asr.data.manifest import Utterance, read_manifest
from asr.inference.audio_input import read_batches
from asr.recognizer import Recognizer, load
from asr.transcripts.hypothesis import Hypothesis


def decode_batches(
    recognizer: Recognizer, utterances: Sequence[Utterance], batches: Iterable[Sequence[int]]
) -> dict[int, Hypothesis]:
    """Decode in exactly these batches.

    Args:
        recognizer: The recogniser.
        utterances: What to decode.
        batches: Indices of the utterances, one sequence a batch.

    Returns:
        The hypotheses by index.

    Raises:
        ValueError: An utterance cannot be read.
    """
    hypotheses: dict[int, Hypothesis] = {}
    rate_hz = recognizer.acoustic_model.sample_rate_hz
    for batch in read_batches(utterances, list(batches), sample_rate_hz=rate_hz):
        waveforms = []
        for item in batch:
            if isinstance(item.samples, Exception):
                raise item.samples
            waveforms.append(item.samples)
        found = recognizer.decode_batch(waveforms)
        hypotheses.update(zip((item.index for item in batch), found, strict=True))
    return hypotheses


def cut(order: Sequence[int], size: int) -> list[Sequence[int]]:
    """Consecutive batches of this size."""
    return [order[start : start + size] for start in range(0, len(order), size)]


def batchings(count: int, *, seed: int) -> dict[str, list[Sequence[int]]]:
    """The ways to batch that are compared, the reference first."""
    order = list(range(count))
    shuffled = random.Random(seed).sample(order, count)
    return {
        "batch 1": cut(order, 1),
        "batch 4": cut(order, 4),
        "batch 16": cut(order, 16),
        "batch 16 shuffled": cut(shuffled, 16),
    }


def compare(
    reference: Mapping[int, Hypothesis], found: Mapping[int, Hypothesis], ids: Sequence[str]
) -> list[str]:
    """Ids whose transcript differs."""
    return [ids[index] for index in reference if found[index].text != reference[index].text]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("exp", type=Path, help="experiment folder")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1, help="of the shuffling")
    arguments = parser.parse_args()
    try:
        recognizer = load(arguments.exp, device=arguments.device)
        utterances = read_manifest(arguments.manifest)
        if not utterances:
            raise ValueError(f"expected utterances in {arguments.manifest}, found none")
        differing = check(recognizer, utterances, seed=arguments.seed)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 1 if differing else 0


def check(recognizer: Recognizer, utterances: Sequence[Utterance], *, seed: int) -> int:
    """Compare all ways to batch and print the result; how many transcripts differ in all."""
    ids = [utterance.id for utterance in utterances]
    reference: dict[int, Hypothesis] = {}
    total = 0
    for name, batches in batchings(len(utterances), seed=seed).items():
        found = decode_batches(recognizer, utterances, batches)
        reference = reference or found
        differing = compare(reference, found, ids)
        print(f"{name}: identical: {len(ids) - len(differing)}/{len(ids)}", flush=True)
        for utterance_id in differing:
            print(f"differs from batch 1 in {name}: {utterance_id}", file=sys.stderr)
        total += len(differing)
    return total


if __name__ == "__main__":
    sys.exit(main())
