"""Masks: which fields of a message are wanted, or are to be changed.

A mask is a message of booleans, named like the fields of the message that it is for. One that is absent
stands for every field; one that is there and empty leaves the message its key alone.
"""

from __future__ import annotations

from typing import Final, Literal, Protocol, TypeVar

from google.protobuf.message import Message

from finial.wire.gen import spire_api_types as types

_M = TypeVar("_M", bound=Message)
_Mask_co = TypeVar("_Mask_co", bound=Message, covariant=True)

AGENT_FIELDS: Final = frozenset(
    {
        "spiffe_id", "selectors", "federates_with", "admin", "downstream", "revision_number", "store_svid",
        "hint", "created_at", "additional_attributes",
    }
)  # fmt: skip
"""What SPIRE's agents ask of an entry: never its parent, its lifetimes or its DNS names."""


class HasOutputMask(Protocol[_Mask_co]):
    """A request with a mask for what it is answered."""

    @property
    def output_mask(self) -> _Mask_co:
        """The mask; empty when it is absent, which is why it is not asked for directly."""

    def HasField(self, field_name: Literal["output_mask"]) -> bool:  # noqa: N802 - protobuf's name
        """Whether there is one."""


def output_mask(request: HasOutputMask[_Mask_co]) -> _Mask_co | None:
    """The output mask of a request; None when it is absent, which asks for everything."""
    return request.output_mask if request.HasField("output_mask") else None


def agent_mask() -> types.EntryMask:
    """The mask with which agents ask for entries."""
    return types.EntryMask(**dict.fromkeys(AGENT_FIELDS, True))


def inverse(mask: _M) -> _M:
    """The mask that selects the fields which a mask does not."""
    names = selected(mask)
    others = [field.name for field in mask.DESCRIPTOR.fields if field.name not in names]
    return type(mask)(**dict.fromkeys(others, True))


def selected(mask: Message) -> frozenset[str]:
    """The names of the fields that a mask selects."""
    return frozenset(field.name for field, _ in mask.ListFields())


def cut(message: _M, mask: Message | None) -> _M:
    """Take from a message what its mask does not select, and return it.

    Args:
        message: Loses those fields.
        mask: Of its kind; None leaves everything.
    """
    if mask is not None:
        names = selected(mask)
        for field in mask.DESCRIPTOR.fields:
            if field.name not in names:
                message.ClearField(field.name)
    return message


def merged(old: _M, new: _M, mask: Message | None) -> _M:
    """One message with the selected fields of another.

    Args:
        old: Stays as it is.
        new: Has the same key, and stays as it is; a field that it lacks is gone from the result too.
        mask: Of their kind; None takes everything from `new`.
    """
    if mask is None:
        return new
    result, part = type(old)(), type(old)()
    result.CopyFrom(old)
    part.CopyFrom(new)
    for name in selected(mask):
        result.ClearField(name)
    result.MergeFrom(cut(part, mask))
    return result
