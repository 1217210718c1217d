"""The emulator's options, their defaults, and their allowed values."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypedDict

import attrs
from attrs import validators

from chainhub_async.testing.order import MAX_IMAGE_BYTES
from chainhub_async.testing.replies import CreatedForm, Reply, WithheldUrl, choices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from chainhub_async.testing.records import RequestRecord

__all__ = ["DEFAULT_KEY", "EmulatorOptions", "Settings"]

DEFAULT_KEY = "emulator-key"
# An image, as many bytes of style references, and room for the text parts.
MAX_BODY_BYTES = 2 * MAX_IMAGE_BYTES + 1024 * 1024


class EmulatorOptions(TypedDict, total=False):
    """The options of `Emulator`, as `Emulator.in_thread` takes them."""

    host: str
    port: int
    api_keys: str | Iterable[str]
    reply: Reply
    created: CreatedForm
    latency: float | Callable[[RequestRecord], float]
    clock: Callable[[], float]
    result_lifetime: float
    withhold: str | Callable[[str, int], bool] | None
    withheld_url: WithheldUrl
    unsafe: str | Callable[[str], bool] | None
    balance: int | None
    in_flight: int | None
    task_polls: int
    task_failure: str | None
    strict_fields: bool
    max_body: int


def _keys(keys: str | Iterable[str]) -> tuple[str, ...]:
    return (keys,) if isinstance(keys, str) else tuple(keys)


@attrs.define(kw_only=True, eq=False)
class Settings:
    """The options of an `Emulator`, which can be set at its start or while it runs.

    Args:
        host: The address to bind.
        port: The port; 0 picks a free one.
        api_keys: The key or keys accepted; never shown in a `repr`.
        reply: The shape of the 200 response: `images`, Ideogram's list; `task`, the task envelope
            of the API description; `wrapped`, `{"code": 0, "data": [...]}`; `wrapped_object`,
            `{"code": 0, "data": {"created": ..., "data": [...]}}`.
        created: How the list's `created` is written: ISO 8601 as `z-9`, `offset-9`, `space-z-9` or
            `space-offset-9` (the digit: 0, 6 or 9 fractional digits), `epoch`, or `absent`.
        latency: Seconds between the arrival of a valid request and the response, or a callable
            that takes the request's record and returns them.
        clock: Returns Unix seconds; used for `created`, task times, and the expiry of URLs.
        result_lifetime: Seconds until a result's URL expires (API description: 24 hours).
        withhold: Which images are withheld as unsafe (but still billed): a word, which
            withholds all images of a prompt that contains it, or a callable of the prompt and the
            image's index. None withholds nothing.
        withheld_url: What a withheld image has for a URL: `null`, `empty` or `absent`.
        unsafe: Which prompts are refused with 422: a word in them, or a callable of the prompt.
        balance: How many images the account can still buy; decreases as they are billed. A call
            for more gets a 403 `insufficient_user_quota`. None: unlimited.
        in_flight: How many images may be in progress at once; more get a 429 in Ideogram's form.
            An image is in progress until its response. None: unlimited.
        task_polls: How many polls of a task return `processing` before it finishes.
        task_failure: The `task_status_msg` with which tasks fail; None: they succeed.
        strict_fields: Refuse form fields that are not documented, instead of ignoring them.
        max_body: Bodies over this many bytes get a 413 before they are read.

    Raises:
        ValueError: An option's value is not among its choices.
    """

    host: str = "127.0.0.1"
    port: int = 0
    api_keys: tuple[str, ...] = attrs.field(default=(DEFAULT_KEY,), converter=_keys, repr=False)
    reply: Reply = attrs.field(default="images", validator=validators.in_(choices(Reply)))
    created: CreatedForm = attrs.field(
        default="offset-9", validator=validators.in_(choices(CreatedForm))
    )
    latency: float | Callable[[RequestRecord], float] = 0.0
    clock: Callable[[], float] = time.time
    result_lifetime: float = 86400.0
    withhold: str | Callable[[str, int], bool] | None = None
    withheld_url: WithheldUrl = attrs.field(
        default="null", validator=validators.in_(choices(WithheldUrl))
    )
    unsafe: str | Callable[[str], bool] | None = None
    balance: int | None = None
    in_flight: int | None = None
    task_polls: int = 1
    task_failure: str | None = None
    strict_fields: bool = True
    max_body: int = MAX_BODY_BYTES
