"""Each blocking method is the twin of an awaited one: name, signature, words, arguments."""

from __future__ import annotations

import inspect
import re
import ssl
import typing
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest
from typing_extensions import Self, Unpack

import chainhub_async.sync
from chainhub_async import AsyncChainHub, ChainHub, Limits, RetryPolicy, Timeout
from chainhub_async.batch.blocking import Batch
from chainhub_async.batch.front import AsyncBatch
from chainhub_async.portal import Portal
from chainhub_async.resources.ideogram import AsyncIdeogram
from chainhub_async.sync import Ideogram

TWINS = [(AsyncChainHub, ChainHub), (AsyncIdeogram, Ideogram), (AsyncBatch, Batch)]
OTHER_NAMES = {"aclose": "close"}
# What has another type on either side, in the words of its annotations.
OTHER_TYPES = {
    "AsyncBatch": "Batch",
    "AsyncIterator": "Iterator",
    "Requests": "Iterable[ReplaceBackground]",
}
# What exists only under its loop.
ONLY_ASYNC = {"session"}


class Recorder(Portal):
    """Takes the place of the portal and notes what it is given."""

    def __init__(self) -> None:
        super().__init__(self._nothing)
        self.answer = object()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    async def _nothing(self) -> None: ...

    def run(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.calls.append((call, args, kwargs))
        return self.answer


def methods(kind: type) -> dict[str, Any]:
    """The public functions of a class."""
    return {
        name: value
        for name, value in vars(kind).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }


def hints(function: Any) -> dict[str, Any]:
    """Its annotations as objects; these two names are imported for type checkers only."""
    return typing.get_type_hints(
        function, localns={"Self": Self, "Unpack": Unpack, "aiohttp": aiohttp}
    )


def looks_differ(awaited: Any, blocking: Any) -> Iterator[str]:
    """Compares two functions from outside."""
    if inspect.iscoroutinefunction(blocking):
        yield "it must be awaited"
    if _as_blocking(inspect.signature(awaited)) != str(inspect.signature(blocking)):
        yield f"signature {inspect.signature(blocking)} is not {inspect.signature(awaited)}"
    elif inspect.signature(awaited) == inspect.signature(blocking) and hints(awaited) != hints(
        blocking
    ):
        yield "the annotations mean other things"
    if _words(awaited) != _words(blocking):
        yield "the docstring differs"


def _as_blocking(signature: inspect.Signature) -> str:
    text = str(signature)
    for theirs, ours in OTHER_TYPES.items():
        text = re.sub(rf"\b{theirs}\b", ours, text)
    return text


def _words(function: Any) -> str:
    """The docstring, without what is true on one side only."""
    text = " ".join((inspect.getdoc(function) or "").split())
    for only in (
        " or asynchronous iterable",
        ", in the thread that iterates",
        ", and from any thread",
    ):
        text = text.replace(only, "")
    return text


def passes_differ(awaited: Any, blocking: Any, recorder: Recorder) -> Iterator[str]:
    """Compares what a blocking bound method passes on with what it was given."""
    parameters = inspect.signature(blocking).parameters
    required = {n for n, p in parameters.items() if p.default is p.empty}
    for names in (set(parameters), required):
        given = {name: object() for name in names}
        positional = [
            given[n] for n, p in parameters.items() if n in names and p.kind is not p.KEYWORD_ONLY
        ]
        named = {n: given[n] for n in names if parameters[n].kind is inspect.Parameter.KEYWORD_ONLY}
        if blocking(*positional, **named) is not recorder.answer:
            yield "it does not return what the coroutine returns"
        called, args, kwargs = recorder.calls.pop()
        if called != awaited:
            yield f"it calls {called}"
        bound = inspect.signature(awaited).bind(*args, **kwargs)
        bound.apply_defaults()
        for name, parameter in inspect.signature(awaited).parameters.items():
            if bound.arguments[name] != given.get(name, parameter.default):
                yield f"{name} does not arrive"


def problems(awaited: object, blocking: object, recorder: Recorder) -> list[str]:
    """Everything that makes two objects no twins."""
    found: list[str] = []
    mine, theirs = methods(type(blocking)), methods(type(awaited))
    expected = {OTHER_NAMES.get(name, name): name for name in theirs}
    found += [f"{name}: only on one side" for name in set(expected) ^ set(mine)]
    for name in sorted(set(expected) & set(mine)):
        origin = expected[name]
        if origin == name:
            found += [f"{name}: {what}" for what in looks_differ(theirs[name], mine[name])]
        if inspect.iscoroutinefunction(theirs[origin]) and origin == name:
            pair = getattr(awaited, origin), getattr(blocking, name)
            found += [f"{name}: {what}" for what in passes_differ(*pair, recorder)]
    return found


def ideogram(kind: type[Ideogram]) -> list[str]:
    """Compares a blocking Ideogram with the awaited one."""
    recorder, hub = Recorder(), AsyncChainHub("key")
    return problems(hub.ideogram, kind(hub.ideogram, recorder), recorder)


def test_client() -> None:
    """ChainHub has every method of AsyncChainHub, and each passes on all it is given."""
    hub, recorder = ChainHub("key"), Recorder()
    hub._portal = recorder
    assert problems(hub._async, hub, recorder) == []


def test_batch() -> None:
    """So has its batch, which runs in one task of the loop."""
    hub = ChainHub("key")
    batch = hub.batch()
    assert isinstance(batch, Batch)
    assert problems(batch._async, batch, Recorder()) == []


def test_ideogram() -> None:
    """So has its Ideogram."""
    assert ideogram(Ideogram) == []


def test_nothing_else_is_public() -> None:
    """What is no method is the same on both sides too."""
    for awaited, blocking in TWINS:
        assert [n for n in vars(awaited) if n[0] != "_" and n not in methods(awaited)] == [
            n for n in vars(blocking) if n[0] != "_" and n not in methods(blocking)
        ]
    assert typing.get_type_hints(ChainHub)["ideogram"] is Ideogram


def test_a_forgotten_argument_is_found() -> None:
    """The comparison itself notices a twin that forgets one argument."""

    class Forgetful(Ideogram):
        def replace_background(self, image: Any, **options: Any) -> Any:
            return super().replace_background(image, **{**options, "seed": None})

    Forgetful.replace_background.__signature__ = inspect.signature(  # type: ignore[attr-defined]  # set on a method
        Ideogram.replace_background
    )
    Forgetful.replace_background.__doc__ = Ideogram.replace_background.__doc__
    assert "replace_background: seed does not arrive" in ideogram(Forgetful)


def test_other_slips_are_found() -> None:
    """It notices a missing parameter, other words, another default, and a missing method."""

    class Short(Ideogram):
        def replace_background(self, image: Any) -> Any:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
            """Other words."""
            return self._portal.run(self._async.replace_background, image)

    found = "\n".join(ideogram(Short))
    assert "signature (self, image: " in found
    assert "the docstring differs" in found

    class Empty(Ideogram):
        pass

    assert ideogram(Empty) == ["replace_background: only on one side"]

    class Silent(Ideogram):
        def replace_background(self, *args: Any, **kwargs: Any) -> Any:
            super().replace_background(*args, **kwargs)

    Silent.replace_background.__signature__ = inspect.signature(  # type: ignore[attr-defined]  # set on a method
        Ideogram.replace_background
    )
    assert "replace_background: it does not return what the coroutine returns" in ideogram(Silent)


def test_constructor_looks_the_same() -> None:
    """The constructors take the same, but for what only an event loop can have."""
    awaited = dict(inspect.signature(AsyncChainHub.__init__).parameters)
    for name in ONLY_ASYNC:
        del awaited[name]
    assert list(awaited.items()) == list(inspect.signature(ChainHub.__init__).parameters.items())
    words = inspect.getdoc(ChainHub) or ""
    assert all(f"\n    {name}: " in words for name in awaited if name != "self")


def test_constructor_passes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each argument of ChainHub arrives at AsyncChainHub."""
    seen: dict[str, Any] = {}

    class Noting(AsyncChainHub):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            seen.update(inspect.signature(AsyncChainHub).bind(*args, **kwargs).arguments)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(chainhub_async.sync, "AsyncChainHub", Noting)
    given: dict[str, Any] = {
        "api_key": "key",
        "base_url": "http://127.0.0.1:9",
        "timeout": Timeout(total=1),
        "retry": RetryPolicy(),
        "limits": Limits(),
        "proxy": "",
        "ssl_context": ssl.create_default_context(),
        "on_event": print,
    }
    assert set(given) == set(inspect.signature(ChainHub).parameters)
    ChainHub(**given)
    assert {name: seen[name] for name in given} == given


def test_with_options_passes_everything() -> None:
    """The derived client has the settings given and the portal of the first."""
    hub, timeout = ChainHub("key"), Timeout(total=1)
    other = hub.with_options(timeout=timeout, on_event=print)
    assert type(other) is ChainHub
    assert other._portal is hub._portal is other.ideogram._portal
    assert other._async._transport.config.timeout is timeout
    assert other._async._transport.on_event is print
    assert other._async._transport.pool is hub._async._transport.pool
