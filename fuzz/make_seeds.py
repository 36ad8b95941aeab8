#!/usr/bin/env python3
"""Makes the seed corpora out of the golden files:   make_seeds.py   (run anywhere; writes fuzz/seeds/)

One frame of each kind and encoding (bodies above 2 KiB are left out), the records of pull responses, and JSON bodies; every
fifth filter case with a message.
"""

import hashlib
import json
import pathlib

HERE = pathlib.Path(__file__).parent
DATA = HERE.parent / "tests" / "golden" / "data"
BYTES_MAX = 2048
RECORD_ANSWERS = {"11", "361", "33", "12"}


def write(target, content):
    folder = HERE / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(content).hexdigest()[:16]).write_bytes(content)


seen = set()
for index in sorted(DATA.glob("*.index")):
    stream = index.with_suffix(".frames").read_bytes()
    position = 0
    for line in index.read_text().splitlines():
        if line.startswith("#"):
            continue
        direction, kind, request, response, encoding, size = line.split()
        frame = stream[position : position + int(size)]
        position += int(size)
        key = (direction, kind, request, response, encoding)
        if key in seen or len(frame) > BYTES_MAX:
            continue
        seen.add(key)
        write("frames", bytes([7]) + frame)  # the first byte says how the target splits the stream
        header_bytes = int.from_bytes(frame[5:8], "big")
        body = frame[8 + header_bytes :]
        if kind == "response" and request in RECORD_ANSWERS or request == "320":
            if body:
                write("records", body)
        if body[:1] in (b"{", b"["):
            write("bodies", body)

cases = (HERE.parent / "tests" / "golden" / "filter" / "cases").read_text().splitlines()
messages = [json.loads(line) for line in cases if line.startswith("{")]
for number, line in enumerate(line for line in cases if line.startswith('"')):
    if number % 5 == 0:
        message = "".join(f"{name}\1{value}\2" for name, value in messages[number // 5 % len(messages)].items())
        write("filters", json.loads(line).encode() + b"\0" + message.encode())
