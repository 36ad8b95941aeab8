"""Starts RingMQ or the Apache broker on loopback, pinned, and loads it with rmq-bench: what the benches here share.

Servers are started by one process, ended by it on any exit, and never found by name.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
BENCH = str(RELEASE / "rmq-bench")

OPENS = ["--add-opens=java.base/" + p + "=ALL-UNNAMED" for p in ("java.nio", "sun.nio.ch", "java.lang", "java.util")]
GC = "-XX:+UseG1GC -XX:G1HeapRegionSize=16m -XX:G1ReservePercent=25 -XX:InitiatingHeapOccupancyPercent=30".split()
APACHE_JARS = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "ringmq-bench" / "apache-5.5.0"
# A JVM on a busy machine takes its time.
START_SECONDS = 180


def fail(text):
    print(f"{pathlib.Path(sys.argv[0]).name}: {text}", file=sys.stderr)
    sys.exit(2)


def options(description, rounds, seconds):
    """A parser with what all benches take."""
    ap = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rounds", type=int, default=rounds)
    ap.add_argument("--seconds", type=float, default=seconds, help="measured seconds per run")
    ap.add_argument("--warmup", type=float, default=4, help="seconds before each measurement")
    ap.add_argument("--first-warmup", type=float, default=20, help="seconds of load once per started broker (JIT)")
    ap.add_argument("--broker-cpu", type=int, default=0)
    ap.add_argument("--load-cpu", type=int, default=1)
    ap.add_argument("--heap", default="-Xms2g -Xmx2g -Xmn1g -XX:MaxDirectMemorySize=2g", help="Apache broker heap")
    ap.add_argument("--label", default=platform.node() or "machine", help="machine part of the folder's name")
    ap.add_argument("--store", default=None, help="folder for the brokers' data (default: a temporary one)")
    ap.add_argument("--only", choices=["ringmq", "apache"])
    return ap


def parse(ap):
    """The arguments, after a look whether everything needed is there; gives also the systems to run."""
    args = ap.parse_args()
    systems = [args.only] if args.only else ["apache", "ringmq"]
    for needed in ("taskset", "java") if "apache" in systems else ("taskset",):
        if not shutil.which(needed):
            fail(f"{needed} is missing")
    for binary in ("mqnamesrv", "mqbroker", "rmq-bench"):
        if not (RELEASE / binary).exists():
            fail(f"{RELEASE / binary} is missing: cargo build --release")
    return args, systems


def free_port(avoid=()):
    """A port whose neighbours -2 (VIP) and +1 (HA) are free as well."""
    for _ in range(200):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        ok = True
        for p in (port - 2, port, port + 1):
            with socket.socket() as s:
                try:
                    s.bind(("127.0.0.1", p))
                except OSError:
                    ok = False
        if ok and not any(abs(port - a) < 5 for a in avoid):
            return port
    fail("no free ports")


def answers(port):
    """Whether a server answers a request that it does not know. An open port alone may be that of a killed process whose ring the
    kernel is still taking down."""
    header = b'{"code":9999,"flag":0,"language":"JAVA","opaque":1,"version":479}'
    try:
        with socket.create_connection(("127.0.0.1", port), 0.2) as s:
            s.settimeout(2)
            s.sendall(struct.pack(">II", 4 + len(header), len(header)) + header)
            return len(s.recv(4)) == 4
    except OSError:
        return False


def wait_answer(port, process, log):
    """Seconds until the server answers."""
    begun = time.monotonic()
    while time.monotonic() - begun < START_SECONDS:
        if process.poll() is not None:
            fail(f"a server ended early; see {log}:\n" + pathlib.Path(log).read_text()[-2000:])
        if answers(port):
            return time.monotonic() - begun
        time.sleep(0.005)
    fail(f"no answer from port {port}; see {log}")


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
started = []


def start(command, log, cpu, env=None):
    out = open(log, "ab")
    started.append(subprocess.Popen(["taskset", "-c", str(cpu)] + command, stdout=out, stderr=subprocess.STDOUT,
                                    stdin=subprocess.DEVNULL, env=env, start_new_session=True))
    return started[-1]


def stop(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def stop_all():
    """Ends every server that was started, also those of a bench that failed half way."""
    for process in reversed(started):
        stop(process)
    started.clear()


def need_root():
    if os.geteuid() != 0:
        fail("root is needed to drop the page cache")


def drop_page_cache():
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n")


class Workspace:
    """A folder for stores; when left, servers have ended and the folder is gone, unless --store named it."""

    def __init__(self, args):
        self.args = args

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ringmq-bench-", dir=self.args.store))
        return self.folder

    def __exit__(self, *_):
        stop_all()
        if not self.args.store:
            shutil.rmtree(self.folder, ignore_errors=True)


def apache_jars():
    if not list(APACHE_JARS.glob("rocketmq-broker-*.jar")):
        if not shutil.which("mvn"):
            fail("mvn is missing: it fetches Apache RocketMQ's jars (Debian: apt-get install maven)")
        APACHE_JARS.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mvn", "-B", "-q", "-f", str(ROOT / "benches" / "compare" / "pom.xml"), "dependency:copy-dependencies",
                        "-DincludeScope=runtime", f"-DoutputDirectory={APACHE_JARS}"], check=True)
    return APACHE_JARS


class System:
    """A name server and a broker of one kind, with one flush mode."""

    def __init__(self, kind, flush, folder, args, settings=None, name=None):
        self.kind, self.args, self.folder = kind, args, folder / (name or f"{kind}-{flush.lower()}")
        self.folder.mkdir(parents=True)
        self.namesrv_port = free_port()
        self.broker_port = free_port((self.namesrv_port,))
        self.conf = self.folder / "broker.conf"
        lines = ["brokerClusterName=DefaultCluster", "brokerName=broker-a", "brokerId=0", "brokerIP1=127.0.0.1",
                 "brokerIP2=127.0.0.1", "bindAddress=127.0.0.1", f"namesrvAddr=127.0.0.1:{self.namesrv_port}",
                 f"listenPort={self.broker_port}", f"haListenPort={self.broker_port + 1}", f"storePathRootDir={self.folder}/store",
                 f"storePathCommitLog={self.folder}/store/commitlog", f"flushDiskType={flush}", "brokerRole=ASYNC_MASTER",
                 "fileReservedTime=72", "deleteWhen=04"]
        self.conf.write_text("\n".join(lines + [f"{k}={v}" for k, v in (settings or {}).items()] + [""]))
        namesrv_conf = self.folder / "namesrv.conf"
        namesrv_conf.write_text(f"listenPort={self.namesrv_port}\nbindAddress=127.0.0.1\n"
                                f"kvConfigPath={self.folder}/kvConfig.json\nconfigStorePath={self.folder}/namesrv.properties\n")
        self.env = None
        namesrv = [str(RELEASE / "mqnamesrv"), "-c", str(namesrv_conf)]
        if kind == "apache":
            self.env = dict(os.environ, ROCKETMQ_HOME=str(self.folder))
            namesrv = self.java() + ["-Xms256m", "-Xmx256m", "org.apache.rocketmq.namesrv.NamesrvStartup", "-c", str(namesrv_conf)]
        log = self.folder / "namesrv.log"
        wait_answer(self.namesrv_port, start(namesrv, log, args.broker_cpu, self.env), log)
        self.start_broker()

    def java(self):
        return ["java"] + OPENS + [f"-Duser.home={self.folder}", "-cp", f"{apache_jars()}/*"]

    def start_broker(self):
        """Seconds from the start of the process until it answers."""
        if self.kind == "apache":
            command = self.java() + ["-server"] + self.args.heap.split() + GC + ["org.apache.rocketmq.broker.BrokerStartup"]
        else:
            command = [str(RELEASE / "mqbroker")]
        log = self.folder / "broker.log"
        self.broker = start(command + ["-c", str(self.conf)], log, self.args.broker_cpu, self.env)
        return wait_answer(self.broker_port, self.broker, log)

    def stop_broker(self, kill=False):
        if kill:
            self.broker.kill()
            self.broker.wait()
        else:
            stop(self.broker)

    def bench_command(self, command, **options):
        """rmq-bench's command line; option names with _ for -, True for a flag."""
        line = [BENCH, command, "-n", f"127.0.0.1:{self.namesrv_port}", "--cpus", str(self.args.load_cpu), "--broker-pid",
                str(self.broker.pid), "-q", "--label", self.kind]
        for name, value in options.items():
            line += ["--" + name.replace("_", "-")] + ([] if value is True else [str(value)])
        return line

    def bench(self, command, **options):
        """Runs rmq-bench against this broker; gives its result."""
        result = self.folder / "result.json"
        done = subprocess.run(self.bench_command(command, json=result, **options), capture_output=True, text=True)
        if done.returncode != 0:
            fail(f"rmq-bench against {self.kind} failed:\n{done.stdout}\n{done.stderr}")
        return json.loads(result.read_text())

    def fill(self, topic, gigabytes, size, **options):
        """Produces until so much is acknowledged: what comes faster than the disk takes it is refused."""
        left = int(gigabytes * 1e9 / size)
        while left > 0:
            result = self.bench("produce", topic=topic, connections=4, in_flight=8, size=size, count=left, warmup=0, duration=3600, **options)
            left -= result["sent"]["messages"]

    def memory(self):
        """Resident bytes of the broker now, the most it ever had, and its open files."""
        lines = pathlib.Path(f"/proc/{self.broker.pid}/status").read_text().splitlines()
        kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if rest.strip().endswith("kB")}
        files = len(os.listdir(f"/proc/{self.broker.pid}/fd"))
        return {"rss_bytes": kib["VmRSS"] * 1024, "rss_max_bytes": kib["VmHWM"] * 1024, "files": files}


