"""Zip archives in several files: read without the zip program, over the ends of files, continued, and never trusted."""

import os
import shutil
import struct
import subprocess
import zlib

import pytest

from mlops_core.datasets.catalogue import Dataset, Source, SplitSource
from mlops_core.datasets.fetching.split_archives import unpack_split
from mlops_core.datasets.storage import fetch
from mlops_core.errors import DatasetError

CONTENT = {
    "set/labels.csv": b"fname,labels\n1,Bark\n" * 40,
    "set/audio/1.wav": os.urandom(70_000),
    "set/audio/2.wav": b"\0" * 150_000,
    "set/audio/empty.wav": b"",
    "set/Zürich.txt": b"not ASCII",
}


def write_split(folder, *, content=None, part_bytes=64 << 10, is_wide=False, name="data", method=8):
    """Write a split archive by the book: a marker, members whose headers are whole, a directory, its end."""
    parts, directory = [b"PK\7\x08"], b""

    def room(size):
        if len(parts[-1]) + size > part_bytes:
            parts.append(b"")

    for path, data in (content or CONTENT).items():
        packer = zlib.compressobj(wbits=-15)
        packed = packer.compress(data) + packer.flush() if method == 8 else data
        raw = path.encode()
        numbers = (20, 0x800, method, 0, 0, zlib.crc32(data))
        room(30 + len(raw))
        disk, offset = len(parts) - 1, len(parts[-1])
        parts[-1] += struct.pack("<4s5H3L2H", b"PK\3\4", *numbers, len(packed), len(data), len(raw), 0) + raw
        rest = packed
        while rest:
            free = part_bytes - len(parts[-1])
            parts[-1] += rest[:free]
            rest = rest[free:]
            if rest:
                parts.append(b"")
        sizes, extra = (len(packed), len(data)), b""
        if is_wide:
            extra = struct.pack("<2H3QL", 1, 28, len(data), len(packed), offset, disk)
            sizes, disk, offset = (0xFFFFFFFF, 0xFFFFFFFF), 0xFFFF, 0xFFFFFFFF
        directory += (
            struct.pack("<4sH", b"PK\1\2", 20)
            + struct.pack("<5HL", *numbers)
            + struct.pack("<2L5H2L", *sizes, len(raw), len(extra), 0, disk, 0, 0o100644 << 16, offset)
            + raw
            + extra
        )
    room(len(directory) + 200)
    disk, offset, count = len(parts) - 1, len(parts[-1]), len(content or CONTENT)
    end = struct.pack("<4s4H2LH", b"PK\5\6", disk, disk, count, count, len(directory), offset, 0)
    if is_wide:
        place = offset + len(directory)
        wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, disk, disk, count, count, len(directory), offset)
        end = wide + struct.pack("<4sLQL", b"PK\6\7", disk, place, disk + 1)
        end += struct.pack("<4s4H2LH", b"PK\5\6", 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    parts[-1] += directory + end
    paths = [folder / f"{name}.z{n:02d}" for n in range(1, len(parts))] + [folder / f"{name}.zip"]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(part)
    return paths


def found(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("is_wide", [False, True], ids=["32 bit", "64 bit"])
@pytest.mark.parametrize("method", [0, 8], ids=["stored", "deflated"])
def test_members_are_read_over_the_ends_of_files(tmp_path, is_wide, method):
    parts = write_split(tmp_path, is_wide=is_wide, method=method)
    assert len(parts) > 1
    (tmp_path / "out").mkdir()
    told = []
    unpack_split(parts, tmp_path / "out", strip=1, progress=lambda *state: told.append(state))
    assert found(tmp_path / "out") == {path.removeprefix("set/"): data for path, data in CONTENT.items()}
    assert told[-1] == (5, 5)


@pytest.mark.skipif(not shutil.which("zip"), reason="there is no zip program to compare with")
def test_what_the_zip_program_writes_is_read(tmp_path):
    source = tmp_path / "source"
    for path, data in {**CONTENT, "set/audio/3.wav": os.urandom(200_000)}.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(data)
    subprocess.run(["zip", "-q", "-r", "-s", "64k", tmp_path / "data.zip", "set"], cwd=source, check=True)
    parts = [*sorted(tmp_path.glob("data.z[0-9]*")), tmp_path / "data.zip"]
    assert len(parts) > 3
    (tmp_path / "out").mkdir()
    unpack_split(parts, tmp_path / "out")
    assert found(tmp_path / "out") == found(source)


def test_a_second_call_unpacks_only_what_is_missing(tmp_path):
    parts = write_split(tmp_path)
    (tmp_path / "out").mkdir()
    unpack_split(parts, tmp_path / "out")
    kept = tmp_path / "out" / "set" / "audio" / "1.wav"
    before = kept.stat().st_mtime_ns
    (tmp_path / "out" / "set" / "audio" / "2.wav").write_bytes(b"cut off")
    unpack_split(parts, tmp_path / "out")
    assert kept.stat().st_mtime_ns == before
    assert found(tmp_path / "out") == CONTENT


def damaged_member(parts):
    data = bytearray(parts[1].read_bytes())
    data[100] ^= 1
    parts[1].write_bytes(data)
    return parts


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda parts: parts[1:], "damaged"),
        (lambda parts: [parts[1], parts[0], *parts[2:]], "out of order|damaged"),
        (lambda parts: parts[:-1], "not the last file of a zip archive"),
        (damaged_member, "'set/audio/1.wav' does not match its entry in the central directory"),
    ],
    ids=["first file missing", "files in another order", "last file missing", "one bit turned"],
)
def test_a_damaged_archive_is_refused(tmp_path, spoil, message):
    parts = spoil(write_split(tmp_path, method=0, part_bytes=40_000))
    (tmp_path / "out").mkdir()
    with pytest.raises(DatasetError, match=message):
        unpack_split(parts, tmp_path / "out")


