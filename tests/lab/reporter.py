"""A pytest plugin that appends each result to the file $LBC_RESULTS at once, so that a dead guest loses only one.

One JSON object a line: {"start": id, "seconds": its own time limit or 0}, then {"id", "outcome":
passed|failed|skipped, "seconds", "text"}; {"end": 1} last.
Tests that the file already has an outcome for are left out: a run that died goes on where it stopped.
"""
from __future__ import absolute_import

import json
import os

PATH = os.environ.get("LBC_RESULTS")


def time_limit(path):
    """Seconds that the test that was started last asked for with its mark timeout_s; 0 if it did not."""
    seconds = 0
    with open(path) as f:
        for line in f:
            if '"start": ' in line and '"outcome"' not in line:  # 2.7 writes keys in any order
                try:
                    seconds = json.loads(line).get("seconds", 0)
                except ValueError:
                    continue
    return seconds


def read_results(path):
    """(rows with an outcome, id that was started last without one or None, whether the run came to its end)."""
    rows, running, ended = [], None, False
    if os.path.exists(path):
        with open(path) as f:
            for line in f:
                try:
                    row = json.loads(line)
                except ValueError:
                    continue  # half a line of a guest that died
                if "start" in row:
                    running = row["start"]
                elif "end" in row:
                    ended, running = True, None
                else:
                    rows.append(row)
                    if row["id"] == running:
                        running = None
    return rows, running, ended


def write(row):
    if PATH:
        with open(PATH, "a") as f:
            f.write(json.dumps(row) + "\n")


def reason(report):
    longrepr = report.longrepr
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return text[len("Skipped: "):] if text.startswith("Skipped: ") else text


class Reporter(object):
    """Adds up setup, call and teardown of one test."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.outcome, self.text, self.seconds = "passed", "", 0.0

    def pytest_collection_modifyitems(self, config, items):
        done = set(row["id"] for row in read_results(PATH)[0]) if PATH else set()
        if done:
            config.hook.pytest_deselected(items=[item for item in items if item.nodeid in done])
            items[:] = [item for item in items if item.nodeid not in done]

    def pytest_collectreport(self, report):
        if report.outcome != "passed":
            write({"id": report.nodeid, "outcome": report.outcome, "seconds": 0, "text": reason(report)})

    # None: the runner's own comes next, as this plugin was registered after it
    def pytest_runtest_protocol(self, item):
        self.reset()
        mark = item.get_closest_marker("timeout_s")
        write({"start": item.nodeid, "seconds": mark.args[0] if mark else 0})

    def pytest_runtest_logreport(self, report):
        self.seconds += report.duration
        if report.outcome == "failed" or (report.outcome == "skipped" and self.outcome == "passed"):
            self.outcome = report.outcome
            self.text += reason(report)
            for title, content in report.sections if report.outcome == "failed" else ():
                self.text += "\n--- %s\n%s" % (title, content[-3000:])
        if report.when == "teardown":
            write({"id": report.nodeid, "outcome": self.outcome,
                  "seconds": round(self.seconds, 2), "text": self.text[-20000:]})

    def pytest_sessionfinish(self, session, exitstatus):
        write({"end": 1, "status": int(exitstatus)})


def pytest_configure(config):
    config.pluginmanager.register(Reporter(), "lbc-reporter")
