"""A headless Chromium, spoken to over two pipes in the protocol of its developer tools: no port, no package."""

import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import time

import pytest

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-extensions",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-pipe",
]
PATIENCE = 60  # seconds for one answer, on a machine that is busy with other things


class Chromium:
    """One browser with one page; `problems` gathers what its console and its network report."""

    def __init__(self, program, home):
        (to_read, self._write), (self._read, to_write) = os.pipe(), os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, to_write)]  # away from 3 and 4, where the browser looks
        os.close(to_read), os.close(to_write)

        def place():
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={home}"],
            preexec_fn=place,
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for end in ends:
            os.close(end)
        self._buffer, self._number, self._session = b"", 0, None
        self.problems, self.requests = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        return self._until(lambda answer: answer.get("id") == self._number).get("result", {})

    def open(self, url, width, height=900):
        """Load a page at a width, without the pages before it in `problems` and `requests`."""
        self.problems.clear(), self.requests.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self._loaded = False
        self.call("Page.navigate", url=url)
        if not self._loaded:
            self._until(lambda message: message.get("method") == "Page.loadEventFired")

    def value(self, expression):
        """What a JavaScript expression comes to on the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def close(self):
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, 9)
        self._process.wait()
        os.close(self._write), os.close(self._read)

    def _until(self, wanted):
        end = time.monotonic() + PATIENCE
        while True:
            while b"\0" in self._buffer:
                text, _, self._buffer = self._buffer.partition(b"\0")
                message = json.loads(text)
                self._note(message)
                if wanted(message):
                    assert "error" not in message, message
                    return message
            ready = select.select([self._read], [], [], max(0, end - time.monotonic()))[0]
            got = os.read(self._read, 1 << 20) if ready else b""
            if not got:
                raise RuntimeError("The browser does not answer" if not ready else "The browser ended")
            self._buffer += got

    def _note(self, message):
        method, about = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif method == "Network.loadingFailed" and not about.get("canceled"):
            self.problems.append(about["errorText"])
        elif method == "Runtime.exceptionThrown":
            self.problems.append(about["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning"):
            self.problems.append(str(about["args"]))
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.problems.append(about["entry"]["text"])


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium here (Debian: apt install chromium): the pages are not looked at")
    browser = Chromium(program, tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()
