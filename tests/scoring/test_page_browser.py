"""The page in a real browser: Debian's chromium, which `tools/browser.sh` installs."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

OpenPage = Callable[..., None]

ATTACK = "</script><img src=x onerror=alert(1)>"
FIRST = {"u1": "THE BAT SAT THE MAT NOW", "u10": ATTACK, "u2": "YES THE BAT", "u3": "ALL GOOD HERE"}
SECOND = {**FIRST, "u1": "OH THE CAT SAT ON THE MAT", "u2": "YES THE BAT"}
THIRD = {**SECOND, "u1": "", "u10": "A DOG RAN", "u2": "YES THE CAT"}
# Word errors of FIRST by hand: 3, 3 (whatever the attack becomes, it is no dog that ran), 1, 0.


def resize(browser: Chrome, width: int) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def run(browser: Chrome, script: str) -> Any:  # noqa: ANN401 - what JavaScript gives
    return browser.execute_script(script)


def find(browser: Chrome, selector: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, selector)


def texts(browser: Chrome, selector: str) -> list[str]:
    return [item.text for item in browser.find_elements(By.CSS_SELECTOR, selector)]


def focused(browser: Chrome) -> WebElement:
    return browser.switch_to.active_element


def press(browser: Chrome, *keys: str) -> None:
    for key in keys:
        focused(browser).send_keys(key)


def rows(browser: Chrome) -> list[str]:
    return texts(browser, ".opener")


def test_the_page_loads_without_errors_and_without_the_network(
    browser: Chrome, open_page: OpenPage
) -> None:
    open_page(FIRST, SECOND)
    assert rows(browser) == ["u1", "u10", "u2", "u3"]
    find(browser, ".opener").click()
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in requests if not url.startswith("data:")] == [browser.current_url]
    assert len(browser.find_elements(By.CSS_SELECTOR, "figure svg > title")) == 3


def test_rows_are_sorted_by_clicking_and_by_the_keyboard(
    browser: Chrome, open_page: OpenPage
) -> None:
    open_page(FIRST)
    headers = browser.find_elements(By.CSS_SELECTOR, "#head th")
    assert [header.text for header in headers][:2] == ["Utterance", "Speaker"]
    assert headers[4].get_attribute("aria-sort") == "descending"
    headers[0].find_element(By.TAG_NAME, "button").click()
    # By number, so that u10 comes last.
    assert rows(browser) == ["u1", "u2", "u3", "u10"]
    assert headers[0].get_attribute("aria-sort") == "ascending"
    assert headers[4].get_attribute("aria-sort") is None
    press(browser, Keys.TAB, Keys.TAB, Keys.TAB, Keys.TAB, Keys.ENTER)
    assert headers[4].get_attribute("aria-sort") == "descending"
    assert rows(browser) == ["u1", "u10", "u2", "u3"]
    press(browser, Keys.SPACE)
    assert headers[4].get_attribute("aria-sort") == "ascending"
    assert rows(browser) == ["u3", "u2", "u1", "u10"]
    headers[5].find_element(By.TAG_NAME, "button").click()
    # WER: u10 is wrong in every word, u1 in 3 of 6.
    assert rows(browser) == ["u10", "u1", "u2", "u3"]
    assert texts(browser, "#rows td[data-name=WER]") == ["100.0", "50.0", "33.3", "0.0"]


def test_filters(browser: Chrome, open_page: OpenPage) -> None:
    open_page(FIRST)
    press(browser, "/")
    search = find(browser, "#search")
    assert focused(browser) == search
    search.send_keys("bat")
    assert rows(browser) == ["u1", "u2"]
    assert find(browser, "#count").text == "2 of 4 utterances"
    search.send_keys("/")
    assert rows(browser) == []
    search.clear()
    search.send_keys("u10")
    assert rows(browser) == ["u10"]
    search.clear()
    search.send_keys(Keys.TAB)
    Select(find(browser, "#speaker")).select_by_visible_text("s1")
    assert rows(browser) == ["u10", "u3"]
    find(browser, "#only-errors").click()
    assert rows(browser) == ["u10"]


def test_a_confusion_leaves_the_utterances_that_have_it(
    browser: Chrome, open_page: OpenPage
) -> None:
    open_page(FIRST)
    most = find(browser, "#confusions button")
    assert most.text.split("\n") == ["CAT → BAT", "2"]
    most.click()
    assert most.get_attribute("aria-pressed") == "true"
    assert rows(browser) == ["u1", "u2"]
    assert focused(browser).text == "✕ CAT recognised as BAT"
    press(browser, Keys.ENTER)
    assert not find(browser, "#clear-confusion").is_displayed()
    assert focused(browser) == most
    assert most.get_attribute("aria-pressed") == "false"
    assert len(rows(browser)) == 4
    insertions = browser.find_elements(By.CSS_SELECTOR, "#confusions ul")[2]
    insertions.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert rows(browser) == ["u1"]


def test_a_row_opened_by_keys_shows_the_alignment(browser: Chrome, open_page: OpenPage) -> None:
    open_page(FIRST)
    find(browser, ".opener").send_keys(Keys.ENTER)
    columns = [item.split("\n") for item in texts(browser, ".column")]
    assert columns == [
        ["REF", "HYP"],
        ["THE", "THE"],
        ["CAT", "BATS"],
        ["SAT", "SAT"],
        ["ON", "\u2013D"],
        ["THE", "THE"],
        ["MAT", "MAT"],
        ["·", "NOWI"],
    ]
    assert find(browser, ".details .quiet").text == "S 1, D 1, I 1, WER 50.0 %"
    heard = find(browser, ".heard").get_attribute("textContent")
    assert heard is not None
    assert heard.endswith("CAT recognised as BAT, ON left out, NOW inserted.")
    press(browser, Keys.SPACE)
    assert texts(browser, ".details") == []
    press(browser, Keys.ARROW_DOWN)
    assert focused(browser).text == "u10"
    press(browser, Keys.END)
    assert focused(browser).text == "u3"
    press(browser, Keys.ARROW_DOWN, Keys.ARROW_UP)
    assert focused(browser).text == "u2"
    press(browser, Keys.HOME)
    assert focused(browser).text == "u1"
    assert len(browser.find_elements(By.CSS_SELECTOR, '.opener[tabindex="0"]')) == 1


def test_markup_in_a_hypothesis_is_shown_as_text(browser: Chrome, open_page: OpenPage) -> None:
    open_page(FIRST)
    browser.find_elements(By.CSS_SELECTOR, ".opener")[1].click()
    assert find(browser, ".written").text == f"Hypothesis as written: {ATTACK}"
    assert browser.find_elements(By.TAG_NAME, "img") == []


def test_three_systems_stand_under_each_other(browser: Chrome, open_page: OpenPage) -> None:
    open_page(FIRST, SECOND, THIRD)
    assert texts(browser, "#head th")[4:] == [
        "A errors",
        "A WER",
        "B errors",
        "A \u2212 B",
        "C errors",
        "A \u2212 C",
    ]
    # u1: A has 3 errors, B one insertion, C six deletions.
    assert texts(browser, "tr[data-index='0'] td")[3:] == ["3", "50.0", "1", "+2", "6", "\u22123"]
    find(browser, "#only-different").click()
    assert rows(browser) == ["u1", "u10", "u2"]
    find(browser, ".opener").click()
    columns = [item.split("\n") for item in texts(browser, ".column")]
    assert columns[:4] == [
        ["REF", "A", "B", "C"],
        ["·", "·", "OHI", "·"],
        ["THE", "THE", "THE", "\u2013D"],
        ["CAT", "BATS", "CAT", "\u2013D"],
    ]
    assert columns[-1] == ["·", "NOWI", "·", "·"]
    find(browser, "#all-systems").click()
    assert texts(browser, ".column")[0].split("\n") == ["REF", "HYP"]
    Select(find(browser, "#confusions-system")).select_by_value("2")
    assert texts(browser, "#confusions p.quiet") == ["none", "none"]


def test_plots_give_their_numbers_to_keys_and_pointer(browser: Chrome, open_page: OpenPage) -> None:
    open_page(FIRST)
    items = browser.find_elements(By.CSS_SELECTOR, "#speakers-plot .item")
    run(browser, "document.querySelector('#speakers-plot .item').focus()")
    tip = find(browser, "#tip")
    # s0 has 4 errors in 9 words, s1 3 in 6.
    assert tip.text.split("\n")[:2] == ["Speaker s1", "2 utterances, 6 words"]
    press(browser, Keys.ARROW_DOWN)
    assert focused(browser) == items[1]
    assert tip.text.split("\n")[0] == "Speaker s0"
    assert "WER 44.4 %" in tip.text
    assert items[1].get_attribute("aria-label") == "; ".join(tip.text.split("\n"))
    run(browser, "document.activeElement.blur()")
    assert not tip.is_displayed()


@pytest.mark.parametrize("systems", [(FIRST,), (FIRST, SECOND, THIRD)])
def test_a_phone_needs_no_sideways_scrolling(
    browser: Chrome, open_page: OpenPage, systems: tuple[dict[str, str], ...]
) -> None:
    resize(browser, 360)
    open_page(*systems)
    find(browser, "#open-all").click()
    assert len(texts(browser, ".details")) == 4
    assert run(browser, "return document.documentElement.scrollWidth") <= 360
    assert run(browser, "return document.querySelector('figure svg').clientWidth") <= 360


@pytest.mark.slow
def test_three_thousand_utterances_are_made_as_they_are_looked_at(
    browser: Chrome, open_page: OpenPage
) -> None:
    references = {f"u{index}": f"WORD NUMBER{index} HERE" for index in range(3000)}
    hypotheses = {
        name: "WORD HERE" if name == "u1234" else text for name, text in references.items()
    }
    open_page(hypotheses, references=references)
    assert find(browser, "#count").text == "3,000 of 3,000 utterances"
    assert len(rows(browser)) < 300
    assert rows(browser)[0] == "u1234"
    header = find(browser, "#head button")
    header.click()
    header.click()
    assert rows(browser)[:2] == ["u2999", "u2998"]
    before = len(rows(browser))
    run(browser, "scrollTo(0, document.documentElement.scrollHeight)")
    WebDriverWait(browser, 20).until(lambda _: len(rows(browser)) > before)
    find(browser, "#search").send_keys("number777 ")
    assert rows(browser) == ["u777"]
