"""The studio in a real browser: headless Chromium against a server on loopback."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from conftest import LiveServer, live, wait_for

import likewise.server
from likewise.modalities.document import Document
from likewise.models.model import Model
from likewise.server.settings import ServerSettings

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium; install it, as .ci/run does")

Page = Any
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
MODULES = sorted((Path(likewise.server.__file__).parent / "studio/js").glob("*.js"))
NPM = ("axe-core@4", "typescript@5")
VIEWS = ("create", "gallery", "train", "compare")
DROP = """([data, name]) => {
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, {type: "image/png"}));
    document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true}));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Studio:
    """The page in a browser, and the API behind it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address

    def open(self, view: str = "create") -> None:
        """Load the page anew."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.address}/#/{view}")
        self.page.wait_for_selector("body[data-ready]")

    def use(self, model: str) -> None:
        """Choose a model."""
        self.page.get_by_label("Model", exact=True).select_option(model)
        self.page.wait_for_selector(f"#form[data-model='{model}']")

    def mode(self, name: str) -> None:
        """Choose what to do."""
        self.page.get_by_role("group", name="What to do").get_by_role("button", name=name).click()

    def draw(self) -> dict[str, Any]:
        """Draw, wait for the end, and return the newest job."""
        before = {job["id"] for job in self.jobs()}
        self.page.keyboard.press("Control+Enter")
        return wait_for(
            lambda: next(
                (
                    j
                    for j in self.jobs()
                    if j["id"] not in before and j["status"] not in ("queued", "running")
                ),
                None,
            )
        )

    def get(self, path: str) -> bytes:
        """What the API answers."""
        with urllib.request.urlopen(self.address + path) as answer:
            return bytes(answer.read())

    def jobs(self) -> list[dict[str, Any]]:
        """The jobs, newest first."""
        data: list[dict[str, Any]] = json.loads(self.get("/v1/jobs?limit=100"))["data"]
        return data

    def pixels(self, path: str) -> np.ndarray:
        """The pixels of a picture."""
        return np.asarray(PIL.Image.open(io.BytesIO(self.get(path))))

    def tiles(self, job: dict[str, Any]) -> Any:
        """The pictures of a job in the gallery."""
        return self.page.locator(f".tile[data-job='{job['id']}']")


@pytest.fixture
def studio(browser: Any, live_server: LiveServer) -> Iterator[Studio]:
    """A page on a server; no request of it leaves the machine, and no error is left in its console."""
    with new_page(browser, live_server.address) as opened:
        yield opened


