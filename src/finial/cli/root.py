"""The tree of commands."""

from __future__ import annotations

from dataclasses import dataclass

import click

from finial import __version__
from finial.cli.commands import Group, Lazy, group
from finial.core.revision import STANDARDS, STANDARDS_COMMIT


@dataclass(slots=True)
class Invocation:
    """What holds for a whole run of the program.

    Args:
        debug: Whether an unexpected error is shown with its traceback.
    """

    debug: bool = False


@click.command(
    "finial",
    cls=Group,
    lazy={
        "server": Lazy("finial.cli.root:server", "Run a server and administer it."),
        "agent": Lazy("finial.cli.root:agent", "Run an agent and ask it for identities."),
        "dev": Lazy("finial.cli.dev.run:dev", "Run both on a laptop, with identities from a small file."),
    },
)
@click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error.")
@click.version_option(
    __version__,
    prog_name="finial",
    message=f"%(prog)s %(version)s\nSPIFFE standards of {STANDARDS} ({STANDARDS_COMMIT[:12]})",
)
@click.pass_obj
def root(invocation: Invocation, debug: bool) -> None:
    """Finial: identities for workloads, by the SPIFFE standards."""
    invocation.debug = debug


_ENTRY = {
    "create": Lazy("finial.cli.server.entry_write:create", "Register a workload."),
    "show": Lazy("finial.cli.server.entry:show", "Show registration entries."),
    "update": Lazy("finial.cli.server.entry_write:update", "Replace a registration entry."),
    "delete": Lazy("finial.cli.server.entry:delete", "Delete registration entries."),
    "count": Lazy("finial.cli.server.entry:count", "Count registration entries."),
}
_AGENT = {
    "list": Lazy("finial.cli.server.agent:list_agents", "List the agents that have joined."),
    "show": Lazy("finial.cli.server.agent:show", "Show an agent."),
    "count": Lazy("finial.cli.server.agent:count", "Count the agents that have joined."),
    "ban": Lazy("finial.cli.server.agent:ban", "Bar an agent for good."),
    "evict": Lazy("finial.cli.server.agent:evict", "Forget an agent; it may join again."),
}
_BUNDLE = {
    "show": Lazy("finial.cli.server.bundle:show", "Write the server's own trust bundle."),
    "list": Lazy("finial.cli.server.bundle:list_bundles", "Write the bundles of federated trust domains."),
    "set": Lazy("finial.cli.server.bundle:set_bundle", "Store the bundle of a federated trust domain."),
    "delete": Lazy("finial.cli.server.bundle:delete", "Delete the bundle of a federated trust domain."),
}
_AUTHORITY = {
    "show": Lazy("finial.cli.server.authority:show", "Show the authorities, and who trusts them."),
    "rotate": Lazy("finial.cli.server.authority_rotate:rotate", "Replace the authority, step by step."),
    "prepare": Lazy("finial.cli.server.authority:prepare", "Make the next authority and publish it."),
    "activate": Lazy("finial.cli.server.authority:activate", "Sign by the prepared authority."),
    "taint": Lazy("finial.cli.server.authority:taint", "Have renewed what rests on an old authority."),
    "revoke": Lazy("finial.cli.server.authority:revoke", "Trust a tainted authority no more."),
}
_TOKEN = {"generate": Lazy("finial.cli.server.token:generate", "Make a join token for one agent.")}
_X509 = {"mint": Lazy("finial.cli.server.mint:mint", "Make an X.509-SVID without a registration entry.")}
_JWT = {"mint": Lazy("finial.cli.server.mint_jwt:mint", "Make a JWT-SVID without a registration entry.")}
_WIT = {"mint": Lazy("finial.cli.server.mint_wit:mint", "Make a WIT-SVID without a registration entry.")}

entry = group("entry", _ENTRY, "Registration entries: which workload is who.")
agents = group("agent", _AGENT, "The agents that have joined.")
bundle = group("bundle", _BUNDLE, "Trust bundles: the server's own, and those of federated trust domains.")
authority = group("authority", _AUTHORITY, "The authority that SVIDs are signed by: its rotation by hand.")
token = group("token", _TOKEN, "Join tokens.")
x509 = group("x509", _X509, "X.509-SVIDs.")
jwt = group("jwt", _JWT, "JWT-SVIDs.")
wit = group("wit", _WIT, "WIT-SVIDs, an incubating standard.")

server = group(
    "server",
    {
        "run": Lazy("finial.cli.server.run:run", "Run a server."),
        "entry": Lazy("finial.cli.root:entry", "Registration entries."),
        "agent": Lazy("finial.cli.root:agents", "The agents that have joined."),
        "token": Lazy("finial.cli.root:token", "Join tokens."),
        "bundle": Lazy("finial.cli.root:bundle", "Trust bundles."),
        "authority": Lazy("finial.cli.root:authority", "The authority that SVIDs are signed by."),
        "x509": Lazy("finial.cli.root:x509", "X.509-SVIDs."),
        "jwt": Lazy("finial.cli.root:jwt", "JWT-SVIDs."),
        "wit": Lazy("finial.cli.root:wit", "WIT-SVIDs, an incubating standard."),
        "healthcheck": Lazy("finial.cli.server.healthcheck:healthcheck", "Ask whether a server serves."),
    },
    "Run a server and administer it over its socket.",
)

fetch = group(
    "fetch",
    {
        "x509": Lazy("finial.cli.agent.api_x509:fetch_x509", "Fetch this process's X.509-SVIDs."),
        "jwt": Lazy("finial.cli.agent.api_jwt:fetch_jwt", "Fetch JWT-SVIDs for an audience."),
        "wit": Lazy("finial.cli.agent.api_wit:fetch_wit", "Fetch WIT-SVIDs, an incubating standard."),
    },
    "Fetch identities once.",
)
validate = group(
    "validate",
    {"jwt": Lazy("finial.cli.agent.api_jwt:validate_jwt", "Validate a JWT-SVID.")},
    "Have the agent validate what others have shown.",
)
api = group(
    "api",
    {
        "fetch": Lazy("finial.cli.root:fetch", "Fetch identities once."),
        "validate": Lazy("finial.cli.root:validate", "Have the agent validate what others have shown."),
        "watch": Lazy("finial.cli.agent.api_watch:watch", "Show what this process is told at every change."),
    },
    "Ask an agent as a workload does.",
)
agent = group(
    "agent",
    {
        "run": Lazy("finial.cli.agent.run:run", "Run an agent."),
        "api": Lazy("finial.cli.root:api", "Ask an agent as a workload does."),
        "healthcheck": Lazy("finial.cli.agent.healthcheck:healthcheck", "Ask whether an agent serves."),
    },
    "Run an agent, and ask it for identities.",
)
