"""`hub.wait`: it asks where it is told to, until the task has ended or the time is over."""

from __future__ import annotations

import json
import pickle
from typing import Any

import attrs
import pytest

from chainhub_async import (
    APIError,
    AsyncChainHub,
    AuthenticationError,
    Billed,
    InvalidOptionError,
    NotFoundError,
    Task,
    TaskError,
    TaskFailedError,
    TaskTimeoutError,
    Timeout,
)
from chainhub_async.testing import Emulator, MisbehavingServer
from chainhub_async.testing.bad_answers import Answer
from chainhub_async.testing.faults import CloseAfter, CutHead, Fault, NoAnswer, ResetAfter
from chainhub_async.testing.placeholder import flat_png

pytestmark = pytest.mark.anyio

PHOTO = flat_png((8, 8), "wait")
PATH = "/tasks/{task_id}"
TASK = Task(task_id="t-1", task_status="submitted")


def reply(status: str, **data: Any) -> Answer:
    """The answer to a question about a task."""
    told = {"task_id": "t-1", "task_status": status, **data}
    return Answer(body=json.dumps({"code": 0, "message": "SUCCEED", "data": told}).encode())


DONE = reply("succeed", task_result={"images": [{"index": 0, "url": "http://127.0.0.1:9/a.png"}]})


async def test_until_it_is_done(hub: AsyncChainHub, emulator: Emulator) -> None:
    """A task of the emulator, asked about as often as it takes, and no oftener."""
    emulator.reply = "task"
    emulator.task_polls = 3
    result = await hub.ideogram.replace_background(PHOTO, num_images=2)
    assert result.task
    assert result.images == ()
    done = await hub.wait(result.task, path=emulator.task_path, interval=0.01)
    assert done.task
    assert done.task.task_id == result.task.task_id
    assert len(done.images) == 2
    assert [record.method for record in emulator.requests] == ["POST", *["GET"] * 4]


async def test_nothing_is_asked_by_itself(hub: AsyncChainHub, emulator: Emulator) -> None:
    """A task is returned as it came; without `wait` there is no question."""
    emulator.reply = "task"
    assert (await hub.ideogram.replace_background(PHOTO)).task
    assert len(emulator.requests) == 1


@pytest.mark.parametrize(
    "status", ["succeed", "SUCCEED", "succeeded", "success", "completed", "Complete", "finished"]
)
async def test_words_for_done(tried: AsyncChainHub, server: MisbehavingServer, status: str) -> None:
    """Every word known to mean success ends the waiting."""
    server.gets.script(reply(status, task_result={"images": [{"url": "http://127.0.0.1:9/a"}]}))
    done = await tried.wait(TASK, path=PATH, interval=0.01)
    assert done.task
    assert done.task.task_status == status
    assert done.images[0].url == "http://127.0.0.1:9/a"
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "status", ["failed", "FAILED", "error", "cancelled", "canceled", "expired"]
)
async def test_words_for_failed(
    tried: AsyncChainHub, server: MisbehavingServer, status: str
) -> None:
    """Every word known to mean failure raises, with the task and the gateway's words."""
    server.gets.script(reply("processing"), reply(status, task_status_msg="no memory left"))
    with pytest.raises(TaskFailedError, match="no memory left") as caught:
        await tried.wait(TASK, path=PATH, interval=0.01)
    assert caught.value.task
    assert caught.value.task.task_status == status
    assert caught.value.billed is not Billed.NO
    assert len(server.received) == 2


@pytest.mark.parametrize("status", ["submitted", "processing", "queued", "", "某种状态", "sucess"])
async def test_unknown_words_are_waited_through(
    tried: AsyncChainHub, server: MisbehavingServer, status: str
) -> None:
    """What is not known to be an end is none."""
    server.gets.script(reply(status), reply(status), DONE)
    done = await tried.wait(TASK, path=PATH, interval=0.01)
    assert len(done.images) == 1
    assert len(server.received) == 3


