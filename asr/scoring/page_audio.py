"""The audio of a page: links to the files, or Ogg Opus inside the page."""

import base64
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import soundfile

from asr.data.manifest import Utterance, total_seconds

MOST_EMBEDDED_SECONDS = 6 * 3600
"""At the 3.2 kB a second of Ogg Opus and base64's four thirds, a page of about 90 MB."""
_SAMPLE_RATE_HZ = 16000
_BLOCK_SECONDS = 1.0


def audio_urls(references: Iterable[Utterance], folder: Path) -> list[str]:
    """The URL of each utterance's audio file, relative to a page in `folder`."""
    folder = folder.absolute()
    return [
        quote(Path(os.path.relpath(item.audio_filepath, folder)).as_posix()) for item in references
    ]


def check_embeddable(references: Sequence[Utterance]) -> None:
    """Refuse what would make a page too large, before anything is encoded.

    Raises:
        ValueError: The audio is longer than `MOST_EMBEDDED_SECONDS` in all.
    """
    seconds = total_seconds(references)
    if seconds > MOST_EMBEDDED_SECONDS:
        raise ValueError(
            f"expected at most {MOST_EMBEDDED_SECONDS / 3600:g} h of audio to embed in a page "
            f"(about 90 MB), found {seconds / 3600:.1f} h; leave out --embed-audio, so that the "
            "page plays the files, or score a smaller manifest"
        )


def embedded_audio(references: Iterable[Utterance]) -> Iterator[str]:
    """Encode each utterance's audio.

    Args:
        references: The utterances.

    Yields:
        Ogg Opus in base64, mono.

    Raises:
        AudioError: A file cannot be used.
        FileNotFoundError: A file does not exist.
    """
    from asr.data.audio import audio_blocks

    for item in references:
        blocks = audio_blocks(
            item.audio_filepath,
            sample_rate_hz=_SAMPLE_RATE_HZ,
            block_seconds=_BLOCK_SECONDS,
            offset_seconds=item.offset_seconds,
            duration_seconds=item.duration_seconds,
        )
        encoded = io.BytesIO()
        with soundfile.SoundFile(
            encoded, "w", _SAMPLE_RATE_HZ, channels=1, format="OGG", subtype="OPUS"
        ) as stream:
            # Block by block: libsndfile's encoder keeps what is written at once on the stack.
            for block in blocks:
                stream.write(block.numpy())
        yield base64.b64encode(encoded.getvalue()).decode("ascii")
