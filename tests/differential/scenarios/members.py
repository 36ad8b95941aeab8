"""Who is connected: heartbeats, lists, notices, locks, what is relayed to clients."""
import json

from both import HEARTBEAT, UNREGISTER, consumer, heartbeat

NOTICE, CONSUMERS, CHECK, LOCK, UNLOCK = 40, 38, 46, 41, 42
CONNECTIONS, PRODUCERS, SUBSCRIPTION_OF, RUNNING_INFO, DIRECTLY, STATUS, ASK_STATUS = 203, 204, 345, 307, 309, 221, 223


def lists(both):
    both.topic("Members", queues=2)
    both.topic("Members2", queues=2)
    group = "g-members"

    def look(when, groups=("g-members",)):
        for group in groups:
            both.ask(f"{when}: consumers of {group}", CONSUMERS, {"consumerGroup": group})
            both.ask(f"{when}: connections of {group}", CONNECTIONS, {"consumerGroup": group})
            both.ask(f"{when}: subscription of {group}", SUBSCRIPTION_OF, {"group": group, "topic": "Members"})
        both.ask(f"{when}: groups of the topic", 300, {"topic": "Members"})

    look("before")
    both.heartbeat("one", consumer(group, {"Members": "A || B"}), client="one", on="one")
    look("one")
    both.heartbeat("two", consumer(group, {"Members": "A || B"}), client="two", on="two")
    look("two")
    both.heartbeat("two again with more", consumer(group, {"Members": "A || B", "Members2": "*"}, version=2), client="two", on="two")
    look("two again")
    both.heartbeat("one goes back", consumer(group, {"Members": "A"}, version=3), client="one", on="one")
    look("one goes back")
    both.heartbeat("three has nothing", consumer(group), client="three", on="three")
    look("three has nothing")
    both.ask("leave by a stranger", UNREGISTER, {"clientID": "nobody", "consumerGroup": group}, on="stranger")
    look("a stranger left")
    both.ask("leave another group", UNREGISTER, {"clientID": "two", "consumerGroup": "g-elsewhere"}, on="two")
    look("left another group")
    both.ask("two leaves", UNREGISTER, {"clientID": "two", "consumerGroup": group}, on="two")
    look("two left")
    both.ask("two leaves again", UNREGISTER, {"clientID": "two", "consumerGroup": group}, on="two")
    for name, on in (("one", "one"), ("three", "three")):
        both.ask(f"{name} leaves", UNREGISTER, {"clientID": name, "consumerGroup": group}, on=on)
    look("all left")
    both.ask("consumers without group", CONSUMERS)
    both.ask("connections without group", CONNECTIONS)
    both.ask("unregister without client", UNREGISTER, {"consumerGroup": group})
    both.ask("unregister nothing", UNREGISTER, {"clientID": "one"})


def same_id(both):
    """A client that comes back on another connection while the broker still knows the old one."""
    both.topic("SameId", queues=2)
    member = consumer("g-same-id", {"SameId": "*"})
    both.heartbeat("one", member, client="one", on="first")
    both.heartbeat("one on another connection", member, client="one", on="second")
    both.ask("consumers", CONSUMERS, {"consumerGroup": "g-same-id"})
    both.ask("connections", CONNECTIONS, {"consumerGroup": "g-same-id"})
    for side in both.sides:
        side.close("first")
    both.notices("the old connection ends", on="second", seconds=1)
    both.ask("consumers after that", CONSUMERS, {"consumerGroup": "g-same-id"})
    both.ask("connections after that", CONNECTIONS, {"consumerGroup": "g-same-id"})


def kinds(both):
    """What one heartbeat says, in all its forms."""
    both.topic("Kinds", queues=1)
    for number, (model, kind, begin) in enumerate((
            ("CLUSTERING", "CONSUME_ACTIVELY", "CONSUME_FROM_FIRST_OFFSET"), ("BROADCASTING", "CONSUME_PASSIVELY", "CONSUME_FROM_TIMESTAMP"),
            ("CLUSTERING", "CONSUME_POP", "CONSUME_FROM_LAST_OFFSET"),
            ("CLUSTERING", "CONSUME_PASSIVELY", "CONSUME_FROM_MAX_OFFSET"))):
        group = f"g-kind-{number}"
        both.heartbeat(f"{model} {kind} {begin}", consumer(group, {"Kinds": "*"}, model, kind, begin), on=group)
        both.ask(f"connections {number}", CONNECTIONS, {"consumerGroup": group})
        both.ask(f"retry topic {number}", 351, {"topic": f"%RETRY%{group}", "lo": "true"})
        both.ask(f"group {number}", 352, {"group": group})
    for number, body in enumerate((b"", b"{}", b"[]", b"no json", b'{"clientID":"x"}', b'{"clientID":"x","consumerDataSet":[{}]}',
                                   b'{"clientID":"x","consumerDataSet":null,"producerDataSet":null}',
                                   b'{"clientID":"x","producerDataSet":[{"groupName":"p-kinds"}],"unknown":{"a":[1,2]}}')):
        both.ask(f"body {number}: {body.decode()[:60]}", HEARTBEAT, body=body, on=f"body-{number}")
    both.heartbeat("illegal group name", consumer("a.b", {"Kinds": "*"}), on="illegal")
    both.ask("it is not known", CONNECTIONS, {"consumerGroup": "a.b"})
    both.heartbeat("consumer and producer", consumer("g-kind-both", {"Kinds": "*"}), producers=("p-kind", "q-kind"), client="c", on="both")
    for group in ("p-kind", "q-kind", "r-kind"):
        both.ask(f"producers of {group}", PRODUCERS, {"producerGroup": group})
    both.ask("producer leaves", UNREGISTER, {"clientID": "c", "producerGroup": "p-kind"}, on="both")
    both.ask("producers after that", PRODUCERS, {"producerGroup": "p-kind"})
    both.ask("producers without group", PRODUCERS)


