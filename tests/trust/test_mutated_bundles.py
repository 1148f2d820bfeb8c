"""Mutated bundles are never verified, never end in a traceback, and need little memory.

``MLOPS_TEST_BUNDLES`` says how many; `make test` tries 300, and the slow test 10,000 in a process of its own.
"""

import io
import os
import random
import resource
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from mlops_core.trust.bundles.archive import ATTESTATIONS
from mlops_core.trust.bundles.envelopes import open_envelope, seal
from mlops_core.trust.bundles.keys import TrustedKeys, read_public_key, read_signing_key, write_key_pair
from mlops_core.trust.bundles.verification import verify_bundle

BLOCK = 512
MEMORY_LIMIT_KIB = 200 << 10


def parts_of(content):
    """Return the members of an archive as (name, header, padded content, size)."""
    found, position = [], 0
    while any(content[position : position + BLOCK]):
        header = content[position : position + BLOCK]
        size = int(header[124:135], 8)
        end = position + BLOCK + size + -size % BLOCK
        found.append((header[:100].rstrip(b"\0").decode(), header, content[position + BLOCK : end], size))
        position = end
    return found


def joined(parts):
    return b"".join(header + content for _, header, content, _ in parts) + bytes(2 * BLOCK)


def member(place, content, **fields):
    info = tarfile.TarInfo(place)
    info.size, info.mode = len(content), 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return (
        place,
        info.tobuf(fields.get("format", tarfile.USTAR_FORMAT)),
        content + bytes(-len(content) % BLOCK),
        len(content),
    )


