"""The page in headless Chromium: what a person does with it, with keys alone, and what a hostile text cannot do."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from drp.reporting.write import write_report
from tests.reporting.page.hostile import hostile_run

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make setup")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(hostile_run(tmp_path_factory.mktemp("page") / "run"), "x").as_uri()


@pytest.fixture(scope="module")
def browser(address: str) -> Iterator[Any]:
    _ = address  # written first: this way to drive a browser runs an event loop, in which no stage can run
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A tab of 1280 pixels that may say nothing on its console, ask for nothing and run nothing of a text's."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    yield page
    assert page.evaluate("window.ran") is None
    assert not said and all(url.startswith("file:") and ".html" in url for url in asked), (said, asked)
    context.close()


def rows(tab: Any) -> list[str]:
    return tab.locator("section:not([hidden]) .rows a").evaluate_all(
        "links => links.map(link => link.dataset.id)"
    )


def until(tab: Any, expression: str) -> None:
    """Wait until a script's expression is true; the page's policy lets no page script evaluate one."""
    for _ in range(200):
        if tab.evaluate(expression):
            return
        tab.wait_for_timeout(25)
    raise AssertionError(f"never: {expression}")


def chosen(tab: Any, **fields: str) -> list[str]:
    """Return the rows that are left when these are chosen."""
    for name, value in fields.items():
        tab.select_option(f"section:not([hidden]) select[name={name}]", value)
    tab.wait_for_timeout(100)
    return rows(tab)


def test_a_deep_link_opens_a_trace_at_a_step(tab: Any, address: str) -> None:
    """What one person found, another must see by its address alone."""
    tab.goto(f"{address}#/traces?id=trace-2&step=3")
    tab.wait_for_selector("#step-3.here")
    step = tab.locator("#step-3")
    assert "delete" in step.get_attribute("class") and "verification" in step.inner_text()
    assert "support 0.00 </script><script>window.ran = 1" in step.inner_text()
    assert tab.locator("#step-3 del").count() == 1 and tab.locator("#step-2 .new del").count() >= 1
    assert "line-through" in tab.evaluate(
        "getComputedStyle(document.querySelector('#step-3 .old')).textDecoration"
    )
    assert "recalling a fact" in tab.locator("#step-2").inner_text()
    assert "algebraic manipulation + stating the answer" in tab.locator("#step-4 .what").inner_text()
    assert "findings 2" in tab.locator(".checks").inner_text()


def test_hostile_text_is_shown_and_does_nothing(tab: Any, address: str) -> None:
    """A trace may hold markup, marks that turn lines around, formulas that link, and a line of a megabyte."""
    tab.goto(f"{address}#/traces?id=trace-0")
    tab.wait_for_selector("#step-5")
    assert tab.locator(".detail img, .detail script, .detail a[href^=javascript]").count() == 0
    assert "U+202E" in tab.locator("#step-3 .old").inner_text() and "\u202e" not in tab.inner_text("body")
    button = tab.locator("#step-5 .old .whole")
    assert "1,000,000" in button.inner_text()
    button.click()
    assert tab.evaluate("document.querySelector('#step-5 .old').textContent.length") == 1_000_000
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_formulas_are_set_and_money_is_not(tab: Any, address: str) -> None:
    """Mathematics was LaTeX source in the middle of prose."""
    tab.goto(f"{address}#/traces?id=trace-0")
    tab.wait_for_selector("#step-2 mfrac")
    assert "$5 or $6" in tab.locator("#step-2 .old").text_content()
    tab.keyboard.press("f")
    until(tab, "!document.querySelector('.detail math')")
    assert "\\frac{1}{2}" in tab.locator("#step-2 .new").text_content()


def test_filters_search_and_sort(tab: Any, address: str) -> None:
    """One looks for what a check refused, for a skill, for what went from right to wrong."""
    tab.goto(f"{address}#/traces")
    tab.wait_for_selector(".rows a")
    assert len(rows(tab)) == 12
    assert chosen(tab, result="refused") == ["trace-3"] == chosen(tab, result="", check="supported")
    assert chosen(tab, check="", benchmark="mini-math") == ["trace-5"]
    assert len(chosen(tab, benchmark="", skill="new skill 1")) == 6
    assert len(chosen(tab, skill="", action="merge")) == 12 and chosen(tab, sort="long")[0] == "trace-11"
    tab.fill("#traces [name=q]", "question 7")
    until(tab, "document.querySelectorAll('#traces .rows a').length == 1")
    tab.fill("#traces [name=q]", "WINDOW.RAN=3")
    until(tab, "document.querySelectorAll('#traces .rows a').length == 0")
    tab.check("#traces [name=deep]")
    until(tab, "document.querySelectorAll('#traces .rows a').length == 12")
    tab.goto(f"{address}#/completions")
    tab.wait_for_selector("#completions .rows a")
    assert chosen(tab, change="right to wrong") == ["trace-2-1"]
    tab.click("#completions .rows a")
    tab.wait_for_selector(".pair-of")
    assert "right to wrong" in tab.locator("#completions .facts").first.inner_text()
    assert tab.locator(".pair-of section").count() == 2
    assert "change=right+to+wrong" in tab.url and "id=trace-2-1" in tab.url


def test_keys_alone_suffice(tab: Any, address: str) -> None:
    """Reading hundreds of traces is done by keys; they must do nothing while one types."""
    tab.goto(address)
    tab.wait_for_selector("#overview h1")
    tab.keyboard.press("2")
    tab.wait_for_selector("#traces .rows a")
    for expected in ("trace-0", "trace-1"):
        tab.keyboard.press("j")
        tab.wait_for_selector(f"#traces a[data-id={expected}][aria-current]")
    tab.wait_for_selector("#step-1")
    tab.keyboard.press("n")
    tab.wait_for_selector("#step-2.here")
    assert "step=2" in tab.url
    tab.keyboard.press("n")
    tab.wait_for_selector("#step-3.here")
    tab.keyboard.press("i")
    assert tab.locator("#traces .detail.one").count() == 1
    tab.keyboard.press("d")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    tab.keyboard.press("/")
    until(tab, "document.activeElement.name == 'q'")
    tab.keyboard.type("jd")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark" and "trace-1" in tab.url
    tab.keyboard.press("Escape")
    tab.keyboard.press("?")
    assert tab.locator("dialog[open]").count() == 1


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 400)])
def test_nobody_is_shut_out(browser: Any, address: str, theme: str, width: int) -> None:
    """No finding of axe-core, and nothing wider than a telephone."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is not installed: make setup"
    ).Axe()
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=theme, bypass_csp=True
    )
    page = context.new_page()
    for place in ("overview", "traces?id=trace-0", "completions?id=trace-2-1", "skills"):
        page.goto(f"{address}#/{place}")
        page.wait_for_timeout(250)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), place
        found = axe.run(page).response["violations"]
        assert not found, [(place, v["id"], [n["target"] for n in v["nodes"]][:3]) for v in found]
    context.close()


def test_it_runs_from_a_folder_without_javascript_too(browser: Any, address: str) -> None:
    """Figures are markup: whoever reads mail attachments with scripts off sees them."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert "Before and after" in page.inner_text("main") and page.locator("svg.plot").count() > 3
    context.close()
