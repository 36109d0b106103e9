"""The page of `adl serve` in a real browser: by drag, by button, by keyboard; what it shows, says and saves."""

from __future__ import annotations

import base64
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from adl.files import write_json
from adl.predict.predictor import Predictor
from adl.predict.serve import uploads
from adl.workspace import SCORED, sidecar
from tests.browsing import OVERLAPS, events, requested, resize
from tests.data import CITYSCAPES
from tests.serving import animated, encoded, saved, served, serving_folder, smooth

pytestmark = pytest.mark.xdist_group("browser")
OPACITY = 0.55
"""At which the slider begins."""
DROP = """
const [content, name, done] = arguments;
const bytes = Uint8Array.from(atob(content), c => c.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], name));
const zone = document.getElementById('drop');
const seen = [];
for (const kind of ['dragenter', 'dragover', 'drop']) {
  const event = new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true});
  zone.dispatchEvent(event);
  seen.push([event.defaultPrevented, zone.classList.contains('over')]);
}
return seen;
"""
CONTRASTS = """
const luminance = (colour) => {
  const [r, g, b] = colour.match(/[0-9.]+/g).map(Number).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$/.test(colour)) return colour;
  }
  return getComputedStyle(document.documentElement).backgroundColor;
};
return [...document.querySelectorAll('body *')]
  .filter(e => e.id !== 'probe' && e.getClientRects().length
          && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
  .map(e => {
    const [a, b] = [luminance(getComputedStyle(e).color), luminance(behind(e))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.textContent.slice(0, 30)];
  });
"""


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    folder = serving_folder(tmp_path_factory.mktemp("serve"))
    model = Path(shutil.copy(models / "m.onnx", folder))
    about = json.loads(sidecar(models / "m.onnx").read_text())
    write_json(sidecar(model), about | {"data": {"digest": "d", "images": 480, "drawn": True}})
    write_json(folder / SCORED, {"digest": about["checkpoint_digest"], "mIOU": 53.2697, "images": 60})
    with served(model, "--longest-side", 256, cwd=folder) as running:
        yield running


@pytest.fixture(scope="module")
def predict(models):
    return Predictor.load(models / "m.onnx", device_target="CPU", flip=True)