class Mutations:
    """Ways to change the bytes of a bundle; each returns other bytes than it was given."""

    def __init__(self, first, second, unsigned, other_key):
        self.first, self.second, self.unsigned, self.other_key = first, second, unsigned, other_key
        self.kinds = [getattr(self, name) for name in sorted(vars(Mutations)) if not name.startswith("_")]

    def flipped_bytes(self, rng):
        content = bytearray(self.first)
        for _ in range(rng.choice([1, 1, 1, 2, 8, 64])):
            content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
        return bytes(content)

    def flipped_bytes_of_statements(self, rng):
        content = bytearray(self.first)
        content[rng.randrange(BLOCK + parts_of(self.first)[0][3])] ^= 1 << rng.randrange(8)
        return bytes(content)

    def truncated(self, rng):
        return self.first[: rng.randrange(len(self.first))]

    def extended(self, rng):
        return self.first + rng.choice([b"\0", bytes(BLOCK), rng.randbytes(rng.randrange(1, 2000)), self.second])

    def cut_out(self, rng):
        start = rng.randrange(len(self.first))
        return self.first[:start] + self.first[start + rng.randrange(1, 5000) :]

    def reordered_members(self, rng):
        parts = parts_of(self.first)
        one, other = rng.sample(range(len(parts)), 2)
        parts[one], parts[other] = parts[other], parts[one]
        return joined(parts)

    def duplicated_member(self, rng):
        parts = parts_of(self.first)
        parts.insert(rng.randrange(len(parts) + 1), rng.choice(parts))
        return joined(parts)

    def removed_member(self, rng):
        parts = parts_of(self.first)
        del parts[rng.randrange(len(parts))]
        return joined(parts)

    def exchanged_members(self, rng):
        """Predictions, split, documents or statements of another run, under the name of the first."""
        parts, others = parts_of(self.first), {name: part for name, *part in parts_of(self.second)}
        numbers = [
            number
            for number, (name, _, content, _) in enumerate(parts)
            if name in others and others[name][1] != content
        ]
        number = rng.choice(numbers)
        parts[number] = (parts[number][0], *others[parts[number][0]])
        return joined(parts)

    def exchanged_objects(self, rng):
        parts = parts_of(self.first)
        one = rng.choice([number for number, part in enumerate(parts) if part[0].startswith("objects/")])
        other = rng.choice(
            [part for part in parts_of(self.second) if part[0].startswith("objects/") and part[0] != parts[one][0]]
        )
        parts[one] = member(parts[one][0], other[2][: other[3]])
        return joined(parts)

    def edited_numbers(self, rng):
        """Thresholds, metrics, scores: another digit of the same length, in a document or an object."""
        parts = parts_of(self.first)
        number = rng.randrange(1, len(parts))
        name, header, content, size = parts[number]
        digits = [index for index in range(size) if chr(content[index]).isdigit()]
        index = rng.choice(digits)
        digit = rng.choice([d for d in b"0123456789" if d != content[index]])
        parts[number] = (name, header, content[:index] + bytes([digit]) + content[index + 1 :], size)
        return joined(parts)

    def signed_with_another_key(self, rng):
        return self._with_lines(lambda lines: [seal(open_envelope(line).payload, self.other_key) for line in lines])

    def partly_signed_with_another_key(self, rng):
        def change(lines):
            number = rng.randrange(len(lines))
            lines[number] = seal(open_envelope(lines[number]).payload, self.other_key)
            return lines

        return self._with_lines(change)

    def another_key_under_the_old_name(self, rng):
        old = open_envelope(parts_of(self.first)[0][2].split(b"\n")[0]).key_id.encode()

        def change(lines):
            sealed = [seal(open_envelope(line).payload, self.other_key) for line in lines]
            return [line.replace(self.other_key.key_id.encode(), old) for line in sealed]

        return self._with_lines(change)

    def without_signatures(self, rng):
        return rng.choice(
            [self.unsigned, self._with_lines(lambda lines: [seal(open_envelope(line).payload, None) for line in lines])]
        )

    def removed_statement(self, rng):
        def change(lines):
            del lines[rng.randrange(len(lines))]
            return lines

        return self._with_lines(change)

    def reordered_statements(self, rng):
        def change(lines):
            one, other = rng.sample(range(len(lines)), 2)
            lines[one], lines[other] = lines[other], lines[one]
            return lines

        return self._with_lines(change)

    def repeated_statement(self, rng):
        return self._with_lines(lambda lines: [*lines, rng.choice(lines)])

    def exchanged_statement(self, rng):
        """A statement that the same key signed, about another run."""
        others = parts_of(self.second)[0][2].rstrip(b"\0").splitlines()

        def change(lines):
            number = rng.randrange(len(lines))
            lines[number] = others[number]
            return lines

        return self._with_lines(change)

    def edited_statement(self, rng):
        """Another payload below an old signature."""

        def change(lines):
            number = rng.randrange(len(lines))
            envelope = open_envelope(lines[number])
            payload = bytearray(envelope.payload)
            payload[rng.randrange(len(payload))] ^= 1 << rng.randrange(7)
            old, new = (seal(one, None).split(b'"')[3] for one in (envelope.payload, bytes(payload)))
            lines[number] = lines[number].replace(old, new)
            return lines

        return self._with_lines(change)

    def path_traversal(self, rng):
        name = rng.choice(
            ["../evil", "/etc/passwd", "documents/../../evil", "objects/..", "a" * 100, "documents/\x1b[2J"]
        )
        return self._with_member(rng, member(name, b"evil"))

    def link(self, rng):
        kind = rng.choice([tarfile.SYMTYPE, tarfile.LNKTYPE])
        target = rng.choice(["/etc/passwd", "../../evil", ATTESTATIONS])
        return self._with_member(rng, member(rng.choice(["documents/run.json", "x"]), b"", type=kind, linkname=target))

    def special_file(self, rng):
        kind = rng.choice([tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.GNUTYPE_SPARSE])
        return self._with_member(rng, member("documents/run.json", b"", type=kind))

    def extended_header(self, rng):
        kind = rng.choice([tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
        return self._with_member(rng, member("././@PaxHeader", b"30 path=documents/other.json\n", type=kind))

    def huge_declared_size(self, rng):
        parts = parts_of(self.first)
        number = rng.randrange(len(parts))
        name, _, content, size = parts[number]
        info = tarfile.TarInfo(name)
        info.size, info.mode = rng.choice([10 << 30, (8 << 30) - 1, 1 << 30, 1 << 62]), 0o644
        parts[number] = (name, info.tobuf(tarfile.GNU_FORMAT), content, size)
        return joined(parts)

    def other_metadata(self, rng):
        parts = parts_of(self.first)
        number = rng.randrange(len(parts))
        name, _, content, size = parts[number]
        field, value = rng.choice(
            [("mtime", 1), ("mode", 0o755), ("uid", 1), ("gid", 1), ("uname", "root"), ("name", f"./{name}"[:99])]
        )
        parts[number] = member(name, content[:size], **{field: value})
        return joined(parts)

    def written_by_another_tar(self, rng):
        stream = io.BytesIO()
        with tarfile.open(
            fileobj=stream, mode="w", format=rng.choice([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
        ) as archive:
            for name, _, content, size in parts_of(self.first):
                info = tarfile.TarInfo(name)
                info.size, info.mtime = size, 1
                archive.addfile(info, io.BytesIO(content[:size]))
        return stream.getvalue()

    def garbage(self, rng):
        return rng.randbytes(rng.choice([0, 1, 511, 512, 513, 4096]))

    def garbage_as_statements(self, rng):
        content = rng.choice(
            [
                b"",
                b"\n",
                b"{}\n",
                b"[" * 100_000,
                b"\xff" * 999,
                b'{"payload":"","payloadType":"x","signatures":[]}\n',
                b"\n" * 5000,
            ]
        )
        return joined([member(ATTESTATIONS, content), *parts_of(self.first)[1:]])

    def _with_lines(self, change):
        parts = parts_of(self.first)
        lines = change(parts[0][2][: parts[0][3]].splitlines())
        return joined([member(ATTESTATIONS, b"".join(line + b"\n" for line in lines)), *parts[1:]])

    def _with_member(self, rng, part):
        parts = parts_of(self.first)
        number = rng.randrange(len(parts) + 1)
        return joined([*parts[:number], part, *parts[number + rng.randrange(2) :]])


def try_mutations(folder, count, seed=0):
    """Verify mutated bundles; return kind -> how many, after refusing any that is verified."""
    first, second, unsigned = ((folder / name).read_bytes() for name in ("bundle.tar", "second.tar", "unsigned.tar"))
    keys = TrustedKeys((read_public_key(folder / "signer.pub.pem"),))
    mutations = Mutations(first, second, unsigned, read_signing_key(folder / "other.pem"))
    counts = {}
    target = folder / "mutated.tar"
    for number in range(count):
        rng = random.Random(seed * count + number)
        kind = mutations.kinds[number % len(mutations.kinds)]
        content = kind(rng)
        if content == first:
            continue
        target.write_bytes(content)
        report = verify_bundle(target, keys=keys)
        assert not report.is_verified, (kind.__name__, number)
        assert report.mismatch, (kind.__name__, number)
        assert "\n" not in report.mismatch
        assert (report.run_id, report.artifact) == ("", ""), "nothing is said about a bundle whose bytes are not right"
        report.to_json()
        counts[kind.__name__] = counts.get(kind.__name__, 0) + 1
    return counts


@pytest.fixture
def mutable(evidence):
    folder = evidence.bundle.parent
    evidence.write(folder / "second.tar", evidence.runs[0])
    evidence.write(folder / "unsigned.tar", key=None)
    write_key_pair(folder / "other.pem")
    return folder


def test_unchanged_bundle_is_verified_and_all_kinds_change_it(mutable, evidence):
    assert verify_bundle(mutable / "bundle.tar", keys=evidence.keys, recomputes=False).is_verified
    assert joined(parts_of(evidence.bundle.read_bytes())) == evidence.bundle.read_bytes()


def test_mutated_bundles_are_never_verified(mutable):
    count = int(os.environ.get("MLOPS_TEST_BUNDLES", "80"))
    counts = try_mutations(mutable, count)
    assert sum(counts.values()) > 0.95 * count
    assert len(counts) == len([name for name in vars(Mutations) if not name.startswith("_")])


@pytest.mark.slow_suite
def test_ten_thousand_mutated_bundles_need_little_memory(mutable):
    done = subprocess.run(
        [sys.executable, __file__, str(mutable), "10000"], capture_output=True, text=True, check=False, timeout=3000
    )
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout.split()[-1])
    assert peak < MEMORY_LIMIT_KIB, done.stdout


if __name__ == "__main__":
    found = try_mutations(Path(sys.argv[1]), int(sys.argv[2]), seed=1)
    print(found)  # noqa: T201  read by the test
    print(sum(found.values()), "not verified; peak KiB:", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # noqa: T201
