"""The Java program `java/`, run with an unmodified client against both brokers; the lines it prints are compared."""
import os
import re
import subprocess
from pathlib import Path

import apache

HERE = Path(__file__).resolve().parent
CASES = HERE.parent / "clients" / "java"
SECONDS_MAX = 240
# Steps that mean that the program did not get to its end.
ENDS = ("breaks off", "ends in time")
NAMES_OF_RUN = (
    (re.compile(r"/?127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"\b7F000001[0-9A-F]{24}\b"), "MESSAGE-ID"),
    (re.compile(r"\b1[78]\d{11}\b"), "TIME"),
    # The client's advice and where it thinks it is.
    (re.compile(r"(See|For more information).*"), ""),
)


def prepare(version, out):
    """Class path of the program with that client generation."""
    jars = Path(os.environ.get("CLIENTS_OUT") or HERE.parent.parent / "target" / "test-clients") / f"java-{version}" / "lib"
    if not list(jars.glob(f"rocketmq-tools-{version}.jar")):
        command = ["mvn", "-B", "-q", "-f", str(CASES / "pom.xml"), "-P", version, "dependency:copy-dependencies",
                   "-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
            raise apache.Missing(f"Maven could not resolve the jars of {version}: {' '.join(command)}")
    classes = out / f"classes-{version}"
    classes.mkdir(parents=True)
    sources = sorted(str(path) for path in (HERE / "java").glob("*.java"))
    subprocess.run(["javac", "-nowarn", "-proc:none", "-Xlint:-deprecation", "--release", "17", "-cp", f"{jars}/*", "-d", str(classes),
                    *sources], check=True)
    (classes / "logback.xml").write_text((CASES / "src" / "common" / "logback.xml").read_text())
    return f"{classes}:{jars}/*"


def start(class_path, version, home, namesrv_port, broker_port):
    home.mkdir(parents=True)
    command = ["java", *apache.OPENS, "-Xms32m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Duser.home={home}",
               f"-Drocketmq.client.localOffsetStoreDir={home}/offsets", f"-Drocketmq.client.logRoot={home}/logs",
               "-Drocketmq.client.logLevel=ERROR", "-cp", class_path, "Script", f"127.0.0.1:{namesrv_port}", f"127.0.0.1:{broker_port}",
               version.replace(".", "-")]
    with open(home / "errors", "wb") as errors:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, cwd=home)


def lines_of(process):
    """Step → what was seen."""
    try:
        text, _ = process.communicate(timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return {"ends in time": "no"}
    found = {}
    for line in text.decode(errors="replace").splitlines():
        name, tab, value = line.partition("\t")
        if tab:
            assert name not in found, f"two steps are called {name!r}"
            found[name] = neutral(value)
    found["exit code"] = process.returncode
    return found


def neutral(value):
    for pattern, name in NAMES_OF_RUN:
        value = pattern.sub(name, value)
    return value.strip()


def compare(report, intended, version, scratch, ours, theirs):
    """`ours`, `theirs`: ports of the name server and of the broker."""
    class_path = prepare(version, scratch)
    processes = [start(class_path, version, scratch / f"home-{version}-{side}", *ports) for side, ports in (("ours", ours), ("theirs", theirs))]
    found = [lines_of(process) for process in processes]
    for step in sorted(set(found[0]) | set(found[1])):
        case = f"java {version}: {step}"
        values = [one.get(step, "is not there") for one in found]
        same = values[0] == values[1] and step not in ENDS or intended.covers(case, "text")
        report.check(case, "" if same else f"ours {values[0]!r}, Apache {values[1]!r}")
    report.check(f"java {version}: sees anything", "" if len(found[0]) > 50 else f"only {len(found[0])} steps")