def second_form(both):
    """Heartbeat V2: subscriptions may be left out while the fingerprint is the same."""
    both.topic("Second", queues=1)
    whole = consumer("g-second", {"Second": "*"})
    light = {**whole, "subscriptionDataSet": []}

    def beat(name, group, **more):
        both.heartbeat(name, group, on="second", **more)
        both.ask(f"connections after: {name}", CONNECTIONS, {"consumerGroup": "g-second"})

    beat("light without anything before", light, fingerprint=5, without_sub=True)
    beat("whole", whole, fingerprint=5)
    beat("light", light, fingerprint=5, without_sub=True)
    beat("whole again", whole, fingerprint=5)
    beat("light with another fingerprint", light, fingerprint=6, without_sub=True)
    beat("whole with another fingerprint", whole, fingerprint=6)
    beat("first form in between", whole)
    beat("light after that", light, fingerprint=6, without_sub=True)
    beat("negative fingerprint", whole, fingerprint=-7)
    both.ask("leave", UNREGISTER, {"clientID": "client-1", "consumerGroup": "g-second"}, on="second")
    beat("light after leaving", light, fingerprint=-7, without_sub=True)


def notices(both):
    both.topic("Notices", queues=1)
    both.topic("Notices2", queues=1)
    group = "g-notices"
    member = consumer(group, {"Notices": "*"})
    both.heartbeat("one joins", member, client="one", on="one")
    both.notices("one hears of itself", on="one")
    both.heartbeat("one again", member, client="one", on="one")
    both.notices("nothing new", on="one")
    both.heartbeat("two joins", member, client="two", on="two")
    both.notices("one hears of two", on="one")
    both.notices("two hears of two", on="two")
    both.heartbeat("newer version", consumer(group, {"Notices": "*"}, version=9), client="two", on="two")
    both.notices("a newer version is no news", on="one")
    both.heartbeat("one more topic", consumer(group, {"Notices": "*", "Notices2": "*"}, version=9), client="two", on="two")
    both.notices("another topic is", on="one")
    both.heartbeat("one topic less", consumer(group, {"Notices": "*"}, version=9), client="two", on="two")
    both.notices("and one less", on="one")
    both.ask("two leaves", UNREGISTER, {"clientID": "two", "consumerGroup": group}, on="two")
    both.notices("one hears that two left", on="one")
    both.notices("two hears nothing", on="two")
    both.heartbeat("three joins", member, client="three", on="three")
    both.notices("one hears of three", on="one")
    for side in both.sides:
        side.close("three")
    both.notices("one hears of the closed connection", on="one", seconds=1)
    quiet = consumer("g-quiet", {"Notices": "*"})
    both.group("g-quiet", notifyConsumerIdsChangedEnable=False)
    for name in ("one", "two"):
        both.heartbeat(f"quiet {name}", quiet, client=name, on=f"quiet-{name}")
    both.notices("a group that wants no notices", on="quiet-one")
    loud = consumer("g-broadcast", {"Notices": "*"}, model="BROADCASTING")
    for name in ("one", "two"):
        both.heartbeat(f"broadcast {name}", loud, client=name, on=f"broadcast-{name}")
    both.notices("a broadcast group", on="broadcast-one")


def client_checks(both):
    def check(name, data):
        both.ask(name, CHECK, body=json.dumps(data).encode() if data is not None else b"")

    base = {"clientId": "c", "group": "g-check", "namespace": ""}
    check("nothing", None)
    check("no subscription", base)
    for kind, expression in (("TAG", "a || b"), ("TAG", "*"), ("TAG", ""), ("", "a"), (None, "a")):
        data = {"expressionType": kind, "subString": expression, "subVersion": 1, "topic": "T"}
        check(f"{kind} {expression!r}", {**base, "subscriptionData": data})


