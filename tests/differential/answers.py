"""An answer taken apart into aspects that can be compared: code, remark, header fields, parts of the body.

What must differ between two brokers is replaced: addresses, ids made of them, wall-clock times, physical offsets.
"""
import json
import re
import time

import fastjson
from records import records

STARTED_MS = int(time.time() * 1000)
HOUR_MS = 3_600_000
TIME_TEXT = re.compile(r"^1[67]\d{11}$|^1[89]\d{11}$")
MESSAGE_ID = re.compile(r"\b7F000001[0-9A-F]{24}\b")
ADDRESS = re.compile(r"127\.0\.0\.1:\d+")
ABSENT = "absent"
# Apache's broker points to a page at the end of some remarks.
POINTER = re.compile(r",?\s*\nSee http\S+ for further details\.$")
# What it leaves in the remark of some successes.
NO_CODE = "not set any response code"
# Where it ends in an exception, its text is the remark, stack included: Java's own words are nobody's to copy.
JAVA = re.compile(r"\b(?:java|com)\.[\w.]+(?:Exception|Error)\b|^Cannot invoke ")


def is_now(number):
    return STARTED_MS - HOUR_MS < number < STARTED_MS + HOUR_MS


def plain(value, broker_port):
    """A value without what must differ. Members that repeat a time as a local text are left out: no client reads them."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return "TIME" if is_now(value) else value
    if isinstance(value, str):
        if TIME_TEXT.match(value) and is_now(int(value)):
            return "TIME"
        value = value.replace(f"127.0.0.1:{broker_port}", "BROKER")
        return MESSAGE_ID.sub("MESSAGE-ID", ADDRESS.sub("CLIENT", value))
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if not key.endswith("TimeStampStr")}
        # Milliseconds until now.
        if value.get("delayTime"):
            value["delayTime"] = "SOME"
        return {plain(key, broker_port): plain(item, broker_port) for key, item in value.items()}
    if isinstance(value, list):
        # Java's hash sets and maps give their members in any order.
        items = [plain(item, broker_port) for item in value]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    return value


def flat(prefix, value, into):
    if isinstance(value, dict) and value:
        for key, item in value.items():
            flat(f"{prefix}.{key}", item, into)
    else:
        into[prefix] = value


def remark_of(answer, broker_port):
    remark = POINTER.sub("", answer.remark or "")
    if answer.code == 0 and remark == NO_CODE:
        remark = ""
    # Java writes an address with a slash before it.
    return plain(remark, broker_port).replace("[/CLIENT]", "[CLIENT]").rstrip(" ,") or None


def is_java(answer):
    return answer.code != 0 and JAVA.search(answer.remark or "") is not None


def aspects(answer, broker_port, holds_records):
    out = {"code": answer.code, "remark": remark_of(answer, broker_port)}
    for name, value in answer.fields.items():
        out[f"field.{name}"] = plain(value, broker_port)
    if holds_records:
        found = records(answer.raw)
        out["records"] = len(found)
        for index, record in enumerate(found):
            del record["physicalOffset"]
            flat(f"record[{index}]", plain(record, broker_port), out)
    elif answer.raw:
        try:
            value = plain(fastjson.parse(answer.body), broker_port)
        except fastjson.NotJson:
            value = plain(answer.body, broker_port)
        flat("body", value, out)
    return out


def differences(ours, theirs):
    """Aspect → what each says, for those in which they differ."""
    return {aspect: (ours.get(aspect, ABSENT), theirs.get(aspect, ABSENT))
            for aspect in sorted(set(ours) | set(theirs)) if ours.get(aspect, ABSENT) != theirs.get(aspect, ABSENT)}
