"""Message records as they come in answers, and their properties."""
import socket
import struct

MAGIC_V1, MAGIC_V2 = 0xDAA320A7, 0xDAA320AB
IPV6_BORN, IPV6_STORE = 0x10, 0x20


def properties_text(pairs):
    return "".join(f"{name}\x01{value}\x02" for name, value in pairs.items())


def properties_of(text):
    return dict(part.split("\x01", 1) for part in text.split("\x02") if "\x01" in part)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return values[0]

    def bytes(self, count):
        piece = self.data[self.at:self.at + count]
        self.at += count
        return piece

    def host(self, is_ipv6):
        address = socket.inet_ntop(socket.AF_INET6 if is_ipv6 else socket.AF_INET, self.bytes(16 if is_ipv6 else 4))
        self.take("I")
        return address


def records(data):
    """Each record as a dict; bytes that are no record raise."""
    out, reader = [], Reader(data)
    while reader.at < len(data):
        start = reader.at
        total, magic = reader.take("I"), reader.take("I")
        if magic not in (MAGIC_V1, MAGIC_V2):
            raise ValueError(f"magic {magic:#x} at {start}")
        record = {"bodyCRC": reader.take("I"), "queueId": reader.take("i"), "flag": reader.take("i"),
                  "queueOffset": reader.take("q"), "physicalOffset": reader.take("q"), "sysFlag": reader.take("i"),
                  "bornTimestamp": reader.take("q")}
        record["bornHost"] = reader.host(record["sysFlag"] & IPV6_BORN)
        record["storeTimestamp"] = reader.take("q")
        record["storeHost"] = reader.host(record["sysFlag"] & IPV6_STORE)
        record["reconsumeTimes"] = reader.take("i")
        record["preparedTransactionOffset"] = reader.take("q")
        record["body"] = reader.bytes(reader.take("i")).decode(errors="replace")
        record["topic"] = reader.bytes(reader.take("B" if magic == MAGIC_V1 else "H")).decode()
        record["properties"] = properties_of(reader.bytes(reader.take("H")).decode())
        if reader.at - start != total:
            raise ValueError(f"record at {start} says {total} bytes and has {reader.at - start}")
        out.append(record)
    return out
