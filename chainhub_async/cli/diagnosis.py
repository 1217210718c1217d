"""What one free request tells about the way to the gateway: an answer or an exception → checks."""

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
        advice: what to do next; empty if nothing.
    """

    name: str
    state: str
    detail: str = ""
    advice: str = ""


def way(base_url: str, *, proxied: bool) -> list[str]:
    """Returns the steps that lead to an accepted key, in the order in which they are taken."""
    secure = urlsplit(base_url).scheme == "https"
    # Through a proxy, it is the proxy that looks the name up and connects.
    first = [PROXY] if proxied else [LOOKUP, CONNECTION]
    return [*first, *([TLS] if secure else []), GATEWAY, ACCEPTED]


def checklist(steps: Sequence[str], *found: Check) -> list[Check]:
    """Returns all steps: fine before the first one found, left out after the last."""
    names = [check.name for check in found]
    by_name = dict(zip(names, found, strict=True))
    first = min(steps.index(name) for name in names)
    return [
        by_name.get(step) or Check(step, OK if place < first else SKIPPED)
        for place, step in enumerate(steps)
    ]


def of_answer(response: Response) -> list[Check]:
    """Judges a 2xx answer to the question for the list of models."""
    listed = _json(response.body)
    if isinstance(listed, dict) and isinstance(listed.get("data"), list):
        return [
            Check(GATEWAY, OK, f"it lists {len(listed['data'])} models"),
            Check(ACCEPTED, OK),
        ]
    what = "JSON, but no list of models" if listed is not None else "no JSON"
    return [
        Check(
            GATEWAY,
            FAILED,
            f"the answer is {what}, so this is not the gateway",
            "Check CHAINHUB_BASE_URL: something else answers there.",
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
        advice = "Check the proxy's address, and whether it lets you through to the gateway."
        return [Check(PROXY, FAILED, said, advice)]
    if isinstance(error, NameResolutionError):
        advice = "Check the base URL for a slip, and that this machine can look up names."
        return [Check(LOOKUP, FAILED, said, advice)]
    if isinstance(error, CertificateError):
        return [Check(TLS, FAILED, said, _about_tls(said))]
    if connecting:
        if connects and secure:
            advice = "The port is open but TLS does not come about: is it an https port?"
            return [Check(TLS, FAILED, said, advice)]
        return [Check(CONNECTION, FAILED, said, _about_connection(error))]
    advice = "Something answers there that is not the gateway, or it is in trouble: check the "
    return [Check(GATEWAY, FAILED, said, f"{advice}base URL, then try again later.")]


def _about_connection(error: ChainHubError) -> str:
    if isinstance(error, DeadlineError):
        return "Nothing answers: a firewall may drop what is sent. Is a proxy needed (HTTPS_PROXY)?"
    return "Nothing listens there, or a firewall refuses: check host and port of the base URL."


def _about_tls(said: str) -> str:
    if "certificate" in said.lower():
        return (
            "The certificate is not one this machine trusts. With a CA of your own, or behind an "
            "inspecting proxy, set SSL_CERT_FILE to the CA's certificate."
        )
    return (
        "Both sides do not agree on TLS: is it an https port, and does it speak TLS 1.2 or later?"
    )


def _of_refusal(error: APIError, base_url: str) -> list[Check]:
    said = error.message
    if isinstance(error, RedirectError):
        advice = f"Set CHAINHUB_BASE_URL to where it leads, if you trust it: {error.location}."
        return [Check(GATEWAY, FAILED, said, advice)]
    if _json(error.body) is None:
        advice = "This is no answer of the gateway: check CHAINHUB_BASE_URL, or try again later."
        return [Check(GATEWAY, FAILED, said, advice)]
    if isinstance(error, NotFoundError):
        return _of_unknown_path(said, base_url)
    if isinstance(error, ServerError):
        return [Check(GATEWAY, FAILED, said, "The gateway is in trouble: try again later.")]
    return [Check(GATEWAY, OK, "it answers"), _of_key(error)]


def _of_unknown_path(said: str, base_url: str) -> list[Check]:
    if path := urlsplit(base_url).path:
        advice = f"Leave out the path {path!r} of the base URL: the client adds its own."
        return [Check(GATEWAY, FAILED, said, advice)]
    return [
        Check(GATEWAY, OK, "something of its kind answers, but it does not list models"),
        Check(
            ACCEPTED,
            SKIPPED,
            "not known: without that list, only a paid call would tell",
            "If calls fail with 404 too, the base URL is wrong.",
        ),
    ]


def _of_key(error: APIError) -> Check:
    said = error.message
    if isinstance(error, AuthenticationError):
        advice = (
            "Check CHAINHUB_API_KEY: was it copied whole, has it expired, is it this gateway's?"
        )
        return Check(ACCEPTED, FAILED, said, advice)
    if isinstance(error, InsufficientBalanceError):
        return Check(ACCEPTED, FAILED, said, "The key is known, but nothing is left: top it up.")
    if isinstance(error, PermissionDeniedError):
        return Check(ACCEPTED, FAILED, said, "The key is known, but may not do this.")
    if isinstance(error, RateLimitError):
        return Check(ACCEPTED, SKIPPED, said, "Too many questions just now: try again later.")
    return Check(ACCEPTED, SKIPPED, said, "The gateway does not take the question.")


def _json(body: bytes) -> object:
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value
