"""The OLE2 compound file (MS-CFB): the streams of old Office documents, Outlook messages and installers, bounded.

Why not python3-olefile: it reads every table when it opens a file and knows no budget, walks the directory by recursion
(a hostile one is as deep as it likes), keeps one of two streams of the same name, and refuses damaged files that Office
opens. Here whatever is read is accounted for, and streams that no storage reaches are seen too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from gatescan.judging.budget import Budget
from gatescan.unpack.common import MEMBER_MAX, Broken

_END_OF_CHAIN = 0xFFFFFFFE
_REGULAR_MAX = 0xFFFFFFF9
_ENTRIES_MAX = 20_000
_STORAGE, _STREAM, _ROOT = 1, 2, 5
_ENTRY = struct.Struct("<64sHBBLLL16sL8s8sLQ")


@dataclass(slots=True)
class Node:
    """A storage or a stream. size in bytes; path: names from the root down, joined by `/`."""

    name: str
    kind: int
    start: int
    size: int
    class_id: bytes
    left: int
    right: int
    child: int
    path: str = ""

    @property
    def is_stream(self) -> bool:
        return self.kind == _STREAM


class CompoundFile:
    """A compound file in memory. cut: it has more entries than are read. Raises Broken when its directory can't be
    read."""

    def __init__(self, data: bytes, budget: Budget) -> None:
        if len(data) < 512:
            raise Broken("a compound file without a header")
        self._data = data
        self._budget = budget
        self._shift = int.from_bytes(data[30:32], "little")
        mini_shift = int.from_bytes(data[32:34], "little")
        if self._shift not in (9, 12) or mini_shift != 6:
            raise Broken("a compound file with odd sector sizes")
        self._mini_cutoff = int.from_bytes(data[56:60], "little")
        self._fat = self._read_fat()
        self.nodes = self._read_directory()
        self.cut = len(self.nodes) > _ENTRIES_MAX
        self._mini_fat: list[int] | None = None
        self._mini: bytes = b""

    def streams(self) -> Iterator[Node]:
        return (node for node in self.nodes if node.is_stream)

    def read(self, node: Node, limit: int = MEMBER_MAX) -> bytes:
        """A stream's first `limit` bytes, as many as are there. Raises LimitReached."""
        size = min(node.size, limit)
        if node.size < self._mini_cutoff:
            return self._read_mini(node.start, size)
        return self._chain(node.start, size)

    def _read_fat(self) -> list[int]:
        data, size = self._data, 1 << self._shift
        per_sector = size // 4
        sectors = list(struct.unpack_from("<109L", data, 76))
        following = int.from_bytes(data[68:72], "little")
        most = len(data) // size + 1
        seen: set[int] = set()
        while following <= _REGULAR_MAX and following not in seen and len(sectors) < most:
            seen.add(following)
            block = self._sector(following)
            if len(block) < size:
                break
            numbers = struct.unpack(f"<{per_sector}L", block)
            sectors += numbers[:-1]
            following = numbers[-1]
        fat: list[int] = []
        for number in sectors:
            if number > _REGULAR_MAX:
                continue
            block = self._sector(number)
            fat += struct.unpack(f"<{len(block) // 4}L", block[: len(block) // 4 * 4])
            if len(fat) > most + per_sector:
                break
        return fat

    def _sector(self, number: int) -> bytes:
        at = (number + 1) << self._shift
        return self._data[at : at + (1 << self._shift)]

    def _chain(self, start: int, size: int) -> bytes:
        """The bytes of a chain of sectors; runs of neighbours are read at once. A loop ends at `size`."""
        out: list[bytes] = []
        left, number, fat, shift = size, start, self._fat, self._shift
        width = 1 << shift
        while left > 0 and number <= _REGULAR_MAX:
            run = 1
            last = number
            while run * width < left and last < len(fat) and fat[last] == last + 1:
                last += 1
                run += 1
            at = (number + 1) << shift
            block = self._data[at : at + min(left, run * width)]
            if not block:
                break
            self._budget.spend(len(block))
            out.append(block)
            left -= len(block)
            number = fat[last] if last < len(fat) else _END_OF_CHAIN
        return b"".join(out)

    def _read_directory(self) -> list[Node]:
        raw = self._chain(int.from_bytes(self._data[48:52], "little"), min((_ENTRIES_MAX + 1) * 128, len(self._data)))
        nodes = [_node(raw, at) for at in range(0, len(raw) - 127, 128)]
        if not nodes or nodes[0].kind != _ROOT:
            raise Broken("a compound file without a root")
        self._name_paths(nodes)
        return nodes

    def _name_paths(self, nodes: list[Node]) -> None:
        """Give the nodes their paths; those that no storage reaches keep their bare name."""
        for node in nodes:
            node.path = node.name
        seen = {0}
        todo = [(nodes[0].child, "")]
        while todo:
            index, parent = todo.pop()
            if index in seen or index >= len(nodes):
                continue
            seen.add(index)
            node = nodes[index]
            node.path = f"{parent}{node.name}"
            todo += [(node.left, parent), (node.right, parent)]
            if node.kind == _STORAGE:
                todo.append((node.child, f"{node.path}/"))

    def _read_mini(self, start: int, size: int) -> bytes:
        if self._mini_fat is None:
            count = int.from_bytes(self._data[64:68], "little") << self._shift
            table = self._chain(int.from_bytes(self._data[60:64], "little"), min(count, len(self._data)))
            self._mini_fat = list(struct.unpack(f"<{len(table) // 4}L", table[: len(table) // 4 * 4]))
            root = self.nodes[0]
            self._mini = self._chain(root.start, min(root.size, len(self._data)))
        out: list[bytes] = []
        left, number = size, start
        while left > 0 and number <= _REGULAR_MAX:
            block = self._mini[number * 64 : number * 64 + min(64, left)]
            if not block:
                break
            out.append(block)
            left -= len(block)
            number = self._mini_fat[number] if number < len(self._mini_fat) else _END_OF_CHAIN
        self._budget.spend(size - left)
        return b"".join(out)


def _node(raw: bytes, at: int) -> Node:
    fields = _ENTRY.unpack_from(raw, at)
    length = max(0, min(fields[1], 64) - 2)
    name = fields[0][:length].decode("utf-16-le", "replace")
    return Node(name, fields[2], fields[11], fields[12] & 0x7FFFFFFF, fields[7], fields[4], fields[5], fields[6])
