"""What operators do with groups: settings, offset resets, clones, statistics, deletion."""
import json

import fastjson
from answers import plain

from both import COMMIT_OFFSET, QUERY_OFFSET, SUBSCRIPTION, consumer
from scenarios.positions import commit, query

RESET, CLONE, CORRECTION, STATS, SPAN, DELETE_GROUP, DELETE_TOPIC, ALL_STATS = 222, 314, 308, 208, 303, 207, 215, 317
UPDATE_GROUP, UPDATE_GROUPS, ONE_GROUP, FORBIDDEN = 200, 225, 352, 353


def settings(both):
    """Groups as they are stored and told back."""
    def update(name, config, code=UPDATE_GROUP):
        both.ask(name, code, body=json.dumps(config).encode() if config is not None else b"")

    def shown(name, group):
        both.ask(f"{name}: shown", ONE_GROUP, {"group": group})

    for number, more in enumerate((
            {}, {"retryMaxTimes": 0}, {"retryMaxTimes": -1}, {"retryQueueNums": 0}, {"retryQueueNums": 8}, {"consumeEnable": False},
            {"consumeMessageOrderly": True}, {"brokerId": 2, "whichBrokerWhenConsumeSlowly": 3}, {"groupSysFlag": 7},
            {"consumeTimeoutMinute": 30}, {"notifyConsumerIdsChangedEnable": False}, {"unknownField": 1},
            {"groupRetryPolicy": {"type": "EXPONENTIAL", "exponentialRetryPolicy": {"initial": 1000, "max": 60000, "multiplier": 3}}},
            {"groupRetryPolicy": {"type": "CUSTOMIZED", "customizedRetryPolicy": {"next": [1000, 2000, 9000]}}},
            {"groupRetryPolicy": {"type": "EXPONENTIAL"}}, {"groupRetryPolicy": {"type": "OTHER"}},
            {"attributes": {}}, {"attributes": {"+a": "b"}}, {"attributes": {"-a": ""}},
            {"subscriptionDataSet": [{"topic": "T", "type": "TAG", "expression": "*", "version": 1}]})):
        name = f"settings {number} {','.join(more)}"
        update(name, {"groupName": f"g-set-{number}", **more})
        shown(name, f"g-set-{number}")
    for name in ("", "a.b", "g" * 120, "g" * 121, "g" * 255, "g" * 256, "中文", "a b", "%RETRY%g", "CID_RMQ_SYS_x", "TOOLS_CONSUMER"):
        update(f"name {name[:16]!r} of {len(name)}", {"groupName": name})
        shown(f"name {name[:16]!r} of {len(name)}", name)
    update("no name", {"retryMaxTimes": 3})
    update("no body", None)
    update("several", {"groupConfigList": [{"groupName": "g-list-1"}, {"groupName": "g-list-2", "retryMaxTimes": 4}]}, UPDATE_GROUPS)
    shown("first of several", "g-list-1")
    shown("second of several", "g-list-2")
    update("several, one is bad", {"groupConfigList": [{"groupName": "g-list-3"}, {"groupName": "a.b"}, {"groupName": "g-list-4"}]}, UPDATE_GROUPS)
    shown("before the bad one", "g-list-3")
    shown("behind the bad one", "g-list-4")
    update("none", {"groupConfigList": []}, UPDATE_GROUPS)
    update("an empty object", {}, UPDATE_GROUPS)
    shown("unknown", "g-set-unknown")
    both.ask("made by being asked for?", 15, {"consumerGroup": "g-set-unknown", "topic": "TBW102", "queueId": 0, "commitOffset": 1})
    both.ask("without a name", ONE_GROUP)


def prepared(both, topic, group, queues=3):
    """Ten messages in queue 0, five in queue 1, none in 2; the group stands at 4 and 5."""
    both.topic(topic, queues=queues)
    both.group(group)
    for queue, count in ((0, 10), (1, 5)):
        for number in range(count):
            both.send(topic, queue, f"m{number}", settle=False)
        both.settle(topic, queue, count)
    commit(both, "stands at 4 in queue 0", group, topic, 0, 4)
    commit(both, "stands at 5 in queue 1", group, topic, 1, 5)


