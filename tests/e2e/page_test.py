"""The writing page in a real Chromium, on clusters with the bundled model."""
import json
import os
import tempfile
import unittest

from page_browser import Browser

from playwright.sync_api import expect  # noqa: I001  (page_browser finds it)

from http_cluster import PATIENCE_S, ROOT, Cluster

DEMO = os.path.join(ROOT, "demo", "model")
BEACH = os.path.join(ROOT, "demo", "pictures", "beach.png")
# Held to more words than the model has in mind, so that there is time to disturb it.
LONG = {"instruction": "Write a 1500-word story about the harbour.", "target_words": 6000}
LONG_DOCUMENT = {"instruction": "Write a 5000-word story about the lighthouse.", "kind": "document", "target_words": 5000}
HOSTILE = '<script>window.harm = 1</script>\n\n<img src=x onerror="window.harm = 2"> **[a](javascript:window.harm=3)**\n\n' \
          "| <b>h</b> | i |\n|---|---|\n| <iframe src=/> | & |\n"

expect.set_options(timeout=PATIENCE_S * 1000)


def squeezed(text):
    return "".join(text.split())


class PageCase(unittest.TestCase):
    """A page of its own storage for each test, which may log no error and ask no other server."""

    flags = ("--tp", "2")

    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.stop)
        cls.cluster = Cluster("--model", DEMO, *cls.flags)
        cls.addClassCleanup(cls.cluster.stop)
        cls.url = f"http://{cls.cluster.host}:{cls.cluster.port}/"

    def setUp(self):
        self.errors, self.requests, self.may_fail = [], [], ()
        self.context = self.browser.context(permissions=["clipboard-read", "clipboard-write"])
        self.addCleanup(self.context.close)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_S * 1000)
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def tearDown(self):
        self.assertEqual([error for error in self.errors if not error.startswith(self.may_fail or "\0")], [])
        self.assertEqual([url for url in self.requests if not url.startswith((self.url, "data:", "blob:"))], [])

    def at(self, selector):
        return self.page.locator(selector)

    def open(self, address=""):
        self.page.goto(self.url + address)
        expect(self.at("#status")).to_have_attribute("data-ready", "true")

    def write(self, instruction, kind="answer", **fields):
        """Its id."""
        self.page.check(f"input[value={kind}]", force=True)
        self.page.fill("#instruction", instruction)
        if fields:
            self.page.evaluate("document.querySelector('.more').open = true")
        for name, value in fields.items():
            self.page.fill(f"#{name}", str(value))
        self.page.click("#write")
        expect(self.at("#text")).to_be_visible()
        return self.page.url.partition("#text=")[2]

    def wait_for(self, script, what):
        """Asked again and again from here: the page's policy lets nobody evaluate strings in it."""
        self.cluster.wait_until(lambda: self.page.evaluate(script), what)

    def num_words(self):
        return self.page.evaluate("document.getElementById('prose').innerText.split(/\\s/).length")

    def wait_for_words(self, count):
        self.cluster.wait_until(lambda: self.num_words() > count, "there are too few words")
        self.assertEqual(self.entry()["state"], "writing")

    def entry(self):
        """The newest of the list that the page keeps."""
        return json.loads(self.page.evaluate("localStorage.getItem('longhand.texts')"))[0]

    def wait_for_end(self, words=None):
        expect(self.at("#ending")).to_be_visible()
        if words is not None:
            self.assertEqual(self.at("#finish").inner_text(), words)

    def copied(self):
        self.page.click("#copy")
        expect(self.at("#copy")).to_have_text("Copied")
        return self.page.evaluate("navigator.clipboard.readText()")

    def streamed(self, request_id, **headers):
        events = [event.json() for event in self.cluster.ask("GET", f"/v1/streams/{request_id}", **headers).events() if event.data != "[DONE]"]
        choices = [event["choices"][0]["delta"]["content"] for event in events if event.get("choices")]
        return "".join(choices) + "".join(event.get("text", "") for event in events)

    def check_text(self, request_id, **headers):
        """What is shown and what is copied are what the server wrote."""
        text = self.streamed(request_id, **headers)
        self.assertEqual(self.copied(), text)
        bodies = self.page.evaluate("[...document.querySelectorAll('#prose section > div')].map((each) => each.innerText)")
        self.assertEqual(squeezed("".join(bodies)), squeezed(text))
        return text


