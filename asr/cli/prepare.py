"""`asr prepare`: from a corpus to manifests."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from asr.cli.outputs import check_outputs
from asr.data.corpora import CORPORA
from asr.data.manifest import join_manifests, total_seconds
from asr.data.validation import ManifestReport

app = typer.Typer(no_args_is_help=True, help="Find and check a corpus; write its manifests.")

_CPUS = os.cpu_count() or 1

Out = Annotated[Path, typer.Option("--out", help="Folder to write the manifests to.")]
SkipBroken = Annotated[
    bool, typer.Option("--skip-broken", help="Leave broken items out and list them.")
]
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="Files to check at a time.")]
Name = Annotated[
    str | None, typer.Option("--name", help="Name of the manifest; by default that of the input.")
]


def _corpus_command(word: str) -> Callable[..., None]:
    """The command of an entry of `CORPORA`."""
    corpus = CORPORA[word]
    downloads = corpus.download is not None
    by_default = ",".join(corpus.default_splits or ()) or "all found"

    def command(  # noqa: PLR0917 - typer passes them by name
        root: Annotated[Path, typer.Option("--root", help=corpus.root)],
        out: Out,
        splits: Annotated[
            str | None,
            typer.Option("--splits", help=f"Names, separated by commas; default: {by_default}."),
        ] = None,
        download: Annotated[
            bool,
            typer.Option(
                "--download",
                help="Download those of --splits that are missing.",
                hidden=not downloads,
            ),
        ] = False,
        mirror: Annotated[
            str | None,
            typer.Option(
                "--mirror", help="Download from this address instead.", hidden=not downloads
            ),
        ] = None,
        skip_broken: SkipBroken = False,
        jobs: Jobs = _CPUS,
    ) -> None:
        names = _names(splits, option="--splits", download=download, mirror=mirror)
        if download:
            if corpus.download is None:
                raise typer.BadParameter(
                    f"expected a corpus that can be downloaded, found {word}; {corpus.source}",
                    param_hint="--download",
                )
            assert names is not None
            with _progress(DownloadColumn(), TransferSpeedColumn()) as update:
                corpus.download(root, splits=names, mirror=mirror, progress=update)
        with _progress(MofNCompleteColumn()) as update:
            reports = corpus.prepare(
                root, out, splits=names, skip_broken=skip_broken, jobs=jobs, progress=update
            )
        finish(reports, skip_broken=skip_broken)

    return command


def _synthetic(
    root: Annotated[Path, typer.Option("--root", help=CORPORA["synthetic"].root)],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder to write the manifests to; by default none is written."),
    ] = None,
    splits: Annotated[
        str | None,
        typer.Option("--splits", help="With --out: names, separated by commas; default: all."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Another seed gives other recordings.")] = 0,
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, help="Processes; by default one a core.")
    ] = _CPUS,
) -> None:
    from asr.data.corpora.synthetic.corpus import generate

    names = _names(splits, option="--splits", download=False, mirror=None)
    summary = generate(root, seed=seed, jobs=jobs)
    print(f"{'made' if summary.made else 'found finished'}: {root / 'LibriSpeech'}")
    for name, split in summary.splits.items():
        print(
            f"{name}: {split.utterances} utterances, {split.seconds / 60:.1f} minutes, "
            f"{len(split.voices)} voices"
        )
    print("This speech is synthetic (espeak-ng); results on it say nothing about real speech.")
    if out is None:
        return
    with _progress(MofNCompleteColumn()) as update:
        reports = CORPORA["synthetic"].prepare(root, out, splits=names, jobs=jobs, progress=update)
    finish(reports, skip_broken=False)


_OWN_COMMANDS = {"synthetic": _synthetic}
"""Commands of corpora that have settings of their own."""

for _word, _corpus in CORPORA.items():
    app.command(_word, help=_corpus.description)(_OWN_COMMANDS.get(_word) or _corpus_command(_word))


@app.command("librispeech-lm")
def librispeech_lm(
    root: Annotated[Path, typer.Option("--root", help="Folder of the files as published.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write what can be used to.")],
    files: Annotated[
        str | None,
        typer.Option(
            "--files", help="Such as 3-gram.pruned.1e-7.arpa.gz,4-gram.arpa.gz; default: all found."
        ),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Download those of --files that are missing.")
    ] = False,
    mirror: Annotated[
        str | None, typer.Option("--mirror", help="Download from this address instead.")
    ] = None,
) -> None:
    """LibriSpeech's language models, word lists and text, checked; ARPA files unpacked."""
    from asr.data.corpora.librispeech_lm import download as download_files
    from asr.data.corpora.librispeech_lm import prepare

    names = _names(files, option="--files", download=download, mirror=mirror)
    if download:
        assert names is not None
        with _progress(DownloadColumn(), TransferSpeedColumn()) as update:
            download_files(root, files=names, mirror=mirror, progress=update)
    for item in prepare(root, out, files=names):
        print(f"{item.path}: {item.contents}")


