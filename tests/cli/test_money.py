"""What may have been paid for is said, kept, and told by the exit code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chainhub_async.client import AsyncChainHub
from chainhub_async.testing import Emulator, MisbehavingServer
from chainhub_async.testing.bad_answers import Answer, Expired, HtmlError, WrongType
from chainhub_async.testing.faults import NoAnswer, ResetAfter

from .conftest import objects, png, replace

Photos = Callable[[int], list[str]]


def test_one_failure_does_not_stop_the_others(server: MisbehavingServer, photos: Photos) -> None:
    """A refused photo is code 1; the others are saved."""
    server.for_image(png(1), Answer.json({"error": {"message": "no"}}, status=422))
    done = replace(*photos(3), "-o", "out", "--json")
    assert done.exit_code == 1
    states = {each["image"]: each["state"] for each in objects(done.stdout)}
    assert states == {"p0.png": "SAVED", "p1.png": "REFUSED", "p2.png": "SAVED"}


def test_maybe_billed(server: MisbehavingServer, photos: Photos) -> None:
    """A lost answer is code 5, whatever else failed."""
    server.for_image(png(0), ResetAfter())
    server.for_image(png(1), Answer.json({"error": {"message": "no"}}, status=422))
    done = replace(*photos(2), "-o", "out", "--json")
    assert done.exit_code == 5
    states = {each["image"]: each["state"] for each in objects(done.stdout)}
    assert states == {"p0.png": "UNCERTAIN", "p1.png": "REFUSED"}
    assert "p0.png: The connection was lost" in done.stderr
    assert "It may have been billed." in done.stderr
    assert "It was not billed." in done.stderr


def test_timeout(server: MisbehavingServer, photos: Photos) -> None:
    """--timeout ends a call that gets no answer."""
    server.always(NoAnswer())
    done = replace(*photos(1), "-o", "out", "--timeout", "0.5")
    assert done.exit_code == 5
    assert "0.5 s" in done.stderr


def test_an_earlier_attempt_counts(server: MisbehavingServer, photos: Photos) -> None:
    """With --resend-uncertain, one attempt without an answer makes the whole call uncertain."""
    server.script(ResetAfter(), Answer.json({"error": {"message": "no"}}, status=422))
    done = replace(*photos(1), "-o", "out", "--resend-uncertain", "--json")
    assert done.exit_code == 5
    told = objects(done.stdout)[0]
    assert told["billed"] == told["error"]["billed"] == "maybe"
    assert told["error"]["attempts"] == 2
    assert server.billed.total() == 1


def test_a_paid_answer_that_cannot_be_read_is_kept(
    server: MisbehavingServer, photos: Photos
) -> None:
    """The answer's beginning is printed: it may hold the result."""
    server.always(WrongType(None))
    done = replace(*photos(1), "-o", "out")
    assert done.exit_code == 5
    assert "The response began: <html><body>Sign in to continue" in done.stderr
    told = objects(replace(*photos(1), "-o", "out", "--json").stdout)[0]
    assert "Sign in" in told["error"]["body"]


def test_a_result_that_cannot_be_saved_is_not_lost(
    server: MisbehavingServer, photos: Photos, place: Path
) -> None:
    """What was saved is named, and the address of what was not, with its end."""
    server.gets.script(Answer(status=404))
    done = replace(*photos(1), "-o", "out", "--num-images", "2", "--json")
    assert done.exit_code == 5
    told = objects(done.stdout)[0]
    assert told["state"] == "ACCEPTED"
    assert told["billed"] == "yes"
    assert told["saved"] == ["out/p0-2.png"]
    assert told["error"]["type"] == "DownloadError"
    first, second = (image["url"] for image in told["results"])
    assert "download it free of charge until 20" in done.stderr
    assert first in done.stderr
    assert second not in done.stderr
    assert not list((place / "out").glob(".*"))


def test_an_expired_result(server: MisbehavingServer, photos: Photos) -> None:
    """A result whose address has run out is told as paid for."""
    server.gets.always(Expired())
    done = replace(*photos(1), "-o", "out", "--json")
    assert done.exit_code == 5
    assert objects(done.stdout)[0]["state"] == "EXPIRED"
    assert "no longer valid" in done.stderr
    assert "It was billed." in done.stderr


def test_withheld(emulator: Emulator, photos: Photos) -> None:
    """An image withheld as unsafe is paid for, so the code is 5, and nothing is saved."""
    emulator.withhold = "forest"
    done = replace(*photos(1), "-o", "out", "--json")
    assert done.exit_code == 5
    told = objects(done.stdout)[0]
    assert (told["state"], told["withheld"]) == ("SAVED", 1)
    assert "1 image was withheld" in done.stderr


def test_partly_withheld(emulator: Emulator, photos: Photos) -> None:
    """What is not withheld is saved; the code is 5 all the same."""
    emulator.withhold = lambda _, index: index != 1
    done = replace(*photos(1), "-o", "out", "--num-images", "3")
    assert done.exit_code == 5
    assert done.stdout.splitlines() == ["out/p0-2.png"]
    assert "2 images were withheld" in done.stderr


