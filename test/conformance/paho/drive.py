"""Runs one file of the suite against a server and writes a line of JSON for each test.

drive.py SCRIPT PORT RESULTS: the script is run as it stands, with its own settings; only where it would
hand over to unittest.main, its tests are run here, so that their results can be read.
"""

import json
import os
import runpy
import sys
import time
import unittest

script, port, results = sys.argv[1:4]


class Results(unittest.TestResult):
    def startTest(self, test):
        super().startTest(test)
        self.started = time.monotonic()
        self.wrong = None

    def addError(self, test, err):
        super().addError(test, err)
        self.wrong = self._exc_info_to_string(err, test)

    addFailure = addError

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.wrong = "skipped: " + reason

    def stopTest(self, test):
        super().stopTest(test)
        line = {
            "test": test.id().split(".")[-1],
            "passed": self.wrong is None,
            "seconds": round(time.monotonic() - self.started, 1),
        }
        if self.wrong is not None:
            line["wrong"] = self.wrong
        with open(results, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def run(*_args, **_kwargs):
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    suite.run(Results())
    # Its threads may still wait for a packet.
    os._exit(0)


unittest.main = run
sys.argv = [script, "--port", port]
sys.path.insert(0, os.path.dirname(script))
runpy.run_path(script, run_name="__main__")
