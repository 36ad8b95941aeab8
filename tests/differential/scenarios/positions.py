"""Consumer offsets, bounds of queues, search by time."""
import time

from both import CREATE_TOPIC, MAX_OFFSET, QUERY_OFFSET, UPDATE_OFFSET

MIN_OFFSET, SEARCH, EARLIEST, VIEW = 31, 29, 32, 33
OFFSET_MAX = (1 << 63) - 1


def commit(both, name, group, topic, queue, offset, /, **more):
    return both.ask(name, UPDATE_OFFSET, {"consumerGroup": group, "topic": topic, "queueId": queue, "commitOffset": offset, **more})


def query(both, name, group, topic, queue, /, **more):
    return both.ask(name, QUERY_OFFSET, {"consumerGroup": group, "topic": topic, "queueId": queue, **more})


def committed(both):
    both.topic("Offsets", queues=4)
    both.topic("OffsetsEmpty", queues=2)
    for number in range(5):
        both.send("Offsets", 0, f"m{number}")
    group = "g-offsets"
    for queue in (0, 1, 4, -1):
        for zero in (None, "true", "false"):
            query(both, f"queue {queue}, zero {zero}, unknown group", "g-nobody", "Offsets", queue, setZeroIfNotFound=zero)
    for zero in (None, "true", "false"):
        query(both, f"unknown topic, zero {zero}", "g-nobody", "OffsetsNowhere", 0, setZeroIfNotFound=zero)
        query(both, f"empty topic, zero {zero}", "g-nobody", "OffsetsEmpty", 0, setZeroIfNotFound=zero)
    commit(both, "unknown group", "g-unknown", "Offsets", 0, 1)
    both.group(group)
    commit(both, "unknown topic", group, "OffsetsNowhere", 0, 1)
    for queue, offset in ((0, 3), (0, 3), (0, 1), (0, 0), (0, 5), (0, 6), (0, 1_000), (0, OFFSET_MAX), (0, -1), (1, 0), (1, 7),
                          (3, 2), (4, 2), (99, 1), (-1, 1)):
        step = len(both.names)
        commit(both, f"commit {offset} in queue {queue} ({step})", group, "Offsets", queue, offset)
        query(both, f"read it back ({step})", group, "Offsets", queue)
        query(both, f"read it back, not zero ({step})", group, "Offsets", queue, setZeroIfNotFound="false")
    for field in ("consumerGroup", "topic", "queueId", "commitOffset"):
        commit(both, f"commit without {field}", group, "Offsets", 0, 1, **{field: None})
    for field in ("consumerGroup", "topic", "queueId"):
        query(both, f"query without {field}", group, "Offsets", 0, **{field: None})
    for field in ("queueId", "commitOffset"):
        commit(both, f"commit: {field} is no number", group, "Offsets", 0, 1, **{field: "x"})
    query(both, "query: queueId is no number", group, "Offsets", 0, queueId="x")
    both.ask("topics of the group", 343, {"group": group})
    both.ask("topics of an unknown group", 343, {"group": "g-nobody"})
    both.ask("groups of the topic", 300, {"topic": "Offsets"})
    both.ask("groups of an unknown topic", 300, {"topic": "OffsetsNowhere"})


def bounds(both):
    both.topic("Bounds", queues=3)
    for number in range(3):
        both.send("Bounds", 0, f"m{number}")
    for topic, queue in (("Bounds", 0), ("Bounds", 1), ("Bounds", 3), ("Bounds", -1), ("BoundsNowhere", 0), ("", 0)):
        fields = {"topic": topic, "queueId": queue}
        for committed_only in (None, "true", "false"):
            both.ask(f"max of {topic!r} {queue}, committed {committed_only}", MAX_OFFSET, {**fields, "committed": committed_only})
        both.ask(f"min of {topic!r} {queue}", MIN_OFFSET, fields)
        both.ask(f"earliest of {topic!r} {queue}", EARLIEST, fields)
        for when in (0, 1, OFFSET_MAX, -1):
            for boundary in (None, "LOWER", "UPPER"):
                both.ask(f"search {topic!r} {queue} at {when} {boundary}", SEARCH, {**fields, "timestamp": when, "boundaryType": boundary})
    for code, fields in ((MAX_OFFSET, ("topic", "queueId")), (MIN_OFFSET, ("topic", "queueId")), (EARLIEST, ("topic", "queueId")),
                         (SEARCH, ("topic", "queueId", "timestamp"))):
        whole = {"topic": "Bounds", "queueId": 0, "timestamp": 1}
        for field in fields:
            both.ask(f"{code} without {field}", code, {**whole, field: None})
        both.ask(f"{code} with a queue that is no number", code, {**whole, "queueId": "x"})


def by_time(both):
    """Messages at least 30 ms apart, and two that may share a millisecond."""
    both.topic("ByTime", queues=1)
    for number in range(6):
        both.send("ByTime", 0, f"m{number}")
        time.sleep(0.03)
    for side, found in zip(both.sides, both.read("ByTime", 0)):
        side.values["times"] = [record["storeTimestamp"] for record in found]

    def ask(name, index, shift, boundary):
        both.ask(name, SEARCH, {"topic": "ByTime", "queueId": 0, "boundaryType": boundary,
                                "timestamp": lambda side: side.values["times"][index] + shift})

    for boundary in (None, "LOWER", "UPPER", "lower", "upper", "middle"):
        for index in range(6):
            for shift in (-1, 0, 1):
                ask(f"message {index} {shift:+d} ms {boundary}", index, shift, boundary)
        ask(f"an hour before {boundary}", 0, -3_600_000, boundary)
        ask(f"an hour behind {boundary}", 5, 3_600_000, boundary)


def single_messages(both):
    both.topic("View", queues=1)
    answers = both.send("View", 0, "to be seen", tags="A", keys="key1 key2")
    for side, answer in zip(both.sides, answers):
        side.values["offset"] = int(answer.fields["msgId"][16:], 16)
    both.ask("by its offset", VIEW, {"offset": lambda side: side.values["offset"], "topic": "View"})
    both.ask("without topic", VIEW, {"offset": lambda side: side.values["offset"]})
    both.ask("with another topic", VIEW, {"offset": lambda side: side.values["offset"], "topic": "Other"})
    both.ask("beside a message", VIEW, {"offset": lambda side: side.values["offset"] + 1, "topic": "View"}, ignore=("remark",))
    both.ask("far behind the end", VIEW, {"offset": 1 << 40})
    both.ask("negative", VIEW, {"offset": -1})
    both.ask("without offset", VIEW, {})


SCENARIOS = [committed, bounds, by_time, single_messages]
