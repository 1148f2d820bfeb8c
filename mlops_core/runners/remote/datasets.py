"""A data set in an object store: complete when its manifest exists; missing files are sent, the manifest last.

The manifest is the object ``.mlops-dataset.json`` below the data set's prefix, which no digest of a data set counts; it
holds digest, count, size, and the key of the list of files. So an unchanged data set is recognised by one request,
whatever its size. Objects are compared with files by a listing and the index of earlier uploads, or by their MD5.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.digests import iter_tree, manifest_of
from mlops_core.datasets.tree_walk import MARKER, file_state
from mlops_core.errors import DatasetError, MlopsError
from mlops_core.runners.dataset_source import fetch_source, is_source_there, source_identity
from mlops_core.runners.remote.object_store import Bucket, LargeFile, Sending, sorted_join
from mlops_core.runners.remote.places import Place
from mlops_core.runners.remote.upload_index import Receipt, Receipts
from mlops_core.workspace.manifests import path_from_text, path_to_text
from mlops_core.workspace.records import DatasetRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mlops_core.datasets.catalogue import DatasetChoice, Progress
    from mlops_core.datasets.digests import TreeFile
    from mlops_core.runners.remote.object_store import RemoteObject
    from mlops_core.runners.request import RunRequest
    from mlops_core.workspace.store import Store

_FORMAT = "mlops-dataset/1"
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteManifest:
    """A complete data set in an object store.

    Attributes:
        name: name of the data set.
        digest: digest over relative path, size and content of each file.
        files: number of files.
        size_bytes: size of all files together.
        sources: sources of the catalogue entry; empty for a folder of the user's.
        is_generated: the data set is made by code.
        licence: licence of the catalogue entry.
        listing: key of the list of files.
        listing_sha256: digest of that list.
    """

    name: str
    digest: str
    files: int
    size_bytes: int
    sources: str = ""
    is_generated: bool = False
    licence: str = ""
    listing: str = ""
    listing_sha256: str = ""

    def to_bytes(self) -> bytes:
        """Return the manifest as it is stored."""
        return (json.dumps({"format": _FORMAT, **asdict(self)}, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> RemoteManifest | None:
        """Parse a manifest; return None for anything else, such as the marker of another program."""
        try:
            data: Any = json.loads(content)
            if data.pop("format") != _FORMAT:
                return None
            return cls(**data)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provided:
    """A data set that is complete in an object store.

    Attributes:
        record: entry of a run's record.
        place: prefix in the store.
        sent: number of files that were sent.
        removed: number of objects of an earlier version that were removed.
    """

    record: DatasetRecord
    place: Place
    sent: int = 0
    removed: int = 0

    @property
    def was_there(self) -> bool:
        """Whether nothing had to be sent or removed."""
        return not (self.sent or self.removed)


def read_manifest(bucket: Bucket, place: Place) -> RemoteManifest | None:
    """Return the manifest at a prefix; None when no complete data set is there.

    Raises:
        DatasetError: the store refuses.
    """
    content = bucket.read(place.key(MARKER))
    return RemoteManifest.from_bytes(content) if content is not None else None


def provide_dataset(
    request: RunRequest,
    uri: str,
    *,
    store: Store,
    bucket: Bucket,
    progress: Progress,
    is_verified: bool = False,
) -> Provided:
    """Make the data set of a run complete in an object store; fetch and send nothing when it is complete.

    Args:
        request: run with the use case and its configuration.
        uri: address of the prefix, ``scheme://bucket/prefix/``.
        store: workspace into which the data set is fetched when it is in neither place.
        bucket: the bucket of `uri`.
        progress: progress callback.
        is_verified: compare every object by a listing, even if the manifest says that the data set is complete.

    Raises:
        DatasetError: the data set cannot be fetched or sent. Uploaded files are kept, and the next call resumes.
    """
    place = bucket.place(uri)
    choice = request.dataset_choice()
    has_own_digest = choice.earlier_split is not None  # no identity of sources leads to it
    sources = source_identity(choice.entry, seed=request.seed) if choice.entry and not has_own_digest else ""
    manifest = read_manifest(bucket, place)
    is_here = has_own_digest or is_source_there(choice, store=store, seed=request.seed)
    if manifest and not is_verified and not is_here and (manifest.name, manifest.sources) == (choice.name, sources):
        return Provided(record=record_of(manifest, str(place)), place=place)
    source = fetch_source(
        request.use_case, choice, store=store, seed=request.seed, is_offline=request.is_offline, progress=progress
    )
    wanted = _manifest(source.record, sources=sources)
    if manifest and not is_verified and (manifest.name, manifest.digest) == (wanted.name, wanted.digest):
        return Provided(record=source.record, place=place)
    upload = Upload(bucket, place, store=store, progress=progress)
    sent, removed = upload.carry_out(source.path, wanted, former=manifest)
    return Provided(record=source.record, place=place, sent=sent, removed=removed)


def stored_dataset(choice: DatasetChoice, *, open_bucket: Callable[[str], Bucket]) -> Provided | None:
    """Return the data of others that are used in place; None for any other data set.

    Nothing is read but a listing, and nothing is written: the digest covers key, size and entity tag of each object,
    which the record says.

    Args:
        choice: of a run.
        open_bucket: returns the bucket of that name.

    Raises:
        DatasetError: the store refuses, the address is of another store, or no object is there.
    """
    entry = choice.entry
    if entry is None or not entry.place:
        return None
    place = Place.parse(entry.place)
    digest, count, size = hashlib.sha256(), 0, 0
    for item in open_bucket(place.bucket).objects(place.prefix):
        name = item.key[len(place.prefix) + 1 :]
        digest.update(json.dumps([name, item.size, item.etag]).encode() + b"\n")
        count, size = count + 1, size + item.size
    if count == 0:
        raise DatasetError(f"data set '{choice.name}': no objects below {place}; correct dataset.source.url")
    record = DatasetRecord(
        name=choice.name,
        path=str(place),
        digest=digest.hexdigest(),
        files=count,
        size_bytes=size,
        licence=entry.licence,
        digest_of="listing",
    )
    return Provided(record=record, place=place)


class Upload:
    """The upload of one data set to one prefix."""

    def __init__(self, bucket: Bucket, place: Place, *, store: Store, progress: Progress) -> None:
        """Keep the upload index in the workspace `store`."""
        self._bucket = bucket
        self._place = place
        self._store = store
        self._progress = progress
        self._done = self._sent = 0

    def carry_out(self, folder: Path, wanted: RemoteManifest, *, former: RemoteManifest | None) -> tuple[int, int]:
        """Send missing files, remove objects of an earlier version, and write the manifest last.

        Args:
            folder: folder with the files.
            wanted: manifest of the new content; its listing is filled in.
            former: manifest of the present content.

        Returns:
            Number of files sent and number of objects removed.

        Raises:
            DatasetError: the store refuses, a file changed since it was read, or the prefix holds other objects.
        """
        with Receipts(self._store.home / "uploads", str(self._place)) as receipts:
            if former:
                self._learn(receipts, former)
                self._bucket.remove([self._place.key(MARKER)])  # from here on it is not complete
            strangers: list[str] = []
            obsolete: list[str] = []
            large: list[TreeFile] = []
            pairs = sorted_join(
                iter_tree(folder, cache=self._store.file_digests),
                self._bucket.objects(self._place.prefix),
                strip=len(self._place.prefix) + 1,
            )
            missing = self._missing(pairs, folder, receipts=receipts, strangers=strangers, obsolete=obsolete)
            self._bucket.send(self._sendings(missing, folder, wanted.files, receipts=receipts, large=large))
            for file in large:
                self._send_large(file, folder, wanted.files, receipts=receipts)
            self._refuse(strangers)
            self._bucket.remove(map(self._place.key, obsolete))
            receipts.remove(obsolete)
            self._finish(folder, wanted, former, receipts=receipts)
        return self._sent, len(obsolete)

    # --- What is missing ----------------------------------------------------------------------------------

    def _missing(
        self,
        pairs: Iterator[tuple[TreeFile | None, RemoteObject | None]],
        folder: Path,
        *,
        receipts: Receipts,
        strangers: list[str],
        obsolete: list[str],
    ) -> Iterator[TreeFile]:
        for file, there in pairs:
            if file is None:
                assert there is not None  # noqa: S101  for mypy: a pair has one side at least
                path = there.key[len(self._place.prefix) + 1 :]
                if path != MARKER:
                    known = receipts.get(path)
                    (obsolete if known and known.etag == there.etag else strangers).append(path)
            elif there is None or not self._is_same(file, there, folder, receipts=receipts):
                yield file
            else:
                self._done += 1

    def _is_same(self, file: TreeFile, there: RemoteObject, folder: Path, *, receipts: Receipts) -> bool:
        if there.size != file.size:
            return False
        receipt = receipts.get(file.path)
        if receipt and receipt.etag == there.etag:
            return receipt.sha256 == file.sha256
        with (folder / file.path).open("rb") as stream:
            digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if digest != there.etag:
            return False
        receipts.add(Receipt(path=file.path, sha256=file.sha256, size=file.size, etag=there.etag))
        return True

    def _refuse(self, strangers: list[str]) -> None:
        if strangers:
            shown = ", ".join(strangers[:_SHOWN]) + (", ..." if len(strangers) > _SHOWN else "")
            raise DatasetError(
                f"{self._place} holds {len(strangers)} object{'s' if len(strangers) > 1 else ''} that do not belong to "
                f"the data set, and a step would read them too: {shown}; remove them, or choose another prefix"
            )

    # --- Sending ------------------------------------------------------------------------------------------

    def _sendings(
        self, files: Iterator[TreeFile], folder: Path, total: int, *, receipts: Receipts, large: list[TreeFile]
    ) -> Iterator[Sending]:
        for file in files:
            if file.size > self._bucket.large_bytes:
                large.append(file)
                continue
            path = folder / file.path
            yield Sending(
                path=path,
                key=self._place.key(file.path),
                is_unchanged=functools.partial(self._is_unchanged, path, file),
                on_sent=functools.partial(self._note, file, total, receipts),
            )

    def _is_unchanged(self, path: Path, file: TreeFile) -> bool:
        """Return whether a file still has the content of its digest, by its state or by reading it."""
        known = self._store.file_digests.lookup(str(path), file_state(path))
        if known is None:
            with path.open("rb") as stream:
                known = hashlib.file_digest(stream, "sha256").hexdigest()
        return known == file.sha256

    def _note(self, file: TreeFile, total: int, receipts: Receipts, etag: str) -> None:
        receipts.add(Receipt(path=file.path, sha256=file.sha256, size=file.size, etag=etag))
        self._sent += 1
        self._done += 1
        self._progress("file uploaded", self._done, total)

    def _send_large(self, file: TreeFile, folder: Path, total: int, *, receipts: Receipts) -> None:
        path = folder / file.path
        sent = LargeFile(
            path=path,
            key=self._place.key(file.path),
            name=file.path,
            sha256=file.sha256,
            size=file.size,
        )
        on_part = lambda done, count: self._progress(f"part of {path.name}", done, count)  # noqa: E731  a callback
        try:
            etag = self._bucket.send_large(sent, receipts=receipts, on_part=on_part)
        except MlopsError as error:
            raise DatasetError(f"{self._place}{file.path}: {error}; uploaded parts are kept") from error
        if not self._is_unchanged(path, file):
            raise DatasetError(f"{path} changed during the upload; stop other writers and repeat the command")
        self._note(file, total, receipts, etag)

    # --- The manifest -------------------------------------------------------------------------------------

    def _learn(self, receipts: Receipts, former: RemoteManifest) -> None:
        """Load the list of an earlier version, for a workspace from which it was not sent."""
        content = self._bucket.read(former.listing) if former.listing else None
        if content is None or hashlib.sha256(content).hexdigest() != former.listing_sha256:
            return  # the MD5 of the objects is compared instead
        lines = gzip.decompress(content).decode(errors="surrogateescape").split("\n")
        receipts.add_all(_receipt(line) for line in lines if line)

    def _finish(
        self, folder: Path, wanted: RemoteManifest, former: RemoteManifest | None, *, receipts: Receipts
    ) -> None:
        listing = f"{self._place.prefix}.mlops-files/{wanted.digest}.txt.gz"
        content = self._listing(folder, wanted, receipts=receipts)
        self._bucket.write(listing, content)
        complete = {**asdict(wanted), "listing": listing, "listing_sha256": hashlib.sha256(content).hexdigest()}
        self._bucket.write(self._place.key(MARKER), RemoteManifest(**complete).to_bytes())
        if former and former.listing and former.listing != listing:
            self._bucket.remove([former.listing])

    def _listing(self, folder: Path, wanted: RemoteManifest, *, receipts: Receipts) -> bytes:
        """Return the list of files after checking that the data set has not changed during the upload."""
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream:
            found = manifest_of(self._listed(folder, stream, receipts=receipts))
        if found.digest != wanted.digest:
            raise DatasetError(f"{folder} changed during the upload; stop other writers and repeat the command")
        return packed.getvalue()

    def _listed(self, folder: Path, stream: gzip.GzipFile, *, receipts: Receipts) -> Iterator[TreeFile]:
        for file in iter_tree(folder, cache=self._store.file_digests):
            receipt = receipts.get(file.path)
            if receipt is None or receipt.sha256 != file.sha256:
                raise DatasetError(f"{folder / file.path} changed during the upload; repeat the command")
            line = f"{file.sha256} {file.size} {receipt.etag} {path_to_text(file.path)}\n"
            stream.write(line.encode(errors="surrogateescape"))
            yield file


def _receipt(line: str) -> Receipt:
    sha256, size, etag, path = line.split(" ", 3)
    return Receipt(path=path_from_text(path), sha256=sha256, size=int(size), etag=etag)


def _manifest(record: DatasetRecord, *, sources: str) -> RemoteManifest:
    return RemoteManifest(
        name=record.name,
        digest=record.digest,
        files=record.files,
        size_bytes=record.size_bytes,
        sources=sources,
        is_generated=record.is_generated,
        licence=record.licence,
    )


def record_of(manifest: RemoteManifest, path: str) -> DatasetRecord:
    """Return the entry of a run's record for a data set in an object store."""
    return DatasetRecord(
        name=manifest.name,
        path=path,
        digest=manifest.digest,
        files=manifest.files,
        size_bytes=manifest.size_bytes,
        is_generated=manifest.is_generated,
        licence=manifest.licence,
    )


__all__ = ["Place", "Provided", "RemoteManifest", "Upload", "provide_dataset", "read_manifest", "record_of"]
