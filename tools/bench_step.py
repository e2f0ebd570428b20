"""Speed and peak memory of a CTC training step and of greedy decoding from files.

The step is the S preset on 8 x 12 s: forward, CTC loss, backward, clipping and AdamW, with the
paper's dropout. Decoding writes a folder of FLAC files and decodes it as `asr decode` does.

    python -m tools.bench_step [--set section.key=value] [--against CHECKOUT [--pairs 10]]

With `--against` this checkout and the other one, each with its own tool, are measured in turn, and
the ratio of their speeds is printed with its 95 % interval.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from asr.config import load_config
from asr.ctc import CtcModel, build_model
from asr.devices import peak_memory_bytes
from asr.features.base import FrontendConfig
from asr.features.frontend import Frontend
from asr.features.normalisation import Normalisation
from asr.inference.torch_model import TorchAcousticModel
from asr.recognizer import Recognizer
from asr.tokens.tokenizer import train_tokenizer
from tools.against import Speeds, add_arguments, compare, run_in
from tools.ctc_step import random_batch, training_step, wall_seconds
from tools.peers.systems import attune_system

_CONF = Path(__file__).parent.parent / "recipes" / "librispeech" / "conf"
_RATE_HZ = 16000
_VOCABULARY = 1024
_CASES = ("training step, float32", "training step, bfloat16", "greedy decoding from FLAC")


def main() -> None:
    """Measure and print one row a case, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=_CONF / "conformer_small.toml")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--utterances", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    add_arguments(parser)
    args = parser.parse_args()
    if args.against:
        compare(lambda checkout: _speeds(checkout, args), other=args.against, pairs=args.pairs)
        return
    rows = []
    for case in _CASES:
        # Peak memory belongs to a process, so that each case needs its own.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            row = pool.submit(_measure, case, args).result()
        print(
            f"{case:28} {row['audio_seconds_per_second']:8.1f} audio s/s "
            f"({row['slowest']:.1f} .. {row['fastest']:.1f}), "
            f"peak {row['peak_bytes'] / 2**30:.2f} GiB, {row['threads']} threads on {args.device}",
            flush=True,
        )
        rows.append({"case": case, "device": args.device, **row})
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _speeds(checkout: Path, args: argparse.Namespace) -> Speeds:
    """The rows of a checkout's own tool."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.json"
        command = ["-m", "tools.bench_step", "--json", str(rows), "--device", args.device]
        command += ["--config", str(args.config.resolve()), "--repeats", str(args.repeats)]
        command += ["--utterances", str(args.utterances), "--seconds", str(args.seconds)]
        run_in(checkout, [*command, *(f"--set={each}" for each in args.set)])
        measured = json.loads(rows.read_text(encoding="utf-8"))
    return {row["case"]: row["audio_seconds_per_second"] for row in measured}


def _measure(case: str, args: argparse.Namespace) -> dict[str, float]:
    torch.manual_seed(0)
    config = load_config(args.config, args.set)
    model = build_model(config.model, vocab_size=_VOCABULARY).to(args.device)
    run: Callable[[], object]
    with tempfile.TemporaryDirectory() as folder:
        if case == "greedy decoding from FLAC":
            run = _decoding(model, args, config.features, Path(folder))
        else:
            run = _training_step(model, args, config.features, bfloat16="bfloat16" in case)
        run()
        times = [wall_seconds(run, args.device)[0] for _ in range(args.repeats)]
    speeds = sorted(args.utterances * args.seconds / seconds for seconds in times)
    return {
        "audio_seconds_per_second": statistics.median(speeds),
        "slowest": speeds[0],
        "fastest": speeds[-1],
        "peak_bytes": peak_memory_bytes(torch.device(args.device)),
        "threads": torch.get_num_threads(),
    }


def _training_step(
    model: CtcModel, args: argparse.Namespace, features_config: FrontendConfig, *, bfloat16: bool
) -> Callable[[], Tensor]:
    batch = random_batch(
        [features_config.frames_of_seconds(args.seconds)] * args.utterances,
        mel_bins=features_config.feature_size,
        vocab_size=_VOCABULARY,
        device=args.device,
    )
    return training_step(attune_system(model), batch, bfloat16=bfloat16)


def _decoding(
    model: CtcModel, args: argparse.Namespace, features_config: FrontendConfig, folder: Path
) -> Callable[[], None]:
    generator = torch.Generator().manual_seed(0)
    paths = []
    for index in range(args.utterances):
        samples = 0.1 * torch.randn(int(args.seconds * _RATE_HZ), generator=generator)
        paths.append(folder / f"{index}.flac")
        soundfile.write(paths[-1], samples.numpy(), _RATE_HZ)
    bins = features_config.feature_size
    plain = Normalisation(mean=(0.0,) * bins, standard_deviation=(1.0,) * bins, frames=1)
    frontend = Frontend(features_config, plain).to(args.device)
    letters = "".join(chr(0x4E00 + index) for index in range(_VOCABULARY - 2))
    tokenizer = train_tokenizer([letters], vocab_size=None, kind="char")
    recognizer = Recognizer(TorchAcousticModel(frontend, model), tokenizer)
    return lambda: list(recognizer.transcribe(paths)).clear()


if __name__ == "__main__":
    main()
