"""What counts against a source's share of the workers."""

from __future__ import annotations

from gatescan.service.slots import REMEMBERED, SLOW, Slots

GREEDY, HONEST = 0x1234567, 0x7654321


def test_a_source_of_quick_messages_is_not_held_back() -> None:
    slots = Slots(4)
    for worker in range(4):
        slots.begin(worker, 100.0, HONEST)
    assert not slots.is_slow(HONEST, 100.0 + SLOW / 2)


def test_after_one_slow_message_all_of_its_source_count_from_their_start() -> None:
    slots = Slots(4)
    slots.begin(0, 100.0, GREEDY)
    assert slots.is_slow(GREEDY, 100.0 + 2 * SLOW), "one is in work"
    slots.note_slow(GREEDY, 104.0)
    slots.end(0, 1)
    for worker in range(2):
        slots.begin(worker, 104.0, GREEDY)
    assert slots.is_slow(GREEDY, 104.0) and slots.busy(GREEDY) == 2, "a burst at one moment is seen"
    assert not slots.is_slow(HONEST, 104.0) and slots.busy(HONEST) == 0
    for worker in range(2):
        slots.end(worker, 2)
    assert not slots.is_slow(GREEDY, 104.0 + REMEMBERED + 1), "it is forgiven after a while"
