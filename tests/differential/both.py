"""Two brokers that are asked the same, and the comparison of what they answer."""
import json
import select
import struct
import time

import fastjson
from answers import aspects, differences, is_java, plain
from records import properties_text, records
from remoting import Connection

PULL, UPDATE_OFFSET, QUERY_OFFSET, MAX_OFFSET, HEARTBEAT, UNREGISTER, SEND_BACK = 11, 15, 14, 30, 34, 35, 36
CREATE_TOPIC, CREATE_GROUP, SEND, SEND_BATCH, LITE_PULL = 17, 200, 310, 320, 361
COMMIT_OFFSET, SUSPEND, SUBSCRIPTION = 1, 2, 4
WITH_RECORDS = (PULL, LITE_PULL, 33, 12)
SYSTEM_BUSY, BUSY_TRIES = 2, 50
# What a broker tells by itself may come so late.
LATE_SECONDS = 3
# Not near the time of the run, so that it is compared as it is.
BORN_MS = 1_500_000_000_000


class Side:
    """One broker, as one scenario sees it."""

    def __init__(self, name, port):
        self.name, self.port = name, port
        self.connections = {}
        self.values = {}
        # Offsets that differ between the brokers and are compared by these names.
        self.names = {}

    def connection(self, name):
        if name not in self.connections:
            self.connections[name] = Connection(self.port, timeout=30)
        return self.connections[name]

    def close(self, name):
        self.connections.pop(name).close()


