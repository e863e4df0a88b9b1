"""A real Chromium for what looks at the writing page. Ends the program with 77 (skipped) where there is none, or no Playwright."""
import os
import shutil
import sys

import environment

CHROMIUM = os.environ.get("LONGHAND_CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    print("skipped: there is no Chromium (apt-get install chromium; or LONGHAND_CHROMIUM names one)")
    sys.exit(77)
environment.enter("page")

from playwright.sync_api import sync_playwright  # noqa: E402


class Browser:
    def __init__(self):
        self._playwright = sync_playwright().start()
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        self._chromium = self._playwright.chromium.launch(executable_path=CHROMIUM, args=flags)

    def context(self, **settings):
        """Of its own storage."""
        return self._chromium.new_context(**settings)

    def stop(self):
        self._chromium.close()
        self._playwright.stop()
