"""The page of `mlops serve` in a real browser: it fits the window, and a file that is tried gets an answer."""

import json

import pytest

from tests.serving.conftest import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


class Address:
    """An address that the browser opens like a path."""

    def __init__(self, url):
        self.url = url

    def as_uri(self):
        return self.url


@pytest.fixture(scope="module")
def address(tmp_path_factory, chromium):
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.txt").touch()
    server = Server("--model", f"{folder}/", "--workers", "1").wait_until_ready()
    yield f"http://127.0.0.1:{server.port}/"
    assert server.stop() == 0


def choose(browser, name, text):
    browser.run(
        f"(() => {{ const files = new DataTransfer(); "
        f"files.items.add(new File([{json.dumps(text)}], {json.dumps(name)}));"
        "document.querySelector('#try-form input').files = files.files; })()"
    )
    browser.click("#try-form button")


@pytest.mark.representatives("width", "scheme")
@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")])
def test_page_fits_the_window_and_shows_the_answer_to_a_file(browser, address, width, scheme):
    browser.open(Address(address), width=width, scheme=scheme)
    choose(browser, "table.csv", "1,2\n3,4\n")
    browser.expect("document.querySelectorAll('#try-result tbody tr').length", 6)
    assert browser.run("document.querySelector('#try-result').innerText").startswith("Sample\tClass\tScore\nrow 1\t")
    assert browser.run("document.documentElement.scrollWidth") <= width
    ratio, text, place, _ = browser.lowest_contrast()
    assert ratio >= 4.5, (text, place)
    own = (address, f"{address}invocations", f"{address}favicon.ico")
    assert [problem for problem in browser.problems if problem not in own] == []
    choose(browser, "bad.bin", "unusable")
    browser.expect(
        "document.querySelector('#try-result .message')?.textContent",
        "422: the request body cannot be decoded: the request body has no samples",
    )