async def test_a_list_of_images_is_an_end(tried: AsyncChainHub, server: MisbehavingServer) -> None:
    """An answer of the other shape is a result."""
    listed = {"created": 1, "data": [{"url": "http://127.0.0.1:9/a.png"}]}
    server.gets.script(Answer(body=json.dumps(listed).encode()))
    done = await tried.wait(TASK, path=PATH, interval=0.01)
    assert len(done.images) == 1


async def test_time_out(tried: AsyncChainHub, server: MisbehavingServer) -> None:
    """The task as last seen is on the error, pickles with it, and can be waited for again."""
    server.gets.always(reply("processing", updated_at=1767607872000))
    with pytest.raises(TaskTimeoutError, match=r"'processing' after 0\.2 s") as caught:
        await tried.wait(TASK, path=PATH, interval=0.02, timeout=0.2)
    assert caught.value.billed is Billed.YES
    assert isinstance(caught.value, TimeoutError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is TaskTimeoutError
    assert again.task
    assert again.task == caught.value.task
    assert again.task.task_status == "processing"
    assert again.task.updated_at == 1767607872000
    server.gets.always(DONE)
    assert (await tried.wait(again.task, path=PATH)).images


async def test_time_out_of_a_question(tried: AsyncChainHub, server: MisbehavingServer) -> None:
    """A question that is never answered does not outlast the waiting."""
    server.gets.always(NoAnswer())
    with pytest.raises(TaskTimeoutError, match="'submitted'") as caught:
        await tried.wait(TASK, path=PATH, interval=0.02, timeout=0.2)
    assert caught.value.task == TASK


async def test_the_task_keeps_its_id(tried: AsyncChainHub, server: MisbehavingServer) -> None:
    """An answer that names another task does not change which one is asked for again."""
    server.gets.always(reply("processing", task_id="another"))
    with pytest.raises(TaskTimeoutError) as caught:
        await tried.wait(TASK, path=PATH, interval=0.02, timeout=0.1)
    assert caught.value.task
    assert caught.value.task.task_id == "t-1"
    assert {received.path for received in server.received} == {"/tasks/t-1"}


@attrs.frozen
class Cut(Fault):
    """A good answer that breaks off."""

    reset: bool = False

    async def act(self, x: Any) -> None:
        await x.wire.send(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"code": 0, "data": {')
        await x.end(reset=self.reset)


FAULTS: list[Fault] = [
    Answer(500, body=b"{}"),
    Answer(502, body=b"<html>bad gateway</html>"),
    Answer(503, headers=(("Retry-After", "0"),)),
    Answer(429, headers=(("Retry-After", "0"),)),
    Answer(body=b"<html>not JSON</html>"),
    Answer(body=b""),
    CutHead(),
    Cut(),
    Cut(reset=True),
    CloseAfter(),
    ResetAfter(),
]


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
async def test_faults_are_waited_through(
    tried: AsyncChainHub, server: MisbehavingServer, fault: Fault
) -> None:
    """The task goes on whether or not it can be asked for: a fault is no end."""
    server.gets.script(reply("processing"), *[fault] * 6, DONE)
    hub = tried.with_options(timeout=Timeout(read=2, attempt=4))
    done = await hub.wait(TASK, path=PATH, interval=0.01, timeout=20)
    assert len(done.images) == 1
    assert len(server.received) == 8


async def test_the_last_fault_is_told(tried: AsyncChainHub, server: MisbehavingServer) -> None:
    """Where nothing usable ever comes, as from a wrong path, the time-out says so."""
    server.gets.always(Answer(body=b"<html>welcome</html>"))
    with pytest.raises(TaskTimeoutError, match=r"last poll failed: .*JSON") as caught:
        await tried.wait(TASK, path=PATH, interval=0.02, timeout=0.3)
    assert caught.value.__cause__ is not None


async def test_a_fault_that_passed_is_not_told(
    tried: AsyncChainHub, server: MisbehavingServer
) -> None:
    """What was answered since is forgotten."""
    server.gets.script(Answer(body=b"<html>welcome</html>"))
    server.gets.always(reply("processing"))
    with pytest.raises(TaskTimeoutError) as caught:
        await tried.wait(TASK, path=PATH, interval=0.02, timeout=0.3)
    assert "last poll" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(("status", "kind"), [(401, AuthenticationError), (404, NotFoundError)])
async def test_refusals_are_an_end(
    tried: AsyncChainHub, server: MisbehavingServer, status: int, kind: type[APIError]
) -> None:
    """What polling again will not change is raised at once, with the task, which is paid for."""
    server.gets.always(Answer(status, body=b"{}"))
    with pytest.raises(TaskError) as caught:
        await tried.wait(TASK, path=PATH, interval=0.01)
    assert isinstance(caught.value.__cause__, kind)
    assert (caught.value.task, caught.value.billed) == (TASK, Billed.YES)
    assert caught.value.status == status
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("task_id", "path"),
    [
        ("../../v1/models", "/tasks/..%2F..%2Fv1%2Fmodels"),
        ("/etc", "/tasks/%2Fetc"),
        ("a?b=c#d", "/tasks/a%3Fb=c%23d"),
        ("a%2Fb", "/tasks/a%252Fb"),
        ("a b\r\nX-Evil: 1", "/tasks/a%20b%0D%0AX-Evil:%201"),
        ("@127.0.0.1:9/", "/tasks/@127.0.0.1:9%2F"),
        ("...", "/tasks/..."),
        ("{task_id}", "/tasks/%7Btask_id%7D"),
        ("é", "/tasks/%C3%A9"),
    ],
)
async def test_hostile_ids_are_quoted(
    tried: AsyncChainHub, server: MisbehavingServer, task_id: str, path: str
) -> None:
    """Whatever the id, it stays one step of the path, and no header."""
    server.gets.always(DONE)
    await tried.wait(Task(task_id=task_id), path=PATH)
    assert [received.path for received in server.received] == [path]
    assert server.received[0].header("X-Evil") is None
    assert server.other_received == []


async def test_an_id_in_the_query(tried: AsyncChainHub, server: MisbehavingServer) -> None:
    """There it stays one value."""
    server.gets.always(DONE)
    await tried.wait(Task(task_id="a&b=c+d e"), path="/tasks?id={task_id}&full=1")
    assert server.received[0].path == "/tasks?id=a%26b%3Dc%2Bd%20e&full=1"


@pytest.mark.parametrize("task_id", ["", ".", "..", "\ud800"])
async def test_ids_that_cannot_be_asked_for(
    tried: AsyncChainHub, server: MisbehavingServer, task_id: str
) -> None:
    """An id that would lead to another path is refused; nothing is asked."""
    with pytest.raises(InvalidOptionError, match="part of a URL path is expected"):
        await tried.wait(Task(task_id=task_id), path=PATH)
    assert server.connections == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": "/tasks/"}, "it must contain {task_id}"),
        ({"path": None}, "it must contain {task_id}"),
        ({"path": "/tasks/{id}"}, "it must contain {task_id}"),
        ({"path": "tasks/{task_id}"}, "must begin with /"),
        ({"path": "http://127.0.0.1:9/{task_id}"}, "must begin with /"),
        ({"interval": 0}, "above zero"),
        ({"interval": float("nan")}, "above zero"),
        ({"interval": "2"}, "interval is a str"),
        ({"interval": None}, "interval is a NoneType"),
        ({"timeout": -1}, "above zero"),
        ({"timeout": Timeout()}, "timeout is a Timeout"),
        ({"timeout": True}, "timeout is a bool"),
        ({"task": "t-1"}, "a Task, as in result.task"),
        ({"task": None}, "a Task, as in result.task"),
    ],
)
async def test_refused_before_asking(
    tried: AsyncChainHub, server: MisbehavingServer, options: dict[str, Any], words: str
) -> None:
    """What cannot work is refused in a sentence, and nothing is asked."""
    given: dict[str, Any] = {"task": TASK, "path": PATH, **options}
    with pytest.raises(InvalidOptionError, match=words):
        await tried.wait(given.pop("task"), **given)
    assert server.connections == 0


async def test_the_answer_follows_at_once(tried: AsyncChainHub, server: MisbehavingServer) -> None:
    """The first question is not put off, however long the interval."""
    server.gets.script(DONE)
    assert (await tried.wait(TASK, path=PATH, interval=500, timeout=float("inf"))).images
