"""Drives Chromium over WebDriver (standard library only) through the page of a server that it starts itself."""
import base64, csv, io, json, os, pathlib, socket, subprocess, sys, time, urllib.error, urllib.request

WORK, SERVER, AXE = pathlib.Path(os.environ["WORK"]), os.environ["SERVER"], os.environ.get("AXE", "")
KEEP = os.environ.get("KEEP")
TEXT = "A lovely 👍🏽 film, beautifully café-lit. The plot is dull, and the jokes are awful! Still, I liked it a lot."


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def call(method, url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


class Service:
    """The server, which can be stopped and started again at the same address."""

    def __init__(self, *arguments):
        self.port, self.arguments = free_port(), arguments
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("IMDB_SENTIMENT_", "OTEL_"))}
        command = [SERVER, "--port", str(self.port), *self.arguments]
        self.process = subprocess.Popen(command, env=clean, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert "listening" in self.process.stdout.readline(), "the server did not start"

    def stop(self):
        self.process.kill()
        self.process.wait()


class Browser:
    def __init__(self):
        port = free_port()
        self.driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.base = f"http://127.0.0.1:{port}"
        until(lambda: call("GET", self.base + "/status")["value"]["ready"], "chromedriver")
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
                     "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
                     "--hide-scrollbars", f"--user-data-dir={WORK / 'profile'}"]
        wanted = {"browserName": "chrome", "goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        session = call("POST", self.base + "/session", {"capabilities": {"alwaysMatch": wanted}})["value"]
        self.base += "/session/" + session["sessionId"]
        self.requests, self.complaints = [], []
        self.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(WORK))

    def close(self):
        try:
            call("DELETE", self.base)
        finally:
            self.driver.terminate()
            self.driver.wait()

    def cdp(self, command, **parameters):
        return call("POST", self.base + "/goog/cdp/execute", {"cmd": command, "params": parameters})["value"]

    def open(self, url):
        call("POST", self.base + "/url", {"url": url})

    def run(self, script, *arguments):
        return call("POST", self.base + "/execute/sync", {"script": script, "args": list(arguments)})["value"]

    def run_async(self, script):
        return call("POST", self.base + "/execute/async", {"script": script, "args": []})["value"]

    def element(self, css):
        return next(iter(call("POST", self.base + "/element", {"using": "css selector", "value": css})["value"].values()))

    def type(self, css, text):
        call("POST", f"{self.base}/element/{self.element(css)}/value", {"text": text})

    def click(self, css):
        call("POST", f"{self.base}/element/{self.element(css)}/click", {})

    def keys(self, *keys):
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        call("POST", self.base + "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def text(self, css):
        return self.run("return document.querySelector(arguments[0])?.textContent ?? ''", css)

    def fill(self, text):
        self.run("const box = document.querySelector('#text'); box.value = arguments[0]; box.dispatchEvent(new Event('input'))", text)

    def screen(self, width, height, scheme):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}])

    def picture(self, name):
        size = self.cdp("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        data = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        (pathlib.Path(KEEP) / name).write_bytes(base64.b64decode(data))

    def drain(self):
        """Notes what the browser logged and asked for since the last time."""
        for entry in call("POST", self.base + "/se/log", {"type": "browser"})["value"]:
            self.complaints.append(entry["message"])
        for entry in call("POST", self.base + "/se/log", {"type": "performance"})["value"]:
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])


def until(condition, what, seconds=40):
    end = time.monotonic() + seconds
    while True:
        try:
            if value := condition():
                return value
        except (urllib.error.URLError, ConnectionError):
            pass
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.1)


LABELS = ("positive", "negative", "uncertain")
step = lambda text: print("  " + text, flush=True)


def words_and_colours(browser, service):
    browser.fill(TEXT)
    until(lambda: browser.run("return document.querySelectorAll('#sentences .sentence').length") == 3, "three sentences")
    answer = call("POST", service.url + "/predict", {"text": TEXT, "explain": True, "sentences": True, "offsets": "utf16"})
    spans = browser.run("return [...document.querySelectorAll('#sentences .w')].map(w => [w.textContent, +w.dataset.weight, w.className])")
    units = TEXT.encode("utf-16-le")
    assert len(spans) == len(answer["words"])
    strongest = max(max(abs(word["weight"]) for word in answer["words"]), 0.35)
    for (text, weight, classes), word in zip(spans, answer["words"]):
        assert text == word["text"] == units[2 * word["start"]:2 * word["end"]].decode("utf-16-le"), (text, word)
        assert abs(weight - word["weight"]) < 1e-5, (text, weight, word)
        steps = sum(abs(word["weight"]) / strongest >= least for least in (0.07, 0.18, 0.4, 0.75))
        shade = ("p" if word["weight"] > 0 else "n") + str(steps) if steps else ""
        assert [c for c in classes.split() if c[0] in "pn" and len(c) == 2] == [shade] * bool(shade), (classes, word)
        assert ("unknown" in classes.split()) == (not word["known"])
    shown = browser.run("return document.querySelector('#sentences').innerText").replace("\n", " ")
    assert "👍🏽" in shown and "café" in shown
    margins = browser.run("return [...document.querySelectorAll('.margin b')].map(b => b.textContent)")
    assert margins == [sentence["label"] for sentence in answer["sentences"]], margins
    assert browser.text("#label") == answer["label"]
    assert browser.run("return document.querySelectorAll('#curve .dot').length") == 3


