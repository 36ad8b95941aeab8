"""PULL_MESSAGE and LITE_PULL_MESSAGE: statuses and next offsets, filters, limits, checks, waiting."""
from both import COMMIT_OFFSET, LITE_PULL, PULL, QUERY_OFFSET, SUBSCRIPTION, SUSPEND, UNREGISTER, consumer, pull_fields

OFFSET_MAX = (1 << 63) - 1
TAGS = ["A", "B", None, "A", "C", "B", "A", None, "C", "A"]


def filled(both, topic):
    """Queue 0: ten messages with tags; queue 1: one message; queue 2: forty; queue 3: none."""
    both.topic(topic)
    for number, tag in enumerate(TAGS):
        both.send(topic, 0, f"m{number}", tags=tag, settle=False)
    both.send(topic, 1, "single", settle=False)
    for number in range(40):
        both.send(topic, 2, f"n{number}", tags="T", settle=False)
    for queue, count in ((0, 10), (1, 1), (2, 40)):
        both.settle(topic, queue, count)


def statuses(both):
    filled(both, "PullStatus")
    for queue, count in ((0, 10), (1, 1), (2, 40), (3, 0)):
        for offset in sorted({-2, -1, 0, 1, count - 1, count, count + 1, count + 5, 1_000_000, OFFSET_MAX}):
            both.pull(f"queue {queue} at {offset}", "g-status", "PullStatus", queue, offset)


def filters(both):
    filled(both, "PullFilter")
    for expression in ("*", "A", "B", "A||B", "A || C", " A ", "nothing", "A||", "||A", "||", " ", "", None, "A|B", "a", "A||A", "*||A"):
        for offset in (0, 3, 9):
            both.pull(f"{expression!r} at {offset}", "g-filter", "PullFilter", 0, offset, expression)
    for kind in ("TAG", "", None):
        both.pull(f"expression type {kind!r}", "g-filter", "PullFilter", 0, 0, "A", expressionType=kind)
    both.pull("a filter that skips more than a batch", "g-filter", "PullFilter", 2, 0, "none-of-them", SUBSCRIPTION, 3)
    both.pull("the same from the middle", "g-filter", "PullFilter", 2, 20, "none-of-them", SUBSCRIPTION, 1)


def scans(both):
    """How far one pull looks for a message that matches."""
    both.topic("PullScan", queues=1)
    for tag, count in (("A", 1000), ("B", 1), ("A", 200), ("B", 1)):
        step = len(both.names)
        both.send_batch("PullScan", 0, [f"{step}-{number}" for number in range(count)], tag, name=f"send {count} of {tag} ({step})")
    both.settle("PullScan", 0, 1202)
    for offset in (0, 1, 199, 200, 201, 300, 799, 800, 1000, 1001, 1201):
        for count in (1, 32, 1000):
            both.pull(f"{count} of B at {offset}", "g-scan", "PullScan", 0, offset, "B", SUBSCRIPTION, count)


def limits(both):
    filled(both, "PullLimit")
    for count in (-1, 0, 1, 2, 31, 32, 33, 40, 1000):
        for offset in (0, 8, 39):
            both.pull(f"{count} messages of queue 2 at {offset}", "g-limit", "PullLimit", 2, offset, "*", SUBSCRIPTION, count)
    both.topic("PullBig", queues=1)
    for number in range(4):
        both.send("PullBig", 0, f"{number}" + "x" * 100_000, name=f"send big {number}")
    for count in (1, 2, 3, 4, 32):
        both.pull(f"{count} big messages", "g-limit", "PullBig", 0, 0, "*", SUBSCRIPTION, count)
    for size in (1, 150_000, 10_000_000):
        both.pull(f"maxMsgBytes {size}", "g-limit", "PullBig", 0, 0, maxMsgBytes=size)


