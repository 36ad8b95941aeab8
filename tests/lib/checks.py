"""Counts checks and prints a line for each. Thread-safe."""
import threading


class Report:
    def __init__(self):
        self.passed = self.failed = 0
        self.lock = threading.Lock()

    def check(self, name, problem):
        """`problem` is empty when all is well."""
        with self.lock:
            if problem:
                self.failed += 1
                print(f"FAIL {name}: {problem}", flush=True)
            else:
                self.passed += 1
                print(f"ok   {name}", flush=True)

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed or not self.passed else 0