class Both:
    """What one scenario works with. Names of topics and groups are its own."""

    def __init__(self, report, intended, scenario, ours, theirs):
        self.report, self.intended, self.scenario = report, intended, scenario
        self.ours, self.theirs = Side("RingMQ", ours), Side("Apache", theirs)
        self.sides = (self.ours, self.theirs)
        self.asked = {}
        self.names = set()

    # Asking

    def ask(self, name, code, fields=None, body=b"", on="main", version=479, language="JAVA", ignore=()):
        """Asks both and compares. Fields and body may be functions of the side."""
        answers = [self.answer(side.connection(on), code, told(fields, side), told_body(body, side), version, language)
                   for side in self.sides]
        self.compare(name, code, answers, ignore)
        return answers

    @staticmethod
    def answer(connection, *request):
        """Asks again while the broker says that it is busy: Apache's does on a machine that has other work."""
        for _ in range(BUSY_TRIES):
            answer = connection.ask(*request)
            if answer.code != SYSTEM_BUSY:
                break
            time.sleep(0.1)
        return answer

    def begin(self, code, fields=None, body=b"", on="wait"):
        """Asks both without waiting; `finish` compares."""
        for side in self.sides:
            side.connection(on).send(code, told(fields, side), told_body(body, side), 479, flag=0)
        self.asked[on] = code

    def finish(self, name, on="wait", ignore=()):
        answers = [side.connection(on).answer_to(side.connection(on).opaque) for side in self.sides]
        self.compare(name, self.asked.pop(on), answers, ignore)
        return answers

    def is_silent(self, name, on="wait", seconds=0.3):
        """Whether both hold their answer back."""
        time.sleep(seconds)
        ready = [bool(select.select([side.connection(on).socket], [], [], 0)[0]) for side in self.sides]
        self.same(name, "is answered", *ready)

    def tell(self, code, fields=None, body=b"", on="main", flag=2):
        """One-way: nothing to compare."""
        for side in self.sides:
            side.connection(on).send(code, told(fields, side), told_body(body, side), 479, flag=flag)

    # Comparing

    def compare(self, name, code, answers, ignore=()):
        found = [named(aspects(answer, side.port, code in WITH_RECORDS and answer.code == 0), side.names)
                 for answer, side in zip(answers, self.sides)]
        if is_java(answers[1]):
            ignore = (*ignore, "remark")
        for one in found:
            for aspect in ignore:
                one.pop(aspect, None)
        self.judge(name, differences(*found))

    def same(self, name, aspect, ours, theirs):
        self.judge(name, {aspect: (ours, theirs)} if ours != theirs else {})

    def judge(self, name, different):
        case = f"{self.scenario}: {name}"
        assert case not in self.names, f"two cases are called {case!r}"
        self.names.add(case)
        problems = [f"{aspect}: ours {ours!r}, Apache {theirs!r}" for aspect, (ours, theirs) in different.items()
                    if not self.intended.covers(case, aspect)]
        self.report.check(case, "; ".join(problems))

    # What scenarios have in common

    def topic(self, topic, queues=4, perm=6, order=False, write=None, **more):
        return self.ask(f"create topic {topic}", CREATE_TOPIC, {
            "topic": topic, "defaultTopic": "TBW102", "readQueueNums": queues, "writeQueueNums": write or queues,
            "perm": perm, "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": str(order).lower(), **more})

    def group(self, group, name=None, **settings):
        config = {"groupName": group, "consumeEnable": True, "consumeFromMinEnable": True, "consumeBroadcastEnable": True,
                  "retryQueueNums": 1, "retryMaxTimes": 16, "brokerId": 0, "whichBrokerWhenConsumeSlowly": 1,
                  "notifyConsumerIdsChangedEnable": True, **settings}
        return self.ask(name or f"create group {group}", CREATE_GROUP, body=json.dumps(config).encode())

    def send(self, topic, queue, body, tags=None, keys=None, name=None, settle=True, on="main", version=479, ignore=(),
             properties=None, **fields):
        """Sends to one queue, and waits until the message can be read: Apache's broker answers before."""
        unique = f"UNIQUE-{topic}-{queue}-{body[:40]}"
        pairs = {"UNIQ_KEY": unique, "WAIT": "true", **({"TAGS": tags} if tags else {}),
                 **({"KEYS": keys} if keys else {}), **(properties or {})}
        answers = self.ask(name or f"send {body} to {topic} queue {queue}", SEND, {
            "a": "producers", "b": topic, "c": "TBW102", "d": "4", "e": queue, "f": "0", "g": BORN_MS, "h": "0",
            "i": properties_text(pairs), "j": "0", "k": "false", "m": "false", **fields},
            body.encode(), on=on, version=version, ignore=ignore)
        if settle and answers[0].code == 0 and answers[1].code == 0:
            for side, answer in zip(self.sides, answers):
                self.wait_max(side, topic, int(answer.fields["queueId"]), int(answer.fields["queueOffset"]) + 1)
        return answers

    def send_batch(self, topic, queue, bodies, tags, name):
        """Many small messages in one request."""
        def one(body):
            pairs = properties_text({"UNIQ_KEY": f"UNIQUE-{topic}-{queue}-{body}", "WAIT": "true", "TAGS": tags}).encode()
            parts = struct.pack(">IIiI", 0, 0, 0, len(body)) + body.encode() + struct.pack(">H", len(pairs)) + pairs
            return struct.pack(">I", 4 + len(parts)) + parts

        self.ask(name, SEND_BATCH, {
            "a": "producers", "b": topic, "c": "TBW102", "d": "4", "e": queue, "f": "0", "g": BORN_MS, "h": "0", "i": "", "j": "0",
            "k": "false", "m": "true"}, b"".join(one(body) for body in bodies), ignore=("field.msgId", "field.transactionId"))

    def wait_max(self, side, topic, queue, expected, seconds=15):
        end = time.monotonic() + seconds
        while True:
            answer = side.connection("settle").ask(MAX_OFFSET, {"topic": topic, "queueId": queue})
            if int(answer.fields.get("offset", -1)) >= expected:
                return
            if time.monotonic() > end:
                raise RuntimeError(f"{side.name}: {topic} queue {queue} does not reach {expected}: {answer}")
            time.sleep(0.02)

    def settle(self, topic, queue, expected, seconds=15):
        """Waits until both have that many messages in the queue."""
        for side in self.sides:
            self.wait_max(side, topic, queue, expected, seconds)

    def pull(self, name, group, topic, queue, offset, expression="*", flags=SUBSCRIPTION, count=32, /, code=PULL, on="main",
             ignore=(), **more):
        return self.ask(name, code, pull_fields(group, topic, queue, offset, expression, flags, count, **more), on=on,
                        ignore=ignore)

    def read(self, topic, queue, offset=0, count=32, seconds=15):
        """The records of a queue on each side, without comparing them."""
        out = []
        for side in self.sides:
            self.wait_max(side, topic, queue, offset + 1, seconds)
            fields = pull_fields("readers", topic, queue, offset, "*", SUBSCRIPTION, count)
            out.append(records(side.connection("settle").ask(PULL, told(fields, side)).raw))
        return out

    def heartbeat(self, name, *consumers, client="client-1", producers=(), on="main", **more):
        return self.ask(name, HEARTBEAT, body=heartbeat(client, consumers, producers, **more), on=on)

    def notices(self, name, on="main", seconds=0.25):
        """What each side has told by itself since the last look: code and fields, in order."""
        told_by = []
        for connection in self.listened(on, seconds):
            told_by.append([(request.code, tuple(sorted(request.fields.items()))) for request in connection.received])
            connection.received.clear()
        self.same(name, "notices", *told_by)
        return told_by

    def listened(self, on, seconds):
        """Both connections, after so long; on a busy machine one side may need longer for as many requests as the other had."""
        connections = [side.connection(on) for side in self.sides]
        for connection in connections:
            connection.listen(seconds)
        most = max(len(connection.received) for connection in connections)
        for connection in connections:
            end = time.monotonic() + LATE_SECONDS
            while len(connection.received) < most and time.monotonic() < end:
                connection.listen(seconds)
        return connections

    def told_members(self, name, on, seconds):
        """As `notices`, with the bodies."""
        told_by = []
        for side, connection in zip(self.sides, self.listened(on, seconds)):
            told_by.append([(request.code, sorted(request.fields.items()), plain(fastjson.parse(request.body), side.port))
                            for request in connection.received])
            connection.received.clear()
        self.same(name, "requests", *told_by)

    def end(self):
        for side in self.sides:
            for name in list(side.connections):
                side.close(name)