class Page:
    """The page, as a person uses it."""

    def __init__(self, browser, folder) -> None:
        self.browser, self.folder = browser, folder

    def __getitem__(self, name):
        return self.browser.find_element(By.ID, name)

    def js(self, script: str, *arguments):
        return self.browser.execute_script(script, *arguments)

    def until(self, condition):
        return WebDriverWait(self.browser, 60, poll_frequency=0.02).until(lambda _: condition())

    def file(self, content: bytes, name: str = "photo.png") -> str:
        (self.folder / name).write_bytes(content)
        return str(self.folder / name)

    def choose(self, content: bytes, name: str = "photo.png") -> None:
        self["file"].send_keys(self.file(content, name))

    def done(self) -> None:
        self.until(lambda: self["error"].text or self["status"].text.startswith("Done"))
        assert self["error"].text == ""

    def canvas(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        url = self.js("return document.getElementById('picture').toDataURL()")
        content = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
        return cv2.imdecode(content, cv2.IMREAD_COLOR)[..., ::-1]

    def legend(self) -> list[list[str]]:
        rows = "[...document.getElementById('legend').rows]"
        return self.js(f"return {rows}.map(row => [...row.cells].map(cell => cell.innerText))")

    def point_at(self, x: int, y: int) -> None:
        """x, y: in pixels of the canvas."""
        place = self.js(
            "const c = document.getElementById('picture'); c.scrollIntoView();"
            "const b = c.getBoundingClientRect(), s = b.width / c.width;"
            "return [b.left + (arguments[0] + .5) * s, b.top + (arguments[1] + .5) * s]",
            x,
            y,
        )
        mouse = ActionChains(self.browser, duration=20).w3c_actions
        mouse.pointer_action.move_to_location(*map(round, place))
        mouse.perform()

    def press(self, *keys: str) -> None:
        ActionChains(self.browser, duration=20).send_keys(*keys).perform()

    def focused(self) -> str:
        return self.js("const e = document.activeElement; return e.id || e.textContent.trim() || e.tagName")


@pytest.fixture
def page(browser, server, tmp_path):
    resize(browser, 1400)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    requested(browser)
    browser.get_log("browser")
    browser.get(server.url)
    (tmp_path / "pictures").mkdir()
    page = Page(browser, tmp_path / "pictures")
    page.until(lambda: page["hint"].text)
    yield page
    # A refused picture is a line in the console, whatever a page does about it.
    refused = re.compile(r"/api/predict.* (41|42)\d |ERR_INTERNET_DISCONNECTED")
    assert [line for line in browser.get_log("browser") if not refused.search(line["message"])] == []
    assert {url[: len(server.url)] for url in requested(browser)} == {server.url}


def test_page_warns_of_a_model_that_learned_from_drawings(page):
    assert page["model"].text == "m.onnx, 19 classes of Cityscapes"
    assert page["trained"].text == (
        "Trained on drawn scenes: means nothing on photographs. Its checkpoint scored mIOU 53.27 % on 60 val images."
    )


def blend(picture: np.ndarray, labels: np.ndarray, opacity: float) -> np.ndarray:
    """picture: (H, W, 3) uint8 BGR. Returns RGB."""
    return (1 - opacity) * picture[..., ::-1] + opacity * CITYSCAPES.palette[labels]


def take_by_drag(page, picture):
    content = base64.b64encode(encoded(picture)).decode()
    assert page.js(DROP, content, "photo.png") == [[False, True], [True, True], [True, False]]


def take_by_button(page, picture):
    [label] = page.browser.find_elements(By.CSS_SELECTOR, "label[for=file]")
    assert label.is_displayed()
    open_chooser(page, picture, label.click)


def take_by_keyboard(page, picture):
    page.press(Keys.TAB)
    assert page.focused() == "file"
    open_chooser(page, picture, lambda: page.press(Keys.ENTER))


def open_chooser(page, picture, how) -> None:
    """Do what opens the system's dialog, and answer that with a picture."""
    command = page.browser.execute_cdp_cmd
    command("Page.setInterceptFileChooserDialog", {"enabled": True})
    how()
    opened = []

    def has_opened():
        opened.extend(e for e in events(page.browser) if e["method"] == "Page.fileChooserOpened")
        return opened

    page.until(has_opened)
    command("DOM.enable", {})
    node = opened[0]["params"]["backendNodeId"]
    path = page.file(encoded(picture))
    command("DOM.setFileInputFiles", {"files": [path], "backendNodeId": node})
    command("Page.setInterceptFileChooserDialog", {"enabled": False})


@pytest.mark.parametrize("take", [take_by_drag, take_by_button, take_by_keyboard])
def test_picture_is_taken_and_its_overlay_and_shares_are_shown(page, predict, take):
    picture = smooth(96, 160)
    labels = predict(picture)
    take(page, picture)
    page.done()
    shown = page.canvas()
    assert shown.shape == picture.shape
    assert np.abs(shown - blend(picture, labels, OPACITY)).mean() < 2
    legend = page.legend()
    ids, counts = np.unique(labels, return_counts=True)
    names = [CITYSCAPES.class_names[ids[i]] for i in np.argsort(-counts, kind="stable")]
    assert [name for name, _ in legend] == names
    assert len(names) > 1
    shares = [float(share.strip("< \N{NO-BREAK SPACE}%")) for _, share in legend]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.1 * len(shares))
    swatches = page.js(
        "return [...document.querySelectorAll('#legend .swatch')].map(e => getComputedStyle(e).backgroundColor)"
    )
    colours = [CITYSCAPES.classes[CITYSCAPES.class_names.index(name)].colour for name in names]
    assert swatches == [f"rgb({r}, {g}, {b})" for r, g, b in colours]
    facts = r"photo, 160 × 96 pixels\. The network took [\d.]+\sm?s\."
    assert re.fullmatch(facts, page["facts"].text)


