"""Uses both pages /docs as a person does, in headless Chromium: registers, presses Authorize, uploads a recording by "Try it out"
and reads the text on the page. Arguments: the addresses of both services, a recording, a folder for pictures.
Prints as JSON what the page showed, what the console said and which hosts were asked."""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

auth, transcription, recording, pictures = sys.argv[1:]
PASSWORD = "correct horse battery"
# As root, in containers and without a network.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def operation(page, address):
    """Opens the box of an operation and lets its fields be filled in."""
    box = page.locator(".opblock", has=page.locator(f'[data-path="{address}"]'))
    box.locator(".opblock-summary").click()
    box.get_by_role("button", name="Try it out").click()
    return box


def execute(box):
    """Sends it; gives the status and the body that the page shows."""
    box.get_by_role("button", name="Execute").click()
    answer = box.locator(".live-responses-table tbody tr")
    answer.wait_for(timeout=60_000)
    status = answer.locator(".response-col_status").inner_text().split()[0]
    return status, answer.locator(".highlight-code .microlight, .highlight-code code").first.inner_text()


def picture(page, name):
    page.screenshot(path=str(Path(pictures) / f"{name}.png"))


def use(page):
    shown = {}
    page.goto(f"{auth}/")
    shown["welcome"] = page.inner_text("main")
    picture(page, "welcome")
    page.get_by_role("link", name="Try it").click()
    register = operation(page, "/register")
    account = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
    register.locator("textarea.body-param__text").fill(json.dumps(account))
    shown["registered"] = execute(register)
    shown["title"] = page.title()

    page.goto(f"{transcription}/")
    page.get_by_role("link", name="Try it").click()
    page.locator(".auth-wrapper > .authorize").click()
    dialog = page.locator(".dialog-ux")
    dialog.locator("#oauth_username").fill("ada")
    dialog.locator("#oauth_password").fill("a wrong one")
    dialog.locator("button.authorize").click()
    shown["refused"] = dialog.locator(".errors").inner_text(timeout=30_000)
    dialog.locator("#oauth_password").fill(PASSWORD)
    dialog.locator("button.authorize").click()
    dialog.locator("button", has_text="Logout").wait_for(timeout=30_000)
    picture(page, "authorize")
    dialog.locator("button", has_text="Close").click()

    transcribe = operation(page, "/transcribe")
    transcribe.locator("input[type=file]").set_input_files(recording)
    shown["transcribed"] = execute(transcribe)
    # From the page's head to the text.
    page.set_viewport_size({"width": 1200, "height": 1860})
    page.evaluate("scrollTo(0, 0)")
    picture(page, "docs")
    return shown


def main():
    console, hosts = [], set()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=shutil.which("chromium"), args=FLAGS, viewport={"width": 1200, "height": 900}
        )
        page = context.pages[0]
        page.set_default_timeout(30_000)
        page.on("console", lambda message: console.append(f"{message.type}: {message.text} ({message.location.get('url')})"))
        page.on("pageerror", lambda error: console.append(f"error: {error}"))
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc) if request.url.startswith("http") else None)
        try:
            shown = use(page)
        except Exception:
            picture(page, "failure")
            print("\n".join(console), file=sys.stderr)
            raise
        finally:
            context.close()
    print(json.dumps({"shown": shown, "console": console, "hosts": sorted(hosts)}))


main()
