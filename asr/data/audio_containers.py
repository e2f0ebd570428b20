"""Truncation check of audio files, of which a decoder would silently return less than they hold."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

AUDIO_SUFFIXES = frozenset({".flac", ".wav", ".mp3", ".ogg", ".opus"})


class AudioError(ValueError):
    """An audio file that cannot be used; the message is one line and names the file."""


# RFC 3533: the largest Ogg page.
_MAX_OGG_PAGE_BYTES = 65307
_OGG_FIRST_PAGE_FLAG = 0x02
_OGG_LAST_PAGE_FLAG = 0x04
# A writer that cannot seek back leaves a size near the largest signed or unsigned one.
_RIFF_UNKNOWN_BYTES = 0x7FF00000
# Of RF64 and BW64, whose sizes stand in their first chunk.
_RIFF_ELSEWHERE = 0xFFFFFFFF

_MP3_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_MP3_KBITS = {
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    0: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_MPEG_1 = 3
_XING_FRAMES_AND_BYTES = 3
_XING_SEARCH_BYTES = 48
_MP3_TRAILING_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3")
_HEAD_BYTES = 1 << 14


@dataclass(frozen=True, kw_only=True)
class ContainerCheck:
    """What the container of an audio file shows beyond what the decoder reports.

    Args:
        fault: Why the file cannot be read whole, in words; None where nothing shows.
        frames: The number of audio frames, where the decoder can only estimate it.
    """

    fault: str | None = None
    frames: int | None = None


def check_container(path: Path) -> ContainerCheck:
    """Look for what shows that a WAV, Ogg or MP3 file is cut off, or several files in one.

    libsndfile takes the length of a cut WAV from the size of the file, that of a cut Ogg file
    from its last page, and that of an MP3 file without a length header from the bit rate of its
    first frame. All three then decode without an error. Of Ogg and MP3 files joined end to end it
    decodes the first.

    Args:
        path: An existing file.

    Returns:
        The findings; none for every other kind of file.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
        if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
            return ContainerCheck(fault=_riff_fault(stream, size_bytes))
        if head.startswith(b"OggS"):
            stream.seek(max(0, size_bytes - 2 * _MAX_OGG_PAGE_BYTES))
            return ContainerCheck(fault=_ogg_fault(head, stream.read()))
        return _check_mp3(stream, head, size_bytes)


def _riff_fault(stream: BinaryIO, size_bytes: int) -> str | None:
    position, long_data_bytes = 12, 0
    while position + 8 <= size_bytes:
        stream.seek(position)
        # The header of the chunk, and the two sizes of a `ds64`: of the file and of its data.
        start = stream.read(24)
        chunk_bytes = int.from_bytes(start[4:8], "little")
        if start[:4] == b"ds64":
            long_data_bytes = int.from_bytes(start[16:24], "little")
        elif start[:4] == b"data":
            if chunk_bytes == _RIFF_ELSEWHERE:
                chunk_bytes = long_data_bytes
            elif chunk_bytes >= _RIFF_UNKNOWN_BYTES:
                return None
            present = size_bytes - position - 8
            if present < chunk_bytes:
                return f"{present} of the {chunk_bytes} bytes that the WAV header declares"
            return None
        position += 8 + chunk_bytes + chunk_bytes % 2
    return None


def _ogg_fault(head: bytes, tail: bytes) -> str | None:
    page = tail[max(0, tail.rfind(b"OggS")) :]
    segments = page[26] if len(page) > 26 else 0
    page_bytes = 27 + segments + sum(page[27 : 27 + segments])
    if len(page) < page_bytes:
        return "an Ogg stream whose last page is incomplete"
    if not page[5] & _OGG_LAST_PAGE_FLAG:
        return "an Ogg stream without its last page"
    if page[14:18] not in _first_ogg_streams(head):
        return "several Ogg streams one after another (the decoder would read the first alone)"
    return None