def test_a_member_that_would_leave_the_folder_and_a_bomb_are_refused(tmp_path):
    (tmp_path / "out").mkdir()
    for name, content, message in (
        ("escape", {"../evil": b"x"}, "would leave the folder"),
        ("bomb", {f"{n}": b"\0" * (20 << 20) for n in range(4)}, "unpacks to far more"),
    ):
        with pytest.raises(DatasetError, match=message):
            unpack_split(write_split(tmp_path, content=content, name=name), tmp_path / "out")
    assert not (tmp_path / "evil").exists()


class Stop(BaseException):
    pass


def test_an_interrupted_fetch_of_several_files_asks_only_for_the_rest(tmp_path, loopback):
    served = tmp_path / "served"
    served.mkdir()
    parts = write_split(served)
    address, asked = loopback(served)
    dataset = Dataset(
        name="SPLIT",
        title="t",
        licence="CC0-1.0",
        sources=(
            SplitSource(parts=tuple(Source(url=f"{address}/{p.name}", size=p.stat().st_size) for p in parts), strip=1),
            Source(url=f"{address}/extra.txt", unpack=False, to="more"),
        ),
        required=("audio/*.wav", "labels.csv"),
    )

    def stops_while_unpacking(label, done, total):
        if label.endswith(": file") and done == 2:
            raise Stop

    with pytest.raises(Stop):
        fetch(dataset, tmp_path / "sets" / "SPLIT", progress=stops_while_unpacking)
    first = len(asked)
    assert first == len(parts)
    (served / "extra.txt").write_text("more")
    folder = fetch(dataset, tmp_path / "sets" / "SPLIT")
    assert asked[first:] == ["/extra.txt"]
    assert (folder / "audio" / "1.wav").read_bytes() == CONTENT["set/audio/1.wav"]
    assert (folder / "more" / "extra.txt").read_text() == "more"
    assert not list((tmp_path / "sets").glob("*.partial"))


def test_sources_that_hold_the_same_file_are_refused(tmp_path, loopback):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.txt").write_text("a")
    address, _ = loopback(tmp_path / "served")
    source = Source(url=f"{address}/a.txt", unpack=False)
    dataset = Dataset(name="TWICE", title="t", licence="CC0-1.0", sources=(source, source))
    with pytest.raises(DatasetError, match="two of its sources hold 'a.txt'"):
        fetch(dataset, tmp_path / "sets" / "TWICE")
    assert not (tmp_path / "sets" / "TWICE").exists()


@pytest.fixture
def loopback():
    """Serve a folder on this machine; the list contains the requested paths."""
    import functools
    import http.server
    import threading

    servers = []

    def serve(folder):
        asked = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                super().do_GET()

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", asked

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
