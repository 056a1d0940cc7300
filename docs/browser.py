"""Tries the built site in Chromium: search, paths, links, images, narrow screens, the keyboard, errors of scripts.

    python -m sphinx -W docs docs/_build/html
    python -m pip install playwright && python docs/browser.py docs/_build/html

It takes a Chromium of the system, or that of `playwright install chromium`. Without one it says so and ends well.
`--screenshots FOLDER` keeps pictures of some pages.
"""

import argparse
import functools
import http.server
import pathlib
import shutil
import threading
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from playwright.sync_api import Browser, Error, Page, Playwright, sync_playwright

IGNORED = "understanding.html#ignored-ids-ignore-index"
DIVISOR = "understanding.html#class-weights-and-the-divisor-class-weights"
SHARDED = "large-vocabulary.html#many-devices-shard-the-vocabulary"
BAD_LABEL = "explain.html#a-bad-label-under-jit"

SEARCHES = {
    "ignore_index": "understanding.html",
    "ignore label 255": IGNORED,
    "label smoothing": "understanding.html",
    "class weights": "understanding.html",
    "weighted mean differs": DIVISOR,
    "microbatches": "microbatches.html",
    "gradient accumulation": "microbatches.html",
    "data parallel": "microbatches.html",
    "shard vocabulary": "large-vocabulary.html",
    "shard a 128k vocabulary": SHARDED,
    "bad label under jit": BAD_LABEL,
    "nan under jit": "troubleshooting.html#my-loss-is-nan",
    "bad batch": "explain.html",
    "4-D target": "understanding.html#the-class-axis-axis",
    "CrossEntropyLoss": "api/torch-nn.html",
}
"""Words that people search for, and a page or section that must be among the first three results."""

PATHS = {
    IGNORED: ("Understanding cross-entropy", "Ignored ids: ignore_index"),
    DIVISOR: ("Understanding cross-entropy", "Class weights and the divisor: class_weights"),
    SHARDED: ("Large vocabularies", "Many devices: shard the vocabulary"),
    BAD_LABEL: ("Finding a bad batch", "A bad label under jit"),
}
"""Answers to questions of new users, and the links that lead there from the first page."""

NARROW = 400
PICTURES = ("index.html", "start.html", "understanding.html", "performance.html", "api/softmax.html")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves the files without a log."""

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def serve(folder: pathlib.Path) -> tuple[http.server.ThreadingHTTPServer, str]:
    """Serves a folder from a free port of this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}/"


def launch(playwright: Playwright) -> Browser | None:
    """A Chromium, or None if there is none."""
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    for path in [*filter(None, found), None]:
        try:
            return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Error:
            continue
    return None


def watch(page: Page, problems: list[str]) -> None:
    """Notes errors of scripts, the console, and requests."""
    page.on("console", lambda m: m.type == "error" and problems.append(f"{page.url}: console: {m.text} {m.location}"))
    page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
    page.on("requestfailed", lambda request: problems.append(f"{page.url}: no {request.url}"))
    page.on("response", lambda r: r.status >= 400 and problems.append(f"{page.url}: {r.status} for {r.url}"))


def read_pages(page: Page, home: str, folder: pathlib.Path, problems: list[str]) -> int:
    """Opens every page on a narrow screen. Returns the number of links within the site."""
    ids, links = {}, []
    page.set_viewport_size({"width": NARROW, "height": 800})
    for path in sorted(set(folder.rglob("*.html")) - set((folder / "_static").rglob("*.html"))):
        url = home + path.relative_to(folder).as_posix()
        page.goto(url)
        ids[url] = set(page.eval_on_selector_all("[id]", "all => all.map(e => e.id)"))
        links += [(url, urljoin(url, link)) for link in page.eval_on_selector_all("a[href]", "a => a.map(e => e.href)")]
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > NARROW:
            problems.append(f"{url}: {width} pixels wide on a screen of {NARROW}")
        page.eval_on_selector_all("img", "all => all.forEach(e => { e.loading = 'eager' })")
        page.wait_for_function("[...document.images].every(e => e.complete)")
        if any("# ->" in code for code in page.locator("article pre").all_inner_texts()):
            problems.append(f"{url}: an expected output is shown as a comment")
        broken = page.eval_on_selector_all("img", "all => all.filter(e => !e.naturalWidth).map(e => e.src)")
        problems += [f"{url}: no image {source}" for source in broken]
    inside = [(url, link) for url, link in links if link.startswith(home)]
    for url, link in sorted({*inside}):
        target, anchor = urldefrag(link)
        target = target + "index.html" if target.endswith("/") else target
        if not (folder / unquote(target.removeprefix(home))).is_file():
            problems.append(f"{url}: no page {link}")
        elif anchor and target in ids and unquote(anchor) not in ids[target]:
            problems.append(f"{url}: no anchor {link}")
    return len(inside)


