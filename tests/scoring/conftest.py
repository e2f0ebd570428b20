"""A real browser, and pages for it: Debian's chromium, which `tools/browser.sh` installs."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from asr.cli.score import score

_RATE_HZ = 16000
_REFERENCES = {
    "u1": "THE CAT SAT ON THE MAT",
    "u10": "A DOG RAN",
    "u2": "YES THE CAT",
    "u3": "ALL GOOD HERE",
}


@pytest.fixture(scope="session")
def _started() -> Iterator[Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("there is no chromium with its driver; tools/browser.sh installs them")
    options = ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with Chrome(options=options, service=Service(driver)) as browser:
        yield browser


@pytest.fixture
def browser(_started: Chrome) -> Chrome:
    """The browser with empty logs and a window 1280 wide."""
    metrics = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    _started.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    _started.get("about:blank")
    for kind in ("browser", "performance"):
        _started.get_log(kind)
    return _started


def _write_lines(path: Path, records: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def _write_page(
    folder: Path, *systems: dict[str, str], references: dict[str, str], embed_audio: bool
) -> Path:
    audio = folder / "all of it.wav"
    times = np.arange(4 * _RATE_HZ) / _RATE_HZ
    soundfile.write(audio, 0.1 * np.sin(2 * np.pi * 440 * times), _RATE_HZ)
    records: list[dict[str, object]] = [
        {
            "id": name,
            "audio_filepath": "none.wav" if name == "u3" and not embed_audio else audio.name,
            "offset": index % 4,
            "duration": 0.5 + index % 2 / 2,
            "text": text,
            "speaker": f"s{index % 2}",
        }
        for index, (name, text) in enumerate(references.items())
    ]
    ref = _write_lines(folder / "ref.jsonl", records)
    first, *others = [
        _write_lines(
            folder / f"system{number}.jsonl", [{"id": i, "text": t} for i, t in own.items()]
        )
        for number, own in enumerate(systems)
    ]
    page = folder / "pages" / "page.html"
    score(ref=ref, hyp=first, against=others, html=page, embed_audio=embed_audio)
    return page


@pytest.fixture
def open_page(browser: Chrome, tmp_path: Path) -> Callable[..., None]:
    """Open the page of some systems.

    The audio is four seconds of a tone in `all of it.wav`; each utterance starts a second after the
    one before it and lasts half a second or a second in turn. u3's file is missing, and so are all
    once the page holds the audio.
    """

    def open_(
        *systems: dict[str, str],
        references: dict[str, str] = _REFERENCES,
        embed_audio: bool = False,
    ) -> None:
        page = _write_page(tmp_path, *systems, references=references, embed_audio=embed_audio)
        if embed_audio:
            (tmp_path / "all of it.wav").unlink()
        browser.get(page.as_uri())

    return open_
