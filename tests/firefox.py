"""A headless Firefox for tests, spoken to by WebDriver BiDi, the W3C's protocol, which Firefox serves by itself.

Playwright's own BiDi asks for commands that the Firefox of a stable Debian (140) does not have yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

from support import missing
from tornado.websocket import WebSocketClientConnection, websocket_connect

PATIENCE = 60  # seconds for one answer


class Firefox:
    """One tab. The loop of its socket has a thread of its own: Playwright has one in the test's."""

    def __init__(self, socket: str):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.socket = self._wait(self._connect(f"{socket}/session"))
        self.numbers = itertools.count()
        self.say("session.new", capabilities={})
        self.tab = self.say("browsingContext.getTree")["contexts"][0]["context"]

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    async def _connect(self, url: str) -> WebSocketClientConnection:
        return await websocket_connect(url, max_message_size=2**26)

    async def _ask(self, method: str, params: dict[str, Any]) -> Any:
        number = next(self.numbers)
        await self.socket.write_message(json.dumps({"id": number, "method": method, "params": params}))
        while (answer := json.loads(await self.socket.read_message())).get("id") != number:
            pass  # an event that nobody waits for
        if answer["type"] != "success":
            raise RuntimeError(f"Firefox: {method}: {answer['message']}")
        return answer["result"]

    def say(self, method: str, **params: Any) -> Any:
        return self._wait(self._ask(method, params))

    # What a test does with a tab of Playwright's, by the same names.

    def set_viewport_size(self, size: dict[str, int]) -> None:
        self.say("browsingContext.setViewport", context=self.tab, viewport=size)

    def goto(self, url: str) -> None:
        self.say("browsingContext.navigate", context=self.tab, url=url, wait="complete")

    def reload(self) -> None:
        self.say("browsingContext.reload", context=self.tab, wait="complete")

    def go_back(self) -> None:
        self.say("browsingContext.traverseHistory", context=self.tab, delta=-1)

    def evaluate(self, expression: str) -> Any:
        source = f"(async () => JSON.stringify(await ({expression})) ?? 'null')()"
        ran = self.say("script.evaluate", expression=source, target={"context": self.tab}, awaitPromise=True)
        if ran["type"] == "exception":
            raise RuntimeError(f"Firefox: {ran['exceptionDetails']['text']}")
        return json.loads(ran["result"]["value"])


def _announced(process: subprocess.Popen[str]) -> str:
    """The address of the socket, which Firefox prints when it is ready."""
    assert process.stderr
    for line in process.stderr:
        if found := re.search(r"WebDriver BiDi listening on (ws://\S+)", line):
            threading.Thread(target=process.stderr.read, daemon=True).start()  # nothing blocks on a full pipe
            return found[1]
    raise RuntimeError("Firefox ended before it could be spoken to")


@contextlib.contextmanager
def launch_firefox() -> Iterator[Firefox]:
    """A Firefox with a profile of its own, as it comes, but for what it would tell its makers."""
    path = shutil.which("firefox-esr") or shutil.which("firefox")
    if not path:
        missing("Firefox", "Install it: `apt install firefox-esr`.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        quiet = (
            "datareporting.policy.dataSubmissionEnabled",
            "app.normandy.enabled",
            "network.captive-portal-service.enabled",
        )
        Path(profile, "user.js").write_text("".join(f'user_pref("{name}", false);\n' for name in quiet), "utf8")
        command = [str(path), "--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", profile]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            yield Firefox(_announced(process))
        finally:
            process.terminate()
            process.wait(PATIENCE)
