"""CONSUMER_SEND_MSG_BACK, retry topics, dead letters."""
from both import SEND, SEND_BACK, BORN_MS, consumer
from records import properties_text

RETRY, DEAD = "%RETRY%", "%DLQ%"
LEVEL_1_SECOND = 1


def back(both, name, group, offset, /, level=LEVEL_1_SECOND, version=479, ignore=(), **more):
    fields = {"group": group, "offset": offset, "delayLevel": level, "originMsgId": "ORIGIN", "originTopic": "Back",
              "unitMode": "false", **more}
    return both.ask(name, SEND_BACK, fields, version=version, ignore=ignore)


def sent(both, topic, body, **more):
    """Sends a message; the offset of it on each side, to be given to `back`."""
    answers = both.send(topic, 0, body, tags="A", keys=f"key-{body}", **more)
    offsets = {side: int(answer.fields["msgId"][16:], 16) for side, answer in zip(both.sides, answers)}
    return lambda side: offsets[side]


def content(both, name, topic, queue=0, offset=0, keep=None):
    """Compares the records of a queue; `keep` gets the last one's physical offset on each side."""
    both.settle(topic, queue, offset + 1)
    both.pull(name, "readers", topic, queue, offset)
    found = both.read(topic, queue, offset)
    offsets = {side: of_side[-1]["physicalOffset"] for side, of_side in zip(both.sides, found)}
    return lambda side: offsets[side]


def flow(both):
    """A message fails again and again, until it is a dead letter."""
    both.topic("Back", queues=1)
    group = "g-back"
    both.group(group, retryMaxTimes=3)
    at = sent(both, "Back", "failing", properties={"own": "value"})
    for attempt in range(3):
        back(both, f"attempt {attempt}", group, at)
        at = content(both, f"retry {attempt}", RETRY + group, offset=attempt)
    back(both, "too often", group, at)
    content(both, "dead letter", DEAD + group)
    both.ask("retry topic", 351, {"topic": RETRY + group, "lo": "true"})
    both.ask("dead-letter topic", 351, {"topic": DEAD + group, "lo": "true"})
    back(both, "a dead letter sent back", group, at)


def variants(both):
    both.topic("Back2", queues=1)
    at = sent(both, "Back2", "one")
    both.group("g-at-once")
    back(both, "straight to the dead letters", "g-at-once", at, level=-1)
    content(both, "dead at once", DEAD + "g-at-once")
    back(both, "broker chooses the level", "g-at-once", at, level=0)
    back(both, "level above the highest", "g-at-once", at, level=99)
    both.group("g-limit-0", retryMaxTimes=0)
    back(both, "group allows no retry", "g-limit-0", at)
    content(both, "dead by the group's limit", DEAD + "g-limit-0")
    back(both, "the request allows more", "g-limit-0", at, maxReconsumeTimes=5)
    content(both, "retried by the request's limit", RETRY + "g-limit-0")
    both.group("g-old")
    back(both, "an old client's limit does not count", "g-old", at, version=100, maxReconsumeTimes=0)
    content(both, "retried by the group's limit", RETRY + "g-old")
    back(both, "a new client's limit does", "g-old", at, version=121, maxReconsumeTimes=0)
    content(both, "dead by the request's limit", DEAD + "g-old")
    both.group("g-negative", retryMaxTimes=-1)
    back(both, "negative limit of the group", "g-negative", at)
    both.group("g-none", retryQueueNums=0)
    back(both, "no retry queues", "g-none", at)
    both.ask("and no retry topic", 351, {"topic": RETRY + "g-none", "lo": "true"})
    both.group("g-many", retryQueueNums=3)
    back(both, "three retry queues", "g-many", at)
    both.ask("retry topic with three queues", 351, {"topic": RETRY + "g-many", "lo": "true"})
    back(both, "unknown group", "g-made-by-back", at)
    both.ask("it exists now", 352, {"group": "g-made-by-back"})


def refusals(both):
    both.topic("Back3", queues=1)
    at = sent(both, "Back3", "one")
    group = "g-refused"
    both.group(group)
    back(both, "nothing there", group, 1 << 40)
    back(both, "negative offset", group, -1)
    back(both, "beside a message", group, lambda side: at(side) + 1, ignore=("remark",))
    back(both, "illegal group", "a.b", at)
    back(both, "empty group", "", at)
    for field in ("group", "offset", "delayLevel", "originMsgId", "originTopic", "unitMode"):
        back(both, f"without {field}", group, at, **{field: None})
    for field in ("offset", "delayLevel", "maxReconsumeTimes"):
        back(both, f"{field} is no number", group, at, **{field: "x"})


def by_producer(both):
    """The client's way out when 36 fails: an ordinary send to the retry topic."""
    group = "g-by-producer"
    both.group(group, retryMaxTimes=2)
    both.heartbeat("join", consumer(group, {"Any": "*"}))

    def send(name, times, limit=None, target=group, version=479, ignore=(), **properties):
        pairs = {"UNIQ_KEY": f"U-{name}", "RETRY_TOPIC": "Any", "RECONSUME_TIME": str(times), "KEYS": "k", **properties}
        both.ask(name, SEND, {"a": "CLIENT_INNER_PRODUCER", "b": RETRY + target, "c": "TBW102", "d": 4, "e": 0, "f": 0,
                              "g": BORN_MS, "h": 0, "i": properties_text(pairs), "j": times, "k": "false", "l": limit,
                              "m": "false"}, name.encode(), version=version, ignore=ignore)

    for times in (0, 1, 2, 3, 4):
        send(f"attempt {times}", times)
    content(both, "retried", RETRY + group)
    content(both, "dead", DEAD + group)
    send("limit of the request", 5, limit=9)
    send("limit of an old client does not count", 5, limit=9, version=100)
    # The offset is that in the parking queue of the delay level, of which every shard of ours has its own.
    send("with a delay", 1, DELAY="1", ignore=("field.queueOffset",))
    both.settle(RETRY + group, 0, 5)
    content(both, "after the delay", RETRY + group, offset=3)
    send("unknown group", 1, target="g-nobody-at-all")
    send("no group at all", 1, target="")


SCENARIOS = [flow, variants, by_producer, refusals]
