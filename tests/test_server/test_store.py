"""Answers on disk: whole or not there, whoever is killed; locks that die with their holder; nobody else's folder."""
from __future__ import absolute_import

import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from lbc.errors import InputError
from lbc.server.store import Store, private_folder

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEYS = [hashlib.sha256(str(number).encode("ascii")).hexdigest() for number in range(64)]


def test_there_and_back(tmpdir):
    store = Store(str(tmpdir.join("cache"))).prepare()
    assert store.get(KEYS[0]) is None
    for data in (b"", b"x", os.urandom(100000)):
        store.put(KEYS[0], data)
        assert store.get(KEYS[0]) == data
    assert Store(store.root).get(KEYS[0]) == data   # another process's view
    assert os.stat(store.root).st_mode & 0o777 == 0o700 and os.listdir(os.path.join(store.root, "tmp")) == []


@pytest.mark.parametrize("damage", [lambda raw: b"", lambda raw: raw[:-1], lambda raw: b"\0" * len(raw),
                                    lambda raw: raw[:-1] + b"?", lambda raw: raw + b"x", lambda raw: raw[:10],
                                    lambda raw: raw.replace(b"lbc1", b"lbc2")])
def test_damage_is_seen_and_removed(tmpdir, damage):
    store = Store(str(tmpdir.join("cache"))).prepare()
    store.put(KEYS[1], b"the answer")
    path = os.path.join(store.root, "answers", KEYS[1][:2], KEYS[1])
    with open(path, "rb") as stream:
        raw = stream.read()
    with open(path, "wb") as stream:
        stream.write(damage(raw))
    assert store.get(KEYS[1]) is None and not os.path.exists(path)


WRITER = """
import hashlib, itertools, sys
sys.path.insert(0, %r)
from lbc.server.store import Store
store = Store(%r).prepare()
sys.stdout.write("go\\n"); sys.stdout.flush()
for number in itertools.count():
    data = ("%%08d" %% number).encode("ascii") * 20000
    store.put(hashlib.sha256(data[7:8]).hexdigest(), data)
"""


def test_kill_in_the_middle_of_writing(tmpdir):
    root, generator = str(tmpdir.join("cache")), random.Random(3)
    for _ in range(8):
        process = subprocess.Popen([sys.executable, "-c", WRITER % (ROOT, root)], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(generator.random() * 0.08)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    store, found = Store(root).prepare(), 0
    for folder, _folders, names in os.walk(os.path.join(root, "answers")):
        for name in names:
            data = store.get(name)
            assert data is not None and len(data) == 160000 and data == data[:8] * 20000
            found += 1
    assert found
    left = os.listdir(os.path.join(root, "tmp"))
    for name in left:   # what is left over goes once it is old
        os.utime(os.path.join(root, "tmp", name), (1, 1))
    Store(root).prepare()
    assert os.listdir(os.path.join(root, "tmp")) == []


def test_locks(tmpdir):
    store = Store(str(tmpdir.join("cache"))).prepare()
    with store.lock(KEYS[2], 0):
        assert store.lock(KEYS[2], 0.05) is None
        other = store.lock(KEYS[3], 0)
        assert other is not None
        other.close()
    first, second = store.slot(2, 0), store.slot(2, 0)
    assert first and second and store.slot(2, 0.05) is None
    first.close()
    first.close()
    third = store.slot(2, 0)
    assert third is not None
    third.close()
    second.close()


def test_a_lock_dies_with_its_holder(tmpdir):
    store = Store(str(tmpdir.join("cache"))).prepare()
    text = (
        "import sys, time\nsys.path.insert(0, %r)\nfrom lbc.server.store import Store\nheld = Store(%r).lock(%r, 0)\n"
        "sys.stdout.write('held\\n'); sys.stdout.flush(); time.sleep(60)" % (ROOT, store.root, KEYS[4])
    )
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    assert store.lock(KEYS[4], 0.05) is None
    process.kill()
    process.wait()
    process.stdout.close()
    with store.lock(KEYS[4], 5):
        pass


def test_prune_keeps_the_newest(tmpdir):
    store = Store(str(tmpdir.join("cache")), most_bytes=50000).prepare()
    for number, key in enumerate(KEYS[:20]):
        store.put(key, b"x" * 5000)
        os.utime(os.path.join(store.root, "answers", key[:2], key), (1000 + number, 1000 + number))
    store.prune()
    assert [key for key in KEYS[:20] if store.get(key)] == KEYS[13:20]     # 7 of 5018 bytes are below 40000


def test_a_folder_that_others_may_write_is_refused(tmpdir):
    folder = tmpdir.join("shared").ensure(dir=True)
    os.chmod(str(folder), 0o777)
    with pytest.raises(InputError) as caught:
        private_folder(str(folder))
    assert "not ours alone" in caught.value.what and "chmod" in caught.value.hint
    with pytest.raises(InputError):
        private_folder(str(tmpdir.join("file").ensure()))
    with pytest.raises(InputError):
        private_folder("/proc/none/x")


def test_a_full_disk_only_keeps_nothing(tmpdir, monkeypatch):
    store = Store(str(tmpdir.join("cache"))).prepare()

    def full(*_words, **_more):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(os, "rename", full)
    store.put(KEYS[5], b"data")
    assert store.get(KEYS[5]) is None and os.listdir(os.path.join(store.root, "tmp")) == []