def _first_ogg_streams(head: bytes) -> set[bytes]:
    """Serial numbers of the streams that begin where the file does."""
    serials: set[bytes] = set()
    position = 0
    while head[position : position + 4] == b"OggS" and len(head) > position + 26:
        if not head[position + 5] & _OGG_FIRST_PAGE_FLAG:
            break
        serials.add(head[position + 14 : position + 18])
        segments = head[position + 26]
        position += 27 + segments + sum(head[position + 27 : position + 27 + segments])
    return serials


def _check_mp3(stream: BinaryIO, head: bytes, size_bytes: int) -> ContainerCheck:
    start = 0
    if head.startswith(b"ID3"):
        start = _id3_bytes(head)
        stream.seek(start)
        head = stream.read(_HEAD_BYTES)
    if _mp3_frame(head, 0) is None:
        return ContainerCheck()
    for name in (b"Xing", b"Info"):
        at = head.find(name, 0, _XING_SEARCH_BYTES)
        flags = int.from_bytes(head[at + 4 : at + 8], "big")
        if at >= 0 and flags & _XING_FRAMES_AND_BYTES == _XING_FRAMES_AND_BYTES:
            declared, present = int.from_bytes(head[at + 12 : at + 16], "big"), size_bytes - start
            if present < declared:
                return ContainerCheck(
                    fault=f"{present} of the {declared} bytes that the MP3 header declares"
                )
            stream.seek(start + declared)
            return ContainerCheck(fault=_next_mp3_fault(stream.read()))
    stream.seek(start)
    return _check_headerless_mp3(stream.read())


def _next_mp3_fault(rest: bytes) -> str | None:
    """Whether another MP3 stream, perhaps behind a tag, follows the first."""
    start = _id3_bytes(rest) if rest.startswith(b"ID3") else 0
    frame = _mp3_frame(rest, start)
    # A single one is the first stream's last, where its header does not count itself.
    if frame is None or _mp3_frame(rest, start + frame[0]) is None:
        return None
    return "several MP3 streams one after another (the decoder would read the first alone)"


def _id3_bytes(head: bytes) -> int:
    """Length of the tag; its size stands in four bytes of seven bits each."""
    return 10 + sum((byte & 0x7F) << 7 * (3 - index) for index, byte in enumerate(head[6:10]))


def _check_headerless_mp3(data: bytes) -> ContainerCheck:
    """Walk over the frames of an MP3 stream that does not declare its length."""
    position = frames = 0
    kbits = set()
    while frame := _mp3_frame(data, position):
        frame_bytes, frame_samples = frame
        kbits.add(data[position + 2] >> 4)
        position += frame_bytes
        frames += frame_samples
    if position > len(data):
        return ContainerCheck(fault="an MP3 stream whose last frame is incomplete")
    rest = data[position:]
    if rest.strip(b"\0") and not rest.startswith(_MP3_TRAILING_TAGS):
        return ContainerCheck(fault=f"an MP3 stream that breaks off at byte {position}")
    if len(kbits) > 1:
        return ContainerCheck(
            fault="an MP3 stream of variable bit rate without a header that gives its length "
            "(the decoder would stop early)"
        )
    return ContainerCheck(fault=_next_mp3_fault(rest), frames=frames)


def _mp3_frame(data: bytes, start: int) -> tuple[int, int] | None:
    """Bytes and samples of the layer III frame at `start`; None where there is none."""
    if start + 4 > len(data):
        return None
    header = int.from_bytes(data[start : start + 4], "big")
    version, layer = header >> 19 & 3, header >> 17 & 3
    kbits_index, rate_index, padding = header >> 12 & 15, header >> 10 & 3, header >> 9 & 1
    if header >> 21 != 0x7FF or layer != 1 or version not in _MP3_KBITS:
        return None
    if not 1 <= kbits_index <= 14 or rate_index == 3:
        return None
    samples = 1152 if version == _MP3_MPEG_1 else 576
    bits = _MP3_KBITS[version][kbits_index - 1] * 1000 * samples
    return bits // (8 * _MP3_RATES_HZ[version][rate_index]) + padding, samples
