"""A queue whose first messages retention has removed. Runs alone: it changes what the brokers keep.

Where the queue begins then depends on the size of segments, so offsets are compared as `min + n` and `max - n`.
"""
import time

from both import MAX_OFFSET, QUERY_OFFSET, SEND_BACK, SUBSCRIPTION, SUSPEND
from scenarios.positions import EARLIEST, MIN_OFFSET, SEARCH, VIEW, commit
from scenarios.switched import switched

CLEAN, RESET, STATS = 329, 222, 202
TOPIC, GROUP = "Removed", "g-removed"
# More than two segments of either broker, all alike: where the queue begins must not show.
MESSAGES, BYTES = 72, 1 << 20


def first_messages_gone(both):
    both.topic(TOPIC, queues=1)
    both.group(GROUP)
    answers = both.send(TOPIC, 0, "the first", name="send the first")
    for side, answer in zip(both.sides, answers):
        side.values["first"] = int(answer.fields["msgId"][16:], 16)
    for number in range(MESSAGES):
        both.send(TOPIC, 0, "x" * BYTES, name=f"send large {number}", settle=False)
    both.settle(TOPIC, 0, MESSAGES + 1)
    with switched(both, fileReservedTime="0"):
        for side in both.sides:
            wait_removed(side)
    for side in both.sides:
        name_offsets(side)
    ask_all(both)


def wait_removed(side, seconds=60):
    """Until the queue's begin has moved and moves no more."""
    end, before = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        answer = side.connection("main").ask(CLEAN)
        assert answer.code == 0, answer
        time.sleep(1)
        now = offset_of(side, MIN_OFFSET)
        if now > 0 and now == before:
            return
        before = now
    raise RuntimeError(f"{side.name} has not removed anything")


def offset_of(side, code):
    return int(side.connection("main").ask(code, {"topic": TOPIC, "queueId": "0"}).fields["offset"])


def name_offsets(side):
    low, high = offset_of(side, MIN_OFFSET), offset_of(side, MAX_OFFSET)
    assert 2 < low < high - 4, f"{side.name} keeps {low} to {high}"
    side.values.update(low=low, high=high)
    for distance in range(3):
        side.names[low + distance] = f"min + {distance}"
        side.names[high - distance] = f"max - {distance}"


def ask_all(both):
    low, high = (lambda shift: lambda side: side.values["low"] + shift), (lambda shift: lambda side: side.values["high"] + shift)
    places = {"-1": -1, "0": 0, "1": 1, "min - 1": low(-1), "min": low(0), "min + 1": low(1), "max - 1": high(-1), "max": high(0),
              "max + 1": high(1)}
    for name, offset in places.items():
        both.pull(f"pull at {name}", GROUP, TOPIC, 0, offset, "*", SUBSCRIPTION, 1)
        both.pull(f"pull at {name}, nothing matches", GROUP, TOPIC, 0, offset, "none", SUBSCRIPTION, 1)
        if name != "max":
            both.pull(f"pull at {name}, would wait", GROUP, TOPIC, 0, offset, "*", SUBSCRIPTION | SUSPEND, 1)
    queue = {"topic": TOPIC, "queueId": 0}
    both.ask("min", MIN_OFFSET, queue)
    both.ask("max", MAX_OFFSET, queue)
    both.ask("earliest", EARLIEST, queue)
    both.ask("topic stats", STATS, {"topic": TOPIC}, ignore=("body.topicPutTps",))
    for boundary in ("LOWER", "UPPER"):
        both.ask(f"search before all {boundary}", SEARCH, {**queue, "timestamp": 1, "boundaryType": boundary})
        both.ask(f"search behind all {boundary}", SEARCH, {**queue, "timestamp": 1 << 50, "boundaryType": boundary})
    for zero in (None, "true", "false"):
        both.ask(f"where a new group begins, zero {zero}", QUERY_OFFSET, {"consumerGroup": "g-new", **queue, "setZeroIfNotFound": zero})
    commit(both, "commit what is gone", GROUP, TOPIC, 0, 1)
    both.ask("it is kept", QUERY_OFFSET, {"consumerGroup": GROUP, **queue})
    both.ask("progress", 208, {"consumerGroup": GROUP, "topic": TOPIC}, ignore=("body.consumeTps",))
    both.ask("view of a removed message", VIEW, {"offset": lambda side: side.values["first"]}, ignore=("remark",))
    both.ask("send back of one", SEND_BACK, {"group": GROUP, "offset": lambda side: side.values["first"], "delayLevel": 1}, ignore=("remark",))
    for name in ("0", "min - 1", "min", "max"):
        fields = {"topic": TOPIC, "group": GROUP, "timestamp": -1, "isForce": "true", "queueId": 0, "offset": places[name]}
        both.ask(f"reset to {name}", RESET, fields, ignore=("remark",))
        both.pull(f"pull after reset to {name}", GROUP, TOPIC, 0, 0, "*", SUBSCRIPTION, 1)
    both.ask("reset to the beginning of time", RESET, {"topic": TOPIC, "group": GROUP, "timestamp": 0, "isForce": "true"})


SCENARIOS = [first_messages_gone]
