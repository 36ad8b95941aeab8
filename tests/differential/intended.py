"""The list of intended differences, `intended.toml`: what it does not list is a failure, and so is what it lists in vain."""
import fnmatch
import threading
import tomllib
from pathlib import Path


class Intended:
    def __init__(self, path):
        self.entries = tomllib.loads(Path(path).read_text())["difference"]
        self.lock = threading.Lock()
        self.used = [False] * len(self.entries)
        for entry in self.entries:
            assert set(entry) == {"case", "aspect", "reason"} and all(entry.values()), f"incomplete: {entry}"

    def covers(self, case, aspect):
        found = False
        for index, entry in enumerate(self.entries):
            if matches(case, entry["case"]) and matches(aspect, entry["aspect"]):
                found = True
                with self.lock:
                    self.used[index] = True
        return found

    def unused(self):
        return [entry for entry, used in zip(self.entries, self.used) if not used]


def matches(text, pattern):
    """A shell pattern in which brackets stand for themselves."""
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))
