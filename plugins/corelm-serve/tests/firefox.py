"""Drive the installed Firefox by WebDriver BiDi; Playwright needs a Firefox that it downloads."""

import contextlib
import json
import shutil
import subprocess
import tempfile

import httpx2
import pytest

LISTENING = "WebDriver BiDi listening on "
LARGEST = 2**28  # bytes of an answer
PATIENCE = 300  # seconds


class Firefox:
    """A tab, with the requests and the complaints of its pages."""

    def __init__(self, socket):
        self.socket, self.number, self.requests, self.complaints = socket, 0, [], []
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["network.beforeRequestSent", "log.entryAdded"])
        self.tab = self.call("browsingContext.getTree")["contexts"][0]["context"]

    def call(self, method, **params):
        """Return the result of a command; keep the events that come before it."""
        self.number += 1
        self.socket.send_text(json.dumps({"id": self.number, "method": method, "params": params}))
        while (message := json.loads(self.socket.receive_text(PATIENCE))).get("id") != self.number:
            if message["method"] == "network.beforeRequestSent":
                self.requests.append(message["params"]["request"]["url"])
            else:
                self.complaints.append(message["params"]["text"])
        assert message["type"] == "success", message
        return message["result"]

    def evaluate(self, function, argument):
        """Return what a JavaScript function makes of JSON."""
        source = f"async () => JSON.stringify(await ({function})({json.dumps(argument)}))"
        target = {"context": self.tab}
        result = self.call(
            "script.callFunction", functionDeclaration=source, awaitPromise=True, target=target
        )
        return json.loads(result["result"]["value"])


@contextlib.contextmanager
def firefox():
    """Yield the installed Firefox, started without a screen; skip the test without one."""
    pytest.importorskip("wsproto", reason='pip install "httpx2[ws]"')
    path = shutil.which("firefox-esr") or shutil.which("firefox")
    if path is None:
        pytest.skip("no Firefox was found; Debian has it as the package firefox-esr")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [path, "--headless", "--remote-debugging-port", "0", "--profile", profile]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                lines = (line for line in process.stderr if line.startswith(LISTENING))
                address = next(lines).removeprefix(LISTENING).strip() + "/session"
                with httpx2.websocket(address, max_message_size_bytes=LARGEST) as socket:
                    yield Firefox(socket)
            finally:
                process.terminate()
