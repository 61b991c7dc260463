"""What a server's own output says about a refusal: the line that a person who runs it has to go by."""

import json
from typing import Any

from deploy.wire import Answer
from servers_asgi.starting import Listening


def find_record(server: Listening, answer: Answer) -> dict[str, Any]:
    """The audit record with the answer's request id, wherever in the output the server puts it."""
    request_id = answer.told["request_id"]
    [line] = [line for line in server.said().splitlines() if request_id in line]
    record: dict[str, Any] = json.loads(line[line.index("{") :])
    return record