class new_page:
    """A page in a context of its own, which is checked at its end."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
        self.address, self.faults = address, list[str]()

    def __enter__(self) -> Studio:
        page = self.context.new_page()
        page.set_default_timeout(15_000)
        page.on("request", lambda request: self._check_request(request.url))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on(
            "console", lambda m: self.faults.append(m.text) if "Content Security Policy" in m.text else None
        )
        studio = Studio(page, self.address)
        studio.open()
        return studio

    def _check_request(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:", "about:")):
            self.faults.append(f"request to {url}")

    def __exit__(self, *exception: object) -> None:
        self.context.close()
        if self.faults and exception[0] is not None:
            print(self.faults)
        assert exception[0] is not None or not self.faults


def result_url(job: dict[str, Any], index: int = 0) -> str:
    return str(job["data"][index]["values"]["image"]["url"])


# ---- drawing


def test_draw_and_reload(studio: Studio) -> None:
    """Samples have seeds of their own; the gallery and the form are the same after a reload."""
    studio.use("pictures")
    studio.page.get_by_label("text", exact=True).first.fill("box")
    studio.page.get_by_label("label", exact=True).first.select_option("1")
    studio.page.get_by_label("How many").fill("2")
    job = studio.draw()
    assert job["status"] == "succeeded" and job["request"]["given"] == {"text": "box", "label": "1"}
    seed = job["request"]["seed"]
    assert seed >= 0 and [s["seed"] for s in job["data"]] == [seed, seed + 1]
    sync_api.expect(studio.tiles(job)).to_have_count(2)
    studio.page.get_by_role("button", name="Lock the seed").first.click()
    sync_api.expect(studio.page.get_by_label("Seed", exact=True)).to_have_value(str(seed))
    studio.open()
    sync_api.expect(studio.tiles(job)).to_have_count(2)
    sync_api.expect(studio.page.get_by_label("text", exact=True).first).to_have_value("box")
    again = studio.draw()
    assert studio.get(result_url(again)) == studio.get(result_url(job))


def test_every_model_has_a_form(studio: Studio) -> None:
    """Each model of the folder is drawn from with what its form has at first."""
    for name in ("pictures", "joint", "words", "numbers", "deep/labels", "chain", "emoji"):
        studio.use(name)
        job = studio.draw()
        assert job["status"] == "succeeded" and job["model"] == name
        studio.page.locator(f"#gallery [data-job='{job['id']}']").first.wait_for()
    assert not studio.page.locator(".toast.error").count()


def test_joint_row(studio: Studio) -> None:
    """Cells that are given are known, those that are empty are drawn."""
    studio.use("joint")
    studio.page.get_by_label("number", exact=True).fill("2.5")
    job = studio.draw()
    assert job["request"]["given"] == {"number": 2.5} and set(job["data"][0]["values"]) == {
        "image",
        "number",
        "label",
    }


def test_errors_are_shown(studio: Studio) -> None:
    """What the server refuses is said on the page, and nothing is queued."""
    studio.use("joint")
    count = len(studio.jobs())
    studio.page.get_by_label("number", exact=True).fill("many")
    studio.page.keyboard.press("Control+Enter")
    sync_api.expect(studio.page.get_by_role("alert")).to_contain_text("number")
    assert len(studio.jobs()) == count


def test_words_are_written(studio: Studio) -> None:
    """A language model continues what the text begins with."""
    studio.use("words")
    studio.page.get_by_label("Begins with").fill("b")
    job = studio.draw()
    sync_api.expect(studio.page.locator(f".text-card[data-job='{job['id']}']")).to_contain_text("b")
    assert job["request"]["prompt"] == "b" and job["data"][0]["values"]["text"].startswith("b")


# ---- a picture again


def draw_one(studio: Studio) -> dict[str, Any]:
    studio.use("pictures")
    studio.page.get_by_label("text", exact=True).first.fill("ring")
    return studio.draw()


def test_inpaint(studio: Studio) -> None:
    """Pixels outside of a painted mask are those of the picture."""
    job = draw_one(studio)
    studio.tiles(job).click()
    studio.page.get_by_role("dialog").get_by_role("button", name="Edit").click()
    sync_api.expect(studio.page.get_by_role("dialog")).to_be_hidden()
    box = studio.page.locator("canvas").bounding_box()
    cell = box["width"] / 10
    studio.page.get_by_role("button", name="Box", exact=True).click()
    studio.page.mouse.move(box["x"] + 2.5 * cell, box["y"] + 3.5 * cell)
    studio.page.mouse.down()
    studio.page.mouse.move(box["x"] + 5.5 * cell, box["y"] + 4.5 * cell, steps=4)
    studio.page.mouse.up()
    sync_api.expect(studio.page.locator(".stage")).to_contain_text("8 of 100 pixels")
    edited = studio.draw()
    hole = np.zeros((10, 10), bool)
    hole[3:5, 2:6] = True
    before, after = studio.pixels(result_url(job)), studio.pixels(result_url(edited))
    assert edited["kind"] == "infill" and (before[~hole] == after[~hole]).all()
    assert (before[hole] != after[hole]).any()


def test_mask_by_keyboard(studio: Studio) -> None:
    """The mask is painted, erased and undone with keys alone."""
    job = draw_one(studio)
    studio.tiles(job).press("Enter")
    studio.page.get_by_role("dialog").get_by_role("button", name="Edit").press("Enter")
    canvas, stage = studio.page.locator("canvas"), studio.page.locator(".stage")
    for key in ("x", "ArrowLeft", "Enter", "ArrowRight", "ArrowRight", "ArrowDown", "Enter"):
        canvas.press(key)
    sync_api.expect(stage).to_contain_text("6 of 100 pixels")
    for key in ("e", "[", "[", "[", "[", "Enter"):
        canvas.press(key)
    sync_api.expect(stage).to_contain_text("5 of 100 pixels")
    canvas.press("Control+z")
    sync_api.expect(stage).to_contain_text("6 of 100 pixels")


def test_outpaint(studio: Studio) -> None:
    """A smaller picture keeps its pixels, and what is around it is drawn."""
    job = draw_one(studio)
    studio.tiles(job).click()
    studio.page.get_by_role("dialog").get_by_role("button", name="Edit").click()
    studio.page.get_by_label("Size of the picture").fill("60")
    sync_api.expect(studio.page.locator(".stage")).to_contain_text("64 of 100 pixels")
    edited = studio.draw()
    small = studio.pixels(f"/v1/files/{edited['request']['row']['image']['file_id']}/content")[..., 0]
    after = studio.pixels(result_url(edited))
    assert (after.reshape(10, 10, -1)[2:8, 2:8, 0] == small[2:8, 2:8]).all()


def test_uploaded_mask(studio: Studio, tmp_path: Path) -> None:
    """White of an opaque mask is what to draw."""
    mask = np.zeros((20, 20), np.uint8)
    mask[:4] = 255
    PIL.Image.fromarray(mask).save(tmp_path / "mask.png")
    studio.use("pictures")
    studio.mode("Edit")
    studio.page.get_by_label("A mask", exact=True).set_input_files(tmp_path / "mask.png")
    PIL.Image.fromarray(mask[:10, :10]).save(tmp_path / "picture.png")
    studio.page.get_by_label("A picture", exact=True).set_input_files(tmp_path / "picture.png")
    sync_api.expect(studio.page.locator(".stage")).to_contain_text("0 of 100 pixels")
    studio.page.get_by_label("A mask", exact=True).set_input_files(tmp_path / "mask.png")
    sync_api.expect(studio.page.locator(".stage")).to_contain_text("20 of 100 pixels")
    assert studio.draw()["status"] == "succeeded"


def test_vary(studio: Studio) -> None:
    """Variations of a picture of the gallery, by strength."""
    job = draw_one(studio)
    studio.tiles(job).click()
    studio.page.get_by_role("dialog").get_by_role("button", name="Vary").click()
    studio.page.get_by_label("strength", exact=True).fill("0.25")
    varied = studio.draw()
    assert varied["request"]["init"]["strength"] == 0.25
    assert varied["request"]["init"]["values"]["image"]["url"] == result_url(job)
    assert varied["status"] == "succeeded" and len(varied["data"]) == 4
    sync_api.expect(studio.tiles(varied)).to_have_count(4)


def test_recall(studio: Studio) -> None:
    """A dropped PNG shows its settings; to see them changes nothing, and applied they draw the same bytes."""
    job = draw_one(studio)
    data = studio.get(result_url(job))
    studio.page.get_by_role("button", name="Reset").click()
    studio.page.evaluate(DROP, [base64.b64encode(data).decode(), "ring.png"])
    dialog = studio.page.get_by_role("dialog")
    sync_api.expect(dialog).to_contain_text(str(job["data"][0]["seed"]))
    sync_api.expect(studio.page.get_by_label("text", exact=True).first).to_have_value("")
    dialog.get_by_role("button", name="Apply settings").click()
    assert studio.get(result_url(studio.draw())) == data


def test_foreign_png(studio: Studio) -> None:
    """A PNG of another program is refused in words."""
    file = io.BytesIO()
    PIL.Image.new("L", (4, 4)).save(file, "png")
    studio.page.evaluate(DROP, [base64.b64encode(file.getvalue()).decode(), "other.png"])
    sync_api.expect(studio.page.get_by_role("alert")).to_contain_text("no PNG with settings")


def test_interpolation(studio: Studio) -> None:
    """A strip from one row of sources to another."""
    studio.use("pictures")
    studio.mode("Interpolate")
    studio.page.get_by_role("group", name="Given").get_by_label("text").fill("box")
    studio.page.get_by_role("group", name="At the end").get_by_label("text").fill("ring")
    studio.page.get_by_label("Steps between").fill("5")
    job = studio.draw()
    assert job["request"]["first"]["text"] == "box" and job["request"]["last"]["text"] == "ring"
    sync_api.expect(studio.page.locator(f".strip .tile[data-job='{job['id']}']")).to_have_count(5)


def test_grid(studio: Studio) -> None:
    """Two options across and down, with one seed; after a reload it is still one grid."""
    studio.use("pictures")
    studio.mode("Grid")
    values = studio.page.get_by_label("Values")
    studio.page.get_by_label("Across").select_option("options.steps")
    values.nth(0).fill("1, 2")
    studio.page.get_by_label("Down", exact=True).select_option("options.guidance")
    values.nth(1).fill("1, 3")
    studio.page.keyboard.press("Control+Enter")
    sync_api.expect(studio.page.locator(".xy .tile")).to_have_count(4)
    jobs = studio.jobs()[:4]
    assert len({job["request"]["seed"] for job in jobs}) == 1
    pairs = {(job["request"]["options"]["steps"], job["request"]["options"]["guidance"]) for job in jobs}
    assert pairs == {(1, 1), (1, 3), (2, 1), (2, 3)}
    studio.open()
    sync_api.expect(studio.page.locator(".xy")).to_have_count(1)
    studio.page.get_by_role("button", name="Delete the grid").click()
    sync_api.expect(studio.page.locator(".xy")).to_have_count(0)
    assert not {job["id"] for job in jobs} & {job["id"] for job in studio.jobs()}


# ---- the queue


def test_cancel_and_reload(studio: Studio) -> None:
    """What runs and what waits is there after a reload, and both can be cancelled."""
    studio.use("pictures")
    studio.page.get_by_label("steps", exact=True).fill("10000")
    for number in (1, 2):
        studio.page.keyboard.press("Control+Enter")
        sync_api.expect(studio.page.locator(".queue .card")).to_have_count(number)
    studio.open()
    cards = studio.page.locator(".queue .card")
    sync_api.expect(cards).to_have_count(2)
    sync_api.expect(cards.first).to_contain_text("step")
    running, waiting = studio.jobs()[1], studio.jobs()[0]
    cards.nth(1).get_by_role("button").click()
    sync_api.expect(cards).to_have_count(1)
    studio.page.keyboard.press("Escape")
    sync_api.expect(cards).to_have_count(0)
    statuses = {job["id"]: job["status"] for job in studio.jobs()}
    assert statuses[running["id"]] == statuses[waiting["id"]] == "cancelled"


@pytest.mark.usefixtures("endless_texts")
def test_stop_a_text(browser: Any, tmp_path: Path) -> None:
    """A text is shown while it is written, and when it is stopped what there is stays."""
    column = Document.fit(["a disc box ring x " * 20] * 4)
    folder = tmp_path / "runs"
    Model("text", {"text": column}, "autoregressive", width=16, depth=1).save(folder / "book")
    with live(ServerSettings(folder, threads=1)) as server, new_page(browser, server.address) as studio:
        studio.use("book")
        studio.page.get_by_label("Begins with").fill("box")
        studio.page.get_by_label("tokens", exact=True).fill("30000")
        studio.page.keyboard.press("Control+Enter")
        sync_api.expect(studio.page.locator(".stream")).to_contain_text("box")
        studio.page.keyboard.press("Escape")
        sync_api.expect(studio.page.locator(".text-card")).to_contain_text("box")
        assert studio.jobs()[0]["status"] == "cancelled"


def test_delete(studio: Studio) -> None:
    """A deleted result is gone from the gallery and from the server."""
    job = draw_one(studio)
    studio.tiles(job).click()
    studio.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    sync_api.expect(studio.tiles(job)).to_have_count(0)
    assert job["id"] not in {j["id"] for j in studio.jobs()}


def test_delete_one_of_several(studio: Studio) -> None:
    """The others stay, in the dialog and in the gallery; with the last one the job is gone."""
    studio.use("pictures")
    studio.page.get_by_label("How many").fill("3")
    job = studio.draw()
    tiles, dialog = studio.tiles(job), studio.page.get_by_role("dialog")
    sync_api.expect(tiles).to_have_count(3)
    tiles.nth(1).click()
    for left in (2, 1):
        dialog.get_by_role("button", name="Delete", exact=True).click()
        sync_api.expect(tiles).to_have_count(left)
        sync_api.expect(dialog).to_be_visible()
    assert [s["index"] for s in next(j for j in studio.jobs() if j["id"] == job["id"])["data"]] == [0]
    dialog.get_by_role("button", name="Delete", exact=True).click()
    sync_api.expect(dialog).to_be_hidden()
    assert job["id"] not in {j["id"] for j in studio.jobs()}


def test_restart(browser: Any, runs: Path, tmp_path: Path) -> None:
    """The gallery is there after another server of the same state has started; test_server_restart.py kills one."""
    settings = ServerSettings(runs, state=tmp_path, threads=1)
    with live(settings) as server, new_page(browser, server.address) as studio:
        job = draw_one(studio)
        sync_api.expect(studio.tiles(job)).to_have_count(1)
    with live(settings) as server, new_page(browser, server.address) as studio:
        sync_api.expect(studio.tiles(job)).to_have_count(1)
        assert (
            studio.page.locator(".tile img").first.evaluate(
                "img => img.decode().then(() => img.naturalWidth)"
            )
            == 10
        )


# ---- for everybody


def test_phone(browser: Any, live_server: LiveServer) -> None:
    """Nothing is wider than a phone; the views are tabs, and drawing shows the gallery."""
    with new_page(browser, live_server.address, viewport=PHONE, has_touch=True, is_mobile=True) as studio:
        studio.use("joint")
        studio.mode("Edit")
        for view in VIEWS:
            studio.page.get_by_role("navigation").get_by_role("button", name=view).tap()
            assert studio.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        studio.page.get_by_role("navigation").get_by_role("button", name="create").tap()
        sync_api.expect(studio.page.locator(".feed")).to_be_hidden()
        studio.mode("Draw")
        studio.page.locator("#form [type=submit]").tap()
        studio.page.locator(".tile").first.tap()
        sync_api.expect(studio.page.get_by_role("dialog")).to_be_visible()
        assert studio.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.fixture(scope="session")
def npm_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with axe-core and TypeScript, from npm."""
    folder = tmp_path_factory.mktemp("npm")
    if shutil.which("npm") is None:
        pytest.skip("npm, which brings axe-core and TypeScript, is not installed")
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *NPM]
    if subprocess.run(command, check=False, capture_output=True, timeout=240).returncode:
        pytest.skip(f"npm cannot bring {', '.join(NPM)}")
    return folder / "node_modules"


