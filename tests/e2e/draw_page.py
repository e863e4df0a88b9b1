#!/usr/bin/env python3
"""Draws the writing page as PNGs, in a real Chromium on a real cluster with the demo's model: a document while it is written, and an answer
about a picture on a telephone at night.

    apt-get install chromium fonts-noto-core
    tests/e2e/draw_page.py docs/images
"""
import os
import pathlib
import sys

from page_browser import Browser  # noqa: I001  (first: it finds Playwright)

from http_cluster import ROOT, Cluster

DEMO = os.path.join(ROOT, "demo")


def open_page(browser, cluster, **settings):
    page = browser.context(**settings).new_page()
    page.goto(f"http://{cluster.host}:{cluster.port}/")
    page.wait_for_selector("#status[data-ready=true]")
    return page


def draw_document(browser, cluster, path):
    page = open_page(browser, cluster, viewport={"width": 1080, "height": 640})
    page.check("input[value=document]", force=True)
    page.fill("#instruction", "Write a 2000-word story about the lighthouse.")
    page.fill("#target_words", "2000")
    page.evaluate("document.getElementById('seed').value = 1")
    page.click("#write")
    page.wait_for_selector("#outline-list li:nth-child(2)[data-state=writing]")
    page.locator("#figures", has_text="left").wait_for()
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=path)
    page.click("#stop")


def draw_telephone(browser, cluster, path):
    page = open_page(browser, cluster, viewport={"width": 390, "height": 640}, color_scheme="dark")
    page.set_input_files("#choose-pictures", os.path.join(DEMO, "pictures", "beach.png"))
    page.fill("#instruction", "Describe this picture.")
    page.click("#write")
    page.wait_for_selector("#ending:not([hidden])")
    page.screenshot(path=path)


def main(folder):
    browser = Browser()
    cluster = Cluster("--model", os.path.join(DEMO, "model"), "--served-model-name", "longhand-demo", "--tp", "2")
    try:
        draw_document(browser, cluster, folder / "page-document.png")
        draw_telephone(browser, cluster, folder / "page-telephone.png")
    finally:
        cluster.stop()
        browser.stop()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