def test_val_image_is_taken_from_the_list(page, predict, server):
    names = server.get("/api/images")
    choice = Select(page["sample"])
    assert [option.text for option in choice.options] == names
    choice.select_by_visible_text(names[1])
    page["sample"].send_keys(Keys.TAB)
    page.press(Keys.ENTER)
    page.done()
    file = server.ask("GET", f"/api/images/{names[1]}")[2]
    picture = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(page.canvas() - blend(picture, predict(picture), OPACITY)).mean() < 5


def test_tiff_that_no_browser_shows_is_shown(page, predict):
    picture = smooth(96, 160)
    page.choose(saved(Image.fromarray(picture[..., ::-1]), "TIFF"), "scan.tif")
    page.done()
    assert np.abs(page.canvas() - blend(picture, predict(picture), OPACITY)).mean() < 2


def test_slider_goes_from_the_photograph_to_the_palette(page, predict):
    picture = smooth(96, 160)
    page.choose(encoded(picture))
    page.done()
    page["opacity"].send_keys(Keys.HOME)
    assert page["percent"].text == "0 %"
    assert np.abs(page.canvas().astype(int) - picture[..., ::-1]).mean() < 2
    page["opacity"].send_keys(Keys.END)
    assert page["percent"].text == "100 %"
    np.testing.assert_array_equal(page.canvas(), CITYSCAPES.palette[predict(picture)])


def spots(labels: np.ndarray) -> list[tuple[int, int, str]]:
    """x, y and class of a pixel amid each class that has room for it."""
    found = []
    for train_id in np.unique(labels):
        inside = cv2.distanceTransform((labels == train_id).astype(np.uint8), cv2.DIST_L2, 3)
        y, x = np.unravel_index(inside.argmax(), inside.shape)
        if inside[y, x] > 2:
            found.append((int(x), int(y), CITYSCAPES.class_names[train_id]))
    assert len(found) > 1
    return found


def test_class_under_the_pointer_the_finger_and_the_arrow_keys_is_named(page, predict):
    picture = smooth(96, 160)
    labels = predict(picture)
    page.choose(encoded(picture))
    page.done()
    for x, y, name in spots(labels):
        page.point_at(x, y)
        assert page["probe"].text == name
        lit = page.browser.find_elements(By.CSS_SELECTOR, "#legend tr.lit button")
        assert [button.text for button in lit] == [name]
    page.point_at(0, 0)
    ActionChains(page.browser, duration=20).move_to_element(page["save-overlay"]).perform()
    assert not page["probe"].is_displayed()
    page.js("document.getElementById('picture').focus()")
    page.press(Keys.ARROW_RIGHT)
    step = round(160 / 50)
    at = CITYSCAPES.class_names[labels[48, 80 + step]]
    assert page["probe"].text == page["status"].text == at
    far = (Keys.ARROW_LEFT, Keys.ARROW_UP) * 6
    ActionChains(page.browser, duration=20).key_down(Keys.SHIFT).send_keys(far).key_up(Keys.SHIFT).perform()
    assert page["status"].text == CITYSCAPES.class_names[labels[0, 0]]
    x, y, name = spots(labels)[-1]
    resize(page.browser, 400)
    page.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        tap(page, x, y)
        assert page["probe"].text == name
    finally:
        page.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def tap(page, x: int, y: int) -> None:
    page.js("window.dispatchEvent(new Event('resize'))")
    left, top = page.js(
        "const c = document.getElementById('picture'); c.scrollIntoView();"
        "const b = c.getBoundingClientRect(), s = b.width / c.width;"
        "return [b.left + (arguments[0] + .5) * s, b.top + (arguments[1] + .5) * s]",
        x,
        y,
    )
    touch = "Input.dispatchTouchEvent"
    points = [{"x": left, "y": top}]
    page.browser.execute_cdp_cmd(touch, {"type": "touchStart", "touchPoints": points})
    page.browser.execute_cdp_cmd(touch, {"type": "touchEnd", "touchPoints": []})


