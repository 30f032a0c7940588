"""Which body goes to which worker: two lanes, so that no compile stands before a question about a type.

Fair: of those who wait, the one whose address has the fewest bodies running comes first, and no address has more than
``workers`` running.  When all workers have been busy for a while and another address waits, more are started, twice
as many at most: a flood of slow sources slows the others down, it does not stop them.
"""
from __future__ import absolute_import

from .helpers import Helper

__all__ = ["Lanes", "Job"]

_PATIENCE = 0.5     # seconds that somebody waits before a further worker is started
_MOST_TRIES = 3


class Job(object):
    """A body under way.  ``waiters``: connections that want its reply (equal bodies are worked on once)."""
    __slots__ = ("key", "body", "lane", "peer", "waiters", "tries", "since")

    def __init__(self, key, body, lane, peer, since):
        self.key, self.body, self.lane, self.peer, self.since = key, body, lane, peer, since
        self.waiters, self.tries = [], 0


class Lanes(object):
    """Queues and workers.  ``changed(helper)``: epoll must know anew what it waits for; ``done(job, words, body)``: a
    reply; ``failed(job, why)``: there will be none; ``died(pid, status)``: for the log."""

    def __init__(self, settings, changed, done, failed, died):
        self.settings, self.changed, self.done, self.failed, self.died = settings, changed, done, failed, died
        self.queues, self.helpers, self._peers = {}, {}, {}
        for lane in ("compile", "types"):
            self.queues[lane], self.helpers[lane] = [], []

    @staticmethod
    def lane_of(body):
        """A look is enough: a wrong guess costs fairness only."""
        return "compile" if b'"obj"' in body or b'"ko"' in body else "types"

    @property
    def waiting(self):
        return sum([len(queue) for queue in self.queues.values()])

    @property
    def running(self):
        return sum([1 for row in self.helpers.values() for helper in row if helper.job is not None])

    @property
    def count(self):
        return sum([len(row) for row in self.helpers.values()])

    def start(self):
        """One worker for each lane, so that the first body need not wait for it."""
        for lane in self.helpers:
            self._spawn(lane)

    def put(self, job, now):
        """Queue a job; False when there are too many."""
        queue = self.queues[job.lane]
        if len(queue) >= self.settings.queue:
            return False
        queue.append(job)
        self.pump(job.lane, now)
        return True

    def drop(self, job):
        """Forget a job that nobody waits for, unless it runs already: then its answer is kept for the next."""
        queue = self.queues[job.lane]
        if job in queue:
            queue.remove(job)
            return True
        return False

    # -- workers -------------------------------------------------------------------------------------------------------
    def _spawn(self, lane):
        helper = Helper(self.settings, lane)
        self.helpers[lane].append(helper)
        self.changed(helper)
        return helper

    def pump(self, lane, now):
        """Hand out what can be handed out."""
        queue, helpers = self.queues[lane], self.helpers[lane]
        while queue:
            job = self._next(queue)
            if job is None:
                return
            idle = [helper for helper in helpers if helper.job is None]
            if not idle:
                most = self.settings.workers
                if now - job.since > _PATIENCE:
                    most *= 2
                if len(helpers) >= most:
                    return
                idle = [self._spawn(lane)]
            queue.remove(job)
            self._peers[lane, job.peer] = self._peers.get((lane, job.peer), 0) + 1
            job.tries += 1
            # the one that was used last: its pages are warm
            helper = max(idle, key=lambda each: each.since)
            try:
                helper.give(job, job.body, now)
            except EnvironmentError:
                self.lost(helper, now)
                continue
            self.changed(helper)

    def _next(self, queue):
        """The job whose turn it is, None when all belong to who has enough running."""
        best, fewest = None, self.settings.workers
        for job in queue:
            running = self._peers.get((job.lane, job.peer), 0)
            if running < fewest:
                best, fewest = job, running
                if not running:
                    break
        return best

    def _free(self, helper):
        """The job of a worker that is through with it."""
        job, helper.job = helper.job, None
        if job is not None:
            key = job.lane, job.peer
            self._peers[key] -= 1
            if not self._peers[key]:
                del self._peers[key]
        return job

    def event(self, helper, readable, now):
        """epoll has something for a worker's socket."""
        try:
            if helper.writing:
                helper.send()
            reply = helper.receive() if readable else None
        except EnvironmentError:
            return self.lost(helper, now)
        self.changed(helper)
        if reply is not None:
            words, body = reply
            if not helper.ready:
                helper.ready = True     # its first words
            elif helper.job is not None:
                self.done(self._free(helper), words, body)
            self.pump(helper.lane, now)

    def lost(self, helper, now):
        """A worker is gone: its job goes to another one, first of all."""
        if helper not in self.helpers[helper.lane]:
            return
        self.helpers[helper.lane].remove(helper)
        job = self._free(helper)
        pid = helper.process.pid
        self.died(pid, helper.end())
        if job is not None:
            if job.tries >= _MOST_TRIES:
                self.failed(job, "%d workers died over this request" % job.tries)
            else:
                self.queues[helper.lane].insert(0, job)
        if helper.ready:    # else: it cannot even start, and would not the next time
            self.pump(helper.lane, now)

    def tick(self, now):
        """Now and then: further workers for those who wait, an end for those that hang."""
        most = self.settings.wall_seconds + 60
        for lane in self.helpers:
            for helper in list(self.helpers[lane]):
                if helper.job is not None and now - helper.since > most:
                    job = self._free(helper)
                    self.failed(job, "no answer within %d seconds" % most)
                    self.lost(helper, now)
            if not self.helpers[lane] and self.queues[lane]:
                job = self.queues[lane][0]
                if job.tries >= _MOST_TRIES:
                    self.queues[lane].pop(0)
                    self.failed(job, "no worker can be started")
            self.pump(lane, now)

    def close(self):
        """End all workers."""
        for row in self.helpers.values():
            for helper in row:
                helper.end()
            del row[:]
