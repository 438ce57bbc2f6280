"""The screenshots of docs/studio.md: a server of the models that come with the package, and Chromium.

python docs/studio.py                           # starts `likewise serve` in an empty folder, draws, edits, trains
python docs/studio.py studio_train --minutes 5  # one of them, with a longer training
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
PROMPTS = (
    ("red heart", "noto"),
    ("dog face", "twemoji"),
    ("green apple", "noto"),
    ("cat face", "noto"),
    ("strawberry", "noto"),
    ("grinning face", "twemoji"),
    ("red apple", "twemoji"),
)
SEED = 7
SMALL = {"width": "96", "depth": "2", "batch": "32"}  # options of a training that is quick
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 780}
PATIENCE = 300_000  # ms


def main() -> None:
    """Write the pictures beside this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(PICTURES)}; all by default")
    parser.add_argument("--minutes", default="2", help="of the training")
    args = parser.parse_args()
    names = args.names or list(PICTURES)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        command = [sys.executable, "-m", "likewise", "serve", folder, "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            assert server.stdout is not None
            found = re.search(r"http://[\d.:]+", server.stdout.readline())
            assert found, "the server did not start"
            page = open_page(browser, found[0])
            if names != ["studio_train"]:
                fill_gallery(page)
            for name in names:
                PICTURES[name](browser, found[0], args.minutes).screenshot(path=HERE / f"{name}.png")
        finally:
            browser.close()
            server.terminate()
            server.wait()


def open_page(browser: Any, address: str, **options: Any) -> Page:
    """The studio in a context of its own."""
    page: Page = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options}).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    return page


def fill_gallery(page: Page) -> None:
    """Draw the prompts."""
    page.get_by_label("Seed", exact=True).fill(str(SEED))
    page.get_by_label("How many").fill("4")
    page.get_by_label("guidance", exact=True).fill("3")
    for text, style in PROMPTS:
        page.get_by_role("group", name="Given").get_by_label("text").fill(text)
        page.get_by_role("group", name="Given").get_by_label("style").select_option(style)
        page.keyboard.press("Control+Enter")
        page.wait_for_timeout(300)
        page.wait_for_selector("#queue:empty", state="attached")


def show_gallery(browser: Any, address: str, minutes: str) -> Page:
    """Form and gallery."""
    page = open_page(browser, address)
    page.get_by_role("group", name="Given").get_by_label("text").fill(PROMPTS[-1][0])
    page.get_by_role("group", name="Given").get_by_label("style").select_option(PROMPTS[-1][1])
    page.wait_for_timeout(3000)
    return page


def show_mask(browser: Any, address: str, minutes: str) -> Page:
    """A picture of the gallery in the editor, with a part that is marked."""
    page = open_page(browser, address, color_scheme="dark")
    page.locator(".tile").nth(13).click()
    page.get_by_role("dialog").get_by_role("button", name="Edit").click()
    page.get_by_text("0 of 1024 pixels").wait_for()
    page.get_by_role("dialog").wait_for(state="hidden")
    page.wait_for_timeout(500)
    box = page.locator("canvas").bounding_box()
    assert box is not None
    page.get_by_label("Brush size").fill("6")
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.62 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.68 * box["height"], steps=12)
    page.mouse.up()
    return page


def show_phone(browser: Any, address: str, minutes: str) -> Page:
    """The gallery on a phone."""
    page = open_page(browser, address, viewport=PHONE, is_mobile=True, has_touch=True, device_scale_factor=2)
    page.get_by_role("navigation").get_by_role("button", name="Gallery").tap()
    page.wait_for_timeout(3000)  # lazy pictures
    return page


def show_training(browser: Any, address: str, minutes: str) -> Page:
    """A training on the digits, near its end."""
    page = open_page(browser, address)
    page.get_by_role("button", name="Train").click()
    page.get_by_label("Bundled or uploaded").select_option("digits")
    page.get_by_role("button", name="image | label", exact=True).click()
    page.get_by_label("Family").select_option("flow")
    page.locator("#train summary", has_text="More options").click()
    for name, value in SMALL.items():
        page.get_by_label(name, exact=True).fill(value)
    page.locator("#train summary", has_text="More options").click()
    page.get_by_label("Minutes").fill(minutes)
    page.get_by_label("Name").fill("digits")
    page.locator("#train [type=submit]").click()
    page.get_by_role("img", name="Samples of the model so far").wait_for()
    page.locator("progress[value^='0.9']").or_(page.locator(".tag", has_text="ready")).first.wait_for()
    page.evaluate("scrollTo(0, 0)")
    return page


PICTURES: dict[str, Callable[[Any, str, str], Page]] = {
    "studio": show_gallery,
    "studio_edit": show_mask,
    "studio_phone": show_phone,
    "studio_train": show_training,
}

if __name__ == "__main__":
    main()
