"""Digests of folders: links, loops of links, names that are no UTF-8."""

import os

import pytest

import mlops_core
from mlops_core.datasets.digests import digest_tree, file_digest, iter_tree, tree_manifest
from mlops_core.datasets.tree_walk import FileState, find_foreign_entry
from mlops_core.workspace.files import write_atomically
from mlops_core.workspace.store import Store


def paths(folder):
    return [file.path for file in iter_tree(folder)]


def test_a_change_behind_a_linked_folder_changes_the_digest(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.wav").write_text("a")
    data = tmp_path / "data"
    data.mkdir()
    (data / "audio").symlink_to(tmp_path / "elsewhere")
    before = digest_tree(data)
    assert paths(data) == ["audio/a.wav"]
    (tmp_path / "elsewhere" / "a.wav").write_text("b")
    assert digest_tree(data) != before


def test_a_folder_reached_by_a_link_has_the_digest_of_the_folder_itself(tmp_path):
    for name in ("real", "linked"):
        (tmp_path / name).mkdir()
    (tmp_path / "real" / "audio").mkdir()
    (tmp_path / "real" / "audio" / "a.wav").write_text("a")
    (tmp_path / "linked" / "audio").symlink_to(tmp_path / "real" / "audio")
    assert digest_tree(tmp_path / "real") == digest_tree(tmp_path / "linked")


def test_links_in_a_circle_end(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("x")
    (tmp_path / "a" / "top").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    assert "a/file" in paths(tmp_path)
    assert len(paths(tmp_path)) < 10


def test_a_name_that_is_no_utf8_is_digested_cached_and_written(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / os.fsdecode(b"caf\xe9.wav")).write_text("sound")
    with Store(tmp_path / "home") as store:
        first, second = (tree_manifest(data, cache=store.file_digests) for _ in range(2))
    assert first == second
    assert first.count == 1
    write_atomically(tmp_path / "page.html", paths(data)[0])
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "caf\\udce9.wav"


def test_the_path_of_a_data_set_is_not_stored_with_its_digests(tmp_path):
    """A part of it may come from a secret variable, as in `/mnt/${ACCESS_TOKEN}/data`."""
    data = tmp_path / "data-of-marked-secret"
    data.mkdir()
    (data / "a.wav").write_text("sound")
    path, state = str(data / "a.wav"), FileState(size=5, mtime_ns=1, ctime_ns=1, inode=1)
    with Store(tmp_path / "home") as store:
        store.file_digests.store([(path, state, "0" * 64)])
        assert store.file_digests.lookup(path, state) == "0" * 64
        assert store.file_digests.lookup_all({path: state}) == {path: "0" * 64}
    assert [path for path in (tmp_path / "home").rglob("*.db*") if b"marked-secret" in path.read_bytes()] == []


@pytest.mark.parametrize("make", ["symlink_to", "hardlink_to"])
def test_what_leads_elsewhere_is_found_deep_below(tmp_path, make):
    (tmp_path / "target").write_text("x")
    deep = tmp_path / "output" / "a" / "b"
    deep.mkdir(parents=True)
    assert find_foreign_entry(tmp_path / "output") is None
    getattr(deep / "link", make)(tmp_path / "target")
    assert str(deep / "link") in find_foreign_entry(tmp_path / "output")


NAMES = (
    "a\nb.txt",
    "\n",
    "c\rd",
    '"quoted"',
    "back\\slash",
    "two\u2028lines",
    os.fsdecode(b"caf\xe9\n"),
    "with space ",
)


def test_every_legal_name_survives_a_manifest_and_is_named_when_it_changes(tmp_path):
    with Store(tmp_path / "home") as store:
        folder = store.work_folder("output") / "files"
        folder.mkdir()
        for name in NAMES:
            (folder / name).write_text("x")
        digest = store.artifacts.add(folder)
        assert set(store.manifests.find(digest)) == set(NAMES)
        assert store.artifacts.damage(digest) is None
        changed = store.artifacts.path(digest) / NAMES[0]
        changed.chmod(0o644)
        changed.write_text("y")
        assert store.artifacts.damage(digest) == f"{changed} has changed"


@pytest.mark.parametrize("junk", [b"junk", b"\x00\xff\n", b'a 1 "unfinished\n', b"one two\n", b"\n\n\n"])
def test_a_damaged_manifest_counts_as_none_or_as_empty(tmp_path, junk):
    with Store(tmp_path / "home") as store:
        folder = store.work_folder("output") / "files"
        folder.mkdir()
        (folder / "a").write_text("x")
        digest = store.artifacts.add(folder)
        store.manifests._path(digest).write_bytes(junk)
        assert not store.manifests.find(digest)
        path = store.artifacts.path(digest) / "a"
        assert store.artifacts.damage(digest) is None
        path.chmod(0o644)
        path.write_text("y")
        assert "has changed" in store.artifacts.damage(digest)


def test_a_run_reads_data_with_a_line_feed_in_a_name_and_explains_their_change(toy, tmp_path, workspace):
    data = tmp_path / "data"
    data.mkdir()
    (data / "words.csv").write_text("\n".join(f"{'x' * n},{'long' if n > 6 else 'short'}" for n in range(1, 13)))
    (data / "a\nb.txt").write_text("1")
    settings = [f"dataset.path={data}"]
    assert mlops_core.run(toy, overrides=settings, workspace=workspace).status == "accepted"
    (data / "a\nb.txt").write_text("2")
    again = mlops_core.run(toy, overrides=settings, workspace=workspace)
    assert again.status == "accepted"
    assert "a\nb.txt" in again.step("preprocess").because
    assert mlops_core.open_run(again.run_id, workspace=workspace) == again


def test_a_pipe_has_no_digest_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match="not a regular file"):
            file_digest(tmp_path / name)
