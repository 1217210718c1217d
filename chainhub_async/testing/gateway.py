"""Handles requests: the routes, the order of the checks, and the records."""

from __future__ import annotations

import math
import uuid
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import anyio
import attrs
from aiohttp import web
from anyio import to_thread

from chainhub_async.testing import refusals, replies
from chainhub_async.testing.checks import check_authorization, check_body_headers
from chainhub_async.testing.gallery import RESULT_PREFIX, Gallery, Result, measure
from chainhub_async.testing.multipart_strict import MultipartError, Part, boundary_of, parse
from chainhub_async.testing.order import MAX_SEED, Order, read_order
from chainhub_async.testing.records import RequestRecord, record_part
from chainhub_async.testing.refusals import RefusalError
from chainhub_async.testing.replies import Task
from chainhub_async.testing.server import ClientGoneError, read_body
from chainhub_async.testing.signing import BadSignatureError, ExpiredError

if TYPE_CHECKING:
    from chainhub_async.testing.settings import Settings

__all__ = ["TASKS", "Gateway"]

REPLACE_BACKGROUND = "/ideogram/v1/ideogram-v3/replace-background"
TASKS = "/ideogram/v1/ideogram-v3/tasks/"
MODELS = "/v1/models"

Route = Callable[[web.BaseRequest, RequestRecord], Awaitable[web.Response]]