def _names(
    value: str | None, *, option: str, download: bool, mirror: str | None
) -> list[str] | None:
    """The names of an option; None where it is not given.

    Raises:
        typer.BadParameter: No name is left, or a download lacks what it needs.
    """
    names = None if value is None else [name for name in value.split(",") if name]
    if names == []:
        raise typer.BadParameter("expected names, found none", param_hint=option)
    if mirror is not None and not download:
        raise typer.BadParameter("needs --download", param_hint="--mirror")
    if download and names is None:
        raise typer.BadParameter(
            f"needs {option}, the names of what to download", param_hint="--download"
        )
    return names


@app.command()
def folder(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Searched with its subfolders.")],
    out: Out,
    name: Name = None,
    skip_broken: SkipBroken = False,
    jobs: Jobs = _CPUS,
) -> None:
    """A folder of audio files, each beside a .txt file with its transcript."""
    from asr.data.corpora.folder import prepare

    with _progress(MofNCompleteColumn()) as update:
        report = prepare(
            directory,
            out,
            name=name or directory.absolute().name,
            skip_broken=skip_broken,
            jobs=jobs,
            progress=update,
        )
    finish([report], skip_broken=skip_broken)


@app.command()
def table(  # noqa: PLR0917 - typer passes them by name
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .csv, .tsv or .jsonl file.")],
    out: Out,
    audio_column: Annotated[
        str,
        typer.Option("--audio-column", help="Column of the audio paths, relative to the table."),
    ] = "path",
    text_column: Annotated[
        str, typer.Option("--text-column", help="Column of the transcripts.")
    ] = "text",
    name: Name = None,
    skip_broken: SkipBroken = False,
    jobs: Jobs = _CPUS,
) -> None:
    """A table of paths and transcripts.

    Optional columns: id, speaker, and offset and duration, the stretch in seconds.
    """
    from asr.data.corpora.table import prepare

    with _progress(MofNCompleteColumn()) as update:
        report = prepare(
            file,
            out,
            name=name or file.stem,
            audio_column=audio_column,
            text_column=text_column,
            skip_broken=skip_broken,
            jobs=jobs,
            progress=update,
        )
    finish([report], skip_broken=skip_broken)


@app.command()
def join(
    manifests: Annotated[
        list[Path], typer.Argument(metavar="MANIFEST", help="Manifests (.jsonl), in this order.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Manifest to write.")],
) -> None:
    """Several manifests as one.

    Ids must differ between them. What is at --out is replaced, whole or not at all.
    """
    check_outputs([out], inputs=manifests)
    utterances = join_manifests(manifests, out)
    print(f"{out}: {len(utterances)} utterances, {total_seconds(utterances) / 3600:.2f} h")


def finish(reports: Sequence[ManifestReport], *, skip_broken: bool) -> None:
    """Print the summary of each manifest and every broken item; exit 1 where one was not written.

    Args:
        reports: What became of each manifest.
        skip_broken: Whether broken items were to be left out.

    Raises:
        typer.Exit: With status 1, when a manifest was not written.
    """
    for report in reports:
        for item in report.broken:
            print(f"{report.name}: {item.reason}", file=sys.stderr)
        if report.manifest is None:
            remedy = "none is good" if skip_broken else "mend them or add --skip-broken"
            print(
                f"{report.name}: expected sound items only, found {len(report.broken)} broken of "
                f"{len(report.broken) + report.utterances}, no manifest written; {remedy}",
                file=sys.stderr,
            )
            continue
        print(
            f"{report.manifest}: {report.utterances} utterances, "
            f"{report.duration_seconds / 3600:.2f} h, {report.speakers} speakers, "
            f"{report.empty_transcripts} empty transcripts, {len(report.broken)} broken"
        )
    if any(report.manifest is None for report in reports):
        raise typer.Exit(1)


@contextmanager
def _progress(*columns: ProgressColumn) -> Iterator[Callable[[str, int, int | None], None]]:
    """A progress bar on standard error, one line for each name."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    tasks: dict[str, TaskID] = {}

    def update(name: str, done: int, total: int | None) -> None:
        if name not in tasks:
            tasks[name] = bar.add_task(name, total=total)
        bar.update(tasks[name], completed=done, total=total)

    with bar:
        yield update