class Writing(PageCase):
    def test_an_answer_about_a_picture(self):
        self.open()
        self.page.set_input_files("#choose-pictures", [BEACH, BEACH])
        self.page.click("text=× >> nth=1")
        expect(self.at("#pictures img")).to_have_count(1)
        request_id = self.write("Describe this picture.", seed=7, temperature=0)
        self.wait_for_end("It came to its end by itself.")
        text = self.check_text(request_id)
        self.assertIn("house", text)
        expect(self.at("#asked-pictures img")).to_have_count(1)
        expect(self.at("#facts")).to_contain_text("Seed7")
        with self.page.expect_download() as download:
            self.page.click("#save-md")
        self.assertEqual(download.value.suggested_filename, "describe-this-picture.md")
        with open(download.value.path(), encoding="utf-8") as file:
            self.assertEqual(file.read(), text)
        # The picture is at hand after the page was loaded again.
        self.page.reload()
        self.wait_for_end("It came to its end by itself.")
        self.page.click("#again")
        self.page.wait_for_url(lambda url: request_id not in url)
        self.wait_for_end("It came to its end by itself.")
        self.assertEqual(self.copied(), text)

    def test_a_document_has_its_outline_first(self):
        self.open()
        request_id = self.write("Write a 1000-word story about the lighthouse.", "document", target_words=1000, seed=1)
        expect(self.at("#outline-list li").first).to_be_visible()
        expect(self.at("#outline-list [data-state=ahead]").last).to_be_visible()
        expect(self.at("#outline-list [data-state=written]").first).to_be_visible()
        expect(self.at("#figures")).to_contain_text("Section 2 of ")
        self.wait_for_end("All sections are written.")
        expect(self.at("#outline-list [data-state=ahead], #outline-list [data-state=writing]")).to_have_count(0)
        self.assertEqual(self.at("#prose section").count(), self.at("#outline-list li").count())
        self.check_text(request_id)
        self.assertAlmostEqual(self.entry()["words"], 1000, delta=100)

    def test_a_reload_goes_on_with_the_same_text(self):
        for name, wanted in (("answer", LONG), ("document", LONG_DOCUMENT)):
            with self.subTest(name):
                self.open()
                request_id = self.write(**wanted)
                self.wait_for_words(100)
                self.page.reload()
                self.assertEqual(self.entry()["state"], "writing")
                self.wait_for_end()
                self.check_text(request_id)

    def test_a_tab_that_nobody_looks_at_lets_go_of_its_stream_and_takes_it_up_again(self):
        self.page.add_init_script("let isHidden = false; Object.defineProperty(document, 'hidden', { get: () => isHidden });"
                                  "window.hide = (value) => { isHidden = value; document.dispatchEvent(new Event('visibilitychange')); };")
        self.open()
        request_id = self.write(**LONG)
        self.wait_for_words(20)
        with self.page.expect_event("requestfailed", lambda request: request.url.endswith("/v1/chat/completions")):
            self.page.evaluate("hide(true)")
        # What had come is shown with the next frame.
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        words = self.num_words()
        self.cluster.wait_until(lambda: self.cluster.metric("longhand_requests_running") == 0, "the server does not write on")
        self.assertEqual(self.num_words(), words)
        with self.page.expect_request(lambda request: f"/v1/streams/{request_id}?from=" in request.url) as again:
            self.page.evaluate("hide(false)")
        self.assertGreater(int(again.value.url.partition("from=")[2]), 20)
        self.wait_for_end()
        self.check_text(request_id)

    def test_a_request_that_was_cut_off_before_it_was_taken_is_sent_again(self):
        self.may_fail = ("Failed to load resource",)
        self.open()
        self.page.route("**/v1/chat/completions", lambda route: route.abort())
        request_id = self.write("Write a 50-word story about the harbour.")
        expect(self.at("#waiting")).to_contain_text("The server cannot be reached. Trying again in")
        expect(self.at("#write")).to_be_disabled()
        self.page.unroute("**/v1/chat/completions")
        self.page.reload()
        expect(self.at("#ending")).to_be_visible()
        self.check_text(request_id)

    def test_stop_ends_it_on_the_server(self):
        self.open()
        request_id = self.write(**LONG)
        self.wait_for_words(20)
        self.page.keyboard.press("Escape")
        expect(self.at("#stop")).to_have_text("Esc again to stop")
        self.assertEqual(self.cluster.metric("longhand_requests_running"), 1)
        self.page.keyboard.press("Escape")
        self.wait_for_end("Stopped. What was written is kept.")
        self.cluster.wait_until(lambda: self.cluster.metric("longhand_requests_running") == 0, "it still runs")
        self.assertEqual(self.entry()["state"], "stopped")
        self.assertIn("the request was cancelled", self.cluster.ask("GET", f"/v1/streams/{request_id}").body.decode())
        request_id = self.write(**LONG_DOCUMENT)
        expect(self.at("#outline-list li").first).to_be_visible()
        self.page.click("#stop")
        self.wait_for_end("Stopped. What was written is kept.")
        self.cluster.wait_until(lambda: self.cluster.metric("longhand_requests_running") == 0, "it still runs")
        self.assertIn("the request was cancelled", self.cluster.ask("GET", f"/v1/streams/{request_id}").body.decode())

    def test_what_is_wrong_is_said_where_it_is_wrong(self):
        self.may_fail = ("Failed to load resource",)
        self.open()
        self.page.fill("#instruction", "Write.")
        self.page.evaluate("document.querySelector('.more').open = true")
        self.page.fill("#temperature", "-1")
        self.page.click("#write")
        expect(self.at("#temperature-fault")).to_contain_text("temperature is -1; it must be")
        self.assertEqual(self.page.evaluate("document.activeElement.id"), "temperature")
        self.page.fill("#temperature", "")
        self.page.set_input_files("#choose-pictures", {"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"})
        self.page.click("#write")
        expect(self.at("#images-fault")).to_contain_text("image")
        expect(self.at("#temperature-fault")).to_be_empty()
        self.assertEqual(self.page.evaluate("localStorage.getItem('longhand.texts')"), "[]")

    def test_recent_texts_are_opened_again_or_said_to_be_forgotten(self):
        self.may_fail = ("Failed to load resource",)
        self.open()
        first = self.write("Write a 50-word story about the harbour.")
        self.wait_for_end("It came to its end by itself.")
        text = self.copied()
        self.page.click("#new-text")
        expect(self.at("#empty")).to_be_visible()
        self.page.reload()
        self.page.click("#recent-list .open")
        self.wait_for_end("It came to its end by itself.")
        self.assertEqual((self.page.url.partition("#text=")[2], self.copied()), (first, text))
        self.page.evaluate("""() => { const list = localStorage.getItem("longhand.texts");
            localStorage.setItem("longhand.texts", list.replaceAll(location.hash.slice(6), "page-old")); }""")
        self.open("#text=page-old")
        self.page.reload()
        self.wait_for_end("The server has forgotten this text: its journal keeps texts for a time only.")
        expect(self.at("#recent-list")).to_contain_text("forgotten by the server")
        self.page.hover("#recent-list li")
        self.page.click("#recent-list li button:last-child")
        expect(self.at("#recents")).to_be_hidden()

    def test_a_draft_is_there_after_a_reload(self):
        self.open()
        self.page.fill("#instruction", "مرحبا")
        self.page.set_input_files("#choose-pictures", BEACH)
        self.wait_for("async () => { const { Vault } = await import('./page/vault.mjs'); const draft = await new Vault().get('draft');"
                      " return draft?.pictures.length === 1 && draft.instruction !== ''; }", "there is no draft")
        self.page.reload()
        expect(self.at("#instruction")).to_have_value("مرحبا")
        expect(self.at("#pictures img")).to_have_count(1)

    def test_text_of_a_hostile_model_stays_text(self):
        chunks = [{"id": "x", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": c}, "finish_reason": None}]}
                  for c in HOSTILE]
        chunks[-1]["choices"][0]["longhand"] = {"finish_detail": "eos"}
        stream = "".join(f"id: {i}\ndata: {json.dumps(chunk)}\n\n" for i, chunk in enumerate(chunks, 1)) + "id: 999\ndata: [DONE]\n\n"
        self.open()
        self.page.route("**/v1/chat/completions", lambda route: route.fulfill(content_type="text/event-stream", body=stream))
        self.write('<img src=x onerror="window.harm = 4">')
        self.wait_for_end("It came to its end by itself.")
        self.assertEqual(self.at("#prose :is(script, img, a, iframe, b), #asked img, #recents img").count(), 0)
        for text in ("<script>window.harm = 1</script>", '<img src=x onerror="window.harm = 2">', "[a](javascript:window.harm=3)", "<iframe src=/>"):
            expect(self.at("#prose")).to_contain_text(text)
        expect(self.at("#prose strong")).to_have_count(1)
        expect(self.at("#prose td")).to_have_count(2)
        expect(self.at("#recent-list .title")).to_have_text('<img src=x onerror="window.harm = 4">')
        self.assertIsNone(self.page.evaluate("window.harm ?? null"))
        self.assertEqual(self.copied(), HOSTILE)

    def test_the_policy_holds(self):
        self.may_fail = ("",)
        self.open()
        refused = self.page.evaluate("""async () => {
            const refused = [];
            const attempt = async (name, work) => { try { await work(); } catch { refused.push(name); } };
            await attempt("markup", () => { document.body.innerHTML = "<b>"; });
            await attempt("code", () => setTimeout("window.harm = 5"));
            await attempt("another server", () => fetch("http://127.0.0.1:1/"));
            await attempt("a handler", () => document.body.setAttribute("onclick", "window.harm = 6"));
            document.body.click();
            return refused; }""")
        self.assertEqual(refused, ["markup", "code", "another server", "a handler"])
        self.assertIsNone(self.page.evaluate("window.harm ?? null"))
        self.requests = [url for url in self.requests if not url.startswith("http://127.0.0.1:1/")]

    def test_it_waits_for_a_server_that_is_not_ready(self):
        answer = {**self.cluster.ask("GET", "/status.json").json(), "ready": False, "phase": "loading", "percent": 42}
        self.page.route("**/status.json", lambda route: route.fulfill(json=answer))
        self.page.goto(self.url)
        expect(self.at("#not-ready")).to_have_text("The server is not ready: loading, 42%.")
        expect(self.at("#write")).to_be_disabled()
        self.page.unroute("**/status.json")
        expect(self.at("#write")).to_be_enabled()
        self.page.click("#status")
        expect(self.at("table")).to_contain_text("KV blocks free")

    def test_it_fits_a_telephone_and_everything_has_a_name(self):
        self.page.set_viewport_size({"width": 390, "height": 844})
        self.open()
        check = """() => {
            const nameless = [...document.querySelectorAll("button, input, textarea, select, a")].filter((each) =>
                each.checkVisibility() && !(each.labels?.length || each.ariaLabel || each.textContent.trim()));
            return [document.documentElement.scrollWidth, nameless.map((each) => each.outerHTML)]; }"""
        self.page.evaluate("document.querySelector('.more').open = true")
        self.assertEqual(self.page.evaluate(check), [390, []])
        self.write("Write a 100-word story about the harbour.")
        expect(self.at("#composer")).to_be_hidden()
        expect(self.at("#ending")).to_be_visible()
        self.assertEqual(self.page.evaluate(check), [390, []])

    def test_the_end_is_followed_only_while_the_reader_is_there(self):
        self.page.set_viewport_size({"width": 1000, "height": 500})
        self.open()
        self.write(**LONG)
        self.wait_for_words(200)
        at_end = "() => scrollY + innerHeight >= document.documentElement.scrollHeight - 80"
        self.wait_for(at_end, "it is not at the end")
        self.page.mouse.move(700, 250)
        self.page.mouse.wheel(0, -400)
        expect(self.at("#to-end")).to_be_visible()
        place = self.page.evaluate("scrollY")
        self.wait_for_words(self.num_words() + 50)
        self.assertEqual(self.page.evaluate("scrollY"), place)
        self.page.click("#to-end")
        self.wait_for(at_end, "it is not at the end")
        self.page.click("#stop")
        expect(self.at("#ending")).to_be_visible()


class Failing(PageCase):
    def test_a_killed_coordinator_costs_no_word(self):
        self.may_fail = ("Failed to load resource",)
        self.open()
        request_id = self.write(**LONG, seed=5)
        self.page.evaluate("""() => { const waiting = document.getElementById("waiting"); window.waits = [];
            new MutationObserver(() => window.waits.push(waiting.textContent)).observe(waiting, { childList: true }); }""")
        killed = None
        for words in (50, 400):
            self.cluster.wait_until(lambda: self.num_words() > words, "there are too few words")
            self.cluster.wait_until(lambda: self.cluster.ready()["pids"]["coordinator"] != killed, "the coordinator does not come back")
            killed = self.cluster.ready()["pids"]["coordinator"]
            # While the page waited to try again, all the rest may have been written.
            self.assertTrue(words > 50 or self.entry()["state"] == "writing")
            self.cluster.kill_coordinator()
        self.wait_for_end()
        text = self.check_text(request_id)
        waits = self.page.evaluate("window.waits")
        self.assertRegex("\n".join(waits), r"Trying again in \d+ s\.")
        undisturbed = self.cluster.chat(messages=[{"role": "user", "content": [{"type": "text", "text": LONG["instruction"]}]}], seed=5,
                                        target_words=LONG["target_words"], repetition_guard=True).json()
        self.assertEqual(undisturbed["choices"][0]["message"]["content"], text)


class Keys(PageCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.NamedTemporaryFile("w", suffix=".keys") as keys:
            keys.write("tester:sk-test\n")
            keys.flush()
            cls.flags = ("--tp", "1", "--api-key-file", keys.name)
            super().setUpClass()

    def test_a_key_is_asked_for_and_kept_for_the_tab(self):
        self.may_fail = ("Failed to load resource",)
        self.open()
        expect(self.at("#key-panel")).to_be_visible()
        expect(self.at("#key-fault")).to_be_empty()
        self.page.fill("#key", "wrong")
        self.page.keyboard.press("Enter")
        expect(self.at("#key-fault")).to_contain_text("key")
        self.page.fill("#key", "sk-\u200btest")  # As it may come out of a clipboard.
        self.page.keyboard.press("Enter")
        expect(self.at("#key-fault")).to_contain_text("ASCII")
        self.page.fill("#key", "sk-test")
        self.page.keyboard.press("Enter")
        expect(self.at("#key-panel")).to_be_hidden()
        request_id = self.write("Write a 50-word story about the harbour.")
        self.wait_for_end("It came to its end by itself.")
        self.check_text(request_id, Authorization="Bearer sk-test")
        self.page.reload()
        self.wait_for_end("It came to its end by itself.")
        expect(self.at("#key-panel")).to_be_hidden()
        self.assertTrue(all("sk-test" not in url for url in [*self.requests, self.page.url]))
        self.assertNotIn("sk-test", self.page.evaluate("JSON.stringify(localStorage)"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
