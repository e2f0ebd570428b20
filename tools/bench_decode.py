"""Speed of greedy decoding from FLAC files on the CPU, in seconds of audio per second.

    python -m tools.bench_decode EXP [--seconds 3600] [--against CHECKOUT [--pairs 10]]

The files hold noise, 2 to 16 s each, about an hour in all unless told otherwise. Only the public
Python interface is used (`asr.load`, `Recognizer.transcribe`), so that older checkouts can be
measured. Loading the model and decoding one file to warm up do not count.
"""

import argparse
import json
import tempfile
from pathlib import Path

import soundfile
import torch

from tools.against import OWN, Speeds, add_arguments, compare, run_in

_RATE_HZ = 16000
_SHORTEST_SECONDS, _LONGEST_SECONDS = 2.0, 16.0
CASE = "greedy decoding from FLAC"
_WORKER = """
import json, sys, time
from pathlib import Path
import asr
recognizer = asr.load(Path(sys.argv[1]), device="cpu")
paths = sorted(Path(sys.argv[2]).glob("*.flac"))
list(recognizer.transcribe(paths[:1]))
start = time.perf_counter()
list(recognizer.transcribe(paths))
print(json.dumps(time.perf_counter() - start))
"""


def write_audio(folder: Path, seconds: float) -> float:
    """Write files of noise until they last so long; how long they last, in seconds."""
    generator = torch.Generator().manual_seed(0)
    written = 0.0
    while written < seconds:
        draw = float(torch.rand((), generator=generator))
        length = _SHORTEST_SECONDS + draw * (_LONGEST_SECONDS - _SHORTEST_SECONDS)
        samples = 0.1 * torch.randn(int(length * _RATE_HZ), generator=generator)
        soundfile.write(folder / f"{int(written):06d}.flac", samples.numpy(), _RATE_HZ)
        written += len(samples) / _RATE_HZ
    return written


def measure(checkout: Path, exp: Path, folder: Path, seconds: float) -> Speeds:
    """Decode the folder with a checkout."""
    output = run_in(checkout, ["-c", _WORKER, str(exp), str(folder)])
    return {CASE: seconds / json.loads(output.splitlines()[-1])}


def main() -> None:
    """Measure this checkout once, or in turn with another one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exp", type=Path, help="folder of an experiment")
    parser.add_argument("--seconds", type=float, default=3600.0, help="audio to decode")
    add_arguments(parser)
    args = parser.parse_args()
    exp = args.exp.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written = write_audio(folder, args.seconds)
        if args.against:
            compare(
                lambda checkout: measure(checkout, exp, folder, written),
                other=args.against,
                pairs=args.pairs,
            )
            return
        speed = measure(OWN, exp, folder, written)[CASE]
        print(f"{CASE}: {speed:.1f} audio s/s, {written:.0f} s of audio")


if __name__ == "__main__":
    main()
