"""`asr decode`: audio to hypotheses."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from asr.cli.decode_streaming import check_streaming_options, streamed_outcomes
from asr.cli.decoder_options import (
    BeamSize,
    BlankPenalty,
    DecoderOption,
    LanguageModel,
    LengthBonus,
    Lexicon,
    LmWeight,
    Nbest,
    Weights,
    WordScore,
    decoder_config,
)
from asr.cli.device_option import DeviceName
from asr.cli.outcomes import FORMAT_HELP, FormatName, write_outcomes
from asr.cli.outputs import check_outputs
from asr.data.folders import files_below
from asr.data.manifest import Utterance, read_manifest
from asr.decoders import BATCH_SECONDS, build_decoder
from asr.transcripts.formats import (
    FORMATS,
    FolderFormat,
    Writer,
    open_stream_writer,
    open_writer,
)

if TYPE_CHECKING:
    from asr.inference.audio_input import AudioInput

_STANDARD_INPUT = "-"
_MANIFEST_SUFFIX = ".jsonl"


def decode(
    exp: Annotated[Path, typer.Argument(metavar="EXP", help="Folder that `asr train` wrote.")],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Audio files, folders (searched recursively), a manifest (.jsonl), or - for paths "
            "on standard input, one a line.",
        ),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write, or folder: see --format. Without it the text goes to standard "
            "output, one line an input."
        ),
    ] = None,
    decoder: DecoderOption = None,
    lm: LanguageModel = None,
    lm_weight: LmWeight = None,
    length_bonus: LengthBonus = None,
    word_score: WordScore = None,
    lexicon: Lexicon = None,
    blank_penalty: BlankPenalty = None,
    beam_size: BeamSize = None,
    nbest: Nbest = None,
    weights: Weights = None,
    batch_seconds: Annotated[
        float, typer.Option(min=1.0, help="Most audio in a batch, padding included, in seconds.")
    ] = BATCH_SECONDS,
    long: Annotated[
        Literal["windows", "whole", "pauses"],
        typer.Option(
            help="How recordings over 40 s are decoded. windows: overlapping ones of 20 s, joined "
            "in their middles; whole: one pass, in time that grows with the square of the length "
            "unless the attention is linear; pauses: stretches of up to 20 s, cut where nobody "
            "speaks (needs the extra vad)."
        ),
    ] = "windows",
    streaming: Annotated[
        bool,
        typer.Option(
            "--streaming",
            help="Decode each recording as if it came live, in chunks; says the latency. The model "
            'needs features.normalisation = "global".',
        ),
    ] = False,
    chunk_seconds: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Length of a chunk with --streaming, in seconds; rounded to encoder frames.",
        ),
    ] = None,
    left_seconds: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="What a chunk may attend to before it, with --streaming, in seconds; rounded to "
            "encoder frames. Without it all: then memory and time grow with the recording.",
            show_default="all",
        ),
    ] = None,
    device: DeviceName = "auto",
    output_format: Annotated[
        FormatName | None,
        typer.Option(
            "--format",
            help=f"{FORMAT_HELP} Without --out a format goes to standard output, of the second "
            "kind that of one recording.",
            show_default="jsonl; without --out the text alone",
        ),
    ] = None,
) -> None:
    """Turn audio into text.

    Ids are the manifest's, else the path within the given folder or the
    name of the file, without suffix. The output has the order of the input.

    A file that cannot be decoded is named on standard error and left out,
    and of the text alone its line is empty; the others are decoded, and
    the exit status is 1.
    """
    config = decoder_config(
        weights=weights,
        decoder=decoder,
        lm=lm,
        lm_weight=lm_weight,
        length_bonus=length_bonus,
        word_score=word_score,
        lexicon=lexicon,
        blank_penalty=blank_penalty,
        beam_size=beam_size,
        nbest=nbest,
    )
    if output_format is None and out is not None:
        output_format = "jsonl"
    if (nbest or 1) > 1 and output_format != "jsonl":
        found = "the text alone" if output_format is None else output_format
        raise typer.BadParameter(f"needs --format jsonl, not {found}", param_hint="--nbest")
    check_streaming_options(
        streaming=streaming, long=long, chunk_seconds=chunk_seconds, left_seconds=left_seconds
    )
    from asr.devices import is_out_of_memory
    from asr.inference.long_recordings import LongformConfig
    from asr.recognizer import load

    sources = collect_inputs(inputs, standard_input=sys.stdin)
    paths = {name: _path(source) for name, source in sources.items()}
    check_outputs([out], inputs=[*map(Path, inputs), *paths.values()])
    # Before the model is loaded, so that an output that cannot be written is found at once.
    with _open_output(out, output_format, ids=list(sources)) as writer:
        recognizer = load(exp, device=device, longform=LongformConfig(method=long))
        recognizer.decoder = build_decoder(
            config, tokenizer=recognizer.tokenizer, device=recognizer.acoustic_model.device
        )
        items = list(sources.values())
        if chunk_seconds is None:
            outcomes = recognizer.outcomes(items, batch_seconds=batch_seconds)
        else:
            outcomes = streamed_outcomes(
                recognizer, items, chunk_seconds=chunk_seconds, left_seconds=left_seconds
            )
        try:
            write_outcomes(outcomes, paths, writer, done="decoded")
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise MemoryError(
                f"expected a batch of {batch_seconds:g} s to fit the device, found: "
                f"{str(error).splitlines()[0]}; lower --batch-seconds or --beam-size"
            ) from None


def _open_output(out: Path | None, output_format: FormatName | None, *, ids: list[str]) -> Writer:
    """Begin the output: a file or folder, or standard output where there is no `out`.

    Raises:
        typer.BadParameter: The format has a file for each of several recordings, and no folder.
        ValueError: The format cannot hold an id.
        OSError: The file or folder cannot be made.
    """
    if out is not None:
        assert output_format is not None
        return open_writer(out, output_format, ids=ids)
    is_folder = output_format is not None and isinstance(FORMATS[output_format], FolderFormat)
    if is_folder and len(ids) > 1:
        raise typer.BadParameter(
            f"needs --out for {len(ids)} recordings: {output_format} has a file for each of them",
            param_hint="--format",
        )
    return open_stream_writer(sys.stdout, output_format, ids=ids)


def collect_inputs(
    arguments: Iterable[str], *, standard_input: Iterable[str]
) -> dict[str, AudioInput]:
    """Find what is to be decoded.

    Args:
        arguments: Files, folders, manifests, or `-`.
        standard_input: Lines that stand for `-`, each a file, folder or manifest.

    Returns:
        Inputs by id, in order; a folder's in the order of their paths. A path that does not exist
        is an input too, which fails when it is read.

    Raises:
        ValueError: Nothing to decode, two inputs of the same id, or a broken manifest.
    """
    sources: dict[str, AudioInput] = {}
    for argument in arguments:
        if argument == _STANDARD_INPUT:
            paths = [line.rstrip("\r\n") for line in standard_input]
        else:
            paths = [argument]
        for path in paths:
            if path.strip():
                _add(sources, _expand(Path(path)))
    if not sources:
        raise ValueError(
            "expected audio to decode, found no file name; give files, folders or a manifest"
        )
    return sources


def _add(sources: dict[str, AudioInput], found: Iterable[tuple[str, AudioInput]]) -> None:
    for name, source in found:
        if name in sources:
            raise ValueError(
                f"expected a different id for each input, found {name!r} for "
                f"{_path(sources[name])} and {_path(source)}; rename one, or give the folder above "
                "both or a manifest with ids"
            )
        sources[name] = source


def _expand(path: Path) -> Iterator[tuple[str, AudioInput]]:
    from asr.data.audio_containers import AUDIO_SUFFIXES

    if path.suffix == _MANIFEST_SUFFIX:
        for utterance in read_manifest(path):
            yield utterance.id, utterance
    elif path.is_dir():
        files = [file for file in files_below(path) if file.suffix.lower() in AUDIO_SUFFIXES]
        if not files:
            raise ValueError(
                f"expected audio files ({', '.join(sorted(AUDIO_SUFFIXES))}) below {path}, found "
                "none; check the folder"
            )
        for file in files:
            yield file.relative_to(path).with_suffix("").as_posix(), file
    else:
        yield path.stem, path


def _path(source: AudioInput) -> Path:
    if isinstance(source, Utterance):
        return source.audio_filepath
    assert isinstance(source, Path)
    return source
