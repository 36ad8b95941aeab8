"""With other settings of the broker (UPDATE_BROKER_CONFIG). These run alone, one after the other: the settings count for everybody."""
import contextlib

from both import LITE_PULL, PULL, SUBSCRIPTION, SUSPEND, UNREGISTER, consumer, pull_fields
from scenarios.operators import prepared
from scenarios.positions import query

UPDATE_CONFIG, RESET = 25, 222


@contextlib.contextmanager
def switched(both, **settings):
    """The settings, given as texts, for as long as the block runs."""
    before = {side: settings_of(side) for side in both.sides}
    set_all(both, {side: settings for side in both.sides})
    try:
        yield
    finally:
        set_all(both, {side: {key: before[side][key] for key in settings} for side in both.sides})


def settings_of(side):
    lines = side.connection("operator").ask(26).body.splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def set_all(both, by_side):
    for side in both.sides:
        text = "".join(f"{key}={value}\n" for key, value in by_side[side].items())
        answer = side.connection("operator").ask(UPDATE_CONFIG, body=text.encode())
        assert answer.code == 0, f"{side.name} does not take {text!r}: {answer}"


def groups_not_made(both):
    both.topic("NotMade", queues=1)
    both.send("NotMade", 0, "one")
    both.group("g-made-before")
    with switched(both, autoCreateSubscriptionGroup="false"):
        for group in ("g-made-before", "g-not-made", "CID_RMQ_SYS_made"):
            both.pull(f"pull of {group}", group, "NotMade", 0, 0)
            both.heartbeat(f"heartbeat of {group}", consumer(group, {"NotMade": "*"}), on=group)
            both.ask(f"consumers of {group}", 38, {"consumerGroup": group})
            both.ask(f"settings of {group}", 352, {"group": group})
            both.ask(f"retry topic of {group}", 351, {"topic": f"%RETRY%{group}", "lo": "true"})
            both.ask(f"commit of {group}", 15, {"consumerGroup": group, "topic": "NotMade", "queueId": 0, "commitOffset": 1})
            both.ask(f"send back to {group}", 36, {"group": group, "offset": 1 << 40, "delayLevel": 0})
            both.ask(f"reset of {group}", RESET, {"topic": "NotMade", "group": group, "timestamp": -1, "isForce": "true"})


def pulls_forbidden(both):
    both.topic("Forbidden", queues=1)
    both.send("Forbidden", 0, "one")
    with switched(both, litePullMessageEnable="false"):
        both.pull("lite pull", "g-forbidden", "Forbidden", 0, 0, "*", SUBSCRIPTION | 16, code=LITE_PULL)
        both.pull("ordinary pull", "g-forbidden", "Forbidden", 0, 0)
    with switched(both, brokerPermission="2"):
        both.pull("a broker that may not be read", "g-forbidden", "Forbidden", 0, 0)
        both.ask("max offset all the same", 30, {"topic": "Forbidden", "queueId": 0})
    with switched(both, brokerPermission="4"):
        both.pull("a broker that may only be read", "g-forbidden", "Forbidden", 0, 0)
        both.ask("send back to it", 36, {"group": "g-forbidden", "offset": 0, "delayLevel": 0})
    with switched(both, rejectPullConsumerEnable="true"):
        both.pull("pull consumers are refused", "g-forbidden", "Forbidden", 0, 0)
        both.pull("those of tools are not", "TOOLS_CONSUMER", "Forbidden", 0, 0)
        both.heartbeat("heartbeat of one", consumer("g-forbidden", {"Forbidden": "*"}, kind="CONSUME_ACTIVELY"))
        both.ask("it is not known", 38, {"consumerGroup": "g-forbidden"})
        both.heartbeat("heartbeat of a push consumer", consumer("g-pushes", {"Forbidden": "*"}), on="push")
        both.pull("its pull", "g-pushes", "Forbidden", 0, 0, None, 0, on="push")
        both.pull("its pull with a subscription", "g-pushes", "Forbidden", 0, 0, on="push")


def short_polling(both):
    both.topic("Short", queues=1)
    with switched(both, longPollingEnable="false"):
        both.begin(PULL, pull_fields("g-short", "Short", 0, 0, "*", SUBSCRIPTION | SUSPEND, suspendTimeoutMillis=60_000), on="wait")
        both.is_silent("held")
        both.finish("answered after a second or two")


def notices(both):
    both.topic("Quiet", queues=1)
    member = consumer("g-quiet-broker", {"Quiet": "*"})
    with switched(both, notifyConsumerIdsChangedEnable="false"):
        for name in ("one", "two"):
            both.heartbeat(f"{name} joins", member, client=name, on=name)
        both.notices("nobody is told", on="one")
        both.ask("two leaves", UNREGISTER, {"clientID": "two", "consumerGroup": "g-quiet-broker"}, on="two")
        both.notices("nobody is told of that", on="one")


def resets_on_clients(both):
    """222 as up to 5.1: members are told (220)."""
    topic, group = "OldReset", "g-old-reset"
    prepared(both, topic, group, queues=2)

    def reset(name, timestamp=-1, force="true", language="JAVA", **more):
        both.ask(name, RESET, {"topic": topic, "group": group, "timestamp": timestamp, "isForce": force, **more}, language=language)
        both.told_members(f"{name}: what the members hear", on="one", seconds=0.5)
        for queue in (0, 1):
            query(both, f"{name}: queue {queue}", group, topic, queue)

    with switched(both, useServerSideResetOffset="false"):
        both.ask("nobody is online", RESET, {"topic": topic, "group": group, "timestamp": -1, "isForce": "true"})
        both.heartbeat("one joins", consumer(group, {topic: "*"}), client="one", on="one")
        both.notices("one has joined", on="one")
        reset("to the end")
        reset("to the beginning", timestamp=0)
        reset("forward, not forced", timestamp=-1, force="false")
        reset("backward, not forced", timestamp=0, force="false")
        reset("asked for by a tool in C++", language="CPP")
        both.ask("unknown topic", RESET, {"topic": "OldResetNowhere", "group": group, "timestamp": -1, "isForce": "true"})
        both.ask("a group without offsets", RESET, {"topic": topic, "group": "g-old-reset-nobody", "timestamp": -1, "isForce": "true"})


SCENARIOS = [groups_not_made, pulls_forbidden, short_polling, notices, resets_on_clients]
