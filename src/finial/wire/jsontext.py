"""Messages as JSON text, in the words of SPIRE's programs."""

from __future__ import annotations

import json

from google.protobuf import json_format
from google.protobuf.message import Message

from finial.core.errors import FinialError, Kind, Reason, translated
from finial.wire.pool import POOL

UNPRINTABLE = Reason(
    "json-unprintable",
    Kind.INVALID,
    meaning="A message holds something that JSON has no form for.",
)


def to_json(message: Message) -> str:
    """A message as one line of proto JSON, the same text for the same message.

    The names are those of the .proto file, sorted. 64-bit numbers are text and bytes are base64, as proto
    JSON has it. Fields with their zero value are written; a message that is absent is left out.

    Raises:
        FinialError: It holds what JSON cannot say, such as a number that is none. Messages of the server's
            API never do.
    """
    name = message.DESCRIPTOR.full_name

    def printed() -> str:
        fields = json_format.MessageToDict(
            message,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
            descriptor_pool=POOL,
        )
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    return translated(printed, lambda text: FinialError(UNPRINTABLE, f"{name} has no form in JSON: {text}"))
