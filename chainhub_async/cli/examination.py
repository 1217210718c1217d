"""The checks of `chainhub doctor`: the local configuration, then one free request."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import anyio
import attrs

from chainhub_async._version import __version__
from chainhub_async.cli import diagnosis
from chainhub_async.cli.diagnosis import FAILED, OK, SKIPPED, Check
from chainhub_async.client import AsyncChainHub
from chainhub_async.config import DEFAULT_BASE_URL, Timeout
from chainhub_async.errors import ChainHubError, ConfigurationError, printable
from chainhub_async.transport.retry import RetryPolicy
from chainhub_async.transport.session import proxy_for

# The gateway family's list of models: the only request known to be free that requires a key.
_MODELS = "/v1/models"
_TIMEOUT = Timeout(connect=5, read=10, reply=5, attempt=15, total=15)
_TCP_SECONDS = 3
# Sent when there is no key, to check connectivity anyway. It gives no access.
_NO_KEY = "no-key-is-set"
_PACKAGES = ("aiohttp", "anyio", "attrs", "cattrs", "aiofiles")


@attrs.frozen
class Findings:
    """The results of the checks.

    Attributes:
        checks: the checklist.
    """

    checks: list[Check]

    @property
    def healthy(self) -> bool:
        """Whether the gateway accepted the key."""
        states = {check.name: check.state for check in self.checks}
        return states.get(diagnosis.ACCEPTED) == OK and FAILED not in states.values()

    def as_dict(self) -> dict[str, Any]:
        """Returns what `--json` prints."""
        return {
            "ok": self.healthy,
            "versions": _versions(),
            "checks": [attrs.asdict(check) for check in self.checks],
        }


async def examine(base_url: str | None) -> Findings:
    """Makes all checks; no paid call is sent."""
    url, origin = _address(base_url)
    key, address = _check_key(), _check_address(url, origin)
    checks = [Check("versions", OK, ", ".join(map(" ".join, _versions().items()))), key, address]
    if address.state == FAILED:
        return Findings([*checks, *_skipped(diagnosis.way("", proxied=False))])
    proxy, proxied = _check_proxy(url)
    steps = diagnosis.way(url, proxied=proxied)
    if proxy.state == FAILED:
        return Findings([*checks, proxy, *_skipped(steps)])
    found = await _ask(url, proxied=proxied, has_key=key.state == OK)
    return Findings([*checks, proxy, *diagnosis.checklist(steps, *found)])


def _versions() -> dict[str, str]:
    own = {"chainhub-async": __version__, "Python": platform.python_version()}
    return own | {name: version(name) for name in _PACKAGES}


def _skipped(steps: list[str]) -> list[Check]:
    return [Check(step, SKIPPED) for step in steps]


def _address(given: str | None) -> tuple[str, str]:
    if given is not None:
        return given, "--base-url"
    told = os.environ.get("CHAINHUB_BASE_URL")
    return (told, "CHAINHUB_BASE_URL") if told else (DEFAULT_BASE_URL, "the default")


def _check_key() -> Check:
    if not os.environ.get("CHAINHUB_API_KEY", "").strip():
        return Check("key", FAILED, "not set", "Set the environment variable CHAINHUB_API_KEY.")
    problem = _refused(api_key=None, base_url=DEFAULT_BASE_URL)
    if problem is None:
        return Check("key", OK, "CHAINHUB_API_KEY is set")
    return Check("key", FAILED, problem, "Correct the environment variable CHAINHUB_API_KEY.")


def _check_address(url: str, origin: str) -> Check:
    problem = _refused(api_key=_NO_KEY, base_url=url)
    if problem is None:
        return Check("base URL", OK, f"{printable(url, 300)}, from {origin}")
    advice = "Use the form of the default, https://api.chainhub.tech."
    return Check("base URL", FAILED, f"{problem} (from {origin})", advice)


def _refused(*, api_key: str | None, base_url: str) -> str | None:
    try:
        AsyncChainHub(api_key, base_url=base_url)
    except ConfigurationError as problem:
        return problem.message
    return None


def _check_proxy(url: str) -> tuple[Check, bool]:
    try:
        proxy = proxy_for(url, None)
    except ConfigurationError as problem:
        advice = "Set an http:// proxy, or exclude this host with NO_PROXY."
        return Check("proxy", FAILED, problem.message, advice), True
    if proxy is None:
        return Check("proxy", OK, "none is used"), False
    parts = urlsplit(proxy)
    # Never the whole URL: it may contain a password.
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    login = ", with a user name" if "@" in parts.netloc else ""
    return Check("proxy", OK, f"{printable(where, 300)}{login}, from {_origin_of_proxy(url)}"), True


def _origin_of_proxy(url: str) -> str:
    scheme = urlsplit(url).scheme
    # In the order in which Python looks at them.
    for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"):
        if os.environ.get(name):
            return name
    return "the system's settings"


async def _ask(url: str, *, proxied: bool, has_key: bool) -> list[Check]:
    once = RetryPolicy(max_attempts=1)
    key = None if has_key else _NO_KEY
    async with AsyncChainHub(key, base_url=url, timeout=_TIMEOUT, retry=once) as hub:
        try:
            found = diagnosis.of_answer(await hub.request("GET", _MODELS))
        except ChainHubError as error:
            connects = not proxied and await _connects(url)
            found = diagnosis.of_error(error, url, proxied=proxied, connects=connects)
    if has_key:
        return found
    unknown = Check(diagnosis.ACCEPTED, SKIPPED, "there is no key to check")
    return [unknown if check.name == diagnosis.ACCEPTED else check for check in found]


async def _connects(url: str) -> bool:
    """Returns whether a plain TCP connection can be made, so that only TLS can be at fault."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with anyio.fail_after(_TCP_SECONDS):
            stream = await anyio.connect_tcp(parts.hostname or "", port)
    except (OSError, TimeoutError):
        return False
    await stream.aclose()
    return True