def search(page: Page, home: str, problems: list[str]) -> None:
    """Opens the search by its keys, types, and reads the results."""
    page.set_viewport_size({"width": 1280, "height": 900})
    for words, expected in SEARCHES.items():
        page.goto(home)
        page.keyboard.press("Control+k")
        page.keyboard.type(words)
        page.keyboard.press("Enter")
        page.wait_for_selector("ul.search li a")
        page.wait_for_function("!document.querySelector('#search-results h2')?.textContent.startsWith('Searching')")
        page.wait_for_load_state("networkidle")
        found = page.eval_on_selector_all("ul.search li > a", "all => all.slice(0, 3).map(e => e.href)")
        if not any(link.startswith(home + expected) for link in found):
            problems.append(f"search for {words!r}: {found}")


def walk(page: Page, home: str, problems: list[str]) -> None:
    """Moves through a page by the tabulator key: the search, the menu and the text must get the focus, visibly."""
    page.goto(home + "start.html")
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                """() => { const e = document.activeElement, has = s => e.closest(s) !== null;
                return has('.skip-link') || e.textContent.includes('Skip to') ? 'skip'
                    : e.className.includes('search-button') ? 'search' : has('.bd-sidebar-primary') ? 'menu'
                    : has('.sd-tab-set') || e.name?.startsWith('sd-tab') ? 'tabs' : has('article') ? 'text'
                    : e.className.includes('theme-switch') ? 'theme' : 'other' }"""
            )
        )
    if not page.locator("button.copybtn").count():
        problems.append("no button copies code")
    missing = {"search", "menu", "text", "theme"} - reached
    problems += [f"the keyboard does not reach: {sorted(missing)}"] if missing else []


def follow(page: Page, home: str, problems: list[str]) -> None:
    """Clicks from the first page to each answer."""
    page.set_viewport_size({"width": 1280, "height": 900})
    for answer, links in PATHS.items():
        page.goto(home)
        for link in links:
            page.get_by_role("link", name=link, exact=True).first.click()
            page.wait_for_load_state("networkidle")
        if page.url != home + answer:
            problems.append(f"{' > '.join(links)} leads to {page.url}, not to {answer}")


def take_pictures(page: Page, home: str, folder: pathlib.Path) -> None:
    """Pictures of some pages: wide, narrow, and dark."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        stem = name.removesuffix(".html").replace("/", "-")
        for kind, width, scheme in (("wide", 1280, "light"), ("narrow", NARROW, "dark")):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(home + name)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=folder / f"{stem}-{kind}.png")


def main() -> None:
    """Prints what is wrong, and fails if anything is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="the built site")
    parser.add_argument("--screenshots", type=pathlib.Path, help="a folder for pictures")
    args = parser.parse_args()
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = launch(playwright)
        if browser is None:
            print("no Chromium here: skipped")
            return
        server, home = serve(args.folder)
        page = browser.new_page()
        watch(page, problems)
        links = read_pages(page, home, args.folder, problems)
        search(page, home, problems)
        follow(page, home, problems)
        walk(page, home, problems)
        if args.screenshots:
            take_pictures(page, home, args.screenshots)
        browser.close()
        server.shutdown()
    print(*problems, sep="\n")
    print(f"{links} links within the site, {len(SEARCHES)} searches, {len(PATHS)} paths, {len(problems)} problems")
    if problems:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
