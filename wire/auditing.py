"""The audit chain: each entry names the hash of the one before, so nobody can change or drop one unseen. Pure."""

import hashlib

import msgspec

FIRST = "0" * 64
"""What the very first entry names as the one before."""
PRUNED = "audit pruned"
"""The action of the entry that says which old entries were dropped."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change: who did what to which thing from where. `time` is unix nanoseconds; `seq` carries the order."""

    seq: int
    time: int
    user: str
    action: str
    target: str
    prev: str
    key: str = ""
    address: str = ""
    details: dict[str, str] = {}


class BrokenChain(Exception):
    """Entries that do not follow each other."""

    def __init__(self, seq: int, why: str) -> None:
        super().__init__(f"entry {seq}: {why}")
        self.seq = seq


def digest(entry: bytes) -> str:
    """The hash of an entry's exact bytes."""
    return hashlib.sha256(entry).hexdigest()


class Verifier:
    """Follows the chain entry by entry. `noted`: hashes that somebody wrote down earlier, by their number."""

    def __init__(self, noted: dict[int, str] | None = None) -> None:
        self._noted = dict(noted or {})
        self._gap: tuple[int, str] | None = None
        self.head: tuple[int, str] = (0, FIRST)
        self.count = 0

    def add(self, raw: bytes, claimed: str) -> Entry:
        """The next entry. Raises BrokenChain."""
        place = self.head[0] + 1
        try:
            entry = msgspec.json.decode(raw, type=Entry)
        except msgspec.DecodeError as error:
            raise BrokenChain(place, f"cannot be read: {error}") from None
        found = digest(raw)
        if found != claimed:
            raise BrokenChain(entry.seq, "its bytes do not have its hash")
        if not self.count and entry.seq > 1:
            self._gap = (entry.seq - 1, entry.prev)
        elif entry.seq != place or entry.prev != self.head[1]:
            raise BrokenChain(entry.seq, f"does not follow entry {self.head[0]}")
        if self._noted.pop(entry.seq, found) != found:
            raise BrokenChain(entry.seq, "is not the one that was noted")
        if self._gap is not None and entry.action == PRUNED and _explains(entry, self._gap):
            self._gap = None
        self.head = (entry.seq, found)
        self.count += 1
        return entry

    def end(self, claimed: tuple[int, str] | None = None) -> None:
        """All entries were given; `claimed` is the end that the hub names. Raises BrokenChain when some are missing."""
        if self._gap is not None:
            raise BrokenChain(self._gap[0], "it and all before it are missing, and no entry says why")
        if claimed is not None and claimed != self.head:
            if claimed[0] > self.head[0]:
                raise BrokenChain(self.head[0] + 1, f"it and all to {claimed[0]} were written and are missing")
            raise BrokenChain(self.head[0], "is not the last one that the hub names")
        if self._noted and max(self._noted) > self.head[0]:
            raise BrokenChain(max(self._noted), "was noted and is missing")


def _explains(entry: Entry, gap: tuple[int, str]) -> bool:
    """Whether an entry tells that those before a gap were dropped on purpose; they go in parts, the oldest first."""
    through, dropped = entry.details.get("through", ""), entry.details.get("hash", "")
    if not (through.isascii() and through.isdigit()) or len(through) > 18 or int(through) >= entry.seq:
        return False
    # While some are still there that may go, their chain leads to this entry by itself.
    return gap[0] < int(through) or gap == (int(through), dropped)
