"""Archives that were made to hurt: each is unpacked or refused by name, in bounded memory."""

import bz2
import contextlib
import gzip
import io
import os
import random
import struct
import subprocess
import sys
import tarfile
import zipfile

import pytest

from mlops_core.datasets.fetching.archives import unpack
from mlops_core.datasets.fetching.split_archives import unpack_split
from mlops_core.errors import DatasetError


def tar_header(name, *, kind, size, mode=b"0000644"):
    """Return a header block; `size` may be negative, which tarfile itself does not write."""
    field = (
        struct.pack(">q", size).rjust(12, b"\xff" if size < 0 else b"\0")
        if size < 0 or size >= 8**11
        else b"%011o" % size
    )
    block = bytearray(512)
    block[0:100] = name.encode().ljust(100, b"\0")
    block[100:107] = mode
    block[124:136] = (b"\x80" + field[1:] if size >= 0 and size >= 8**11 else field).ljust(12, b"\0")
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(content):
    return content + bytes(-len(content) % 512)


def pax(fields):
    lines = b""
    for name, value in fields.items():
        body = b" " + name.encode() + b"=" + value + b"\n"
        length = len(body) + 1
        while len(b"%d" % length) + len(body) != length:
            length += 1
        lines += b"%d" % length + body
    return tar_header("h", kind=b"x", size=len(lines)) + padded(lines)


def file_member(name="a", content=b"a"):
    return tar_header(name, kind=b"0", size=len(content)) + padded(content)


END = bytes(1024)
SPARSE_1 = {"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0", "GNU.sparse.name": b"a", "GNU.sparse.realsize": b"9"}


def unpacked_alone(path, target):
    """Unpack in a process of its own; return its error, and its largest memory in KiB."""
    code = (
        "import sys; from pathlib import Path\n"
        "from mlops_core.datasets.fetching.archives import unpack\n"
        "from mlops_core.errors import DatasetError\n"
        "try: unpack(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "except DatasetError as error: print(error)\n"
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])\n"
    )
    command = [sys.executable, "-c", code, path, target]
    message, peak_kib = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return message, int(peak_kib)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L"])
