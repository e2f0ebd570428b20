"""The page's audio in a real browser; see the fixtures for what is in the file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

OpenPage = Callable[..., None]

HYPOTHESES = {"u1": "", "u10": "A DOG RAN", "u2": "YES", "u3": "ALL GOOD HERE"}


def play(browser: Chrome, name: str) -> None:
    opener = next(
        item for item in browser.find_elements(By.CSS_SELECTOR, ".opener") if item.text == name
    )
    opener.click()
    assert browser.find_elements(By.TAG_NAME, "audio") == []
    browser.find_element(By.CSS_SELECTOR, ".play").click()


def wait_for(browser: Chrome, script: str) -> Any:  # noqa: ANN401 - what JavaScript gives
    """What the script gives for `audio`, the player, once it is neither null, false nor 0."""
    whole = f"const audio = document.querySelector('audio'); return {script}"
    return WebDriverWait(browser, 20).until(lambda _: browser.execute_script(whole))


def test_the_audio_plays_its_stretch_of_the_file(
    browser: Chrome, open_page: OpenPage, tmp_path: Path
) -> None:
    open_page(HYPOTHESES)
    play(browser, "u10")
    assert wait_for(browser, "audio.duration") == pytest.approx(4.0)
    source = wait_for(browser, "audio.currentSrc")
    assert source == f"{(tmp_path / 'all of it.wav').as_uri()}#t=1,2"
    stopped_seconds = wait_for(browser, "audio.paused && audio.currentTime")
    # Browsers look at the time four times a second.
    assert 1.9 <= stopped_seconds <= 2.6
    wait_for(browser, "(audio.play(), true)")
    assert wait_for(browser, "audio.currentTime >= 1 && audio.currentTime < 1.9")


def test_embedded_audio_plays_without_a_file(browser: Chrome, open_page: OpenPage) -> None:
    open_page(HYPOTHESES, embed_audio=True)
    play(browser, "u2")
    assert wait_for(browser, "audio.duration") == pytest.approx(0.5, abs=0.02)
    assert wait_for(browser, "audio.currentSrc").startswith("data:audio/ogg;base64,")
    assert browser.get_log("browser") == []


def test_a_missing_audio_file_is_named(browser: Chrome, open_page: OpenPage) -> None:
    open_page(HYPOTHESES)
    play(browser, "u3")
    notice = WebDriverWait(browser, 20).until(
        lambda _: browser.find_elements(By.CSS_SELECTOR, ".audio .notice")
    )
    assert notice[0].text == "The audio cannot be played: ../none.wav, relative to this page."
