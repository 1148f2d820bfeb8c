"""The document around every page: navigation, style sheet and script as files, and the content security policy."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.installed.distributions import version_of
from mlops_core.report.kit import Markup, Node, document, element, group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_core.report.kit import PageSection
    from mlops_core.web.answers import View

_ASSETS = Path(__file__).parent / "assets"
_REPORT = Path(__file__).parents[1] / "report"
_STYLE_SHEETS = (
    _REPORT / "kit" / "assets" / "kit.css",
    _REPORT / "assets" / "report.css",
    _REPORT / "assets" / "compared.css",
    _ASSETS / "ui.css",
)
_SCRIPTS = (_REPORT / "kit" / "assets" / "kit.js", _ASSETS / "ui.js")
_DISTRIBUTION = "mlops-usecases"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content security policy of the application: no script and no style but its own files, and no other server."""
PAGES = {
    "runs": ("/", "Runs"),
    "use-cases": ("/use-cases", "Use cases"),
    "models": ("/models", "Models"),
    "datasets": ("/datasets", "Data sets"),
    "tuning": ("/tuning", "Tuning"),
}
"""Name -> path and title of the pages in the navigation."""
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


def ui_page(  # noqa: PLR0913  one argument for each part of a page
    view: View,
    *,
    title: str,
    active: str = "",
    heading: Markup,
    body: Sequence[Markup | PageSection] = (),
    sections: Sequence[tuple[str, str]] = (),
    events: str = "",
) -> str:
    """Return a complete page.

    Args:
        view: the request.
        title: of the browser's tab.
        active: name of the page in the navigation.
        heading: the first card, with the page's ``h1``.
        body: the other cards, in order.
        sections: anchor and title of sections that the navigation links to.
        events: path of the events that bring the page up to date; empty for none.
    """
    cards = [part if isinstance(part, Markup) else part.markup() for part in body]
    main = element("main", heading, *cards, _footer(view), id="top", tabindex=-1)
    return document(
        _head(title),
        element(
            "body",
            element("a", "Skip to content", href="#top", class_="skip"),
            element("div", _navigation(view, active, sections), main, class_="layout"),
            element("p", "", id="announcement", role="status", class_="hidden"),
            data_events=events or None,
        ),
        language="en",
    )


def plain_page(*, title: str, body: Markup) -> str:
    """Return a page without navigation, for those who have no access and for errors before the workspace is open."""
    return document(_head(title), element("body", element("main", body, class_="alone")), language="en")


def page_header(title: Node, *, eyebrow: Node = None, lead: Node = None, actions: Node = None) -> Markup:
    """Return the first card of a page."""
    return element(
        "header",
        element("p", eyebrow, class_="eyebrow") if eyebrow else None,
        element("h1", title),
        element("p", lead, class_="outcome") if lead else None,
        element("div", actions, class_="actions") if actions else None,
        class_="page-header",
    )


@functools.cache
def style_sheet() -> str:
    """Return the style sheet of every page."""
    return "".join(path.read_text(encoding="utf-8") for path in _STYLE_SHEETS)


@functools.cache
def script_text() -> str:
    """Return the script of every page."""
    return "\n".join(path.read_text(encoding="utf-8") for path in _SCRIPTS)


def report_policy(page: str) -> str:
    """Return the policy of a stored report: its own script and style by their digests, in an origin of its own."""
    digests: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in _INLINE.findall(page):
        digests[kind].append(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'")
    scripts, styles = (" ".join(digests[kind]) or "'none'" for kind in ("script", "style"))
    return (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src data:; media-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts allow-popups"
    )


@functools.cache
def _asset_path(name: str) -> str:
    text = style_sheet() if name.endswith(".css") else script_text()
    return f"/static/{name}?v={hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _head(title: str) -> Markup:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title} - mlops"),
        element("link", rel="icon", href="data:,"),
        element("link", rel="stylesheet", href=_asset_path("ui.css")),
        element("script", src=_asset_path("ui.js"), defer=True),
    )


def _navigation(view: View, active: str, sections: Sequence[tuple[str, str]]) -> Markup:
    links = (
        element("li", element("a", title, href=path, aria_current="page" if page == active else None))
        for page, (path, title) in PAGES.items()
    )
    home = view.opened.store.home
    name = home.parent.name if home.name.startswith(".") else home.name  # that of the project
    brand = element("a", element("strong", "mlops"), " ", name, href="/", class_="brand")
    anchors = [element("li", element("a", title, href=f"#{anchor}")) for anchor, title in sections]
    return element(
        "div",
        element("nav", brand, element("ul", *links, class_="pages"), aria_label="Pages"),
        element("nav", element("ul", *anchors), class_="contents", aria_label="Sections") if anchors else None,
        class_="side",
    )


def _footer(view: View) -> Markup:
    version = version_of(_DISTRIBUTION) or ""
    return element("footer", group("Workspace ", element("code", str(view.opened.store.home)), f" · mlops {version}"))
