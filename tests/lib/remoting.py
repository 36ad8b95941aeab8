"""Just enough of the remoting protocol to ask a server and to compare answers."""
import json
import re
import select
import socket
import struct

RESPONSE, ONEWAY = 1, 2


class Answer:
    def __init__(self, header, raw):
        self.code = header["code"]
        self.remark = header.get("remark")
        self.fields = header.get("extFields") or {}
        self.raw = raw

    @property
    def body(self):
        return self.raw.decode(errors="replace")

    def __repr__(self):
        return f"code={self.code} remark={self.remark!r} fields={self.fields} body={self.body[:400]!r}"


class Request(Answer):
    """What a server asks of us or tells us."""

    def __init__(self, header, raw):
        super().__init__(header, raw)
        self.opaque = header["opaque"]
        self.is_oneway = header["flag"] & ONEWAY != 0


class Connection:
    """One connection; requests are asked one after the other. `serve` answers what the server asks meanwhile."""

    def __init__(self, port, timeout=10):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.opaque = 0
        self.received = []
        self.serve = None

    def ask(self, code, fields=None, body=b"", version=479, language="JAVA"):
        self.send(code, fields, body, version, flag=0, language=language)
        return self.answer_to(self.opaque)

    def answer_to(self, opaque):
        while True:
            header, body = self.receive()
            if header["flag"] & RESPONSE == 0:
                self.note(header, body)
                continue
            assert header["opaque"] == opaque, f"answer to {header['opaque']}, expected to {opaque}"
            return Answer(header, body)

    def note(self, header, body):
        request = Request(header, body)
        self.received.append(request)
        answer = self.serve(request) if self.serve else None
        if answer is not None and not request.is_oneway:
            code, fields, text = answer
            self.write({"code": code, "language": "JAVA", "version": 479, "opaque": request.opaque, "flag": RESPONSE,
                        "extFields": fields, "serializeTypeCurrentRPC": "JSON"}, text)

    def listen(self, seconds, until=None):
        """Reads what the server sends by itself for so long, or until that is true of `received`."""
        while not (until and until(self.received)):
            if not select.select([self.socket], [], [], seconds)[0]:
                return
            header, body = self.receive()
            assert header["flag"] & RESPONSE == 0, f"an answer that nobody waits for: {header}"
            self.note(header, body)

    def listen_until_answer(self, other, seconds=30):
        """Reads what the server sends here by itself, until an answer waits on the other connection."""
        while True:
            ready, _, _ = select.select([self.socket, other.socket], [], [], seconds)
            if self.socket in ready:
                header, body = self.receive()
                self.note(header, body)
            elif other.socket in ready or not ready:
                return

    def send(self, code, fields, body, version, flag, language="JAVA"):
        self.opaque += 1
        self.write({"code": code, "language": language, "version": version, "opaque": self.opaque, "flag": flag,
                    "extFields": fields or {}, "serializeTypeCurrentRPC": "JSON"}, body)

    def write(self, header, body):
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
