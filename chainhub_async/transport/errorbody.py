"""Parses every known form of an error body. Pure.

The API description documents none; these are the gateway family's, Ideogram's, and those of the
proxies and frameworks in front of them.
"""

from __future__ import annotations

import json
import re
from typing import Any

import attrs

from chainhub_async.errors import printable

# "No balance", which must be told apart from "too fast": both come as 429 (gateway family).
_NO_BALANCE = {
    "insufficient_quota",
    "insufficient_user_quota",
    "pre_consume_token_quota_failed",
    "insufficient_funds",
    "insufficient_balance",
    *map(str, range(1100, 1103)),
}
# Other codes that mean that the gateway did not start.
_REFUSES = {
    "invalid_api_key",
    "invalid_request",
    "invalid_request_error",
    "model_not_found",
    "content_policy_violation",
    *map(str, (400, 401, 402, 403, 404, 405, 409, 413, 415, 422, 429)),
}
_PERMANENT = {"model_not_found"}
_WORDS = ("message", "msg", "error_msg", "detail", "title", "error", "description")
# Without any of these a body tells nothing, as those of most successes.
_TELLING = {*_WORDS, "code", "type", "reject_reason", "request_id"}
_REQUEST_ID = re.compile(r"\(request id: ?([\w.:-]{1,100})\)", re.IGNORECASE)
_TEXT_LIMIT = 300
# Of a page or plain text only the beginning is looked at.
_TEXT_READ = 4096


@attrs.frozen(kw_only=True)
class ErrorBody:
    """The contents of an error body.

    Attributes:
        failed: whether the body as a whole is an error (for a 2xx response).
        message: its message on one line, or None.
        code: its code as sent.
        request_id: the request ID it contains.
        no_balance: whether it reports that the account has no balance.
        refuses: whether its code is known to mean that nothing was executed.
        permanent: whether retrying later is of no use.
    """

    failed: bool = False
    message: str | None = None
    code: str | int | None = None
    request_id: str | None = None
    no_balance: bool = False
    refuses: bool = False
    permanent: bool = False

    @property
    def sentence(self) -> str:
        """The message, or a note that there was none."""
        return (self.message or "no reason given").rstrip(".") + "."

    @classmethod
    def of_bytes(cls, body: bytes) -> ErrorBody:
        """Parses any bytes."""
        try:
            return cls.of(json.loads(body))
        except (ValueError, RecursionError):
            text = body[:_TEXT_READ].decode("utf-8-sig", "replace")
            return cls(message=_plain_words(text), request_id=_request_id_in(text))

    @classmethod
    def of(cls, raw: Any) -> ErrorBody:
        """Parses any decoded JSON."""
        if not isinstance(raw, dict):
            return cls(message=_plain_words(raw) if isinstance(raw, str) else None)
        if _TELLING.isdisjoint(raw):
            return cls()
        inner = raw.get("error")
        detail = inner if isinstance(inner, dict) else {}
        codes = [detail.get("code"), detail.get("type"), raw.get("code"), raw.get("reject_reason")]
        known = {str(code).lower() for code in (*codes, raw.get("type")) if _is_code(code)}
        words = _words(detail) or _words(raw)
        return cls(
            failed=bool(inner) or _is_failure(raw.get("code")),
            message=None if words is None else printable(words, _TEXT_LIMIT),
            code=next((code for code in codes if _is_code(code)), None),
            request_id=_request_id(raw, detail, words),
            no_balance=bool(known & _NO_BALANCE),
            refuses=bool(known & (_NO_BALANCE | _REFUSES)),
            permanent=bool(known & _PERMANENT),
        )


def _is_code(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _is_failure(code: Any) -> bool:
    # Task envelope: 0 is success and anything else is failure, at HTTP 200 too; some task routes
    # of the gateway family say it in a word.
    return code not in (None, 0, "0", "") and str(code).lower() not in {"success", "succeed"}


def _words(body: dict[str, Any]) -> str | None:
    for name in _WORDS:
        value = body.get(name)
        if isinstance(value, list | dict) and value and name == "detail":
            value = _as_text(value)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None


def _as_text(value: Any) -> str | None:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        # Nested just as deeply as could be read, and no deeper could be written.
        return None


def _request_id(raw: dict[str, Any], detail: dict[str, Any], words: str | None) -> str | None:
    for value in (raw.get("request_id"), detail.get("request_id")):
        if isinstance(value, str) and value:
            return printable(value, 200)
    return _request_id_in(words or "")


def _request_id_in(words: str) -> str | None:
    # At the very end of what may be a long message.
    found = _REQUEST_ID.search(words)
    return printable(found.group(1)) if found else None


def _plain_words(text: str) -> str | None:
    text = " ".join(text[:_TEXT_READ].split())
    if text.startswith("<"):
        title = re.search(r"<(?:title|h1)[^<>]{0,200}>([^<]{1,200})<", text, re.IGNORECASE)
        return (
            f"an HTML page ({printable(title.group(1).strip(), 200)})" if title else "an HTML page"
        )
    return printable(text, _TEXT_LIMIT) or None