def named(found, names):
    if not names:
        return found
    texts = {str(offset): name for offset, name in names.items()}
    return {aspect: texts.get(str(value), value) if is_offset(aspect) else value for aspect, value in found.items()}


def is_offset(aspect):
    return "offset" in aspect.lower()


def told(fields, side):
    if callable(fields):
        fields = fields(side)
    values = {name: value(side) if callable(value) else value for name, value in (fields or {}).items()}
    return {name: str(value) for name, value in values.items() if value is not None}


def told_body(body, side):
    return body(side) if callable(body) else body


def pull_fields(group, topic, queue, offset, expression="*", flags=SUBSCRIPTION, count=32, /, **more):
    return {"consumerGroup": group, "topic": topic, "queueId": queue, "queueOffset": offset, "maxMsgNums": count,
            "sysFlag": flags, "commitOffset": 0, "suspendTimeoutMillis": 1000, "subscription": expression,
            "subVersion": 0, "expressionType": "TAG", **more}


def consumer(group, subscriptions=None, model="CLUSTERING", kind="CONSUME_PASSIVELY", begin="CONSUME_FROM_LAST_OFFSET",
             version=1):
    """One group of a heartbeat; `subscriptions`: topic → expression."""
    data = [subscription(topic, expression, version) for topic, expression in (subscriptions or {}).items()]
    return {"groupName": group, "consumeType": kind, "messageModel": model, "consumeFromWhere": begin,
            "subscriptionDataSet": data, "unitMode": False}


def subscription(topic, expression="*", version=1, kind="TAG"):
    tags = [] if expression == "*" else [tag.strip() for tag in expression.split("||")]
    return {"classFilterMode": False, "codeSet": [java_hash(tag) for tag in tags], "expressionType": kind,
            "subString": expression, "subVersion": version, "tagsSet": tags, "topic": topic}


def java_hash(text):
    value = 0
    for character in text:
        value = (31 * value + ord(character)) & 0xFFFFFFFF
    return value - (1 << 32) if value & 0x80000000 else value


def heartbeat(client, consumers=(), producers=(), fingerprint=0, without_sub=False):
    return json.dumps({
        "clientID": client, "consumerDataSet": list(consumers), "heartbeatFingerprint": fingerprint,
        "producerDataSet": [{"groupName": group} for group in producers], "withoutSub": without_sub},
        separators=(",", ":")).encode()
