"""Requests that no client sends: absent and illegal fields, unknown codes."""

# Code: fields that it needs.
NEEDS = {
    11: ("consumerGroup", "topic", "queueId", "queueOffset", "maxMsgNums", "sysFlag", "commitOffset", "suspendTimeoutMillis", "subVersion"),
    14: ("consumerGroup", "topic", "queueId"), 15: ("consumerGroup", "topic", "queueId", "commitOffset"),
    29: ("topic", "queueId", "timestamp"), 30: ("topic", "queueId"), 31: ("topic", "queueId"), 32: ("topic", "queueId"),
    33: ("offset",), 34: (), 35: ("clientID",), 36: ("offset", "group", "delayLevel"), 38: ("consumerGroup",), 41: (), 42: (), 46: (),
    200: (), 202: ("topic",), 203: ("consumerGroup",), 204: ("producerGroup",), 207: ("groupName",), 208: ("consumerGroup",),
    222: ("topic", "group", "timestamp", "isForce"), 223: ("topic", "group"), 225: (), 300: ("topic",), 303: ("topic", "group"),
    307: ("consumerGroup", "clientId"), 308: ("compareGroup", "topic"), 309: ("consumerGroup",), 314: ("srcGroup", "destGroup", "topic", "offline"),
    315: ("statsName", "statsKey"), 343: ("group",), 345: ("group", "topic"), 351: ("topic",), 352: ("group",),
    353: ("group", "topic"), 361: ("consumerGroup", "topic", "queueId"),
}


def nothing_at_all(both):
    """A code and nothing else."""
    for code in sorted(NEEDS):
        both.ask(f"{code} without anything", code, on=f"bare-{code}", ignore=("remark",))
        for side in both.sides:
            side.close(f"bare-{code}")


def unknown_codes(both):
    for code in (0, 1, 9, 13, 22, 23, 27, 47, 99, 205, 206, 209, 301, 302, 400_000, 65_535, -1):
        both.ask(f"code {code}", code)


SCENARIOS = [nothing_at_all, unknown_codes]
