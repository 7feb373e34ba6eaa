"""Who is interested in what: from a change to the agents that it concerns, and to nobody else.

What roots give is kept once for each root and not for each agent (`Reach`), so a change of an entry below an
alias of 1,000 agents is noted once; only waking them is done 1,000 times.

Ids are noted as dirty before what they stand for is out of reach. It does no harm to note too many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain

from finial.core.selectors import Selector
from finial.server.index.aliases import Alias, Aliases
from finial.server.index.groups import Group, Marked, above, below
from finial.server.index.interest import Interest
from finial.server.index.reach import MOST_DIRTY, Reach
from finial.server.store.records import NodeRecord

_Ids = tuple[str, ...] | None


class Audience:
    """All interests. Owned by the event loop; watches the forest.

    Args:
        groups: All groups, by parent.
        aliases: All aliases.
    """

    def __init__(self, groups: Mapping[str, Group], aliases: Aliases) -> None:
        self._groups = groups
        self._aliases = aliases
        self._by_agent: dict[str, list[Interest]] = {}
        self._by_selector: dict[Selector, dict[Interest, None]] = {}
        self._by_root: dict[str, tuple[Reach, dict[Interest, None]]] = {}
        # Reaches that a group is in; known until what leads where, or who is interested, changes.
        self._over: dict[Group, tuple[Reach, ...]] = {}
        self._touched: dict[Reach, None] = {}
        self._stirred: dict[Interest, None] = {}

    def admit(self, interest: Interest, node: NodeRecord | None) -> None:
        """Have somebody interested from now on.

        Args:
            interest: A new one.
            node: The agent's.
        """
        self._by_agent.setdefault(interest.agent_id, []).append(interest)
        self._stand(interest, node, quiet=True)

    def dismiss(self, interest: Interest) -> None:
        """Have somebody interested no longer; nothing when that is so already."""
        same = self._by_agent.get(interest.agent_id, [])
        if interest not in same:
            return
        self._stand(interest, None, quiet=True)
        same.remove(interest)
        if not same:
            del self._by_agent[interest.agent_id]

    def flush(self) -> None:
        """Wake whoever has been concerned by something since the last call."""
        if not self._touched and not self._stirred:
            return
        woken = self._stirred
        for reach in self._touched:
            place = self._by_root.get(reach.root)
            if place is not None:
                woken.update(place[1])
        self._touched, self._stirred = {}, {}
        for interest in woken:
            if interest in self._by_agent.get(interest.agent_id, ()):  # nobody woken before has dismissed it
                interest.wake()

    def stir_all(self, domain: str | None = None) -> None:
        """Have all woken at the next flush, or those whose entries name a foreign trust domain.

        Args:
            domain: Its name; None for all of them.
        """
        for interest in chain.from_iterable(self._by_agent.values()):
            sums = interest.sums(self._groups.get(interest.agent_id))
            if domain is None or any(domain in each.domains for each in sums):
                self._stirred[interest] = None

    # What happens in the forest.

    def changed(self, group: Group, old: Marked | None, new: Marked | None) -> None:
        """An entry of a group has come, says something else, or is gone."""
        if not self._by_agent:
            return
        marked = new or old
        assert marked is not None
        entry_id = marked[0].id
        for reach in self._reaches_over(group):
            reach.changed(entry_id, old, new)
            self._touched[reach] = None
        for interest in self._directly_above(group):
            interest.touch(entry_id)
            self._stirred[interest] = None

    def opened(self, group: Group) -> None:
        """A group has come, and whatever leads to it."""
        self._turn(group)
        for upper in group.up:
            for interest in self._directly_above(upper):
                self._gain(interest, group.parent_id, ())

    def closing(self, group: Group) -> None:
        """A group goes, and whatever leads to it."""
        self._turn(group)
        for upper in group.up:
            for interest in self._directly_above(upper):
                self._lose(interest, group.parent_id, ())
        self._over.clear()

    def linked(self, upper: Group, lower: Group) -> None:
        """A group leads to another from now on."""
        ids = self._turn(upper, lower)
        for interest in self._directly_above(upper):
            self._gain(interest, lower.parent_id, ids)

    def unlinking(self, upper: Group, lower: Group) -> None:
        """A group will not lead to another any more."""
        ids = self._turn(upper, lower)
        for interest in self._directly_above(upper):
            self._lose(interest, lower.parent_id, ids)

    # What else happens.

    def realiased(self, old: Alias | None, new: Alias | None) -> None:
        """An alias has come, says something else, or is gone."""
        # First what comes: an agent for which both hold keeps its root all the time.
        if new is not None:
            found = self._having(new)
            ids = self._ids_below(new.root) if found else ()
            for interest in found:
                self._gain(interest, new.root, ids)
        if old is not None:
            found = self._having(old)
            ids = self._ids_below(old.root) if found else ()
            for interest in found:
                self._lose(interest, old.root, ids)

    def node_changed(self, agent_id: str, node: NodeRecord | None) -> None:
        """An agent's node says something else, or is gone."""
        for interest in self._by_agent.get(agent_id, ()):
            self._stand(interest, node)
            self._stirred[interest] = None

    # What these are made of.

    def _stand(self, interest: Interest, node: NodeRecord | None, *, quiet: bool = False) -> None:
        """Have an agent's interest follow from its node; quietly if nothing is to be dirty by that."""
        selectors = None if node is None or node.banned else frozenset(node.selectors)
        old, interest.selectors = interest.selectors, selectors
        if old == selectors:
            return
        self._list(interest, old or frozenset(), selectors or frozenset())
        own = self._groups.get(interest.agent_id)
        if own is not None and not quiet and (old is None or selectors is None):
            interest.soil(self._ids_in([own]))
        counts: Counter[str] = Counter()
        if selectors is not None:
            counts.update(alias.root for alias in self._aliases.matching(selectors))
            counts.update(lower.parent_id for lower in (() if own is None else own.down))
        for root in counts.keys() - interest.counts.keys():
            self._join(interest, root, () if quiet else self._ids_below(root))
        for root in interest.counts.keys() - counts.keys():
            self._leave(interest, root, () if quiet else self._ids_below(root))
        interest.counts = dict(counts)

    def _list(self, interest: Interest, old: frozenset[Selector], new: frozenset[Selector]) -> None:
        """Have an interest found by the selectors of its node."""
        for selector in old - new:
            place = self._by_selector[selector]
            del place[interest]
            if not place:
                del self._by_selector[selector]
        for selector in new - old:
            self._by_selector.setdefault(selector, {})[interest] = None

    def _gain(self, interest: Interest, root: str, ids: _Ids) -> None:
        """Have one more reason why a root is an agent's."""
        count = interest.counts[root] = interest.counts.get(root, 0) + 1
        if count == 1:
            self._join(interest, root, ids)
            self._stirred[interest] = None

    def _lose(self, interest: Interest, root: str, ids: _Ids) -> None:
        """Have one reason less."""
        count = interest.counts[root] = interest.counts[root] - 1
        if not count:
            del interest.counts[root]
            self._leave(interest, root, ids)
            self._stirred[interest] = None

    def _join(self, interest: Interest, root: str, ids: _Ids) -> None:
        place = self._by_root.get(root)
        if place is None:
            place = self._by_root[root] = Reach(root, self._groups), {}
            self._over.clear()
        place[1][interest] = None
        interest.join(place[0])
        interest.soil(ids)

    def _leave(self, interest: Interest, root: str, ids: _Ids) -> None:
        reach, others = self._by_root[root]
        del others[interest]
        if not others:
            del self._by_root[root]
            self._over.clear()
        interest.leave(reach)
        interest.soil(ids)

    def _turn(self, group: Group, lower: Group | None = None) -> _Ids:
        """Have all above a group look anew at what is below them.

        Args:
            group: Where something begins or ceases to lead to.
            lower: That; None if it is empty.

        Returns:
            What is dirty by that, for whomever it concerns.
        """
        self._over.clear()
        if not self._by_agent:
            return ()
        reaches = self._reaches_over(group)
        concerned = reaches or group.parent_id in self._by_agent
        ids = self._ids_in(below([lower])) if lower is not None and concerned else ()
        for reach in reaches:
            reach.relinked(ids)
            self._touched[reach] = None
        return ids

    def _directly_above(self, group: Group) -> Iterator[Interest]:
        """Those of admitted agents that are the parent of a group."""
        same = self._by_agent.get(group.parent_id, ())
        return (interest for interest in same if interest.selectors is not None)

    def _having(self, alias: Alias) -> list[Interest]:
        """Those of agents whose nodes have all that an alias needs."""
        few = min((self._by_selector.get(each, {}) for each in alias.selectors), key=len)
        return [each for each in few if each.selectors is not None and alias.selectors <= each.selectors]

    def _reaches_over(self, group: Group) -> tuple[Reach, ...]:
        found = self._over.get(group)
        if found is None:
            places = (self._by_root.get(each.parent_id) for each in above(group))
            found = self._over[group] = tuple(place[0] for place in places if place is not None)
        return found

    def _ids_below(self, root: str) -> _Ids:
        group = self._groups.get(root)
        return () if group is None else self._ids_in(below([group]))

    @staticmethod
    def _ids_in(groups: Iterator[Group] | list[Group]) -> _Ids:
        """The ids of the entries in groups; None if they are too many to be named."""
        found: list[str] = []
        for group in groups:
            if len(found) + group.sums.count > MOST_DIRTY:
                return None
            found += [record.id for record in group.rows]
        return tuple(found)