def resets(both):
    topic, group = "Reset", "g-reset"
    prepared(both, topic, group)
    counter = iter(range(1000))

    def offsets(name):
        for queue in (0, 1, 2):
            query(both, f"{name}: queue {queue}", group, topic, queue, setZeroIfNotFound="false")

    def reset(name, timestamp=-1, force="true", look=True, **more):
        both.ask(name, RESET, {"topic": topic, "group": group, "timestamp": timestamp, "isForce": force, **more})
        if look:
            offsets(name)

    reset("to the end")
    commit(both, "commit before the pull", group, topic, 0, 2)
    offsets("after that commit")
    for _ in range(2):
        step = next(counter)
        both.pull(f"pull {step}", group, topic, 0, 3, "*", SUBSCRIPTION | COMMIT_OFFSET, commitOffset=3)
        offsets(f"after pull {step}")
    commit(both, "commit after the pull", group, topic, 0, 2)
    offsets("it counts again")
    reset("to the beginning", timestamp=0)
    both.pull("pull at the beginning", group, topic, 0, 2)
    both.pull("pull of the empty queue", group, topic, 2, 0)
    commit(both, "commit 3", group, topic, 0, 3)
    reset("not forced, forward", timestamp=-1, force="false")
    both.pull("pull after forward", group, topic, 0, 3)
    commit(both, "commit 8", group, topic, 0, 8)
    reset("not forced, backward", timestamp=0, force="false")
    both.pull("pull after backward", group, topic, 0, 8)
    for queue, offset in ((0, 6), (0, 0), (0, 10), (0, 11), (0, 12), (0, -1), (0, 999), (2, 0), (2, 1), (9, 0)):
        reset(f"queue {queue} to {offset}", queueId=queue, offset=offset)
        both.pull(f"pull after queue {queue} to {offset}", group, topic, min(queue, 2), 1)
    reset("queue 0 to the end", queueId=0)
    reset("queue 0 to time 1", timestamp=1, queueId=0)
    reset("an offset without a queue", offset=3)
    reset("unknown topic", topic="ResetNowhere", look=False)
    reset("unknown group", group="g-reset-nobody", look=False)
    for field in ("topic", "group", "timestamp", "isForce"):
        reset(f"without {field}", look=False, **{field: None})
    reset("timestamp is no number", timestamp="x", look=False)


def clones(both):
    topic, group = "Clone", "g-clone"
    prepared(both, topic, group)

    def clone(name, **more):
        both.ask(name, CLONE, {"srcGroup": group, "destGroup": "g-clone-2", "topic": topic, "offline": "false", **more})
        for queue in (0, 1, 2):
            query(both, f"{name}: queue {queue}", "g-clone-2", topic, queue, setZeroIfNotFound="false")

    clone("one topic")
    commit(both, "original moves on", group, topic, 0, 7)
    clone("all topics", topic=None)
    clone("offline", offline="true")
    clone("unknown source", srcGroup="g-clone-nobody")
    clone("unknown topic", topic="CloneNowhere")
    clone("onto itself", destGroup=group)
    for field in ("srcGroup", "destGroup", "offline"):
        clone(f"without {field}", **{field: None})
    both.ask("topics of the clone", 343, {"group": "g-clone-2"})

    def correct(name, **more):
        both.ask(f"correction: {name}", CORRECTION, {"filterGroups": "", "compareGroup": group, "topic": topic, **more})

    both.group("g-clone-3")
    commit(both, "a third group is behind", "g-clone-3", topic, 0, 2)
    correct("nothing filtered")
    correct("one filtered", filterGroups="g-clone-2")
    correct("two filtered", filterGroups="g-clone-2,g-clone-3")
    correct("filtered is what is compared", filterGroups=group)
    correct("unknown group", compareGroup="g-clone-nobody")
    correct("unknown topic", topic="CloneNowhere")
    for field in ("filterGroups", "compareGroup", "topic"):
        correct(f"without {field}", **{field: None})