def keyboard_only(browser, url):
    # Anew, so that the focus begins at the top; the text is still there.
    browser.open(url)
    until(lambda: browser.run("return document.querySelectorAll('#sentences .w').length") > 10, "the text after a reload")
    tab, right, down = "\ue004", "\ue014", "\ue015"
    seen = []
    for _ in range(40):
        browser.keys(tab)
        seen.append(browser.run("const a = document.activeElement; return [a.id, a.className, a.tagName]"))
        if seen[-1][1].startswith("w"):
            break
    assert any(focus[0] == "text" for focus in seen), seen
    assert seen[-1][1].startswith("w"), seen
    first = browser.text("#reading")
    browser.keys(right)
    second = browser.text("#reading")
    assert first != second and "towards" in second, (first, second)
    browser.keys(down)
    row = browser.run("return [...document.querySelectorAll('.sentence')].indexOf(document.activeElement.closest('.sentence'))")
    assert row == 1, row
    outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", outline


def a_file(browser):
    rows = [["id", "review"]]
    for number in range(1000):
        rows.append([str(number), ["Wonderful, \"moving\" film.", "Dull; a waste, truly", "Fine.\nJust fine.", "👍 great"][number % 4]])
    rows[500][1] = " ... "
    path = WORK / "reviews.csv"
    with open(path, "w", newline="", encoding="utf8") as out:
        csv.writer(out).writerows(rows)
    browser.type("#file", str(path))
    until(lambda: "1,000 texts scored" in browser.text("#job-state"), "1,000 texts", 90)
    assert browser.run("return document.querySelectorAll('#histogram rect').length") == 20
    assert browser.run("return document.querySelectorAll('#rows tr').length") == 20
    browser.run("[...document.querySelectorAll('#table-head button')].find(b => b.textContent.startsWith('Positive')).click()")
    shown = browser.run("return [...document.querySelectorAll('#rows tr')].map(r => r.children[3].textContent)")
    assert shown[0].startswith(("Wonderful", "👍", "Fine")), shown[0]
    assert browser.run("return document.querySelectorAll('th[aria-sort=descending]').length") == 1
    browser.click("#download")
    saved = WORK / "reviews-scored.csv"
    until(saved.exists, "the download")
    until(lambda: not list(WORK.glob("*.crdownload")), "the end of the download")
    found = list(csv.reader(io.StringIO(saved.read_text(encoding="utf8"), newline="")))
    assert len(found) == 1001 and found[0] == ["id", "review", "label", "positive"], found[0]
    # A browser writes the file's own line ends; a text keeps what was in it.
    assert [row[:2] for row in found[1:]] == rows[1:]
    assert found[500][2] == "" and all(row[2] in LABELS for row in found[1:] if row[0] != "499")


def a_stopped_server(browser, service):
    service.stop()
    browser.fill("Typed while the server is away. Wonderful!")
    until(lambda: not browser.run("return document.querySelector('#notice').hidden"), "the error")
    assert "does not answer" in browser.text("#notice-text")
    assert browser.run("return document.querySelector('#text').value").startswith("Typed while")
    service.start()
    until(lambda: browser.run("return document.querySelector('#notice').hidden"), "the recovery")
    until(lambda: any(label in browser.text("#sentences") for label in LABELS), "the verdict")


def a_key(browser):
    service = Service("--api-key", "open-sesame", "--model", "models/keras-imdb")
    try:
        browser.open(service.url)
        until(lambda: not browser.run("return document.querySelector('#key-form').hidden"), "the question for a key")
        browser.type("#key", "open-sesame")
        browser.click("#key-form button")
        browser.fill("A wonderful film.")
        until(lambda: browser.text("#label") in LABELS, "a verdict with the key")
        assert browser.run("return localStorage.length") == 0
        assert browser.run("return document.cookie") == ""
    finally:
        service.stop()


