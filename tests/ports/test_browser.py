"""The browser shows a page's errors, what it asks for, and what it looks like on screen and on paper."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import pictures
from tests.support.browser import BrowserError, opened

pytestmark = pytest.mark.xdist_group("browser")

_STYLE = """<style>
    :root { color-scheme: light dark; } body { background: #fff; color: #000; margin: 0; height: 400px }
    @media (prefers-color-scheme: dark) { body { background: #101010; color: #eee } }
    @media print { .screen { display: none } }
</style>"""


def page(tmp_path: Path, body: str) -> Path:
    file = tmp_path / "a page.html"
    file.write_text(f"<!doctype html><meta charset=utf-8><title>A page</title>{_STYLE}<body>{body}</body>")
    return file


def test_a_page_is_rendered_in_light_and_dark_and_printed(tmp_path: Path) -> None:
    script = "<script>document.getElementById('sum').textContent = 20 + 22</script>"
    file = page(tmp_path, f"<p>The sum is <b id=sum></b></p><p class=screen>not on paper</p>{script}")

    with opened(file) as seen:
        light, dark = (seen.screenshot(scheme, width=640, scale=0.1) for scheme in ("light", "dark"))
        printed = seen.pdf()

        assert seen.text.splitlines()[0] == "The sum is 42"
        assert '<b id="sum">42</b>' in seen.dom
        assert seen.evaluate("document.title") == "A page"
        assert seen.errors == []
        assert seen.requested == [file.as_uri()]

    assert pictures.size(light) == pictures.size(dark)
    assert pictures.size(light)[0] == 64
    assert pictures.brightness(light) > 0.9
    assert pictures.brightness(dark) < 0.2
    text = subprocess.run(["pdftotext", "-", "-"], input=printed, capture_output=True, check=True).stdout.decode()
    assert text.split() == ["The", "sum", "is", "42"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("<script>console.error('it', 'failed', 7)</script>", "it failed 7", id="what the page says"),
        pytest.param("<script>missing.call()</script>", "missing is not defined", id="an exception nobody caught"),
        pytest.param("<script>Promise.reject(new Error('later'))</script>", "later", id="a promise that nobody kept"),
        pytest.param("<img src=nothing.png>", "nothing.png", id="a picture that is not there"),
        pytest.param("<script>setTimeout(() => { throw Error('late') }, 1)</script>", "late", id="what comes late"),
    ],
)
def test_errors_of_a_page_are_seen(tmp_path: Path, body: str, expected: str) -> None:
    with opened(page(tmp_path, body)) as seen:
        seen.evaluate("new Promise(done => setTimeout(done, 50))")

        assert len(seen.errors) == 1
        assert expected in seen.errors[0]


def test_what_a_page_asks_others_for_is_seen(tmp_path: Path) -> None:
    with opened(page(tmp_path, "<link rel=stylesheet href=http://127.0.0.1:9/style.css>")) as seen:
        assert "http://127.0.0.1:9/style.css" in seen.requested


def test_what_console_log_says_is_no_error(tmp_path: Path) -> None:
    with opened(page(tmp_path, "<script>console.log('all is well')</script>")) as seen:
        assert seen.errors == []
        assert [(message.level, message.text) for message in seen.messages] == [("log", "all is well")]


def test_a_page_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(BrowserError, match="ERR_FILE_NOT_FOUND"), opened(tmp_path / "none.html"):
        pass


def test_an_expression_that_throws_is_said_so(tmp_path: Path) -> None:
    with opened(page(tmp_path, "")) as seen, pytest.raises(BrowserError, match="no such thing"):
        seen.evaluate("(() => { throw Error('no such thing') })()")