def test_class_of_the_legend_stands_out_under_pointer_focus_and_click(page, predict):
    picture = smooth(96, 160)
    labels = predict(picture)
    page.choose(encoded(picture))
    page.done()
    page["opacity"].send_keys(Keys.END)
    plain = page.canvas()
    button = page.browser.find_elements(By.CSS_SELECTOR, "#legend button")[1]
    inside = labels == CITYSCAPES.class_names.index(button.text)

    def stands_out() -> bool:
        now = page.canvas()
        same = (now == plain).all(axis=2)
        return bool(same[inside].all() and not same[~inside].any())

    away = ActionChains(page.browser, duration=20).move_to_element(page["facts"])
    ActionChains(page.browser, duration=20).move_to_element(button).perform()
    assert stands_out()
    away.perform()
    np.testing.assert_array_equal(page.canvas(), plain)
    page["save-labels"].send_keys(Keys.TAB, Keys.TAB)
    page.js("document.activeElement.blur()")
    page.js("document.querySelectorAll('#legend button')[0].focus()")
    page.press(Keys.TAB)
    assert page.focused() == button.text
    assert stands_out()
    page.press(Keys.ENTER)
    assert button.get_attribute("aria-pressed") == "true"
    page.js("document.activeElement.blur()")
    assert stands_out()
    page["opacity"].send_keys("")
    button.click()
    away.perform()
    assert button.get_attribute("aria-pressed") == "false"
    np.testing.assert_array_equal(page.canvas(), plain)


