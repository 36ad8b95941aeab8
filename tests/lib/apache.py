"""The real Apache RocketMQ: its jars, its processes, its mqadmin. Everything lives in one scratch folder."""
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
# Old clients need these on newer JDKs; harmless for the others.
OPENS = [f"--add-opens=java.base/{package}=ALL-UNNAMED"
         for package in ("java.nio", "sun.nio.ch", "java.lang", "java.util", "jdk.internal.misc")]
START_SECONDS = 180


class Missing(Exception):
    """Something that this machine needs to have; the text says what."""


def jars(profile, variable, witness):
    """The folder with a generation's jars: given by an environment variable, or resolved by Maven."""
    given = os.environ.get(variable)
    if given:
        if not list(Path(given).glob(witness)):
            raise Missing(f"{variable}={given} holds no {witness}")
        return Path(given)
    clients = os.environ.get("CLIENTS_OUT")
    folder = (Path(clients) if clients else REPOSITORY / "target" / "test-clients") / profile / "lib"
    if list(folder.glob(witness)):
        return folder
    if not shutil.which("mvn"):
        raise Missing(f"neither {variable} (a folder with {witness} and what it needs) nor `mvn` in PATH to resolve it")
    command = ["mvn", "-B", "-q", "-f", str(HERE / "apache.pom.xml"), "-P", profile, "dependency:copy-dependencies",
               "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0 or not list(folder.glob(witness)):
        raise Missing(f"Maven could not resolve the jars of {profile}: {' '.join(command)}")
    return folder


def require_java():
    if not shutil.which("java"):
        raise Missing("no `java` in PATH (JDK 11 or later)")


def free_ports(count, apart=1):
    """A port such that it and the next ones are free now. A broker takes listenPort - 2, listenPort and + 1."""
    for base in range(23000 + os.getpid() % 5000, 60000, 17):
        try:
            for port in range(base, base + count * apart):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
    raise Missing("no free ports on 127.0.0.1")


class Process:
    """A child process with its output in a file; ended on `stop`."""

    def __init__(self, name, command, folder, environment=None):
        self.name = name
        self.log = folder / f"{name}.log"
        folder.mkdir(parents=True, exist_ok=True)
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder,
                                          env={**os.environ, **(environment or {})}, start_new_session=True)

    def wait_for(self, text, seconds=START_SECONDS):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if text in self.output():
                return
            if self.child.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.child.returncode}:\n{self.output()[-2000:]}")
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} did not say {text!r} within {seconds} s:\n{self.output()[-2000:]}")

    def output(self):
        return self.log.read_text(errors="replace")

    def kill(self):
        self.child.kill()
        self.child.wait()

    def stop(self, seconds=30):
        """Ends it in order; gives its exit code."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.child.returncode


def remove(folder):
    """Takes away a folder that ended servers have worked in."""
    shutil.rmtree(folder, ignore_errors=True)


def java(jar_folder, home, heap, main, *arguments):
    return ["java", *OPENS, f"-Duser.home={home}", f"-Drocketmq.home.dir={home}", *heap, "-cp", f"{jar_folder}/*",
            main, *map(str, arguments)]


def start_namesrv(jar_folder, folder, port):
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "namesrv.conf"
    config.write_text(f"listenPort={port}\nbindAddress=127.0.0.1\nkvConfigPath={folder}/kvConfig.json\n")
    heap = ["-Xms64m", "-Xmx128m", "-XX:+UseSerialGC"]
    command = java(jar_folder, folder, heap, "org.apache.rocketmq.namesrv.NamesrvStartup", "-c", config)
    process = Process("apache-namesrv", command, folder, {"ROCKETMQ_HOME": str(folder)})
    process.wait_for("boot success")
    return process


def start_broker(jar_folder, folder, port, name_servers, settings=""):
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "broker.conf"
    config.write_text(
        f"brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\nbrokerIP1=127.0.0.1\nbrokerIP2=127.0.0.1\n"
        f"bindAddress=127.0.0.1\nlistenPort={port}\nhaListenPort={port + 1}\nnamesrvAddr={name_servers}\n"
        f"storePathRootDir={folder}/store\nmappedFileSizeCommitLog=16777216\nregisterNameServerPeriod=10000\n{settings}")
    heap = ["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:MaxDirectMemorySize=512m"]
    command = java(jar_folder, folder, heap, "org.apache.rocketmq.broker.BrokerStartup", "-c", config)
    process = Process("apache-broker", command, folder, {"ROCKETMQ_HOME": str(folder)})
    process.wait_for("boot success")
    return process


def mqadmin(jar_folder, folder, name_server, *arguments):
    """Output of Apache's own mqadmin."""
    (folder / "conf").mkdir(parents=True, exist_ok=True)
    # mqadmin before 5.x reads its log set-up from here and fails without the file.
    (folder / "conf" / "logback_tools.xml").write_text('<configuration><root level="OFF"/></configuration>')
    heap = ["-Xms32m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    command = java(jar_folder, folder, heap, "org.apache.rocketmq.tools.command.MQAdminStartup", *arguments)
    environment = {**os.environ, "NAMESRV_ADDR": name_server, "ROCKETMQ_HOME": str(folder)}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, timeout=120)
    return done.stdout.decode(errors="replace")
