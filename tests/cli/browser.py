"""A headless Chromium, driven through its DevTools protocol over a local socket."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import attrs

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_KEYS = {
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "Tab": 9,
    "Enter": 13,
    "Escape": 27,
    "End": 35,
    "Home": 36,
}


def executable() -> str | None:
    """The browser: that of the environment, or the first on the path."""
    named = os.environ.get("CHAINHUB_TEST_CHROMIUM")
    return named or next(filter(None, map(shutil.which, _NAMES)), None)


@attrs.define
class Tab:
    """A page in the browser.

    Attributes:
        problems: what its console complained about.
        requested: the URLs it asked for.
    """

    _socket: aiohttp.ClientWebSocketResponse[bool]
    problems: list[str] = attrs.field(factory=list[str])
    requested: list[str] = attrs.field(factory=list[str])
    _number: int = 0

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and returns its result."""
        self._number += 1
        number = self._number
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        with anyio.fail_after(60):
            while True:
                told: dict[str, Any] = await self._socket.receive_json()
                self._note(told)
                if told.get("id") == number:
                    assert "error" not in told, told
                    return dict(told["result"])

    def _note(self, told: Mapping[str, Any]) -> None:
        details = told.get("params", {})
        match told.get("method"):
            case "Runtime.exceptionThrown":
                self.problems.append(json.dumps(details["exceptionDetails"]))
            case "Log.entryAdded":
                self.problems.append(details["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requested.append(details["request"]["url"])
            case _:
                pass

    async def run(self, script: str) -> Any:
        """The value of an expression, awaited if need be."""
        told = await self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def until(self, script: str) -> None:
        """Waits for an expression to become true."""
        with anyio.fail_after(20):
            while not await self.run(script):
                await anyio.sleep(0.03)

    async def open(self, address: str) -> None:
        """Opens a page and waits until it is loaded."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")
        await self.send("Page.navigate", url="about:blank")
        await self.send("Page.navigate", url=address)
        await self.until("document.readyState === 'complete' && location.protocol === 'file:'")

    async def size(self, width: int, height: int, *, mobile: bool = False) -> None:
        """Sets the size of the screen."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if mobile else 1,
            mobile=mobile,
        )

    async def prefer(self, **features: str) -> None:
        """Sets media features, such as `prefers_color_scheme="dark"`."""
        told = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        await self.send("Emulation.setEmulatedMedia", features=told)

    async def press(self, key: str) -> None:
        """Presses a key."""
        text = "\r" if key == "Enter" else ""
        for kind in ("keyDown", "keyUp"):
            await self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=_KEYS[key],
                text=text if kind == "keyDown" else "",
            )

    async def click(self, selector: str, *, across: float = 0.5) -> None:
        """Clicks on an element, at this part of its width."""
        box = await self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            " return {x: b.x, y: b.y + b.height / 2, w: b.width}; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.send(
                "Input.dispatchMouseEvent",
                type=kind,
                x=box["x"] + box["w"] * across,
                y=box["y"],
                button="left",
                buttons=1 if kind == "mousePressed" else 0,
                clickCount=1,
            )

    async def screenshot(self, target: Path | None = None) -> bytes:
        """A PNG of what is seen."""
        data = base64.b64decode((await self.send("Page.captureScreenshot"))["data"])
        if target is not None:
            await anyio.Path(target).write_bytes(data)
        return data


@asynccontextmanager
async def browsing(profile: Path) -> AsyncGenerator[Tab, None]:
    """A browser with an empty profile."""
    program = executable()
    assert program is not None
    process = subprocess.Popen(
        [
            program,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--no-first-run", "--disable-background-networking", "--hide-scrollbars"),
            *("--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = await _port(profile / "DevToolsActivePort", process)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as reply:
                pages = [each for each in await reply.json() if each["type"] == "page"]
            address = pages[0]["webSocketDebuggerUrl"]
            async with session.ws_connect(address, max_msg_size=0) as socket:
                yield Tab(socket)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    with anyio.fail_after(40):
        while True:
            assert process.poll() is None, "the browser ended at once"
            if file.exists() and (lines := file.read_text().splitlines()):
                return int(lines[0])
            await anyio.sleep(0.05)
