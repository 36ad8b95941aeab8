"""Just enough of the remoting protocol to ask a name server and to compare answers."""
import json
import re
import socket
import struct


class Answer:
    def __init__(self, header, body):
        self.code = header["code"]
        self.remark = header.get("remark")
        self.fields = header.get("extFields") or {}
        self.body = body.decode()

    def __repr__(self):
        return f"code={self.code} remark={self.remark!r} fields={self.fields} body={self.body[:400]!r}"


class Connection:
    """One connection; requests are asked one after the other."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.opaque = 0

    def ask(self, code, fields=None, body=b"", version=479):
        self.send(code, fields, body, version, flag=0)
        header, answer_body = self.receive()
        assert header["opaque"] == self.opaque, f"answer to {header['opaque']}, expected to {self.opaque}"
        assert header["flag"] & 1 == 1, "not marked as a response"
        return Answer(header, answer_body)

    def send(self, code, fields, body, version, flag):
        self.opaque += 1
        header = {"code": code, "language": "JAVA", "version": version, "opaque": self.opaque, "flag": flag,
                  "extFields": fields or {}, "serializeTypeCurrentRPC": "JSON"}
        text = json.dumps(header).encode()
        self.socket.sendall(struct.pack(">II", 4 + len(text) + len(body), len(text)) + text + body)

    def receive(self):
        length, = struct.unpack(">I", self.exactly(4))
        frame = self.exactly(length)
        header_bytes, = struct.unpack(">I", frame[:4])
        assert header_bytes >> 24 == 0, "the header is not JSON"
        return json.loads(frame[4:4 + header_bytes]), frame[4 + header_bytes:]

    def exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise ConnectionError("closed by the server")
            data += piece
        return data

    def close(self):
        self.socket.close()


def canonical(text):
    """A body with keys quoted and lists of names and beans in one order: Java's hash maps give them in any."""
    if not text.startswith(("{", "[")):
        return text
    value = json.loads(re.sub(r"([{,])(-?\d+):", r'\1"\2":', text))
    return sort_lists(value)


def sort_lists(value):
    if isinstance(value, dict):
        return {key: sort_lists(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((sort_lists(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


def members_in_order(text):
    """The names of members as they come, without what is inside lists: their order is part of the form."""
    return re.findall(r'"(\w+)":', text)
