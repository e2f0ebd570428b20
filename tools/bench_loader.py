"""Measure how fast the training loader delivers audio.

    python -m tools.bench_loader train.jsonl [--against CHECKOUT [--pairs 10]]

Prints audio seconds per second of wall time for each number of workers, with and without
augmentation, and, without workers, the processor time that a second of audio costs. With
`--against` this checkout and the other one, each with its own tool, are measured in turn, and the
ratio of their speeds is printed with its 95 % interval.
"""

import argparse
import time
from pathlib import Path

import torch

from asr.data.audio import audio_info
from asr.data.audio_containers import AUDIO_SUFFIXES
from asr.data.loader import DataConfig, build_training_loader
from asr.data.manifest import Utterance, read_manifest
from asr.features.augmentation import AugmentationConfig, WaveformAugment
from tools.against import Speeds, add_arguments, compare, run_in

AUGMENTATIONS = {
    "none": AugmentationConfig(),
    "speed": AugmentationConfig(speed_factors=(0.9, 1.0, 1.1)),
    "all": AugmentationConfig(
        speed_factors=(0.9, 1.0, 1.1),
        noise_probability=1.0,
        noise_snr_db=(5.0, 25.0),
        band_limit_probability=1.0,
        band_limit_hz=(3500.0, 7000.0),
        gain_db=(-6.0, 6.0),
    ),
}


def read_utterances(source: Path) -> list[Utterance]:
    """The utterances of a manifest, or of the audio files below a folder."""
    if source.is_file():
        return read_manifest(source)
    files = sorted(path for path in source.rglob("*") if path.suffix in AUDIO_SUFFIXES)
    return [
        Utterance(
            id=str(file.relative_to(source)),
            audio_filepath=file,
            duration_seconds=audio_info(file).duration_seconds,
            text="",
        )
        for file in files
    ]


def parse_speeds(printed: str) -> Speeds:
    """Audio seconds per second by workers and augmentation, from what this tool prints."""
    rows = [line.split() for line in printed.splitlines()[1:]]
    return {f"{row[0]} workers, augmentation {row[1]}": float(row[2]) for row in rows}


def _command(arguments: argparse.Namespace) -> list[str]:
    command = ["-m", "tools.bench_loader", str(arguments.source.resolve())]
    command += ["--batch-seconds", str(arguments.batch_seconds)]
    command += ["--batches", str(arguments.batches)]
    command += ["--sample-rate-hz", str(arguments.sample_rate_hz)]
    return [*command, "--workers", *map(str, arguments.workers)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="a manifest, or a folder of audio files")
    parser.add_argument("--batch-seconds", type=float, default=100.0)
    parser.add_argument("--batches", type=int, default=60, help="batches measured")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sample-rate-hz", type=int, default=16000)
    add_arguments(parser)
    arguments = parser.parse_args()
    if arguments.against:
        compare(
            lambda checkout: parse_speeds(run_in(checkout, _command(arguments))),
            other=arguments.against,
            pairs=arguments.pairs,
        )
        return
    torch.set_num_threads(1)
    utterances = read_utterances(arguments.source)
    print("workers  augmentation  audio s/s  processor ms per audio s  padding %  batches")
    for workers in arguments.workers:
        for name, config in AUGMENTATIONS.items():
            loader = build_training_loader(
                DataConfig(batch_seconds=arguments.batch_seconds, workers=workers, buckets=20),
                utterances,
                encode=lambda text: [],
                augment=WaveformAugment(config, sample_rate_hz=arguments.sample_rate_hz),
                sample_rate_hz=arguments.sample_rate_hz,
                seed=0,
            )
            batches = iter(loader)
            # Workers start, and their first batches wait, before the clock does.
            for _ in range(2 * workers + 1):
                next(batches)
            start_seconds, start_processor_seconds = time.perf_counter(), time.process_time()
            audio_samples = padded_samples = count = 0
            for count, batch in enumerate(batches, start=1):
                audio_samples += int(batch.waveform_lengths.sum())
                padded_samples += batch.waveforms.numel()
                if count == arguments.batches:
                    break
            elapsed_seconds = time.perf_counter() - start_seconds
            processor_ms = 1000 * (time.process_time() - start_processor_seconds)
            audio_seconds = audio_samples / arguments.sample_rate_hz
            cost = "-" if workers else f"{processor_ms / audio_seconds:.2f}"
            padding = 100 * (1 - audio_samples / padded_samples)
            print(
                f"{workers:7}  {name:12}  {audio_seconds / elapsed_seconds:9.0f}  {cost:>24}  "
                f"{padding:9.1f}  {count:7}"
            )


if __name__ == "__main__":
    main()
