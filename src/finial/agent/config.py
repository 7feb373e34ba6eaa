"""The settings of an agent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal

from finial.core.errors import RotationError
from finial.core.ids import TrustDomain
from finial.core.revision import STANDARDS
from finial.core.rotation import check_availability_target
from finial.rpc import LOCAL, Tcp
from finial.runtime.config import (
    SIZE,
    SOCKET,
    Reload,
    Remark,
    Settings,
    address,
    default_data_dir,
    default_socket,
    revision,
    setting,
    settings,
)
from finial.runtime.text import visible


@settings
class AgentSettings(Settings):
    """What an operator decides about an agent; only the server has to be given."""

    server: Tcp = setting("Where the server is.", form=address(Tcp))
    trust_domain: TrustDomain | None = setting(
        "The trust domain that the agent joins.", default=None, default_text="what the trust bundle names"
    )
    trust_bundle: Path | None = setting(
        "A PEM file of the authorities that the server is known by at the first contact.", default=None
    )
    insecure_bootstrap: bool = setting(
        "Take the first server that answers for the right one. DANGEROUS: whoever answers owns the agent.",
        default=False,
    )
    join_token: str | None = setting(
        "A join token. Every process on the machine can read it: prefer join_token_file.",
        default=None,
        secret=True,
    )
    join_token_file: Path | None = setting(
        "A file that holds the join token; - is standard input.", default=None
    )
    node_attestor: str = setting("The plugin that proves which node this is.", default="join_token")

    data_dir: Path = setting(
        "The folder of its keys and SVIDs.", default_factory=lambda: default_data_dir("agent")
    )
    socket: Path = setting(
        "The Unix socket of the Workload API, open to every process of the machine.",
        default_factory=lambda: default_socket("agent"),
        form=SOCKET,
    )

    sync_interval: timedelta = setting(
        "How often entries and bundles are fetched from a server that does not push them.",
        default=timedelta(seconds=5),
        least=timedelta(milliseconds=100),
        most=timedelta(hours=1),
        reload=Reload.LIVE,
    )
    availability_target: timedelta | None = setting(
        "How much life an SVID keeps when the server goes away; 24 hours or more.",
        default=None,
        default_text="renewal at half of the life",
        reload=Reload.LIVE,
    )

    workload_attestors: tuple[str, ...] = setting("The plugins that attest workloads.", default=("unix",))
    unix_discover_path: bool = setting(
        "Look at the executables of workloads: selectors unix:path and unix:sha256.",
        default=True,
        key="unix.discover_path",
    )
    unix_sha256_size_limit: int = setting(
        "The largest executable that is hashed; 0 for any size, -1 to hash none.",
        default=256 << 20,
        form=SIZE,
        least=-1,
        key="unix.sha256_size_limit",
    )
    allowed_foreign_jwt_claims: tuple[str, ...] = setting(
        "Claims of other trust domains' JWT-SVIDs that workloads are told beside sub, aud and exp, when they "
        "have the agent validate one.",
        default=(),
    )
    plugins: Mapping[str, Mapping[str, Mapping[str, object]]] = setting(
        "The settings of plugins: a table [plugins.KIND.NAME] for each.", default_factory=dict, option=False
    )

    incubating_wit_svid: str | None = setting(
        "Serve WIT-SVIDs by this revision of their standard, which is still to change.",
        default=None,
        default_text="no WIT-SVIDs",
        form=revision(STANDARDS),
        key="incubating.wit_svid",
    )
    limits_max_connections: int = setting(
        "How many connections of workloads are open at once; further ones are closed.",
        default=LOCAL.max_connections,
        least=1,
        key="limits.max_connections",
    )
    limits_max_concurrent_streams: int = setting(
        "How many calls one connection of a workload has open at once.",
        default=LOCAL.max_concurrent_streams,
        least=1,
        key="limits.max_concurrent_streams",
    )
    metrics_bind: Tcp | None = setting(
        "Where figures can be fetched by HTTP at /metrics, such as 127.0.0.1:9989; whoever reaches it reads "
        "them.",
        default=None,
        default_text="nowhere",
        form=address(Tcp),
        key="metrics.bind",
    )
    shutdown_grace: timedelta = setting(
        "How long calls may go on when the agent ends.", default=timedelta(seconds=2), least=timedelta(0)
    )

    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "From which level on events are logged.", default="info", reload=Reload.LIVE
    )
    log_format: Literal["text", "json"] = setting("How they are written.", default="text")

    def remarks(self) -> Iterator[Remark]:
        """What excludes what, and what needs what."""
        if self.insecure_bootstrap and self.trust_bundle is not None:
            yield Remark(("insecure_bootstrap", "trust_bundle"), "give one of the two, not both")
        if self.insecure_bootstrap and self.trust_domain is None:
            message = "without a trust bundle the trust domain has to be given"
            yield Remark(("insecure_bootstrap", "trust_domain"), message)
        if self.join_token is not None and self.join_token_file is not None:
            yield Remark(("join_token", "join_token_file"), "give one of the two, not both")
        if self.node_attestor != "join_token" and (self.join_token or self.join_token_file):
            message = f"the token is not used: the node is attested by {visible(self.node_attestor)}"
            yield Remark(("join_token", "node_attestor"), message, wrong=False)
        if self.availability_target is not None:
            try:
                check_availability_target(self.availability_target)
            except RotationError as error:
                yield Remark(("availability_target",), error.findings[0].message)
