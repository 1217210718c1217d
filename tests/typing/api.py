"""The whole public interface in use, for type checkers. Checked, never run."""

from __future__ import annotations

import io
import ssl
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import aiofiles
import aiohttp
from typing_extensions import assert_type

import chainhub_async
from chainhub_async import (
    APIError,
    AsyncBatch,
    AsyncChainHub,
    Attempt,
    AuthenticationError,
    BadRequestError,
    Batch,
    BatchError,
    BatchStoppedError,
    Billed,
    CallCancelled,
    CertificateError,
    ChainHub,
    ChainHubError,
    ClosedError,
    ColorMember,
    ColorPalette,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    ContentRejectedError,
    DeadlineError,
    DownloadError,
    DownloadProgress,
    EnvelopeError,
    Event,
    GeneratedImage,
    ImageChangedError,
    ImageSource,
    InsufficientBalanceError,
    InvalidImageError,
    InvalidOptionError,
    InvalidReplyError,
    InvalidRequestError,
    JobState,
    LedgerError,
    LedgerLockedError,
    Limits,
    MagicPrompt,
    NameResolutionError,
    NotFoundError,
    Outcome,
    PaletteName,
    Paused,
    PayloadTooLargeError,
    PermissionDeniedError,
    PlanAction,
    PlannedJob,
    ProxyError,
    RateLimitError,
    RedirectError,
    RenderingSpeed,
    ReplaceBackground,
    ReplaceBackgroundResult,
    ReplyReceived,
    RequestQueued,
    Response,
    ResultExpiredError,
    RetryPolicy,
    RetryScheduled,
    Saved,
    ServerError,
    SpendLimitError,
    StylePreset,
    Task,
    TaskError,
    TaskFailedError,
    TaskTimeoutError,
    Timeout,
    TransportError,
    UnsafeAddressError,
    UploadProgress,
)

assert_type(chainhub_async.__version__, str)
assert_type(chainhub_async.__all__, list[str])

TIMEOUT = Timeout(connect=10, write=30.0, read=None, reply=30, attempt=360, total=None)
LIMITS = Limits(in_flight=10, per_minute=None, connections=None)
RETRY = RetryPolicy(
    max_attempts=4, base_delay=0.5, max_delay=20, max_retry_after=120, resend_uncertain=False
)
PALETTE = ColorPalette(members=[ColorMember("#abc"), ColorMember("#aabbcc", color_weight=0.5)])
NAMED = ColorPalette(name=PaletteName.EMBER)
ColorPalette(name="NEON")


def on_event(event: Event) -> None:
    """Every event narrows to its own fields."""
    assert_type(event.call, int)
    if isinstance(event, RequestQueued):
        assert_type(event.images, int)
    elif isinstance(event, UploadProgress):
        assert_type((event.attempt, event.bytes_sent, event.bytes_total), tuple[int, int, int])
    elif isinstance(event, ReplyReceived):
        assert_type(event.status, int)
        assert_type(event.request_id, str | None)
    elif isinstance(event, RetryScheduled):
        assert_type((event.attempt, event.delay, event.reason), tuple[int, float, str])
    elif isinstance(event, Paused):
        assert_type(event.seconds, float)
    elif isinstance(event, CallCancelled):
        assert_type(event.billed, Billed)
    elif isinstance(event, DownloadProgress):
        assert_type(event.url, str)
        assert_type(event.bytes_received, int)
        assert_type(event.bytes_total, int | None)
    elif isinstance(event, Saved):
        assert_type(event.path, Path)


async def build(session: aiohttp.ClientSession, context: ssl.SSLContext) -> None:
    """Every setting of both clients."""
    hub = AsyncChainHub(
        "key",
        base_url="https://api.chainhub.tech",
        timeout=TIMEOUT,
        retry=RETRY,
        limits=LIMITS,
        proxy="http://proxy:3128",
        ssl_context=context,
        session=session,
        on_event=on_event,
    )
    AsyncChainHub(api_key=None, on_event=lambda event: print(event))  # noqa: PLW0108, T201 - the type of the parameter is what is tested
    assert_type(hub.with_options(timeout=Timeout(total=5), retry=RETRY), AsyncChainHub)
    async with hub as entered:
        assert_type(entered, AsyncChainHub)
    await hub.aclose()


def build_blocking(context: ssl.SSLContext) -> None:
    """The same without a session."""
    hub = ChainHub(
        "key",
        base_url="https://api.chainhub.tech",
        timeout=TIMEOUT,
        retry=RETRY,
        limits=LIMITS,
        proxy="",
        ssl_context=context,
        on_event=on_event,
    )
    assert_type(hub.with_options(api_key="other"), ChainHub)
    with hub as entered:
        assert_type(entered, ChainHub)
    hub.close()