def refusals(both):
    both.topic("PullCheck", queues=2)
    both.topic("PullWriteOnly", queues=2, perm=2)
    both.topic("PullReadOnly", queues=2, perm=4)
    both.send("PullCheck", 0, "one", tags="A")
    for queue in (-100, -1, 2, 3, 99):
        both.pull(f"queue {queue} of a topic with two", "g-check", "PullCheck", queue, 0)
    both.pull("unknown topic", "g-check", "PullNowhere", 0, 0)
    both.pull("topic that may not be read", "g-check", "PullWriteOnly", 0, 0)
    both.pull("topic that may only be read", "g-check", "PullReadOnly", 0, 0)
    both.pull("empty topic name", "g-check", "", 0, 0)
    for group in ("", "a.b", "g" * 121, "g" * 120, "g/slash", "CID_RMQ_SYS_own"):
        both.pull(f"group {group[:20]!r} of {len(group)}", group, "PullCheck", 0, 0)
    for field in ("consumerGroup", "topic", "queueId", "queueOffset", "maxMsgNums", "sysFlag", "commitOffset",
                  "suspendTimeoutMillis", "subscription", "subVersion", "expressionType"):
        both.pull(f"without {field}", "g-check", "PullCheck", 0, 0, **{field: None})
    for field in ("queueId", "queueOffset", "maxMsgNums", "sysFlag", "subVersion"):
        both.pull(f"{field} is no number", "g-check", "PullCheck", 0, 0, **{field: "x"})
    both.pull("lite pull", "g-check", "PullCheck", 0, 0, "*", SUBSCRIPTION | 16, code=LITE_PULL)
    both.pull("lite pull behind the end", "g-check", "PullCheck", 0, 7, "*", SUBSCRIPTION | 16, code=LITE_PULL)
    both.pull("class filter bit", "g-check", "PullCheck", 0, 0, "*", SUBSCRIPTION | 8)
    both.pull("unknown bits", "g-check", "PullCheck", 0, 0, "*", SUBSCRIPTION | 0x100)


def subscriptions(both):
    """Pulls that rely on what heartbeats said."""
    both.topic("PullSubscribed", queues=2)
    both.topic("PullOther", queues=2)
    for number, tag in enumerate("ABC"):
        both.send("PullSubscribed", 0, f"m{number}", tags=tag)

    def pull(name, group="g-subscribed", topic="PullSubscribed", flags=0, **more):
        both.pull(name, group, topic, 0, 0, None, flags, **more)

    pull("nobody is online")
    both.heartbeat("join", consumer("g-subscribed", {"PullSubscribed": "A || B"}, version=100))
    for version in (0, 99, 100, 101):
        pull(f"subscription version {version}", subVersion=version)
    pull("a topic that is not subscribed", topic="PullOther", subVersion=100)
    pull("an unknown topic", topic="PullNowhere")
    both.pull("the request's own subscription wins", "g-subscribed", "PullSubscribed", 0, 0, "C")
    both.heartbeat("older version", consumer("g-subscribed", {"PullSubscribed": "C"}, version=99))
    pull("the newer one stays", subVersion=100)
    both.heartbeat("newer version", consumer("g-subscribed", {"PullSubscribed": "C"}, version=101))
    pull("the newer one counts", subVersion=101)
    both.heartbeat("another topic", consumer("g-subscribed", {"PullOther": "*"}, version=102))
    pull("no longer subscribed", subVersion=101)
    both.ask("leave", UNREGISTER, {"clientID": "client-1", "consumerGroup": "g-subscribed"})
    pull("after the group has left", topic="PullOther", subVersion=102)
    # What a pull said of its own stays known for a while.
    pull("after a pull with a subscription")


def switches(both):
    both.topic("PullSwitch", queues=1)
    both.send("PullSwitch", 0, "one", tags="A")
    both.group("g-disabled", consumeEnable=False)
    both.pull("consumeEnable=false", "g-disabled", "PullSwitch", 0, 0)
    both.group("g-disabled", name="enable it", consumeEnable=True)
    both.pull("consumeEnable=true again", "g-disabled", "PullSwitch", 0, 0)
    both.group("g-not-broadcast", consumeBroadcastEnable=False)
    both.heartbeat("broadcast consumer", consumer("g-not-broadcast", {"PullSwitch": "*"}, model="BROADCASTING"))
    both.pull("consumeBroadcastEnable=false", "g-not-broadcast", "PullSwitch", 0, 0, None, 0)
    both.pull("with the request's own subscription", "g-not-broadcast", "PullSwitch", 0, 0)
    both.group("g-slow", brokerId=1, whichBrokerWhenConsumeSlowly=2, groupSysFlag=5)
    both.pull("brokerId and groupSysFlag of the group", "g-slow", "PullSwitch", 0, 0)
    both.group("g-not-from-min", consumeFromMinEnable=False)
    both.pull("consumeFromMinEnable=false below the first", "g-not-from-min", "PullSwitch", 0, -1)
    for readable in (None, "false", None, "true", None):
        both.ask(f"forbidden {readable} {len(both.names)}", 353, {"group": "g-forbid", "topic": "PullSwitch", "readable": readable})
        both.heartbeat(f"heartbeat {len(both.names)}", consumer("g-forbid", {"PullSwitch": "*"}), on="forbid")
        both.pull(f"pull by heartbeat {len(both.names)}", "g-forbid", "PullSwitch", 0, 0, None, 0)
        both.pull(f"pull with subscription {len(both.names)}", "g-forbid", "PullSwitch", 0, 0)


