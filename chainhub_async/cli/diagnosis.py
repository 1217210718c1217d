"""Turns the outcome of one free request into checks of the connection to the gateway."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import urlsplit

import attrs

from chainhub_async.errors import (
    APIError,
    AuthenticationError,
    CertificateError,
    ChainHubError,
    ConnectError,
    DeadlineError,
    InsufficientBalanceError,
    NameResolutionError,
    NotFoundError,
    PermissionDeniedError,
    ProxyError,
    RateLimitError,
    RedirectError,
    ServerError,
)
from chainhub_async.transport.messages import Response

LOOKUP, CONNECTION, TLS, PROXY = "name lookup", "connection", "TLS", "way through the proxy"
GATEWAY, ACCEPTED = "gateway", "key accepted"
OK, FAILED, SKIPPED = "ok", "failed", "skipped"


@attrs.frozen
class Check:
    """One line of the checklist.

    Attributes:
        name: what was checked.
        state: `ok`, `failed` or `skipped`.
        detail: what was found.
        advice: what to do next, or empty.
    """

    name: str
    state: str
    detail: str = ""
    advice: str = ""


def way(base_url: str, *, proxied: bool) -> list[str]:
    """Returns the steps up to an accepted key, in order."""
    secure = urlsplit(base_url).scheme == "https"
    # With a proxy, it is the proxy that resolves the name and connects.
    first = [PROXY] if proxied else [LOOKUP, CONNECTION]
    return [*first, *([TLS] if secure else []), GATEWAY, ACCEPTED]


def checklist(steps: Sequence[str], *found: Check) -> list[Check]:
    """Returns all steps: `ok` before the first one found, `skipped` after the last."""
    names = [check.name for check in found]
    by_name = dict(zip(names, found, strict=True))
    first = min(steps.index(name) for name in names)
    return [
        by_name.get(step) or Check(step, OK if place < first else SKIPPED)
        for place, step in enumerate(steps)
    ]


def of_answer(response: Response) -> list[Check]:
    """Judges a 2xx response to the request for the list of models."""
    listed = _json(response.body)
    if isinstance(listed, dict) and isinstance(listed.get("data"), list):
        return [
            Check(GATEWAY, OK, f"it lists models: {len(listed['data'])}"),
            Check(ACCEPTED, OK),
        ]
    what = "not a list of models" if listed is not None else "not JSON"
    return [
        Check(
            GATEWAY,
            FAILED,
            f"the response is {what}, so this is not the gateway",
            "Check CHAINHUB_BASE_URL: it leads to a different server.",
        )
    ]


def of_error(error: ChainHubError, base_url: str, *, proxied: bool, connects: bool) -> list[Check]:
    """Judges an exception.

    Args:
        error: the exception.
        base_url: where the request went.
        proxied: whether it went through a proxy.
        connects: whether a bare TCP connection can be made there.
    """
    if isinstance(error, APIError):
        return _of_refusal(error, base_url)
    said = error.message
    secure = urlsplit(base_url).scheme == "https"
    connecting = isinstance(error, ConnectError) or getattr(error, "phase", "") == "connect"
    if isinstance(error, ProxyError) or (
        proxied and connecting and not isinstance(error, CertificateError)
    ):
        advice = "Check the proxy's URL and whether it allows connections to the gateway."
        return [Check(PROXY, FAILED, said, advice)]
    if isinstance(error, NameResolutionError):
        advice = "Check the base URL for typos, and that DNS works on this machine."
        return [Check(LOOKUP, FAILED, said, advice)]
    if isinstance(error, CertificateError):
        return [Check(TLS, FAILED, said, _about_tls(said))]
    if connecting:
        if connects and secure:
            advice = "The port is open, but the TLS handshake fails: is it an https port?"
            return [Check(TLS, FAILED, said, advice)]
        return [Check(CONNECTION, FAILED, said, _about_connection(error))]
    advice = "This may be a different server, or the gateway may have a problem: check the base "
    return [Check(GATEWAY, FAILED, said, f"{advice}URL, then try again later.")]


def _about_connection(error: ChainHubError) -> str:
    if isinstance(error, DeadlineError):
        return "No response: a firewall may drop packets. Do you need a proxy (HTTPS_PROXY)?"
    return "Nothing listens there, or a firewall refuses: check host and port of the base URL."


def _about_tls(said: str) -> str:
    if "certificate" in said.lower():
        return (
            "This machine does not trust the certificate. With a custom CA or a TLS-inspecting "
            "proxy, set SSL_CERT_FILE to the CA's certificate."
        )
    return "The TLS handshake fails: is it an https port, and does it support TLS 1.2 or later?"


def _of_refusal(error: APIError, base_url: str) -> list[Check]:
    said = error.message
    if isinstance(error, RedirectError):
        advice = f"If you trust the target, set CHAINHUB_BASE_URL to it: {error.location}."
        return [Check(GATEWAY, FAILED, said, advice)]
    if _json(error.body) is None:
        advice = (
            "The response is not from the gateway: check CHAINHUB_BASE_URL, or try again later."
        )
        return [Check(GATEWAY, FAILED, said, advice)]
    if isinstance(error, NotFoundError):
        return _of_unknown_path(said, base_url)
    if isinstance(error, ServerError):
        return [Check(GATEWAY, FAILED, said, "The gateway has a problem: try again later.")]
    return [Check(GATEWAY, OK, "it responds"), _of_key(error)]


def _of_unknown_path(said: str, base_url: str) -> list[Check]:
    if path := urlsplit(base_url).path:
        advice = f"Remove the path {path!r} from the base URL: the client adds its own."
        return [Check(GATEWAY, FAILED, said, advice)]
    return [
        Check(GATEWAY, OK, "a similar server responds, but it does not list models"),
        Check(
            ACCEPTED,
            SKIPPED,
            "unknown: without that list, only a paid call would tell",
            "If calls fail with 404 too, the base URL is wrong.",
        ),
    ]


def _of_key(error: APIError) -> Check:
    said = error.message
    if isinstance(error, AuthenticationError):
        advice = "Check CHAINHUB_API_KEY: is it complete, unexpired, and for this gateway?"
        return Check(ACCEPTED, FAILED, said, advice)
    if isinstance(error, InsufficientBalanceError):
        return Check(
            ACCEPTED, FAILED, said, "The key is valid, but the balance is empty: top it up."
        )
    if isinstance(error, PermissionDeniedError):
        return Check(ACCEPTED, FAILED, said, "The key is valid, but not allowed to do this.")
    if isinstance(error, RateLimitError):
        return Check(ACCEPTED, SKIPPED, said, "Too many requests: try again later.")
    return Check(
        ACCEPTED, SKIPPED, said, "The gateway does not accept the request for the list of models."
    )


def _json(body: bytes) -> object:
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value