def the_api(browser, service):
    """`/docs`: each operation of the description, one of them asked from the page, at two widths in both schemes."""
    browser.screen(1280, 900, "light")
    browser.open(service.url + "/docs")
    until(lambda: browser.run("return document.querySelectorAll('.opblock').length") > 10, "the operations")
    described = json.load(urllib.request.urlopen(service.url + "/openapi.json"))
    operations = sum(len(methods) for methods in described["paths"].values())
    assert browser.run("return document.querySelectorAll('.opblock').length") == operations
    browser.run("document.querySelector('#operations-sentiment-predict .opblock-summary-control').click()")
    until(lambda: browser.run("return !!document.querySelector('#operations-sentiment-predict textarea')"), "the body")
    browser.run("document.querySelector('#operations-sentiment-predict button.execute').click()")
    until(lambda: browser.text("#operations-sentiment-predict .live-responses-table tbody .response-col_status").startswith("200"), "an answer")
    shown = browser.text("#operations-sentiment-predict .live-responses-table .microlight, #operations-sentiment-predict .live-responses-table .highlight-code")
    assert '"label"' in shown, shown
    for scheme in ("light", "dark"):
        for width in (420, 1280):
            browser.screen(width, 900, scheme)
            time.sleep(0.3)
            ground = browser.run("return getComputedStyle(document.body).backgroundColor")
            dark = sum(int(n) for n in ground[4:-1].split(",")[:3]) < 380 if ground.startswith("rgb(") else False
            assert dark == (scheme == "dark"), ground
            if KEEP:
                browser.picture(f"docs-{scheme}-{width}.png")
    step("/docs shows every operation and asks the server that it came from")


def accessibility(browser, where):
    browser.run(pathlib.Path(AXE).read_text() + "; window.axe = axe;")
    result = browser.run_async("const done = arguments[arguments.length - 1]; axe.run(document, {resultTypes: ['violations']}).then(r => done(r.violations.map(v => [v.impact, v.id, v.nodes.slice(0, 3).map(n => n.html.slice(0, 160))])), e => done([['error', String(e)]]))")
    serious = [found for found in result if found[0] in ("serious", "critical", "error")]
    assert not serious, f"{where}: {json.dumps(serious, indent=1)}"
    return [found[1] for found in result]


def main():
    service = Service("--model", "models/imdb", "--model", "models/keras-imdb")
    browser = None
    try:
        browser = Browser()
        browser.screen(1280, 900, "light")
        browser.open(service.url)
        step("typing gives a verdict")
        browser.type("#text", "An utterly wonderful film.")
        until(lambda: browser.text("#label") == "positive", "a verdict")
        assert "likely positive" in browser.text("#probability") and "ms" in browser.text("#facts")
        step("words, colours and offsets are the API's")
        words_and_colours(browser, service)
        step("keyboard only")
        keyboard_only(browser, service.url)
        step("another model")
        browser.run("const m = document.querySelector('#model'); m.value = 'keras-imdb'; m.dispatchEvent(new Event('change'))")
        until(lambda: "by keras-imdb" in browser.text("#facts"), "the other model")
        browser.run("const m = document.querySelector('#model'); m.value = 'imdb'; m.dispatchEvent(new Event('change'))")
        until(lambda: "by imdb" in browser.text("#facts"), "the first model")
        step("a file of 1,000 lines")
        a_file(browser)
        minor = set()
        for scheme in ("light", "dark"):
            for width in (360, 768, 1280):
                browser.screen(width, 900, scheme)
                browser.fill(TEXT + f" Seen at {width}.")
                until(lambda: browser.run("return document.querySelectorAll('#sentences .sentence').length") == 4, "the words")
                time.sleep(0.3)
                wide = browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
                assert wide <= 0, f"{width}: {wide} pixels too wide"
                ground = browser.run("return getComputedStyle(document.body).backgroundColor")
                dark = sum(int(n) for n in ground[4:-1].split(",")[:3]) < 380
                assert dark == (scheme == "dark"), ground
                if AXE:
                    minor.update(accessibility(browser, f"{width} {scheme}"))
                if KEEP:
                    browser.picture(f"{scheme}-{width}.png")
        step("three widths, light and dark" + (f", axe-core (minor: {', '.join(sorted(minor)) or 'none'})" if AXE else ""))
        the_api(browser, service)
        browser.screen(1280, 900, "light")
        browser.open(service.url)
        browser.drain()
        complaints, requests = browser.complaints, browser.requests
        assert not complaints, complaints
        outside = [url for url in requests if not url.startswith((service.url, "data:", "blob:", "chrome", "about:"))]
        assert requests and not outside, outside
        step(f"{len(requests)} requests, all to the server; nothing on the console")
        a_stopped_server(browser, service)
        step("a stopped server is told of, and recovered from")
        a_key(browser)
        step("a key is asked for, and kept for the tab only")
    finally:
        if browser:
            browser.close()
        service.stop()


if __name__ == "__main__":
    main()
