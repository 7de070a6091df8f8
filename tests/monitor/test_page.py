"""The page in a real browser: alive, right on a phone, nothing from elsewhere, no stranger's script runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Self

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from sealgate.monitor.snapshot import Client, Drift
from tests.monitor.made import DAY, NOW, everything, held, listener, snapshot
from tests.monitor.web import Shown, shown

ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SIZES = {"phone": (320, 640), "desk": (1280, 900)}
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(ARGUMENTS))
        yield made
        made.close()


class Look:
    """A page that was opened, and what it did beside being looked at."""

    def __init__(self, browser: Browser, one: Shown, size: str = "desk", scheme: str = "light") -> None:
        width, height = SIZES[size]
        viewport = {"width": width, "height": height}
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
        self.page: Page = self.context.new_page()
        self.asked: list[str] = []
        self.said: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(one.url.replace("127.0.0.1", "localhost"))
        self.page.wait_for_load_state("networkidle")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_says_nothing_and_asks_nobody_else(browser: Browser, size: str, scheme: str) -> None:
    long = "x" * 300
    certificate = replace(held(2), names=(long,))
    spoiled = replace(
        everything(),
        certificate=certificate,
        listeners=(listener(certificate, "serves another"), listener(certificate, address="[::1]:8443")),
        drift=(Drift(long, long, long),),
    )
    with shown(spoiled) as one, Look(browser, one, size, scheme) as look:
        assert look.said == []
        assert all(url.startswith(f"http://localhost:{one.port}/") for url in look.asked)
        assert look.page.evaluate("document.documentElement.scrollWidth") == SIZES[size][0]
        ground = look.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (sum(map(int, ground[4:-1].split(","))) < 200) == (scheme == "dark")


def test_hostile_names_are_shown_and_nothing_of_them_runs(browser: Browser) -> None:
    certificate = replace(held(), names=(HOSTILE,))
    clients = (Client(f"CN={HOSTILE}", HOSTILE, NOW - 80 * DAY, NOW + DAY),)
    with shown(snapshot(certificate=certificate, clients=clients)) as one, Look(browser, one) as look:
        assert HOSTILE in look.page.inner_text("#clients")
        look.page.evaluate("look()")  # the same by the script's own way
        look.page.wait_for_timeout(200)
        assert "owned" not in look.page.title()
        assert look.page.locator("img").count() == 0


def test_an_inline_script_would_not_run(browser: Browser) -> None:
    """The second wall: what if escaping had failed?"""
    with shown(snapshot()) as one, Look(browser, one) as look:
        look.page.evaluate(
            "() => { const s = document.createElement('script');"
            " s.textContent = \"document.title = 'owned'\"; document.body.append(s); }"
        )
        assert look.page.title() != "owned"
        assert any("Content Security Policy" in text for text in look.said)


def test_it_is_alive(browser: Browser) -> None:
    with shown(snapshot()) as one, Look(browser, one) as look:
        assert look.page.inner_text("h1") == "All is well"
        one.snapshot = snapshot(engine=replace(snapshot().engine, state="down"))
        look.page.wait_for_selector("h1:text('1 thing needs a look')")
        assert look.page.title().startswith("1 thing needs a look")
        assert look.page.locator(".head.bad").count() == 1


def test_a_watcher_that_is_gone_is_said(browser: Browser) -> None:
    with shown(snapshot()) as one:
        look = Look(browser, one)
        assert look.page.locator("#lost").is_hidden()
    look.page.evaluate("look()")
    look.page.wait_for_selector("#lost:not([hidden])")
    assert "does not answer" in look.page.inner_text("#lost")
    assert look.page.inner_text("h1") == "All is well"  # what was seen stays, with its time
    look.context.close()


def test_words_can_be_read_in_both_schemes(browser: Browser) -> None:
    """WCAG 2.2, 1.4.3: text has a contrast of 4.5 : 1."""
    for scheme in ("light", "dark"):
        with shown(everything()) as one, Look(browser, one, "desk", scheme) as look:
            for contrast, text in look.page.evaluate(_CONTRASTS):
                assert contrast >= 4.5, (scheme, text, contrast)


_CONTRASTS = """() => {
  const parts = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = parts(color).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if (!color.endsWith(", 0)") && color !== "transparent") return color;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("h1,h2,p,dt,dd,th,td,.word,footer,a")].map((e) => {
    const [one, other] = [light(getComputedStyle(e).color), light(ground(e))];
    return [(Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05), e.textContent.slice(0, 40)];
  });
}"""