def test_a_header_of_a_gigabyte_is_refused_in_little_memory(tmp_path, kind):
    path = tmp_path / "a.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(tar_header("h", kind=kind, size=1_500_000_000))
        for _ in range(150):
            stream.write(bytes(1 << 20))
    message, peak_kib = unpacked_alone(path, tmp_path / "out")
    assert "a.tar.gz has a header of 1,500,000,000 bytes; refused" in message
    assert peak_kib < 100 << 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tar_header("a", kind=b"0", size=-512) + END, "negative size"),
        (tar_header("a", kind=b"x", size=-512) + END, "negative size"),
        (pax({"size": b"-1024"}) + file_member() + END, "damaged"),
        (pax({"size": b"1" * 5000}) + file_member() + END, "damaged"),
        (pax({"size": b"9" * 15}) + file_member() + END, "bomb|damaged"),
        (tar_header("a", kind=b"S", size=0) + END, "a sparse member"),
        (pax(SPARSE_1) + file_member("a", b"99999999\n") + END, "sparse"),
        (pax({"GNU.sparse.map": b"0,5", "GNU.sparse.size": b"9"}) + file_member() + END, "sparse"),
        (pax({"GNU.sparse.size": b"1000000000000"}) + file_member() + END, "sparse"),
        (b"".join(pax({f"k{n}": b"v"}) for n in range(2000)) + file_member() + END, "damaged"),
        (pax({"path": b"../evil"}) + file_member() + END, "would leave the folder"),
        (pax({"path": b"/etc/evil"}) + file_member() + END, "would leave the folder"),
        (file_member("a", b"x" * 100)[:540], "damaged"),
        (file_member() + file_member() + END, "holds 'a' twice"),
        (tar_header("d", kind=b"D", size=512) + bytes(512) + END, "a link or a device"),
        (b"", "neither a zip nor a tar"),
        (b"\x1f\x8b\x08", "neither a zip nor a tar|damaged"),
        (b"PK\3\4", "neither a zip nor a tar"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_malformed_tar_is_refused_by_name(tmp_path, content, message, packed):
    (tmp_path / "a.tar").write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DatasetError, match=rf"a\.tar .*({message})|({message})"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    assert not (tmp_path / "evil").exists()


def test_a_tar_whose_last_member_is_a_zip_is_unpacked_as_tar(tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as content:
        content.writestr("inside.txt", "wrong")
    (tmp_path / "a.tar").write_bytes(file_member("b.zip", inner.getvalue()) + END)
    unpack(tmp_path / "a.tar", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.zip"]


def test_a_long_name_in_a_tar_is_kept(tmp_path):
    name = "/".join(["folder" * 10] * 20)
    for layout in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with tarfile.open(tmp_path / "a.tar.xz", "w:xz", format=layout) as content:
            member = tarfile.TarInfo(name)
            member.size = 3
            content.addfile(member, io.BytesIO(b"abc"))
        unpack(tmp_path / "a.tar.xz", tmp_path / str(layout))
        assert (tmp_path / str(layout) / name).read_bytes() == b"abc"


def zip_bytes(members, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as content:
        for name, data in members.items():
            content.writestr(name, data)
    return bytearray(buffer.getvalue())


def test_an_encrypted_zip_is_refused_by_name(tmp_path):
    content = zip_bytes({"a.csv": b"a"})
    content[6] |= 1  # flags in the local header
    content[content.rindex(b"PK\1\2") + 8] |= 1  # and in the directory
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.zip holds 'a\.csv' encrypted"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize(("place", "value"), [(8, 0x41), (8, 0x20), (10, 9), (10, 93), (10, 99), (10, 1)])
def test_a_method_that_cannot_be_read_is_refused_by_name(tmp_path, place, value):
    content = zip_bytes({"a.csv": b"a"})
    content[content.rindex(b"PK\1\2") + place] = value
    content[place - 2] = value
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.zip (is damaged|holds 'a\.csv' encrypted)"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_members_that_share_their_bytes_are_refused(tmp_path):
    content = zip_bytes({f"{n}.bin": bytes(100_000) for n in range(10)})
    start = content.index(b"PK\1\2")
    place = start
    while content[place : place + 4] == b"PK\1\2":
        content[place + 42 : place + 46] = bytes(4)  # every member at the first byte
        place += 46 + content[place + 28] + content[place + 30] + content[place + 32]
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.zip holds '0\.bin' and '1\.bin' in the same bytes"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def test_a_bomb_of_any_method_is_refused_in_little_memory(tmp_path, method):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as content, content.open("zeros", "w") as stream:
        for _ in range(100):
            stream.write(bytes(1 << 20))
    message, peak_kib = unpacked_alone(path, tmp_path / "out")
    assert "a bomb?" in message
    assert peak_kib < 512 << 10  # bzip2 has no limit for what one piece of input gives


def test_a_member_called_like_a_folder_of_another_is_an_error_of_the_data_set(tmp_path):
    (tmp_path / "a.zip").write_bytes(zip_bytes({"a": b"x", "a/b": b"y"}))
    with pytest.raises((DatasetError, OSError)):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def archives(folder):
    """Yield names and bytes of small archives of every kind."""
    members = {"meta/a.csv": b"filename,fold\n" * 20, "audio/b.wav": os.urandom(300), "c": b""}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield f"{method}.zip", bytes(zip_bytes(members, method))
    for layout in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=layout) as content:
            for name, data in {**members, "n" * 150: b"long"}.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                content.addfile(member, io.BytesIO(data))
        yield f"{layout}.tar", buffer.getvalue()
        yield f"{layout}.tar.gz", gzip.compress(buffer.getvalue(), mtime=0)
        yield f"{layout}.tar.bz2", bz2.compress(buffer.getvalue())
    yield "split.zip", bytes(zip_bytes(members))


def damaged(content, draw):
    """Return bytes with a few of them changed, removed, repeated or cut off, mostly in headers."""
    data = bytearray(content)
    for _ in range(draw.randint(1, 6)):
        place = draw.randrange(len(data)) if draw.random() < 0.5 else draw.randrange(min(len(data), 600))
        kind = draw.random()
        if kind < 0.6:
            data[place] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
        elif kind < 0.75:
            data[place : place + 4] = struct.pack("<I", draw.choice((0, 1, 2**31, 2**32 - 1)))
        elif kind < 0.85:
            del data[place : place + draw.randint(1, 40)]
        elif kind < 0.95:
            data[place:place] = data[place : place + draw.randint(1, 600)]
        else:
            del data[max(30, place) :]
    return bytes(data)


def unpack_damaged(folder, rounds, seed):
    draw = random.Random(seed)
    outside = folder / "outside"
    outside.mkdir()
    for name, content in archives(folder):
        for number in range(rounds):
            path = folder / name
            path.write_bytes(damaged(content, draw))
            target = folder / f"out-{name}-{number}"
            target.mkdir()
            with contextlib.suppress(DatasetError, OSError):
                unpack_split([path], target) if name.startswith("split") else unpack(path, target)
    assert not any(outside.iterdir())
    assert {path.name for path in folder.iterdir() if not path.name.startswith("out-")} == {
        "outside",
        *(name for name, _ in archives(folder)),
    }


def test_a_damaged_archive_is_unpacked_or_an_error_of_the_data_set(tmp_path):
    unpack_damaged(tmp_path, rounds=15, seed=1)


@pytest.mark.slow_suite
@pytest.mark.parametrize("seed", range(10))
def test_many_damaged_archives_are_unpacked_or_errors_of_the_data_set(tmp_path, seed):
    unpack_damaged(tmp_path, rounds=200, seed=100 + seed)