async def images(hub: AsyncChainHub) -> None:
    """Every form of an image."""
    await hub.ideogram.replace_background("cat.png")
    await hub.ideogram.replace_background(Path("cat.png"))
    await hub.ideogram.replace_background(b"bytes")
    await hub.ideogram.replace_background(bytearray(b"bytes"))
    await hub.ideogram.replace_background(memoryview(b"bytes"))
    await hub.ideogram.replace_background(io.BytesIO(b"bytes"))
    async with aiofiles.open("cat.png", "rb") as file:
        await hub.ideogram.replace_background(file)
    source = await ImageSource.of("cat.png")
    assert_type(source, ImageSource)
    assert_type(ImageSource.from_bytes(b"bytes"), ImageSource)
    assert_type(ImageSource.from_path("cat.png"), ImageSource)
    assert_type((source.name, source.media_type, source.size), tuple[str, str, int])
    await hub.ideogram.replace_background(source)


def images_blocking(hub: ChainHub) -> None:
    """Also a plain open file."""
    hub.ideogram.replace_background(ImageSource.from_path(Path("cat.png")))
    with Path("cat.png").open("rb") as file:
        hub.ideogram.replace_background(file)


async def options(hub: AsyncChainHub, blocking: ChainHub) -> None:
    """Every parameter, as an enumeration and as text."""
    result = await hub.ideogram.replace_background(
        "cat.png",
        prompt="a forest",
        magic_prompt=MagicPrompt.OFF,
        num_images=4,
        seed=0,
        rendering_speed=RenderingSpeed.QUALITY,
        style_preset=StylePreset.STYLE_90S_NOSTALGIA,
        color_palette=PALETTE,
        style_codes=["0a1b2c3d"],
        extra_fields={"new": 1, "list": ["a", "b"], "file": ImageSource.from_bytes(b"x")},
        timeout=Timeout(total=60),
    )
    assert_type(result, ReplaceBackgroundResult)
    result = await hub.ideogram.replace_background(
        "cat.png",
        prompt=None,
        magic_prompt="AUTO",
        rendering_speed="WARP",
        style_preset="90S_NOSTALGIA",
        color_palette="EMBER",
        style_reference_images=("a.png", b"bytes", Path("b.png")),
    )
    same = blocking.ideogram.replace_background(
        "cat.png",
        prompt="a forest",
        magic_prompt="ON",
        num_images=1,
        seed=5,
        rendering_speed=RenderingSpeed.FLASH,
        style_preset=StylePreset.AURA,
        color_palette=PaletteName.EMBER,
        style_codes=("0a1b2c3d",),
        style_reference_images=None,
        extra_fields=None,
        timeout=None,
    )
    assert_type(same, ReplaceBackgroundResult)
    call = ReplaceBackground(
        "cat.png",
        prompt="a forest",
        magic_prompt=MagicPrompt.ON,
        num_images=1,
        seed=5,
        rendering_speed="TURBO",
        style_preset=StylePreset.AURA,
        color_palette=NAMED,
        style_codes=["0a1b2c3d"],
        style_reference_images=["a.png"],
        extra_fields={"x": "y"},
    )
    assert_type(call.prompt, str | None)
    assert_type(call.num_images, int | None)


def results(result: ReplaceBackgroundResult, image: GeneratedImage, task: Task) -> None:
    """Every field of what comes back."""
    assert_type(result.images, tuple[GeneratedImage, ...])
    assert_type(result.task, Task | None)
    assert_type(result.code, str | int | None)
    assert_type(result.message, str | None)
    assert_type(result.request_id, str | None)
    assert_type(result.created, datetime | None)
    assert_type(result.received_at, datetime)
    assert_type(result.raw, Any)
    assert_type(image.url, str | None)
    assert_type(image.prompt, str | None)
    assert_type(image.resolution, str | None)
    assert_type(image.is_image_safe, bool | None)
    assert_type(image.seed, int | None)
    assert_type(image.style_type, str | None)
    assert_type(image.upscaled_resolution, str | None)
    assert_type(image.expires_at, datetime | None)
    assert_type(task.task_id, str)
    assert_type(task.task_status, str)
    assert_type((task.created_at, task.updated_at), tuple[int | None, int | None])
    assert_type((task.created, task.updated), tuple[datetime | None, datetime | None])
    assert_type(task.status_message, str | None)


async def results_kept(hub: AsyncChainHub, result: ReplaceBackgroundResult, task: Task) -> None:
    """Waiting, saving, downloading, and any other call."""
    waited = await hub.wait(task, path="/tasks/{task_id}", interval=1, timeout=60)
    assert_type(waited, ReplaceBackgroundResult)
    assert_type(await hub.save(result, "out"), list[Path])
    assert_type(await hub.save(result, Path("out"), name="cat", allow_private=True), list[Path])
    assert_type(await hub.download(result.images[0], "cat.png"), Path)
    assert_type(await hub.download("https://x", Path("cat.png"), allow_private=False), Path)
    answer = await hub.request("GET", "/v1/models", params={"a": "b"}, headers={"X-A": "b"})
    assert_type(answer, Response)
    assert_type((answer.status, answer.body), tuple[int, bytes])
    assert_type(answer.headers, tuple[tuple[str, str], ...])
    assert_type(answer.header("date"), str | None)
    assert_type(answer.request_id, str | None)
    assert_type(answer.received_at, datetime)
    assert_type(answer.json(), Any)
    await hub.request("POST", "/v1/x", json={"a": 1}, images=2, timeout=TIMEOUT)
    await hub.request("POST", "/v1/x", form={"a": 1, "image": ImageSource.from_bytes(b"x")})