def commits(both):
    """The offset that a pull carries."""
    both.topic("PullCommit", queues=3)
    for queue in (0, 1):
        for number in range(5):
            both.send("PullCommit", queue, f"m{number}")

    def stored(name, queue):
        both.ask(name, QUERY_OFFSET, {"consumerGroup": "g-commit", "topic": "PullCommit", "queueId": queue,
                                      "setZeroIfNotFound": "false"})

    stored("nothing yet", 0)
    both.pull("no commit bit", "g-commit", "PullCommit", 0, 2, commitOffset=2)
    stored("not stored", 0)
    both.pull("commit bit", "g-commit", "PullCommit", 0, 3, "*", SUBSCRIPTION | COMMIT_OFFSET, commitOffset=2)
    stored("stored", 0)
    both.pull("smaller", "g-commit", "PullCommit", 0, 3, "*", SUBSCRIPTION | COMMIT_OFFSET, commitOffset=1)
    stored("smaller is stored", 0)
    both.pull("with an answer of 21", "g-commit", "PullCommit", 1, 99, "*", SUBSCRIPTION | COMMIT_OFFSET, commitOffset=4)
    stored("stored all the same", 1)
    both.pull("of a queue without messages", "g-commit", "PullCommit", 2, 0, "*", SUBSCRIPTION | COMMIT_OFFSET, commitOffset=0)
    stored("of the queue without messages", 2)
    both.pull("negative", "g-commit", "PullCommit", 2, 0, "*", SUBSCRIPTION | COMMIT_OFFSET, commitOffset=-1)
    stored("after a negative one", 2)
    both.pull("refused", "g-commit", "PullCommit", 9, 0, "*", SUBSCRIPTION | COMMIT_OFFSET, commitOffset=3)
    stored("of a queue that does not exist", 9)


def waiting(both):
    both.topic("PullWait", queues=4)
    both.send("PullWait", 0, "first", tags="A")

    def begin(queue, offset, expression="*", on="wait", **more):
        fields = pull_fields("g-wait", "PullWait", queue, offset, expression, SUBSCRIPTION | SUSPEND, **more)
        both.begin(PULL, fields, on=on)

    begin(0, 1, suspendTimeoutMillis=20_000)
    both.is_silent("held at the end")
    both.send("PullWait", 0, "second", tags="A")
    both.finish("woken by a message", on="wait")

    # Apache's looks at all held pulls every 5 s, and then answers those that have messages behind them, matching or not.
    begin(0, 2, "B", suspendTimeoutMillis=20_000)
    both.is_silent("held for what matches")
    both.send("PullWait", 0, "third", tags="A", settle=False)
    both.send("PullWait", 0, "fourth", tags="B", settle=False)
    both.finish("woken by the message that matches", on="wait")

    begin(1, 0, suspendTimeoutMillis=20_000)
    both.is_silent("held at an empty queue", on="wait")
    both.send("PullWait", 1, "first of its queue")
    both.finish("woken by the first message", on="wait")

    for queue, offset, name in ((0, 0, "found"), (0, 9, "too large"), (0, -1, "too small"), (2, 5, "behind an empty queue")):
        begin(queue, offset, suspendTimeoutMillis=20_000)
        both.finish(f"not held: {name}", on="wait")
    begin(0, 0, "nothing", suspendTimeoutMillis=20_000)
    both.finish("not held: nothing matches", on="wait")
    for millis in (0, -5, 1):
        begin(3, 0, suspendTimeoutMillis=millis)
        both.finish(f"held for {millis} ms", on="wait")
    begin(0, 4, suspendTimeoutMillis=1_000)
    both.finish("the time is over", on="wait")
    # Two that wait in one queue, on two connections.
    begin(2, 0, suspendTimeoutMillis=20_000, on="one")
    begin(2, 0, "X", suspendTimeoutMillis=20_000, on="two")
    both.send("PullWait", 2, "for both", tags="X")
    both.finish("the one", on="one")
    both.finish("the other", on="two")
    both.pull("no suspend bit", "g-wait", "PullWait", 3, 0)


SCENARIOS = [waiting, scans, statuses, filters, limits, refusals, subscriptions, switches, commits]
