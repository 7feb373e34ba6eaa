"""`finial server authority show`, `prepare`, `activate`, `taint` and `revoke`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from finial.cli.commands import Command
from finial.cli.options import output_option, socket_option
from finial.cli.server import authority_calls as calls
from finial.cli.server.authority_methods import (
    METHODS,
    Activated,
    Revoked,
    Tainted,
    any_kind_option,
    flag,
    kind_option,
)
from finial.cli.server.authority_view import (
    OLD,
    PREPARED,
    SHORT,
    TAINTED,
    View,
    behind_line,
    choose,
    resting_line,
    trusting,
)
from finial.cli.session import Session, talk
from finial.cli.show import JSON, instant, note, say, table, yes_no
from finial.runtime.text import visible
from finial.server.ca.kinds import KindName
from finial.wire.jsontext import to_json

F = TypeVar("F", bound=Callable[..., object])

_UNKNOWN = "-"


def _id_option(which: str) -> Callable[[F], F]:
    return click.option(
        "--authority-id",
        metavar="ID",
        help=f"The authority, by its ID or the beginning of it.  [default: the {which} one]",
    )


@click.command(
    "show",
    cls=Command,
    examples="""
    finial server authority show
    finial server authority show --kind jwt --output json
    """,
)
@socket_option("server")
@any_kind_option
@output_option
def show(socket: str, kind: KindName | None, output: str) -> None:
    """Show the authorities that SVIDs are signed by: what each is, and who trusts it.

    active signs; prepared is published and will sign next; old has signed before; published is trusted and in
    no use by this server; revoked is not trusted any more.
    """

    async def work(session: Session) -> list[View]:
        return [await calls.look(session, kind)] if kind else await calls.look_at_all(session)

    views = talk("server", Path(socket), work)
    if output == JSON:
        found = {view.kind: _to_json(view) for view in views}
        shown = found[kind] if kind else found
        say(json.dumps(shown, sort_keys=True, separators=(",", ":")))
        return
    head = [
        "KIND", "AUTHORITY", "STATUS", "VALID UNTIL", "TAINTED", "SVIDS", "AGENTS THAT TRUST IT", "FULL ID"
    ]  # fmt: skip
    table(head, [_row(view, authority_id, end) for view in views for authority_id, end in view.rows()])
    polling = max((each.polling for view in views for each in view.rollouts.values()), default=0)
    if polling:
        agents = "1 agent polls: its" if polling == 1 else f"{polling} agents poll: their"
        note(f"{agents} SVIDs are not counted")


def _row(view: View, authority_id: str, end: int) -> list[str]:
    rollout = view.rollouts.get(authority_id)
    counted = METHODS[view.kind].kind.counted  # tokens are with workloads, who tell nobody
    return [
        view.kind.value,
        authority_id[:SHORT],
        view.status(authority_id),
        instant(end),
        yes_no(authority_id in view.tainted) if authority_id in view.published else _UNKNOWN,
        str(rollout.resting) if rollout is not None and counted else _UNKNOWN,
        _UNKNOWN if rollout is None else trusting(rollout),
        authority_id,
    ]


def _to_json(view: View) -> object:
    """The state as the server says it, with a list of everything that is shown to people."""
    found = json.loads(to_json(view.state))
    found["authorities"] = [
        {
            "authority_id": authority_id,
            "expires_at": str(end),
            "status": view.status(authority_id),
            "tainted": authority_id in view.tainted,
            "rollout": _rollout(view, authority_id),
        }
        for authority_id, end in view.rows()
    ]
    return found


def _rollout(view: View, authority_id: str) -> object:
    found = view.rollouts.get(authority_id)
    return None if found is None else json.loads(to_json(found))


@click.command(
    "prepare",
    cls=Command,
    examples="""
    finial server authority prepare
    """,
)
@socket_option("server")
@kind_option
@output_option
def prepare(socket: str, kind: KindName, output: str) -> None:
    """Make the next authority and publish it, in place of one that is prepared already.

    Nothing is signed by it before it is activated. A rotation by itself is `finial server authority rotate`.
    """
    reply = talk("server", Path(socket), lambda session: calls.prepare(session, kind))
    if output == JSON:
        say(to_json(reply))
        return
    made = reply.prepared_authority
    until = instant(made.expires_at)
    say(f"Prepared authority {visible(made.authority_id)}: it is published, and valid until {until}")
    note(f"next: finial server authority activate{flag(kind)}    (waits until every agent has it)")


@click.command(
    "activate",
    cls=Command,
    examples="""
    finial server authority activate
    finial server authority activate --authority-id 3f2a9c1b --force
    """,
)
@socket_option("server")
@kind_option
@_id_option("prepared")
@click.option("--force", is_flag=True, help="Do not wait for agents that do not have it yet.")
@output_option
def activate(*, socket: str, kind: KindName, authority_id: str | None, force: bool, output: str) -> None:
    """Sign by the prepared authority from now on, once every agent has it.

    Agents that are there are waited for, for half a minute; then it is refused and they are named.
    """

    async def work(session: Session) -> Activated:
        view = await calls.look(session, kind)
        chosen = choose(authority_id, _known(view), [view.prepared] if view.prepared else [], what=PREPARED)
        rollout = view.rollouts.get(chosen)
        if rollout is not None and rollout.behind and not force and output != JSON:
            note(f"waiting: {behind_line(rollout)}")
        return await calls.activate(session, kind, chosen, force=force)

    reply = talk("server", Path(socket), work)
    if output == JSON:
        say(to_json(reply))
        return
    say(f"Activated authority {visible(reply.activated_authority.authority_id)}: it signs from now on")
    note(f"next: finial server authority taint{flag(kind)}    (so that what the old one signed is renewed)")


@click.command(
    "taint",
    cls=Command,
    examples="""
    finial server authority taint
    finial server authority taint --authority-id 77aa01de
    """,
)
@socket_option("server")
@kind_option
@_id_option("old")
@output_option
def taint(socket: str, kind: KindName, authority_id: str | None, *, output: str) -> None:
    """Have everything renewed that rests on an old authority; it is trusted until it is revoked."""

    async def work(session: Session) -> Tainted:
        view = await calls.look(session, kind)
        chosen = choose(authority_id, _known(view), [view.old] if view.old else [], what=OLD)
        return await calls.taint(session, kind, chosen)

    reply = talk("server", Path(socket), work)
    if output == JSON:
        say(to_json(reply))
        return
    say(f"Tainted authority {visible(reply.tainted_authority.authority_id)}: what rests on it is renewed now")
    note(f"next: finial server authority revoke{flag(kind)}    (refused while anything rests on it)")


@click.command(
    "revoke",
    cls=Command,
    examples="""
    finial server authority revoke
    finial server authority revoke --authority-id 77aa01de --force
    """,
)
@socket_option("server")
@kind_option
@_id_option("tainted")
@click.option(
    "--force",
    is_flag=True,
    help="Revoke it although SVIDs rest on it: these are refused then, and agents with one must join anew.",
)
@output_option
def revoke(*, socket: str, kind: KindName, authority_id: str | None, force: bool, output: str) -> None:
    """Take a tainted authority out of the trust bundle, once nothing rests on it any more."""

    async def work(session: Session) -> Revoked:
        view = await calls.look(session, kind)
        chosen = choose(authority_id, _known(view), view.to_revoke, what=TAINTED)
        rollout = view.rollouts.get(chosen)
        if rollout is not None and rollout.resting_on and force and output != JSON:
            note(f"nobody is waited for; {resting_line([rollout])}")
        return await calls.revoke(session, kind, chosen, force=force)

    reply = talk("server", Path(socket), work)
    if output == JSON:
        say(to_json(reply))
    else:
        revoked = visible(reply.revoked_authority.authority_id)
        say(f"Revoked authority {revoked}: nobody is to trust it any more")


def _known(view: View) -> list[str]:
    return [authority_id for authority_id, _ in view.rows()]
