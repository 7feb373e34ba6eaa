"""The chapters, in their order; each checks what it tells."""

from __future__ import annotations

from dataclasses import dataclass, field

from demo.cast import Cast, Player
from demo.domain import Domain
from demo.screen import Screen
from demo.stage import Event, Process, Stage, expect
from finial.core import pem
from finial.core.x509cert import Certificate

HOME, ABROAD = "example.org", "partner.example"
_NO_FEDERATION = f"there is no federation with trust domain {ABROAD}"
_ROTATIONS = 3
_SHORT = 8  # digits of a serial number, where it is only compared


@dataclass
class Story:
    """What one chapter leaves for the next.

    Args:
        stage: Where the processes are.
        screen: Where it is told.
        cast: How workloads differ.
    """

    stage: Stage
    screen: Screen
    cast: Cast
    home: Domain = field(init=False)
    players: dict[str, Player] = field(default_factory=dict)
    running: dict[str, Process] = field(default_factory=dict)
    ports: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home = Domain(HOME, "home", self.stage, self.screen)

    async def tell(self) -> None:
        """All of it.

        Raises:
            StoryError: Something did not happen as it is told.
        """
        chapters = (
            ("A server starts, and a trust domain is born", self.birth),
            ("A machine joins", self.join),
            ("Two programs learn who they are", self.identities),
            ("They talk, and each knows the other", self.talk),
            ("A token goes where certificates do not", self.token),
            ("A program that nobody registered is refused", self.stranger),
            ("A caller from another trust domain is refused", self.visitor),
            ("An entry is changed, then deleted, and the program knows", self.change),
            ("An identity is replaced under a live connection", self.rotation),
        )
        for number, (title, chapter) in enumerate(chapters, 1):
            self.screen.chapter(number, title)
            await chapter()

    async def birth(self) -> None:
        """Chapter 1."""
        self.screen.tell(
            f"A trust domain is a set of names with signing keys of its own. Ours is called {HOME}. Its "
            "server makes the keys and keeps the register of who is who. Port 0 stands for any free port."
        )
        await self.home.start_server()
        self.screen.tell(
            "Whoever wants to check an identity of this trust domain needs its public keys, the trust "
            "bundle. It is no secret:"
        )
        text = await self.home.operate("bundle", "show", into="home/bundle.pem")
        (der,) = pem.read_certificates(text.encode())
        root = Certificate.parse(der)
        expect(root.spiffe_id is not None, "the authority has to name its trust domain")
        self.screen.output(
            f"one authority: {root.spiffe_id}, serial {root.serial:032x},\n"
            f"valid from {root.not_before:%Y-%m-%d %H:%M:%S} to {root.not_after:%Y-%m-%d %H:%M:%S} UTC"
        )
        self.screen.good(f"The trust domain {HOME} has an authority that can sign.")

    async def join(self) -> None:
        """Chapter 2."""
        self.screen.tell(
            "On each machine an agent runs. It proves once which machine it is, here by a token that works "
            "once and for ten minutes. The token goes through a pipe (--join-token-file -), because every "
            "process on a machine can read the arguments of every other: a secret does not belong there. "
            "From then on the server tells the agent what changes, at the moment when it changes."
        )
        await self.home.start_agent()
        count = await self.home.operate("agent", "count")
        expect(count.split()[0] == "1", "one agent has to have joined", count)
        self.screen.good(
            "The machine has joined. It holds an identity of its own, which it renews by itself."
        )

    async def identities(self) -> None:
        """Chapter 3."""
        self.screen.tell(
            "An entry says: a process that looks like this is that SPIFFE ID. How a process looks, its "
            "selectors, the agent reads from the kernel; the process shows nothing and keeps no secret. "
            + self.cast.explanation
        )
        for name in ("web", "api"):
            self.players[name] = self.cast.player(name)
            await self.home.register(name, self.players[name])
        self.screen.tell("Now the two programs start, and ask the agent's socket: who am I?")
        for name in ("web", "api"):
            process = self.running[name] = await self.home.launch(name, self.players[name])
            await process.tell(do="serve")
        for name in ("web", "api"):
            identity = await self.running[name].event("identity", id=self.home.id(name))
            self.ports[name] = (await self.running[name].event("serving"))["port"]
            self.screen.says(
                name,
                f"I am {identity['id']}, by a certificate with serial {identity['serial']}, "
                f"valid from {identity['begins']} to {identity['ends']} UTC",
            )
        self.screen.good(
            "Each has an X.509-SVID, a certificate that proves its SPIFFE ID. The keys were made by the "
            "agent, and were never on a disk."
        )

    async def talk(self) -> None:
        """Chapter 4."""
        self.screen.tell(
            "With mTLS both ends of a connection show their certificates. Each checks the other's against "
            "the trust bundle, and then whether this is whom it wanted."
        )
        for caller, server in (("web", "api"), ("api", "web")):
            await self._call(caller, server)
            met = await self.running[caller].event("met")
            called = await self.running[server].event("called")
            self.screen.says(caller, f"I called and reached {met['id']}. It answered: {met['said']}")
            self.screen.says(server, f"{called['by']} called me")
            expect(met["id"] == self.home.id(server), f"{caller} has to see {server}", met["id"])
            expect(called["by"] == self.home.id(caller), f"{server} has to see {caller}", called["by"])
        self.screen.good("Both ways, each saw exactly the other.")

    async def token(self) -> None:
        """Chapter 5."""
        self.screen.tell(
            "Where a proxy stands between two programs, neither sees the other's certificate. There a "
            "program shows a token, a JWT-SVID: signed for one audience, good for five minutes. Whoever "
            "holds it can use it, so it travels over a protected connection and is on no screen, as on this "
            "one."
        )
        audience = self.home.id("api")
        shown = await self._show(audience)
        believed = await self.running["api"].event("believed")
        self.screen.says(
            "web",
            f"I got a token for {shown['audience']}, good until {shown['ends']} UTC, and showed it to api. "
            f"It answered: {shown['said']}",
        )
        self.screen.says("api", f"I had my agent validate a token. It is of {believed['id']}")
        expect(believed["id"] == self.home.id("web"), "the token has to name web", believed["id"])
        self.screen.tell("Then web shows api a token that was made for somebody else:")
        await self._show(self.home.id("reports"))
        doubted = await self.running["api"].event("doubted")
        self.screen.says("api", f"I do not believe a token: {doubted['why']}")
        self.screen.good("A token counts at the service that it was made for, and soon nowhere.")

    async def stranger(self) -> None:
        """Chapter 6."""
        self.screen.tell("A third program asks the same socket. No entry fits it.")
        process = await self.home.launch("stranger", self.cast.player("stranger"))
        await process.tell(do="ask")
        refused = await process.event("refused")
        self.screen.says("stranger", f"{refused['why']}. {refused['hint']}")
        expect("no identity issued" in refused["why"], "the refusal has to say so", refused["why"])
        self.screen.good("No entry, no identity, and it was told why.")

    async def visitor(self) -> None:
        """Chapter 7."""
        self.screen.tell(
            f"Somebody else runs a trust domain too, {ABROAD}, with a server and an agent like ours. They "
            f"have taken our trust bundle, so that their program, visitor, can check ours. We have not "
            f"taken theirs."
        )
        abroad = Domain(ABROAD, "abroad", self.stage, self.screen, quiet=True)
        await abroad.start_server()
        await abroad.operate("bundle", "show", into="abroad/bundle.pem")
        await abroad.start_agent()
        await abroad.operate("bundle", "set", "--trust-domain", HOME, "--path", "home/bundle.pem")
        player = self.cast.player("visitor")
        await abroad.register("visitor", player, "--federates-with", HOME)
        self.screen.tell("The visitor starts, gets its identity, and calls api:")
        visitor = await abroad.launch("visitor", player)
        await visitor.tell(do="serve")
        identity = await visitor.event("identity")
        self.screen.says("visitor", f"I am {identity['id']}")
        expect(identity["id"] == abroad.id("visitor"), "the visitor has to have its identity", identity["id"])
        await visitor.event("serving")
        await visitor.tell(do="call", port=self.ports["api"], id=self.home.id("api"))
        refused = await self.running["api"].event("turned-away")
        self.screen.says("api", f"I refused a caller: {refused['why']}")
        failed = await visitor.event("failed")
        self.screen.says("visitor", f"I got nowhere: {failed['why']}")
        expect(_NO_FEDERATION in refused["why"], "the refusal has to name what is missing", refused["why"])
        self.screen.good(
            "A trust domain's identities count where its bundle was accepted, and nowhere else. That is "
            "federation, and it is decided by each side for itself."
        )

    async def change(self) -> None:
        """Chapter 8."""
        web = self.running["web"]
        self.screen.tell("The operator gives web a DNS name. Nobody restarts anything.")
        await self.home.register("web", self.players["web"], "--dns", "web.example.org", update=True)
        identity = await web.event("identity", dns="web.example.org")
        self.screen.says(
            "web", f"I have a new certificate, serial {identity['serial']}, for {identity['dns']}"
        )
        self.screen.tell("Then the operator deletes the entry.")
        await self.home.operate("entry", "delete", "--entry-id", "web")
        lost = await web.event("lost")
        self.screen.says("web", f"I have no identity any more: {lost['why']}")
        await self._call("web", "api")
        failed = await web.event("failed")
        self.screen.says("web", f"I tried to call api, and could not: {failed['why']}")
        expect("no identity issued" in lost["why"], "the program has to be told why", lost["why"])
        self.screen.good(
            "Both changes reached the running program by themselves. A certificate that it had copied away "
            "would be good until its end, which is why certificates live for an hour and not for a year."
        )

    async def rotation(self) -> None:
        """Chapter 9."""
        web, api = self.running["web"], self.running["api"]
        self.screen.tell(
            "The entry comes back, now with certificates that live for 6 seconds. The agent replaces each "
            "at half of its life. Meanwhile web keeps one connection to api open and talks over it."
        )
        await self.home.register("web", self.players["web"], "--x509-svid-ttl", "6s")
        first = await web.event("identity")
        await self._call("web", "api", keep=True)
        kept = await web.event("met")
        opened_with = kept["seen"]
        self.screen.says(
            "web", f"I have serial {_short(first['serial'])}, and opened a connection on which I talk"
        )
        messages = 0
        for _ in range(_ROTATIONS):
            fresh = await web.event("identity")
            counted = await self._count(web)
            await self._call("web", "api")
            met = await web.event("met")
            await api.event("called", serial=met["seen"])
            self.screen.says(
                "web",
                f"new serial {_short(fresh['serial'])}, ends {fresh['ends']}. Old connection: "
                f"{counted['messages']} messages, api sees {_short(counted['seen'])}. "
                f"New connection: api sees {_short(met['seen'])}",
            )
            now, seen = int(counted["messages"]), counted["seen"]
            expect(now > messages, "the old connection has to go on", f"{messages}, then {now} messages")
            expect(seen == opened_with, "the old connection keeps its certificate", seen)
            expect(met["seen"] != opened_with, "a new connection has to use the new one", met["seen"])
            messages = now
        self.screen.good(
            f"{_ROTATIONS} replacements, {messages} messages over the one connection, none lost; each new "
            "connection used the newest certificate."
        )

    async def _call(self, caller: str, server: str, *, keep: bool = False) -> None:
        command = {"port": self.ports[server], "id": self.home.id(server)}
        await self.running[caller].tell(do="keep" if keep else "call", **command)

    async def _show(self, audience: str) -> Event:
        """Have web show api a token for an audience."""
        web = self.running["web"]
        await web.tell(do="show", port=self.ports["api"], id=self.home.id("api"), audience=audience)
        return await web.event("shown")

    async def _count(self, process: Process) -> Event:
        await process.tell(do="count")
        return await process.event("counted")


def _short(serial: str) -> str:
    return f"{serial[:_SHORT]}.."
