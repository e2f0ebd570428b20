"""The audio of a page: links to the files, or Ogg Opus inside the page."""

import base64
import io
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import soundfile

from asr.data.manifest import Utterance, total_seconds

logger = logging.getLogger(__name__)

MOST_EMBEDDED_SECONDS = 6 * 3600
"""At the 3.6 kB a second of Ogg Opus and base64's four thirds, a page of about 100 MB."""
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
            f"(about 100 MB), found {seconds / 3600:.1f} h; leave out --embed-audio, so that the "
            "page plays the files, or score a smaller manifest"
        )


def embedded_audio(references: Sequence[Utterance]) -> Iterator[str]:
    """Encode each utterance's audio, on all processors.

    Args:
        references: The utterances.

    Yields:
        Ogg Opus in base64, mono.

    Raises:
        AudioError: A file cannot be used.
        FileNotFoundError: A file does not exist.
    """
    logger.info("encoding %.2f h of audio for the page", total_seconds(references) / 3600)
    # Threads: the encoder runs outside of Python's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(_encoded, references)


def _encoded(utterance: Utterance) -> str:
    from asr.data.audio import audio_blocks

    blocks = audio_blocks(
        utterance.audio_filepath,
        sample_rate_hz=_SAMPLE_RATE_HZ,
        block_seconds=_BLOCK_SECONDS,
        offset_seconds=utterance.offset_seconds,
        duration_seconds=utterance.duration_seconds,
    )
    encoded = io.BytesIO()
    with soundfile.SoundFile(
        encoded, "w", _SAMPLE_RATE_HZ, channels=1, format="OGG", subtype="OPUS"
    ) as stream:
        for block in blocks:
            stream.write(block.numpy())
    return base64.b64encode(encoded.getvalue()).decode("ascii")
