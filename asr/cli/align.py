"""`asr align`: forced alignment of known transcripts."""

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.device_option import DeviceName
from asr.cli.outcomes import FORMAT_HELP, FormatName, write_outcomes
from asr.cli.outputs import check_outputs
from asr.data.manifest import read_manifest
from asr.transcripts.formats import open_writer


def align(
    exp: Annotated[Path, typer.Argument(metavar="EXP", help="Folder that `asr train` wrote.")],
    manifest: Annotated[
        Path, typer.Argument(metavar="MANIFEST", help="Audio with its transcripts.")
    ],
    *,
    out: Annotated[Path, typer.Option(help="File to write, or folder: see --format.")],
    output_format: Annotated[FormatName, typer.Option("--format", help=FORMAT_HELP)] = "jsonl",
    device: DeviceName = "auto",
) -> None:
    """Find when each word of a transcript was spoken.

    The words are those of the manifest, normalised as in training; the
    score is that of the best path through them. The audio may be long.

    An utterance without text, with characters that the tokenizer lacks or
    with too little audio for its text is named on standard error and left
    out; the others are aligned, and the exit status is 1.
    """
    from asr.inference.alignment import Aligner
    from asr.recognizer import load

    utterances = read_manifest(manifest)
    if not utterances:
        raise ValueError(f"expected utterances to align in {manifest}, found none; add some")
    sources = {utterance.id: utterance.audio_filepath for utterance in utterances}
    check_outputs([out], inputs=[manifest, *sources.values()])
    # Before the model is loaded, so that an output that cannot be written is found at once.
    with open_writer(out, output_format, ids=sources) as writer:
        recognizer = load(exp, device=device)
        aligner = Aligner(recognizer.acoustic_model, recognizer.tokenizer)
        write_outcomes(aligner.outcomes(utterances), sources, writer, done="aligned")
