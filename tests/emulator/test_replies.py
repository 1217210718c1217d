"""The 200 replies: both shapes, their wrappings, forms of `created`, withheld images, tasks."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from chainhub_async.testing import Emulator
from chainhub_async.testing.replies import CreatedForm

from .wire import get, image_part, part, post

KEY = {"Authorization": "Bearer emulator-key"}


def test_image_list(emulator: Emulator) -> None:
    """The list is as Ideogram documents it: one entry per image, seeds counting up."""
    answer = post(
        emulator, image_part(), part("prompt", "x"), part("num_images", "2"), part("seed", "7")
    )
    entries: list[dict[str, Any]] = answer.json["data"]
    assert [entry["seed"] for entry in entries] == [7, 8]
    assert {**entries[0], "url": ""} == {
        "url": "",
        "prompt": "x",
        "resolution": "256x256",
        "is_image_safe": True,
        "seed": 7,
        "style_type": "GENERAL",
    }
    assert entries[0]["url"].startswith(f"{emulator.base_url}/results/")


def test_seeds_stay_in_their_range(emulator: Emulator) -> None:
    """After the highest seed comes the lowest."""
    highest = part("seed", "2147483647")
    entries = post(emulator, image_part(), highest, part("num_images", "2")).json["data"]
    assert [entry["seed"] for entry in entries] == [2147483647, 0]


def test_seeds_differ_from_call_to_call(emulator: Emulator) -> None:
    """Without a seed each call gets another one, in the documented range."""
    seeds = {post(emulator).json["data"][0]["seed"] for _ in range(3)}
    assert len(seeds) == 3
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_wrappings(emulator: Emulator) -> None:
    """The list may come inside one or two further objects."""
    emulator.reply = "wrapped"
    wrapped = post(emulator).json
    assert (wrapped["code"], type(wrapped["data"])) == (0, list)
    emulator.reply = "wrapped_object"
    nested = post(emulator).json
    assert (nested["code"], nested["data"].keys()) == (0, {"created", "data"})


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("z-0", "2026-01-05T10:11:12Z"),
        ("z-6", "2026-01-05T10:11:12.123456Z"),
        ("z-9", r"2026-01-05T10:11:12.123456\d{3}Z"),
        ("offset-0", r"2026-01-05T18:11:12\+08:00"),
        ("offset-9", r"2026-01-05T18:11:12.123456\d{3}\+08:00"),
        ("space-z-6", "2026-01-05 10:11:12.123456Z"),
        ("space-offset-0", r"2026-01-05 18:11:12\+08:00"),
        ("epoch", "1767607872"),
    ],
)
def test_created(emulator: Emulator, form: CreatedForm, expected: str) -> None:
    """Each form seen of `created` is written to the letter."""
    emulator.created = form
    assert re.fullmatch(expected, str(post(emulator).json["created"]))


def test_created_may_be_absent(emulator: Emulator) -> None:
    """And it may not be there at all."""
    emulator.created = "absent"
    assert post(emulator).json.keys() == {"data"}


def test_every_form_of_created_is_served(emulator: Emulator) -> None:
    """No name in the list of forms is a dead one."""
    written: set[str] = set()
    for form in get_args(CreatedForm):
        emulator.created = form
        written.add(str(post(emulator).json.get("created")))
    assert len(written) == len(get_args(CreatedForm)) == 14


@pytest.mark.parametrize(
    ("form", "url"), [("null", {"url": None}), ("empty", {"url": ""}), ("absent", {})]
)
def test_withheld(emulator: Emulator, form: Any, url: dict[str, Any]) -> None:
    """An image withheld as unsafe has no URL in one of three ways, and is billed all the same."""
    emulator.withhold, emulator.withheld_url = lambda _, index: index == 1, form
    first, second = post(emulator, image_part(), part("num_images", "2")).json["data"]
    assert (first["is_image_safe"], second["is_image_safe"]) == (True, False)
    assert {key: value for key, value in second.items() if key == "url"} == url
    assert sum(emulator.billed.values()) == 2


def test_withheld_by_word(emulator: Emulator) -> None:
    """A word can decide, too."""
    emulator.withhold = "nude"
    assert post(emulator, image_part(), part("prompt", "a nude")).json["data"][0]["url"] is None
    assert post(emulator, image_part(), part("prompt", "a cat")).json["data"][0]["url"]


def test_task_succeeds(emulator: Emulator) -> None:
    """A task goes from submitted over processing to succeed, and then stays."""
    now = [1000.0]
    emulator.reply, emulator.task_polls, emulator.clock = "task", 2, lambda: now[0]
    emulator.withhold = lambda _, index: index == 1
    answer = post(emulator, image_part(), part("num_images", "2"))
    envelope = answer.json
    assert envelope["request_id"] == answer.headers["X-Oneapi-Request-Id"]
    assert envelope["data"] == {
        "task_id": envelope["data"]["task_id"],
        "task_status": "submitted",
        "created_at": 1000000,
        "updated_at": 1000000,
    }
    path = emulator.task_path.format(task_id=envelope["data"]["task_id"])
    now[0] = 1001.5
    seen = [get(emulator, path, **KEY).json["data"] for _ in range(4)]
    assert [data["task_status"] for data in seen] == ["processing"] * 2 + ["succeed"] * 2
    assert seen[2] == seen[3]
    assert (seen[2]["created_at"], seen[2]["updated_at"]) == (1000000, 1001500)
    first, second = seen[2]["task_result"]["images"]
    assert (first["index"], second) == (0, {"index": 1, "url": ""})
    assert get(emulator, first["url"]).status == 200


def test_task_fails(emulator: Emulator) -> None:
    """A task fails with the message it was told, though the HTTP status is 200."""
    emulator.reply, emulator.task_polls, emulator.task_failure = "task", 0, "no luck"
    task_id = post(emulator).json["data"]["task_id"]
    answer = get(emulator, emulator.task_path.format(task_id=task_id), **KEY)
    assert (answer.status, answer.json["code"]) == (200, 0)
    assert answer.json["data"]["task_status"] == "failed"
    assert answer.json["data"]["task_status_msg"] == "no luck"
    assert "task_result" not in answer.json["data"]


def test_task_questions_need_the_key_and_a_task(emulator: Emulator) -> None:
    """Unknown tasks are a 404 in the form of task routes, and the key is asked for first."""
    path = emulator.task_path.format(task_id="nope")
    assert get(emulator, path).status == 401
    answer = get(emulator, path, **KEY)
    assert (answer.status, answer.json["code"]) == (404, "task_not_exist")


@pytest.mark.parametrize(
    "options", [{"reply": "image"}, {"created": "iso"}, {"withheld_url": "none"}]
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    """A misspelt option is refused at once, also when it is set later."""
    with pytest.raises(ValueError, match="must be in"):
        Emulator(**options)
    ((name, value),) = options.items()
    emulator = Emulator()
    with pytest.raises(ValueError, match="must be in"):
        setattr(emulator, name, value)
