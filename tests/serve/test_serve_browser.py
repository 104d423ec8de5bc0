"""The page in a real browser."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import fetched, forget, needed, show, started, wait, webdriver
from PIL import Image
from tiny import SMALL

from fakd.commands.serve import ServeConfig, served
from fakd.models import create_model, save_model

pytest.importorskip("gradio", reason="gradio is not installed")
pytestmark = needed


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn scenes, and files that are refused."""
    folder = tmp_path_factory.mktemp("images")
    scenes = SMALL.open(None, "val")
    for index in range(3):
        (folder / "good").mkdir(exist_ok=True)
        Image.fromarray(scenes[index].image.permute(1, 2, 0).numpy()).save(folder / f"good/{index}.png")
    (folder / "broken.png").write_bytes(b"<b>no image</b>")
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "heavy.png")
    Image.new("RGB", (300, 300)).save(folder / "wide.png")
    return folder


@pytest.fixture(scope="module")
def address(teacher_run: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    other = tmp_path_factory.mktemp("other") / "net.safetensors"
    save_model(create_model("pspnet/test_resnet", num_classes=12, channels=8), other)
    limits = {"max_megabytes": 0.1, "max_megapixels": 0.05}
    config = ServeConfig(str(teacher_run), teacher=str(other), images=images / "good", device="cpu", **limits)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, "127.0.0.1")
        with served(config) as url:
            yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with started(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture
def site(browser, address) -> Iterator[Any]:
    """The page with its first sample; at the end nothing may have failed, and nothing come from elsewhere."""
    show(browser, 1280, 900)
    forget(browser)
    browser.get(address)
    wait(lambda: complete(browser), 60)
    yield browser
    # gradio asks how far an upload is, which may be over before it is known
    known = ("upload_progress", " Response")
    logged = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert [message for message in logged if not any(word in message for word in known)] == []
    requests = fetched(browser)
    assert address in requests
    assert {url[:80] for url in requests if not url.startswith((address, "data:", "blob:"))} == set()


def complete(browser) -> bool:
    """Whether everything is there: legend, map and both sides of the slider."""
    return browser.execute_script(
        """const loaded = (selector) => [...document.querySelectorAll(selector)].filter((i) => i.naturalWidth).length;
        return document.querySelectorAll('#legend tbody tr').length && loaded('#slider .content img') == 2
            && loaded('#differences img') == 1;"""
    )


def text(browser, name: str) -> str:
    return browser.execute_script("return document.getElementById(arguments[0]).innerText", name)


def sources(browser) -> list[str]:
    images = browser.find_elements("css selector", "#slider .content img")
    return [image.get_attribute("src") for image in images]


def send(browser, path: Path) -> None:
    browser.find_element("css selector", "#upload input[type=file]").send_keys(str(path))


def test_opens_with_the_first_sample(site) -> None:
    assert site.title == "fakd"
    words = text(site, "figures")
    assert len(re.findall(r"\d+\.\d ms", words)) == 2
    assert re.search(r"\d+\.\d %\s+of the pixels have the same class", words)
    rows = site.find_elements("css selector", "#legend tbody tr")
    shares = [[float(share) for share in re.findall(r"(\d+\.\d) %", row.text)] for row in rows]
    assert [sum(column) for column in zip(*shares, strict=True)] == pytest.approx([100, 100], abs=1)
    assert rows[0].text.startswith(tuple(SMALL.classes))


def test_upload(site, images) -> None:
    before = sources(site)
    for _ in range(2):  # the place to drop files is there for the next one
        send(site, images / "good/2.png")
        wait(lambda: "2.png" in text(site, "figures") and complete(site), 60)
        assert sources(site) != before
        site.find_elements("css selector", "#samples button")[1].click()
        wait(lambda: "2.png" not in text(site, "figures") and complete(site), 60)


def test_slider_moves(site) -> None:
    cut = "return document.querySelectorAll('#slider .content img')[1].style.clipPath"
    wait(lambda: site.execute_script(cut) == "inset(0px 0px 0px 50%)")
    handle = site.find_element("css selector", "#slider [data-testid=slider]")
    webdriver.ActionChains(site).move_to_element(handle).click_and_hold().move_by_offset(150, 0).release().perform()
    found = re.fullmatch(r"inset\(0px 0px 0px ([\d.]+)%\)", site.execute_script(cut))
    assert found is not None
    assert 60 < float(found[1]) < 90


def test_opacity_draws_the_slider_again(site) -> None:
    before = sources(site)
    number = site.find_element("css selector", "#opacity input[type=number]")
    number.clear()
    number.send_keys("1\t")
    wait(lambda: complete(site) and set(sources(site)).isdisjoint(before), 30)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken.png", "broken.png: not readable as image (cannot identify image file)"),
        ("wide.png", "wide.png: 300 x 300 are 90,000 pixels, expected 50,000 at most."),
    ],
)
def test_bad_files_give_a_message_and_nothing_stops(site, images, name, message) -> None:
    send(site, images / name)
    wait(lambda: message in text(site, "message"), 30)
    assert text(site, "legend").strip() == ""
    assert sources(site) == []
    assert "Traceback" not in site.page_source
    send(site, images / "good/1.png")
    wait(lambda: "1.png" in text(site, "figures") and complete(site), 60)
    assert text(site, "message").strip() == ""


def test_files_that_are_not_even_sent(site, images) -> None:
    send(site, images / "heavy.png")
    wait(lambda: "exceed the maximum allowed size" in site.find_element("css selector", "body").text)
    (images / "notes.txt").write_text("no image")
    send(site, images / "notes.txt")
    wait(lambda: "Invalid file type: notes.txt" in site.find_element("css selector", "body").text)


def test_phone_and_dark(site, address) -> None:
    show(site, 390, 844, "dark")
    site.get(address)
    wait(lambda: complete(site), 60)
    assert site.execute_script("return document.documentElement.scrollWidth") == 390
    dark = site.execute_script("return getComputedStyle(document.querySelector('#figures .value')).color")
    show(site, 390, 844, "light")
    site.get(address)
    wait(lambda: complete(site), 60)
    light = site.execute_script("return getComputedStyle(document.querySelector('#figures .value')).color")
    assert [sum(map(int, re.findall(r"\d+", colour)[:3])) > 380 for colour in (dark, light)] == [True, False]