def locks(both):
    def queues(*ids, topic="Locks"):
        return [{"brokerName": "broker-a", "queueId": queue, "topic": topic} for queue in ids]

    def lock(name, client, ids, code=LOCK, group="g-locks", **more):
        body = {"clientId": client, "consumerGroup": group, "mqSet": queues(*ids), "onlyThisBroker": False, **more}
        both.ask(name, code, body=json.dumps(body).encode())

    both.topic("Locks", queues=4)
    lock("one locks two", "one", (0, 1))
    lock("one locks them again", "one", (0, 1))
    lock("two gets what is left", "two", (0, 1, 2))
    lock("two gets nothing", "two", (0, 1))
    lock("another group", "two", (0, 1), group="g-locks-2")
    lock("nothing asked for", "two", ())
    lock("unlock by a stranger", "two", (0,), UNLOCK)
    lock("still locked", "two", (0,))
    lock("unlock", "one", (0,), UNLOCK)
    lock("now it is free", "two", (0,))
    lock("unlock what is not locked", "one", (3,), UNLOCK)
    lock("queues that do not exist", "one", (77, -1))
    lock("a topic that does not exist", "one", (), mqSet=queues(0, topic="LocksNowhere"))
    lock("another broker's queue", "one", (), mqSet=[{"brokerName": "elsewhere", "queueId": 0, "topic": "Locks"}])
    lock("only this broker", "one", (3,), onlyThisBroker=True)
    for code in (LOCK, UNLOCK):
        both.ask(f"{code} without body", code)
        both.ask(f"{code} with an empty object", code, body=b"{}")
        both.ask(f"{code} without client", code, body=json.dumps({"consumerGroup": "g-locks", "mqSet": queues(0)}).encode())
        both.ask(f"{code} without group", code, body=json.dumps({"clientId": "one", "mqSet": queues(0)}).encode())


def relays(both):
    """What operators ask of clients through the broker. The clients answer with their name."""
    both.topic("Relay", queues=2)
    answers = both.send("Relay", 0, "consume me", tags="A")
    for side, answer in zip(both.sides, answers):
        side.values["id"] = answer.fields["msgId"]
    group = "g-relay"
    heard = {side: [] for side in both.sides}

    def serve(side, code=0):
        def answer(request):
            heard[side].append((request.code, {name: value for name, value in sorted(request.fields.items()) if name != "msgId"},
                                bool(request.raw)))
            text = {STATUS: b'{"messageQueueTable":{{"brokerName":"broker-a","queueId":0,"topic":"Relay"}:7}}',
                    RUNNING_INFO: b'{"jstack":"none","properties":{"PROP":"1"}}',
                    DIRECTLY: b'{"autoCommit":true,"consumeResult":"CR_SUCCESS","order":false,"spentTimeMills":3}'}
            return (code, {}, text.get(request.code, b""))
        return answer

    def running(name, client="one", jstack="false", **more):
        relayed(name, RUNNING_INFO, {"consumerGroup": group, "clientId": client, "jstackEnable": jstack, **more})

    def relayed(name, code, fields):
        for side in both.sides:
            side.connection("operator").send(code, asked(fields, side), b"", 479, flag=0)
        both.asked["operator"] = code
        for side in both.sides:
            side.connection("one").listen_until_answer(side.connection("operator"))
        both.finish(name, on="operator")
        both.same(f"{name}: what the client heard", "requests", heard[both.ours], heard[both.theirs])
        for side in both.sides:
            heard[side].clear()

    def asked(fields, side):
        return {key: value(side) if callable(value) else value for key, value in fields.items()}

    running("nobody online")
    for side in both.sides:
        side.connection("one").serve = serve(side)
    both.heartbeat("one joins", consumer(group, {"Relay": "*"}), client="one", on="one")
    both.notices("joined", on="one")
    running("running info")
    running("running info with stacks", jstack="true")
    running("another client", client="nobody")
    relayed("without client", RUNNING_INFO, {"consumerGroup": group})
    relayed("without group", RUNNING_INFO, {"clientId": "one"})
    relayed("status", ASK_STATUS, {"topic": "Relay", "group": group})
    relayed("status of that client", ASK_STATUS, {"topic": "Relay", "group": group, "clientAddr": "one"})
    relayed("status of another client", ASK_STATUS, {"topic": "Relay", "group": group, "clientAddr": "nobody"})
    relayed("status of an unknown group", ASK_STATUS, {"topic": "Relay", "group": "g-nobody"})
    relayed("status of an unknown topic", ASK_STATUS, {"topic": "Nowhere", "group": group})
    relayed("status without group", ASK_STATUS, {"topic": "Relay"})
    directly = {"consumerGroup": group, "clientId": "one", "msgId": lambda side: side.values["id"], "topic": "Relay"}
    relayed("consume directly", DIRECTLY, directly)
    relayed("consume directly, no client named", DIRECTLY, {name: directly[name] for name in ("consumerGroup", "msgId", "topic")})
    relayed("consume directly at another client", DIRECTLY, {**directly, "clientId": "nobody"})
    relayed("consume directly what is not there", DIRECTLY, {**directly, "msgId": "7F00000100002A9F0000010000000000"})
    relayed("consume directly without id", DIRECTLY, {"consumerGroup": group, "clientId": "one"})
    relayed("consume directly with a bad id", DIRECTLY, {**directly, "msgId": "xyz"})
    for side in both.sides:
        side.connection("one").serve = serve(side, code=1)
    running("the client refuses")
    relayed("the client refuses its status", ASK_STATUS, {"topic": "Relay", "group": group})


SCENARIOS = [notices, relays, lists, same_id, kinds, second_form, client_checks, locks]