def test_types(npm_packages: Path) -> None:
    """The types that the comments of the modules declare hold."""
    options = [
        "--checkJs",
        "--noEmit",
        "--strict",
        "--target",
        "es2022",
        "--module",
        "es2022",
        "--moduleResolution",
        "bundler",
    ]
    command = [
        str(npm_packages / ".bin/tsc"),
        *options,
        "--lib",
        "es2023,dom,dom.iterable",
        *map(str, MODULES),
    ]
    checked = subprocess.run(command, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_accessibility(browser: Any, live_server: LiveServer, npm_packages: Path) -> None:
    """axe-core has no serious finding in any view, in each way to draw, and in a result; in the dark, of contrast."""
    with new_page(browser, live_server.address, color_scheme="light") as studio:
        job, found = draw_one(studio), list[str]()
        axe = (npm_packages / "axe-core/axe.min.js").read_text()

        def check(where: str) -> None:
            for scheme, rules in (("light", None), ("dark", ["color-contrast"])):
                studio.page.emulate_media(color_scheme=scheme)
                found.extend(f"{where}, {scheme}: {finding}" for finding in findings(studio.page, axe, rules))

        for name in ("Edit", "Vary", "Interpolate", "Grid"):
            studio.mode(name)
            check(name)
        studio.tiles(job).click()
        check("result")
        for view in VIEWS:
            studio.open(view)
            check(view)
        assert not found


def findings(page: Page, axe: str, rules: list[str] | None) -> list[str]:
    """What is serious or critical, by some rules or all."""
    page.evaluate(f"if (!window.axe) {{ {axe} }}")
    options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
    violations = page.evaluate("(options) => axe.run(options).then((r) => r.violations)", options)
    return [
        f"{v['id']}: {node['html'][:120]} {node['any'][0]['message'] if node['any'] else ''}"
        for v in violations
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
    ]


def test_token(browser: Any, runs: Path, tmp_path: Path) -> None:
    """With a token the page asks for it once, and then works."""
    with live(ServerSettings(runs, state=tmp_path, token="only-for-tests", threads=1)) as server:
        context = browser.new_context()
        page = context.new_page()
        page.goto(server.address)
        page.get_by_label("Token").fill("only-for-tests")
        page.get_by_role("button").click()
        page.wait_for_selector("body[data-ready]")
        assert page.get_by_label("Model", exact=True).locator("option").count() > 1
        context.close()


# ---- training


def data(folder: Path) -> Path:
    """A table of which one row cannot be used."""
    path = folder / "people.csv"
    rows = [f"{20 + i % 40},{'Oslo' if i % 2 else 'Bergen'}" for i in range(60)]
    path.write_text("\n".join(["age,home town", *rows, "unknown,Oslo"]) + "\n")
    return path


def start_training(studio: Studio, folder: Path, **options: str) -> Any:
    """Upload data, look at its check, write a formula with a completion, and train. The card of the run."""
    page = studio.page
    studio.open("train")
    page.locator("#train input[type=file]").set_input_files(data(folder))
    report = page.get_by_role("region", name="The check of the data")
    sync_api.expect(report).to_contain_text("60 rows, 1 of them cannot be used", timeout=60_000)
    sync_api.expect(report.get_by_role("group", name="Rows that cannot be used")).to_contain_text("unknown")
    formula = page.get_by_label("Formula")
    formula.fill("age | home")
    sync_api.expect(page.locator(".message.bad")).to_contain_text("home")
    formula.press("ArrowDown")
    formula.press("Enter")
    sync_api.expect(formula).to_have_value('age | "home town"')
    sync_api.expect(page.locator(".message.good")).to_contain_text("P(age")
    page.get_by_label("Family").select_option("mixture")
    for name, value in options.items():
        page.get_by_label(name, exact=True).fill(value)
    page.get_by_label("Name", exact=True).fill("ages")
    page.locator("#train [type=submit]").click()
    return page.locator(".job").first


def draw_from(studio: Studio, card: Any) -> None:
    """Draw from the model of a run."""
    card.get_by_role("button", name="Draw from it").click()
    sync_api.expect(studio.page.get_by_label("Model", exact=True)).to_have_value("ages")
    studio.page.get_by_label("home town", exact=True).first.select_option("Oslo")
    job = studio.draw()
    assert job["status"] == "succeeded" and job["model"] == "ages"
    assert isinstance(job["data"][0]["values"]["age"], int | float)


def test_train(browser: Any, tmp_path: Path) -> None:
    """Data is checked, the formula is completed, and the model that was trained is drawn from."""
    (tmp_path / "runs").mkdir()
    with (
        live(ServerSettings(tmp_path / "runs", threads=1)) as server,
        new_page(browser, server.address) as studio,
    ):
        card = start_training(studio, tmp_path, Minutes="0.02")
        sync_api.expect(card.locator(".tag")).to_have_text("ready", timeout=120_000)
        draw_from(studio, card)


@pytest.mark.full
def test_train_for_a_minute(browser: Any, tmp_path: Path) -> None:
    """A training is paused, resumed and watched to its end, then drawn from, evaluated and deleted."""
    (tmp_path / "runs").mkdir()
    with (
        live(ServerSettings(tmp_path / "runs", threads=1)) as server,
        new_page(browser, server.address) as studio,
    ):
        card, tag = (found := start_training(studio, tmp_path, Minutes="1")), found.locator(".tag")
        sync_api.expect(card.locator(".chart")).to_be_visible(timeout=120_000)
        card.get_by_role("button", name="Pause").click()
        sync_api.expect(tag).to_have_text("paused", timeout=60_000)
        card.get_by_role("button", name="Resume").click()
        sync_api.expect(tag).to_have_text("learning", timeout=60_000)
        studio.open("train")
        sync_api.expect(tag).to_have_text("ready", timeout=240_000)
        draw_from(studio, card)
        studio.open("compare")
        studio.page.get_by_label("ages", exact=True).check()
        studio.page.get_by_label("Samples").fill("6")
        studio.page.get_by_role("button", name="Evaluate", exact=True).click()
        studio.page.get_by_role("button", name="Report").click(timeout=240_000)
        sync_api.expect(studio.page.get_by_role("table").first).to_contain_text("held-out loss")
        sync_api.expect(studio.page.frame_locator("iframe").get_by_role("heading").first).to_contain_text(
            "ages"
        )
