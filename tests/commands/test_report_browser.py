"""The page in a real browser."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from browser import fetched, forget, needed, show, started, wait, webdriver
from report_runs import ODD, odd_names  # noqa: F401

pytestmark = needed


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with started(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture
def site(browser, page) -> Iterator[Any]:
    """The page, newly opened; at the end nothing may have been complained of, and nothing fetched from elsewhere."""
    show(browser, 1280, 900)
    forget(browser)
    browser.get(page.as_uri())
    wait(lambda: browser.execute_script("return document.querySelectorAll('#gains .main-svg').length > 0"))
    yield browser
    assert browser.get_log("browser") == []
    requests = fetched(browser)
    assert page.as_uri() in requests
    outside = {url[:80] for url in requests if not url.startswith((page.as_uri(), "data:", "blob:"))}
    assert outside == set()


def press(browser, *keys: str) -> None:
    webdriver.ActionChains(browser).send_keys(*keys).perform()


def column(browser, table: str, title: str) -> tuple[list[str], str]:
    """The values of a column from top to bottom, and its aria-sort."""
    return tuple(
        browser.execute_script(
            """const table = document.getElementById(arguments[0]);
            const heads = [...table.tHead.rows[0].cells];
            const index = heads.findIndex((head) => head.textContent.trim() === arguments[1]);
            return [[...table.tBodies[0].rows].map((row) => row.cells[index].dataset.value),
                    heads[index].getAttribute("aria-sort")];""",
            table,
            title,
        )
    )


def head(browser, table: str, title: str) -> Any:
    buttons = browser.find_elements("css selector", f"#{table} thead button")
    return next(button for button in buttons if button.text.strip(" ▲▼") == title)


def choose(browser, name: str, text: str) -> None:
    """Choose an entry of a list as a user does: by its text."""
    select = browser.find_element("id", name)
    next(option for option in select.find_elements("tag name", "option") if option.text == text).click()


def visible(browser) -> list[str]:
    """Names of the pictures that are shown, in order."""
    cards = browser.find_elements("css selector", ".card")
    return [card.find_element("css selector", ".name").text for card in cards if card.is_displayed()]


def shown_pictures(browser) -> dict[str, Any]:
    return json.loads(browser.execute_script("return document.getElementById('data').textContent"))["gallery"]


def test_opens_without_complaint(site) -> None:
    assert site.title == "A <i>title</i> & more"
    assert site.execute_script("return Plotly.version")
    assert len(site.find_elements("css selector", ".plot .main-svg")) >= 2
    cells = [cell.text for cell in site.find_elements("css selector", "#classes tbody th")]
    assert ODD in cells
    ticks = site.execute_script("return [...document.querySelectorAll('#gains .ytick text')].map((t) => t.textContent)")
    assert ODD.replace("%{", "% {") in ticks


def test_policy_stops_what_is_not_the_pages_own(browser, page) -> None:
    browser.get(page.as_uri())
    browser.get_log("browser")
    browser.execute_script("const i = new Image(); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i);")
    wait(lambda: any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser")))


def test_sorts_by_click_and_by_keyboard(site) -> None:
    before, state = column(site, "runs", "mIoU %")
    assert state == "none"
    head(site, "runs", "mIoU %").click()
    values, state = column(site, "runs", "mIoU %")
    assert (values, state) == (sorted(before, key=float, reverse=True), "descending")
    head(site, "runs", "mIoU %").click()
    values, state = column(site, "runs", "mIoU %")
    assert (values, state) == (sorted(before, key=float), "ascending")

    site.execute_script("arguments[0].focus()", head(site, "runs", "mIoU %"))
    press(site, "\ue004")  # tab: to the next heading
    assert site.switch_to.active_element.text == "mAcc %"
    press(site, " ")
    values, state = column(site, "runs", "mAcc %")
    assert (values, state) == (sorted(values, key=float, reverse=True), "descending")
    assert column(site, "runs", "mIoU %")[1] == "none"
    press(site, "\ue007")  # enter
    assert column(site, "runs", "mAcc %")[1] == "ascending"


def test_empty_cells_stay_last(site) -> None:
    for _ in range(2):
        head(site, "groups", "Δ mIoU").click()
        values, _ = column(site, "groups", "Δ mIoU")
        assert values[:2] != ["", ""]
        assert values[-2:] == ["", ""]
    head(site, "groups", "method").click()
    assert column(site, "groups", "method") == (sorted(column(site, "groups", "method")[0]), "ascending")


def cut(site, wipe) -> tuple[str, str]:
    """Where the left mask ends and the right one begins, as the browser clips them."""
    return tuple(
        site.execute_script(
            """const stage = arguments[0].parentElement;
            const clip = (side) => getComputedStyle(stage.querySelector(`.mask${side}`)).clipPath;
            return [clip(".left"), clip(".right")];""",
            wipe,
        )
    )


def test_slider_moves_by_pointer_and_by_keyboard(site) -> None:
    wipe = site.find_element("css selector", ".card .wipe")
    site.execute_script("arguments[0].scrollIntoView({block: 'center'})", wipe)
    assert cut(site, wipe) == ("inset(0px 50% 0px 0px)", "inset(0px 0px 0px 50%)")
    wide = wipe.size["width"]
    drag = webdriver.ActionChains(site).move_to_element(wipe).click_and_hold()
    drag.move_by_offset(wide // 4, 0).release().perform()
    place = int(wipe.get_attribute("value"))
    assert 70 <= place <= 80
    assert cut(site, wipe) == (f"inset(0px {100 - place}% 0px 0px)", f"inset(0px 0px 0px {place}%)")
    press(site, "\ue012", "\ue012")  # arrow left, twice
    assert cut(site, wipe)[1] == f"inset(0px 0px 0px {place - 2}%)"
    press(site, "\ue011")  # home
    assert cut(site, wipe)[1] == "inset(0px)" or cut(site, wipe)[1] == "inset(0px 0px 0px 0%)"
    assert "how much of" in wipe.get_attribute("aria-label")


def test_pictures_by_class_by_name_and_by_quality(site) -> None:
    found = shown_pictures(site)
    pictures, names = found["pictures"], [picture["name"] for picture in found["pictures"]]
    labels = [layer["label"] for layer in found["layers"]]
    assert sorted(visible(site)) == sorted(names)
    choose(site, "left", "cwd")
    layer = labels.index("cwd")
    worst = sorted(pictures, key=lambda picture: picture["miou"][layer])
    assert visible(site) == [picture["name"] for picture in worst]
    choose(site, "order", "best on the left first")
    assert visible(site)[0] == worst[-1]["name"]
    first = site.find_element("css selector", ".card .score.left").text
    assert first == f"cwd: mIoU {worst[-1]['miou'][layer]:.1f} %"

    classes = site.find_elements("css selector", "#class option")
    rare = min(range(len(classes) - 1), key=lambda index: sum(index in p["classes"] for p in pictures))
    choose(site, "class", classes[rare + 1].text)
    expected = {picture["name"] for picture in pictures if rare in picture["classes"]}
    assert set(visible(site)) == expected
    assert site.find_element("id", "shown").text == f"{len(expected)} of {len(pictures)} images"
    choose(site, "class", "all classes")
    site.find_element("id", "name").send_keys(names[2])
    assert names[2] in visible(site)
    assert len(visible(site)) < len(names)


def test_masks_follow_the_choice(site) -> None:
    found = shown_pictures(site)
    labels = [layer["label"] for layer in found["layers"]]
    choose(site, "right", "truth")
    card = site.find_element("css selector", ".card")
    shown = next(p for p in found["pictures"] if p["name"] == card.find_element("css selector", ".name").text)
    mask = card.find_element("css selector", ".mask.right")
    assert mask.get_attribute("src") == shown["masks"][labels.index("truth")]
    assert mask.get_attribute("alt").startswith("Mask of truth")
    assert site.execute_script("return [...document.images].every((i) => i.complete && i.naturalWidth > 0 && i.alt)")


def test_curves_of_another_term(site) -> None:
    visible = "return document.getElementById('curves').data.filter((t) => t.visible).map((t) => t.meta)"
    assert set(site.execute_script(visible)) == {"val/mIoU"}
    choose(site, "logged", "loss/cwd")
    assert site.execute_script(visible) == ["loss/cwd"] * 2  # two seeds


def test_dark_and_light(site) -> None:
    paper = """return [getComputedStyle(document.body).backgroundColor,
                       document.getElementById('gains').layout.paper_bgcolor]"""
    light = site.execute_script(paper)
    button = site.find_element("id", "theme")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    dark = site.execute_script(paper)
    assert all(before != after for before, after in zip(light, dark, strict=True))
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert site.execute_script(paper) == light


def test_follows_the_system(browser, page) -> None:
    show(browser, 1280, 900, "dark")
    browser.get(page.as_uri())
    colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert colour == "rgb(18, 22, 28)"
    assert browser.find_element("id", "theme").get_attribute("aria-pressed") == "true"
    show(browser, 1280, 900, "light")
    wait(lambda: browser.find_element("id", "theme").get_attribute("aria-pressed") == "false")


def test_phone(site, page) -> None:
    show(site, 390, 844)
    site.get(page.as_uri())
    for details in site.find_elements("css selector", "details"):
        details.find_element("tag name", "summary").click()
    site.execute_script("scrollTo(0, document.body.scrollHeight)")
    assert site.execute_script("return document.documentElement.scrollWidth") == 390
    small = site.execute_script(
        """return [...document.querySelectorAll('button, select, input:not([type=range])')]
               .filter((e) => e.offsetHeight && e.offsetHeight < 24).map((e) => e.outerHTML)"""
    )
    assert small == []


def test_link_to_a_run_opens_its_command(site) -> None:
    site.find_element("link text", "cwd-seed1").click()
    details = site.find_element("id", "run-cwd-seed1")
    wait(lambda: details.get_attribute("open") is not None)
    command = details.find_element("css selector", ".command").text
    assert command.startswith("fakd distill ")
    assert "--seed 1" in command
    details.find_element("css selector", ".copy").click()
    assert details.find_element("css selector", ".copy").text.startswith(("Copied", "Selected"))