@attrs.define(eq=False)
class Gateway:
    """Responds to requests according to the settings, and keeps the records for tests.

    Attributes:
        origin: What the URLs of results begin with.
        requests: Every request so far.
        billed: How many images were billed, by the photograph's SHA-256.
        billed_calls: How many calls were billed, likewise.
    """

    _settings: Settings
    origin: str = attrs.field(default="", init=False)
    requests: list[RequestRecord] = attrs.field(factory=list[RequestRecord], init=False)
    billed: Counter[str] = attrs.field(factory=Counter[str], init=False)
    billed_calls: Counter[str] = attrs.field(factory=Counter[str], init=False)
    _tasks: dict[str, Task] = attrs.field(factory=dict[str, Task], init=False)
    _gallery: Gallery = attrs.field(factory=Gallery, init=False)
    _in_progress: int = attrs.field(default=0, init=False)

    def forget(self) -> None:
        """Clear the records."""
        self.requests.clear()
        self.billed.clear()
        self.billed_calls.clear()
        self._tasks.clear()
        self._gallery.forget()

    def leaks(self) -> Iterator[str]:
        """The paths of results requested with an Authorization header."""
        for record in self.requests:
            if record.path.startswith(RESULT_PREFIX) and record.values("Authorization"):
                yield record.path

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever it is."""
        record = RequestRecord(
            method=request.method,
            path=request.path,
            headers=tuple(request.raw_headers),
            request_id=_new_request_id(self._settings.clock()),
        )
        self.requests.append(record)
        try:
            response = await self._route(request)(request, record)
            record.status = response.status
        except RefusalError as refusal:
            record.status = refusal.status
            response = web.json_response(
                refusal.body(record.request_id), status=refusal.status, headers=refusal.headers
            )
        except ClientGoneError:
            response = web.Response(status=499)  # never seen: there is nobody to read it
        response.headers["X-Oneapi-Request-Id"] = record.request_id
        return response

    def _route(self, request: web.BaseRequest) -> Route:
        path = request.path
        method, route = {
            REPLACE_BACKGROUND: ("POST", self._replace_background),
            MODELS: ("GET", self._models),
        }.get(path, ("GET", None))
        if path.startswith(RESULT_PREFIX):
            route = self._result
        elif path.startswith(TASKS):
            route = self._task
        if route is None:
            raise refusals.no_such_path(request.method, path)
        if request.method != method:
            raise refusals.wrong_method(request.method, path, method)
        return route

    # --- the paid call ------------------------------------------------------------------------

    async def _replace_background(
        self, request: web.BaseRequest, record: RequestRecord
    ) -> web.Response:
        check_authorization(request, self._settings.api_keys)
        check_body_headers(request, self._settings.max_body)
        order = await self._receive(request, record)
        self._admit(order)
        self._bill(order, record)
        self._in_progress += order.num_images
        try:
            await self._delay(record)
            size = await to_thread.run_sync(measure, order.image)
        finally:
            self._in_progress -= order.num_images
        results = self._gallery.promise(order, self._seed(order), size)
        return web.json_response(self._reply(order, results, record))

    async def _receive(self, request: web.BaseRequest, record: RequestRecord) -> Order:
        body = await read_body(request, record.count_body)
        parts = _parts(request, body)
        record.parts = tuple(map(record_part, parts))
        return read_order(parts, strict_fields=self._settings.strict_fields)

    def _admit(self, order: Order) -> None:
        unsafe, limit = self._settings.unsafe, self._settings.in_flight
        if unsafe in order.prompt if isinstance(unsafe, str) else unsafe and unsafe(order.prompt):
            raise refusals.unsafe("the prompt failed the safety check")
        if limit is not None and self._in_progress + order.num_images > limit:
            raise refusals.in_flight_limit(limit)

    def _bill(self, order: Order, record: RequestRecord) -> None:
        balance = self._settings.balance
        if balance is not None:
            if order.num_images > balance:
                raise refusals.no_balance(
                    f"user quota is not enough: {balance} left, {order.num_images} needed"
                )
            self._settings.balance = balance - order.num_images
        self.billed[order.image_sha256] += order.num_images
        self.billed_calls[order.image_sha256] += 1
        record.billed = order.num_images

    async def _delay(self, record: RequestRecord) -> None:
        latency = self._settings.latency
        await anyio.sleep(latency(record) if callable(latency) else latency)

    def _seed(self, order: Order) -> int:
        """The seed sent, or one that differs from call to call and repeats from run to run."""
        if order.seed is not None:
            return order.seed
        return zlib.crc32(f"{order.image_sha256} {len(self.requests)}".encode()) % MAX_SEED

    def _reply(
        self, order: Order, results: tuple[Result, ...], record: RequestRecord
    ) -> dict[str, object]:
        settings, now = self._settings, self._settings.clock()
        entries = [
            replies.image_entry(
                url=self._url(index, result, now),
                prompt=order.prompt,
                resolution=result.resolution,
                seed=result.seed,
                withheld_url=settings.withheld_url,
            )
            for index, result in enumerate(results)
        ]
        if settings.reply != "task":
            created = replies.created_value(now, settings.created)
            return replies.image_reply(settings.reply, created, entries)
        task = Task(task_id=uuid.uuid4().hex, created_at=round(now * 1000), images=entries)
        self._tasks[task.task_id] = task
        return replies.task_reply(task, record.request_id)

    def _url(self, index: int, result: Result, now: float) -> str | None:
        withhold, prompt = self._settings.withhold, result.prompt
        if (
            withhold in prompt
            if isinstance(withhold, str)
            else withhold and withhold(prompt, index)
        ):
            return None
        expires = math.ceil(now + self._settings.result_lifetime)
        return self.origin + self._gallery.sign(result, expires)

    # --- the free ones ------------------------------------------------------------------------

    async def _models(self, request: web.BaseRequest, _: RequestRecord) -> web.Response:
        check_authorization(request, self._settings.api_keys)
        return web.json_response(replies.model_list())

    async def _task(self, request: web.BaseRequest, record: RequestRecord) -> web.Response:
        settings = self._settings
        check_authorization(request, settings.api_keys)
        task_id = request.path.removeprefix(TASKS)
        task = self._tasks.get(task_id)
        if task is None:
            raise refusals.no_such_task(task_id)
        task.poll(
            round(settings.clock() * 1000),
            polls_needed=settings.task_polls,
            failure=settings.task_failure,
        )
        return web.json_response(replies.task_reply(task, record.request_id))

    async def _result(self, request: web.BaseRequest, _: RequestRecord) -> web.Response:
        try:
            result = self._gallery.find(request.path, request.query, self._settings.clock())
        except BadSignatureError:
            return _storage_error(403, "SignatureDoesNotMatch")
        except ExpiredError:
            return _storage_error(410, "RequestExpired")
        if result is None:
            return _storage_error(404, "NoSuchKey")
        picture = await to_thread.run_sync(self._gallery.draw, result)
        return web.Response(body=picture, content_type="image/png")


def _parts(request: web.BaseRequest, body: bytes) -> tuple[Part, ...]:
    content_types = request.headers.getall("Content-Type", [])
    if len(content_types) != 1:
        raise refusals.bad_request("exactly one Content-Type is required")
    try:
        return parse(body, boundary_of(content_types[0]))
    except MultipartError as problem:
        raise refusals.bad_request(f"malformed multipart/form-data: {problem}") from None


def _storage_error(status: int, code: str) -> web.Response:
    """An error in the form of object storages, where real results are stored."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>\n'
    return web.Response(status=status, text=text, content_type="application/xml")


def _new_request_id(now: float) -> str:
    """The time and some random letters, as the gateway family makes them."""
    return f"{datetime.fromtimestamp(now, timezone.utc):%Y%m%d%H%M%S}{uuid.uuid4().hex[:17]}"
