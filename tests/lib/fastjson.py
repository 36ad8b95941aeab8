"""Reads JSON as fastjson 1.2 writes it: numbers and whole objects may be keys.

A key's kind is part of what is compared: `7` and `"7"` are different keys, since some clients read one form only.
"""
import json
import re

STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
SCALAR = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")


class NotJson(ValueError):
    pass


def parse(text):
    value, at = read_value(text, 0)
    if at != len(text):
        raise NotJson(f"text behind the value at {at}")
    return value


def read_value(text, at):
    if text.startswith("{", at):
        return read_object(text, at + 1)
    if text.startswith("[", at):
        return read_list(text, at + 1)
    return read_scalar(text, at)


def read_scalar(text, at):
    for kind in (STRING, SCALAR):
        found = kind.match(text, at)
        if found:
            return json.loads(found.group()), found.end()
    raise NotJson(f"no value at {at}: {text[at:at + 30]!r}")


def read_object(text, at):
    members = {}
    if text.startswith("}", at):
        return members, at + 1
    while True:
        key, at = read_value(text, at)
        if not text.startswith(":", at):
            raise NotJson(f"no colon at {at}")
        value, at = read_value(text, at + 1)
        members[key if isinstance(key, str) else "#" + json.dumps(key, sort_keys=True)] = value
        if text.startswith("}", at):
            return members, at + 1
        if not text.startswith(",", at):
            raise NotJson(f"neither comma nor brace at {at}: {text[at:at + 30]!r}")
        at += 1


def read_list(text, at):
    items = []
    if text.startswith("]", at):
        return items, at + 1
    while True:
        value, at = read_value(text, at)
        items.append(value)
        if text.startswith("]", at):
            return items, at + 1
        if not text.startswith(",", at):
            raise NotJson(f"neither comma nor bracket at {at}")
        at += 1
