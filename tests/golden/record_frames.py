#!/usr/bin/env python3
"""Records RocketMQ remoting frames that pass between a peer and a server, unchanged.

    record_frames.py --out DIR --session NAME [--each N] LISTEN=TARGET [LISTEN=TARGET ...]

LISTEN and TARGET are HOST:PORT. Writes DIR/NAME.frames (whole frames, one behind the other) and DIR/NAME.index (one line
for each frame: direction, request or response, request code, response code, header encoding, bytes). At most N frames
(default 3) are kept of each kind, so that a session stays small. Ends on SIGTERM or SIGINT.
"""

import argparse
import asyncio
import json
import pathlib
import signal
import struct

FLAG_RESPONSE = 1


def header_of(frame):
    """(code, opaque, flag, encoding) of a frame."""
    kind, header_bytes = frame[4], int.from_bytes(frame[5:8], "big")
    header = frame[8 : 8 + header_bytes]
    if kind == 0:
        fields = json.loads(header)
        return fields["code"], fields["opaque"], fields.get("flag", 0), "JSON"
    code, _language, _version, opaque, flag = struct.unpack(">hbhii", header[:13])
    return code, opaque, flag, "ROCKETMQ"


class Recorder:
    def __init__(self, folder, session, each):
        self.frames = open(folder / f"{session}.frames", "wb")
        self.index = open(folder / f"{session}.index", "w")
        self.index.write(f"# session {session}: direction kind request-code response-code encoding bytes\n")
        self.each = each
        self.kept = {}

    def take(self, direction, pending, answers, frame):
        """`pending`: request codes by opaque, of requests seen in this direction; `answers`: of the other one."""
        code, opaque, flag, encoding = header_of(frame)
        if flag & FLAG_RESPONSE:
            request = answers.pop(opaque, None)
            if request is None:
                return
            kind, response = "response", str(code)
        else:
            pending[opaque] = code
            kind, request, response = "request", code, "-"
        key = (direction, kind, request, response, encoding)
        self.kept[key] = self.kept.get(key, 0) + 1
        if self.kept[key] <= self.each:
            self.frames.write(frame)
            self.index.write(f"{direction} {kind} {request} {response} {encoding} {len(frame)}\n")
            self.frames.flush()
            self.index.flush()


async def pump(reader, writer, recorder, direction, pending, answers):
    try:
        while True:
            length = await reader.readexactly(4)
            frame = length + await reader.readexactly(int.from_bytes(length, "big"))
            recorder.take(direction, pending, answers, frame)
            writer.write(frame)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--session", required=True)
    parser.add_argument("--each", type=int, default=3)
    parser.add_argument("routes", nargs="+")
    arguments = parser.parse_args()
    recorder = Recorder(arguments.out, arguments.session, arguments.each)

    async def serve(route):
        listen, target = (address.rsplit(":", 1) for address in route.split("="))

        async def accept(reader, writer):
            try:
                target_reader, target_writer = await asyncio.open_connection(target[0], int(target[1]))
            except OSError:
                writer.close()
                return
            up, down = {}, {}
            await asyncio.gather(
                pump(reader, target_writer, recorder, "to-server", up, down),
                pump(target_reader, writer, recorder, "to-peer", down, up),
            )

        return await asyncio.start_server(accept, listen[0], int(listen[1]))

    servers = [await serve(route) for route in arguments.routes]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print("recording", flush=True)
    await stop.wait()
    for server in servers:
        server.close()


asyncio.run(main())
