"""Measure what an n-gram language model costs a beam search, a step of all its hypotheses.

    python tools/bench_ngram.py LM TEXT

LM is a folder that `asr lm train` wrote; the hypotheses are the beginnings of TEXT's sentences.
Prints the processor time of one core.
"""

import argparse
import time
from pathlib import Path

import torch

from asr.data.text_corpus import read_text_corpus
from asr.lm.ngram import load_ngram


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lm", type=Path, help="folder of an n-gram language model")
    parser.add_argument("text", type=Path, help="text, one sentence a line")
    parser.add_argument("--hypotheses", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=40, help="steps, from the empty hypothesis")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    model = load_ngram(arguments.lm)
    loading_seconds = time.process_time() - started
    table = model.table
    sentences = read_text_corpus([arguments.text], model.tokenizer).sentences
    long = [sentence for sentence in sentences if len(sentence) >= arguments.tokens]
    if len(long) < arguments.hypotheses:
        raise SystemExit(
            f"expected {arguments.hypotheses} sentences of {arguments.tokens} tokens in "
            f"{arguments.text}, found {len(long)}; give more text"
        )
    rows = [torch.from_numpy(sentence) for sentence in long[: arguments.hypotheses]]
    labels = torch.stack([row[: arguments.tokens] for row in rows]).long()
    seconds = dict.fromkeys(("scores", "advance", "end"), 0.0)
    # The first round warms up.
    for measured in [False] + [True] * arguments.rounds:
        state = table.start(len(labels))
        for step in range(arguments.tokens):
            times = [time.process_time()]
            table.scores(state)
            times.append(time.process_time())
            table.end(state)
            times.append(time.process_time())
            state = table.advance(state, labels[:, step])
            times.append(time.process_time())
            if measured:
                seconds["scores"] += times[1] - times[0]
                seconds["end"] += times[2] - times[1]
                seconds["advance"] += times[3] - times[2]
    print(
        f"{len(table.keys)} n-grams of order 1 to {table.order}, loaded in {loading_seconds:.1f} s"
    )
    steps = arguments.rounds * arguments.tokens
    figures = (f"{name} {1000 * total / steps:.3f} ms" for name, total in seconds.items())
    print(f"{len(labels)} hypotheses x {table.vocab_size} pieces: {', '.join(figures)}")


if __name__ == "__main__":
    main()