def results_kept_blocking(hub: ChainHub, result: ReplaceBackgroundResult, task: Task) -> None:
    """The same without await."""
    waited = hub.wait(task, path="/tasks/{task_id}", interval=1, timeout=60)
    assert_type(waited, ReplaceBackgroundResult)
    assert_type(hub.save(result, "out", name=None, allow_private=False), list[Path])
    assert_type(hub.download(result.images[0], "cat.png", allow_private=True), Path)
    answer = hub.request(
        "POST", "/v1/x", json=[1], form=None, params={}, headers={}, images=0, timeout=None
    )
    assert_type(answer, Response)


async def batches(hub: AsyncChainHub, request: ReplaceBackground) -> None:
    """A batch, awaited, with every setting."""
    async with hub.batch(
        ledger="l.db",
        save_to=Path("out"),
        ordered=True,
        max_images=5,
        resend_uncertain=False,
        retry_refused=False,
        overwrite=False,
        task_path="/tasks/{task_id}",
        grace=10,
    ) as batch:
        assert_type(batch, AsyncBatch)
        async for outcome in batch.run([request]):
            assert_type(outcome, Outcome)
        async for planned in batch.plan(iter([request])):
            assert_type(planned, PlannedJob)
            assert_type(planned.action, PlanAction)
            assert_type((planned.index, planned.images), tuple[int, int])
        batch.stop()
        assert_type(batch.stopped, ChainHubError | None)
        assert_type(batch.spent, int)


def batches_blocking(hub: ChainHub, requests: Iterator[ReplaceBackground]) -> None:
    """The same without await."""
    with hub.batch(ledger=Path("l.db"), save_to="out") as batch:
        assert_type(batch, Batch)
        for outcome in batch.run(requests):
            assert_type(outcome.request, ReplaceBackground)
            assert_type(outcome.state, JobState)
            assert_type(outcome.key, str | None)
            assert_type(outcome.result, ReplaceBackgroundResult | None)
            assert_type(outcome.error, ChainHubError | None)
            assert_type(outcome.saved, tuple[Path, ...])
            assert_type((outcome.index, outcome.spent), tuple[int, int])
            assert_type(outcome.billed, Billed)
        assert_type(next(batch.plan(requests)), PlannedJob)
        batch.stop()


def batches_that_end(hub: ChainHub) -> None:
    """What a batch raises, or says stopped it."""
    try:
        hub.batch().__enter__()
    except LedgerLockedError as error:
        assert_type(error.message, str)
    except (LedgerError, SpendLimitError, BatchStoppedError, BatchError) as error:
        assert_type(error.billed, Billed)


def refusals(hub: ChainHub) -> None:
    """Every class of exception that says no, with what it carries."""
    try:
        hub.ideogram.replace_background("cat.png")
    except (ConfigurationError, ClosedError, ImageChangedError) as error:
        assert_type(error.message, str)
    except (InvalidImageError, InvalidOptionError, InvalidRequestError) as error:
        assert_type(error.billed, Billed)
    except RedirectError as error:
        assert_type(error.location, str | None)
    except (AuthenticationError, InsufficientBalanceError, PermissionDeniedError) as error:
        assert_type(error.code, str | int | None)
    except (NotFoundError, PayloadTooLargeError, ContentRejectedError, EnvelopeError) as error:
        assert_type(error.request_id, str | None)
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
        assert_type(error.retry_at, datetime | None)
    except (BadRequestError, ServerError, APIError) as error:
        assert_type(error.status, int | None)
        assert_type(error.body, bytes)


def failures(hub: ChainHub) -> None:
    """Every other one."""
    try:
        hub.ideogram.replace_background("cat.png")
    except (NameResolutionError, CertificateError, ProxyError, ConnectError) as error:
        assert_type(error.bytes_sent, int)
    except DeadlineError as error:
        assert_type(error.phase, str)
    except InvalidReplyError as error:
        assert_type(error.body, bytes)
    except (ConnectionLostError, TransportError) as error:
        assert_type(error.attempts, tuple[Attempt, ...])
        attempt = error.attempts[0]
        assert_type((attempt.number, attempt.phase, attempt.reason), tuple[int, str, str])
        assert_type((attempt.bytes_sent, attempt.bytes_total), tuple[int, int])
        assert_type(attempt.status, int | None)
        assert_type(attempt.billed, Billed)
    except (TaskFailedError, TaskTimeoutError, TaskError) as error:
        assert_type(error.task, Task | None)
    except (ResultExpiredError, UnsafeAddressError, DownloadError) as error:
        assert_type(error.url, str | None)
        assert_type(error.saved, tuple[Path, ...])
    except ChainHubError as error:
        assert_type(error.billed is Billed.MAYBE, bool)
