"""The emulator against the API description, checked by a tool that knows neither."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse
from openapi_core.validation.response.exceptions import InvalidData

from .wire import BOUNDARY, PATH, Answer, form, get, headers, image_part, part, post

if TYPE_CHECKING:
    from chainhub_async.testing import Emulator

DESCRIPTION = Path(__file__).parent.parent / "data" / "replace-background.openapi.yaml"
ORIGIN = "https://api.chainhub.tech"


@pytest.fixture(scope="module")
def description() -> Any:
    """The description as it was published."""
    return yaml.safe_load(DESCRIPTION.read_text("utf-8"))


@pytest.fixture(scope="module")
def api(description: Any) -> OpenAPI:
    """The description, without its slip: it gives the image the type of the whole form."""
    del description["paths"][PATH]["post"]["requestBody"]["content"]["multipart/form-data"][
        "encoding"
    ]
    return OpenAPI.from_dict(description)


def request(emulator: Emulator, body: bytes, **changes: str | None) -> MockRequest:
    """What `wire.post` sends, as the tool wants it."""
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    fields = headers(emulator, **changes)
    return MockRequest(ORIGIN, "post", PATH, headers=fields, data=body, content_type=kind)


def check_response(api: OpenAPI, asked: MockRequest, answer: Answer) -> None:
    """Raise if a reply is not as described."""
    kind = answer.headers["Content-Type"]
    api.validate_response(asked, MockResponse(answer.body, answer.status, content_type=kind))


def test_request_and_task_reply_are_as_described(emulator: Emulator, api: OpenAPI) -> None:
    """What the emulator accepts is a described request, and the task envelope a described reply."""
    emulator.reply = "task"
    body = form(image_part(), part("prompt", "Add a forest in the background"))
    asked = request(emulator, body)
    api.validate_request(asked)
    answer = post(emulator, body=body)
    assert answer.status == 200
    check_response(api, asked, answer)
    task = emulator.task_path.format(task_id=answer.json["data"]["task_id"])
    for status in ("processing", "succeed"):
        later = get(emulator, task, Authorization=f"Bearer {emulator.api_key}")
        assert later.json["data"]["task_status"] == status
        check_response(api, asked, later)


@pytest.mark.parametrize(
    ("parts", "changes"),
    [((part("prompt", "x"),), {}), ((image_part(),), {"Accept": None}),
     ((image_part(),), {"Authorization": None})],
)  # fmt: skip
def test_what_the_description_forbids_is_refused(
    emulator: Emulator, api: OpenAPI, parts: tuple[bytes, ...], changes: dict[str, Any]
) -> None:
    """Whatever the description requires, the emulator requires."""
    asked = request(emulator, form(*parts), **changes)
    with pytest.raises(Exception, match=r".") as refused:
        api.validate_request(asked)
    assert refused.type.__module__.startswith("openapi_core.")
    assert post(emulator, *parts, **changes).status in {400, 401}


def test_the_image_list_is_the_undescribed_shape(emulator: Emulator, api: OpenAPI) -> None:
    """The list that Ideogram documents is not what the description says: both must be offered."""
    asked = request(emulator, form(image_part()))
    with pytest.raises(InvalidData):
        check_response(api, asked, post(emulator))


def test_the_path_is_the_described_one(description: Any) -> None:
    """The emulator serves the description's only path."""
    assert list(description["paths"]) == [PATH]