def test_a_task_without_a_path_is_unfinished(emulator: Emulator, photos: Photos) -> None:
    """Nothing is polled; the task's id is printed, since it is paid for."""
    emulator.reply = "task"
    done = replace(*photos(1), "-o", "out", "--json")
    assert done.exit_code == 5
    told = objects(done.stdout)[0]
    assert told["state"] == "ACCEPTED"
    assert told["task"]["task_id"] in done.stderr
    assert "24 hours" in done.stderr
    assert len(emulator.requests) == 1


def test_a_task_is_waited_for(emulator: Emulator, photos: Photos) -> None:
    """With --task-path the result is fetched; the paid call's request id is kept."""
    emulator.reply = "task"
    emulator.task_polls = 0
    done = replace(*photos(1), "-o", "out", "--task-path", emulator.task_path, "--json")
    assert done.exit_code == 0
    told = objects(done.stdout)[0]
    assert told["saved"] == ["out/p0.png"]
    assert told["request_id"] == emulator.requests[0].request_id


def test_a_task_that_takes_too_long(emulator: Emulator, photos: Photos) -> None:
    """When waiting ends before the task, the task is unfinished, not failed."""
    emulator.reply = "task"
    emulator.task_polls = 1000
    arguments = ["--task-path", emulator.task_path, "--timeout", "0.5", "--json"]
    done = replace(*photos(1), "-o", "out", *arguments)
    assert done.exit_code == 5
    told = objects(done.stdout)[0]
    assert told["state"] == "ACCEPTED"
    assert told["error"]["type"] == "TaskTimeoutError"
    assert told["task"]["task_id"]


def test_a_task_that_cannot_be_asked_for(emulator: Emulator, photos: Photos) -> None:
    """A wrong path loses nothing: the task's id is printed."""
    emulator.reply = "task"
    done = replace(*photos(1), "-o", "out", "--task-path", "/nowhere/{task_id}", "--json")
    assert done.exit_code == 5
    told = objects(done.stdout)[0]
    assert told["state"] == "ACCEPTED"
    assert told["error"]["type"] == "TaskError"
    assert told["error"]["status"] == 404
    assert told["task"]["task_id"] in done.stderr


def test_a_task_that_fails(emulator: Emulator, photos: Photos) -> None:
    """A task that ends without a result may have been billed."""
    emulator.reply = "task"
    emulator.task_polls = 0
    emulator.task_failure = "no cat found"
    done = replace(*photos(1), "-o", "out", "--task-path", emulator.task_path, "--json")
    assert done.exit_code == 5
    told = objects(done.stdout)[0]
    assert told["state"] == "UNCERTAIN"
    assert told["billed"] == "maybe"
    assert "no cat found" in done.stderr


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, {}), (402, {}), (403, {}), (429, {"error": {"code": "insufficient_user_quota"}})],
)
def test_account_errors_stop_the_run(
    server: MisbehavingServer, photos: Photos, status: int, body: dict[str, object]
) -> None:
    """After one, no call is started; the rest are named as not started, with code 4."""
    server.always(Answer.json(body, status=status))
    done = replace(*photos(5), "-o", "out", "--in-flight", "1", "--json")
    assert done.exit_code == 4
    told = objects(done.stdout)
    assert [each["state"] for each in told] == ["PENDING"] * 5
    assert [each["error"] is None for each in told] == [False, *[True] * 4]
    assert "p4.png: not started." in done.stderr
    assert len(server.received) == 1


def test_an_account_error_takes_back_what_waits(
    server: MisbehavingServer, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that has not begun to be sent is not started any more."""
    names = photos(2)
    original = AsyncChainHub.with_options

    def with_options(self: AsyncChainHub, **changes: Any) -> AsyncChainHub:
        hub = original(self, **changes)
        # The second call finds the gate closed for long.
        self._transport.pool.gate._per_minute = 1
        return hub

    monkeypatch.setattr(AsyncChainHub, "with_options", with_options)
    server.always(Answer.json({}, status=401))
    done = replace(*names, "-o", "out", "--json")
    assert done.exit_code == 4
    told = objects(done.stdout)
    assert [each["state"] for each in told] == ["PENDING"] * 2
    assert sorted(each["error"] is None for each in told) == [False, True]
    assert len(server.received) == 1


def test_a_mistake_of_our_own_costs_one_photo(
    server: MisbehavingServer, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception of no known kind is told like a failure, and the other photos go on."""

    async def save(*_: object, **kwargs: object) -> None:
        raise KeyError(kwargs["name"])

    monkeypatch.setattr(AsyncChainHub, "save", save)
    done = replace(*photos(2), "missing.png", "-o", "out", "--json")
    assert done.exit_code == 5
    told = {each["image"]: each for each in objects(done.stdout)}
    assert "Unexpected KeyError: 'p1'" in told["p1.png"]["error"]["message"]
    assert told["p1.png"]["billed"] == "yes"
    assert told["p1.png"]["results"][0]["url"] in done.stderr


def test_front_proxy_errors_are_uncertain(server: MisbehavingServer, photos: Photos) -> None:
    """A 502 page after the whole upload is code 5."""
    server.always(HtmlError(502))
    assert replace(*photos(1), "-o", "out").exit_code == 5