def statistics(both):
    topic, group = "Progress", "g-progress"
    prepared(both, topic, group)
    both.topic("Progress2", queues=2)
    both.send("Progress2", 0, "one")

    # A rate of the last minute depends on when the samples were taken.
    rate = ("body.consumeTps",)

    def stats(name, **more):
        both.ask(name, STATS, {"consumerGroup": group, "topic": topic, **more}, ignore=rate)

    stats("offline")
    stats("offline, all topics", topic=None)
    stats("offline, empty topic", topic="")
    stats("offline, another topic", topic="Progress2")
    stats("unknown topic", topic="ProgressNowhere")
    stats("unknown group", consumerGroup="g-progress-nobody")
    stats("unknown group, all topics", consumerGroup="g-progress-nobody", topic=None)
    stats("list of topics", topic=None, topicList="Progress;Progress2")
    stats("without group", consumerGroup=None)
    both.pull("a pull", group, topic, 0, 2)
    stats("after a pull")
    both.heartbeat("goes online with another topic", consumer(group, {"Progress2": "*"}))
    stats("online, a topic that is not subscribed")
    stats("online, all topics", topic=None)
    both.heartbeat("subscribes to both", consumer(group, {topic: "*", "Progress2": "*"}, version=2))
    stats("online, subscribed")
    stats("online, both", topic=None)
    commit(both, "committed beyond the end", group, topic, 0, 50)
    stats("beyond the end")
    commit(both, "committed far before", group, topic, 0, 0)
    stats("at the beginning")

    shares = [share_of(side, group) for side in both.sides]
    both.same("the group's share of the whole broker's progress", "consumeStatsList", *shares)

    def span(name, **more):
        both.ask(name, SPAN, {"topic": topic, "group": group, **more}, ignore=())

    both.ask("time span of an unknown topic", SPAN, {"topic": "ProgressNowhere", "group": group})
    commit(both, "all consumed in queue 0", group, topic, 0, 10)
    span("time span, all consumed")
    span("time span of an unknown group", group="g-progress-nobody")
    span("time span without group", group=None)
    span("time span without topic", topic=None)
    both.ask("topic stats", 202, {"topic": topic}, ignore=("body.topicPutTps",))
    both.ask("topic stats of an unknown topic", 202, {"topic": "ProgressNowhere"})
    both.ask("topic stats without topic", 202)


def share_of(side, group):
    """A group's part in the answer to 317, by topic and queue; the others belong to scenarios that are at work."""
    body = fastjson.parse(side.connection("main").ask(ALL_STATS, {"isOrder": "false"}).body)
    found = [stats for entry in body["consumeStatsList"] for name, topics in entry.items() if name == group for stats in topics]
    tables = [stats["offsetTable"] for stats in found]
    for offsets in (offsets for table in tables for offsets in table.values()):
        # Apache's fills it in for 208 only.
        del offsets["pullOffset"]
    return plain(tables, side.port)


def deletions(both):
    topic, group = "Deleted", "g-deleted"
    prepared(both, topic, group)
    both.ask("forbid it a topic", FORBIDDEN, {"group": group, "topic": topic, "readable": "false"})
    both.ask("delete the group, keep offsets", DELETE_GROUP, {"groupName": group, "cleanOffset": "false"})
    query(both, "its offset is kept", group, topic, 0, setZeroIfNotFound="false")
    commit(both, "commit of a deleted group", group, topic, 0, 4)
    both.group(group, name="create it again")
    query(both, "offset of the new group", group, topic, 0, setZeroIfNotFound="false")
    both.ask("forbidden still?", FORBIDDEN, {"group": group, "topic": topic})
    both.ask("delete with offsets", DELETE_GROUP, {"groupName": group, "cleanOffset": "true"})
    query(both, "its offset is gone", group, topic, 0, setZeroIfNotFound="false")
    both.ask("topics of a deleted group", 343, {"group": group})
    both.ask("delete it again", DELETE_GROUP, {"groupName": group, "cleanOffset": "true"})
    both.ask("delete an unknown group", DELETE_GROUP, {"groupName": "g-deleted-nobody"})
    both.ask("delete without name", DELETE_GROUP)
    both.ask("delete with an empty name", DELETE_GROUP, {"groupName": ""})
    both.group("g-of-deleted-topic")
    commit(both, "offset in a topic to be deleted", "g-of-deleted-topic", topic, 0, 3)
    both.ask("delete the topic", DELETE_TOPIC, {"topic": topic})
    query(both, "offset in a deleted topic", "g-of-deleted-topic", topic, 0, setZeroIfNotFound="false")
    both.ask("topics of a group after that", 343, {"group": "g-of-deleted-topic"})
    both.ask("groups of the deleted topic", 300, {"topic": topic})
    both.pull("pull of the deleted topic", "g-of-deleted-topic", topic, 0, 0)
    both.ask("create the topic again", 17, {
        "topic": topic, "defaultTopic": "TBW102", "readQueueNums": 1, "writeQueueNums": 1, "perm": 6,
        "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": "false"})
    both.ask("it is empty", 202, {"topic": topic}, ignore=("body.topicPutTps",))
    both.pull("pull of the new topic", "g-of-deleted-topic", topic, 0, 0)


SCENARIOS = [resets, statistics, settings, clones, deletions]