def row(result):
    """What a report shows of one run."""
    sent, broker = result["sent"], result["broker"]
    return {"tps": sent["per_second"], "p50_us": sent["latency_us"]["p50"], "p99_us": sent["latency_us"]["p99"],
            "p99.9_us": sent["latency_us"]["p99.9"], "cpu_s_per_million": broker["cpu_seconds_per_million"],
            "rss_mb": broker.get("rss_max_bytes", broker["rss_bytes"]) / 1e6, "failed": sum(sent["errors"].values())}


def budget(most_mb, queues=0, shards=1):
    """The memory line of a report: what was seen beside what conf/README.md says."""
    mib = 64 + 64 + shards * (64 + 32 + 8)
    limit = (mib * 2**20 + 200 * queues) / 1e6
    return f"RingMQ's most resident memory {most_mb:.0f} MB, {'within' if most_mb <= limit else 'ABOVE'} the budget of {limit:.0f} MB (conf/README.md)"


def machine():
    return f"kernel {platform.release()}, {os.cpu_count()} processors"


def publish(name, args, report, runs):
    """Prints the report and keeps it, with the raw runs, in benches/runs/."""
    out = ROOT / "benches" / "runs" / f"{datetime.date.today()}-{args.label}"
    out.mkdir(parents=True, exist_ok=True)
    stamp = datetime.datetime.now().strftime("%H%M%S")
    for run in runs:
        for side in ("sent", "received"):
            run.get("result", {}).get(side, {}).pop("histogram_us", None)
    arguments = {key: value for key, value in vars(args).items() if key != "store"}
    raw = {"command": pathlib.Path(sys.argv[0]).name, "arguments": arguments, "machine": machine(), "runs": runs}
    (out / f"{name}-{stamp}.json").write_text(json.dumps(raw, indent=1) + "\n")
    (out / f"{name}-{stamp}.txt").write_text(report + "\n")
    print(f"\n{report}\n\nraw runs: {out.relative_to(ROOT)}/{name}-{stamp}.json")