def test_downloads_hold_the_label_map_and_the_overlay_as_it_is_seen(page, predict, tmp_path):
    picture = smooth(96, 160)
    labels = predict(picture)
    page.browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior",
        {"behavior": "allow", "downloadPath": str(tmp_path / "downloads")},
    )
    page.choose(encoded(picture), "my photo.v2.png")
    page.done()
    for button, name in (("save-labels", "labelIds"), ("save-overlay", "overlay")):
        page[button].click()
        path = tmp_path / f"downloads/my photo.v2_{name}.png"
        page.until(path.exists)
    saved_labels, overlay = (
        cv2.imread(str(tmp_path / f"downloads/my photo.v2_{name}.png"), cv2.IMREAD_UNCHANGED)
        for name in ("labelIds", "overlay")
    )
    np.testing.assert_array_equal(saved_labels, CITYSCAPES.label_ids[labels])
    np.testing.assert_array_equal(overlay[..., 2::-1], page.canvas())


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("text", "This file is not an image that can be read."),
        ("100 megapixels", "This file has 10000×10000 pixels; at most 50 million are taken."),
        ("truncated", "This file is damaged ("),
        ("animated", "This file is an animated GIF. Save one of its frames"),
        ("too many bytes", "The file is larger than 20 MB."),
    ],
)
def test_error_is_said_on_the_page_and_goes_with_the_next_picture(page, kind, sentence):
    noise = encoded(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8))
    contents = {
        "text": b"Hello, I am a text.\n",
        "truncated": noise[: len(noise) // 2],
        "animated": animated("GIF"),
        "too many bytes": noise + bytes(uploads.MOST_BYTES),
    }
    if kind == "100 megapixels":
        contents[kind] = saved(Image.new("1", (10_000, 10_000)), "PNG")
    page.choose(contents[kind])
    page.until(lambda: page["error"].text)
    assert page["error"].text.startswith(sentence)
    assert page["error"].get_attribute("role") == "alert"
    assert page["status"].text == ""
    assert not page["result"].is_displayed()
    page.choose(noise)
    page.done()


def test_what_is_dropped_and_no_file_is_refused_and_does_not_leave_the_page(page):
    page.js(
        "const data = new DataTransfer(); data.setData('text/plain', 'http://example.org');"
        "document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}))"
    )
    assert page["error"].text.startswith("That was not a file.")


def test_server_that_is_gone_is_said(page):
    offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    command = page.browser.execute_cdp_cmd
    command("Network.enable", {})
    command("Network.emulateNetworkConditions", offline | {"offline": True})
    try:
        page.choose(encoded(smooth(40, 40)))
        page.until(lambda: page["error"].text)
        assert page["error"].text.startswith("The server does not answer. Is it still running?")
    finally:
        command("Network.emulateNetworkConditions", offline | {"offline": False})


def test_who_waits_is_told_how_many_are_ahead_and_a_newer_picture_takes_the_place(page, server, predict):
    large = encoded(smooth(2000, 3000), ".jpg")
    with ThreadPoolExecutor(3) as pool:
        others = [pool.submit(server.predict, large) for _ in range(3)]
        page.until(lambda: server.get("/api/queue")["waiting"] == 2)
        page.choose(encoded(smooth(40, 40)))
        page.until(lambda: re.fullmatch("Waiting: [123] ahead of you", page["status"].text))
        assert page["status"].get_attribute("role") == "status"
        newer = smooth(50, 60, seed=1)
        page.choose(encoded(newer), "newer.png")
        page.done()
        assert [other.result()[0] for other in others] == [200] * 3
    assert "predict: 499 after" in "".join(server.log), "the older one left the queue"
    assert page["facts"].text.startswith("newer, 60 × 50 pixels.")
    assert np.abs(page.canvas() - blend(newer, predict(newer), OPACITY)).mean() < 3


def test_all_is_reached_by_tab_in_its_order_with_a_visible_focus(page):
    page.choose(encoded(smooth(96, 160)))
    page.done()
    names = [name for name, _ in page.legend()]
    page.js("document.activeElement.blur()")
    page.browser.execute_script("window.getSelection().removeAllRanges(); window.scrollTo(0, 0)")
    page.browser.find_element(By.TAG_NAME, "h1").click()
    reached = []
    for _ in range(7 + len(names)):
        page.press(Keys.TAB)
        reached.append(page.focused())
        assert page.js(
            "const e = document.activeElement, shown = e.id === 'file' ? e.nextElementSibling : e;"
            "return getComputedStyle(shown).outlineStyle"
        ) in ("solid", "auto")
    controls = ["file", "sample", "Segment it", "picture", "opacity", "save-overlay", "save-labels"]
    assert reached == [*controls, *names]
    unnamed = page.js(
        "return [...document.querySelectorAll('input, select, button, canvas')]"
        ".filter(e => !(e.labels?.length || e.textContent.trim() || e.ariaLabel)).map(e => e.id)"
    )
    assert unnamed == []


@pytest.mark.parametrize("width", [1400, 400])
def test_page_fits_and_nothing_overlaps(page, width):
    resize(page.browser, width)

    def check():
        assert page.js("return document.documentElement.scrollWidth") <= width
        assert page.js(OVERLAPS) == []

    check()
    page.choose(b"text", "a text whose name is long enough for a line of its own on a phone.txt")
    page.until(lambda: page["error"].text)
    check()
    page.choose(encoded(smooth(96, 160)), f"{'long' * 30}.png")
    page.done()
    check()
    tall = smooth(400, 100)
    page.choose(encoded(tall), "tall.png")
    page.until(lambda: page["facts"].text.startswith("tall, "))
    check()
    assert page.js("return document.getElementById('picture').clientHeight") <= 900


def test_dark_mode_is_dark_and_both_are_readable(page):
    backgrounds = {}
    for scheme in ("light", "dark"):
        page.browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )
        page.browser.refresh()
        page.until(lambda: page["hint"].text)
        page.choose(encoded(smooth(96, 160)))
        page.done()
        page.choose(b"text")
        page.until(lambda: page["error"].text)
        contrasts = page.js(CONTRASTS)
        assert len(contrasts) > 15
        assert [found for found in contrasts if found[0] < 4.5] == []
        colour = page.js("return getComputedStyle(document.body).backgroundColor")
        backgrounds[scheme] = sum(map(int, re.findall(r"\d+", colour)[:3]))
    assert backgrounds["dark"] < 150 < 600 < backgrounds["light"]
