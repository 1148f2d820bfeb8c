"""Model signatures in the format of OpenSSF Model Signing 1.0: a sigstore bundle with a DSSE envelope.

The payload is an in-toto statement that lists the files of a model folder with their SHA-256, in the order of their
paths; its subject is the SHA-256 over these digests. ``model_signing verify key`` reads what `sign_model` writes, and
`verify_model_signature` reads what ``model_signing sign key`` writes.
Source: https://github.com/sigstore/model-transparency, model_signing 1.1.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mlops_core.datasets.digests import iter_tree
from mlops_core.datasets.tree_walk import find_foreign_entry
from mlops_core.evaluation.reference_statistics import REFERENCE_FILE
from mlops_core.reading import parse_json
from mlops_core.trust.bundles.envelopes import PAYLOAD_TYPE, EvidenceFaultError, pre_authentication_encoding
from mlops_core.trust.bundles.statements import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from mlops_core.trust.bundles.keys import SigningKey, TrustedKeys, VerificationKey

_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_ALGORITHM = "sha256"
_EXPORT_FILES = ("mlops-model.json", REFERENCE_FILE)
CARD_FILES = ("README.md", "MODEL_CARD.md")
"""Where the card is put beside a model: under the name that model hubs show, or the other if the model has that."""
_SHOWN = 3


def exported_files(files: Iterable[str]) -> tuple[str, ...]:
    """Return what `mlops models export` adds to a copy of a model, which is not part of it: origin, reference and card.

    Args:
        files: paths of the model's own files; one of a name above is part of the model and is not returned.

    Example:
        >>> exported_files(["model.json", "README.md"])
        ('mlops-model.json', 'reference_statistics.json', 'MODEL_CARD.md')
    """
    own = set(files)
    return (*(name for name in _EXPORT_FILES if name not in own), *[name for name in CARD_FILES if name not in own][:1])


def sign_model(files: Mapping[str, str], key: SigningKey, *, name: str) -> bytes:
    """Return the signature of a model folder as the content of its ``model.sig``.

    Args:
        files: path below the folder -> SHA-256, in hexadecimal.
        key: signs it.
        name: of the model.
    """
    ordered = sorted(files.items(), key=lambda file: PurePosixPath(file[0]))
    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": name, "digest": {_ALGORITHM: _root_digest([digest for _, digest in ordered])}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": _ALGORITHM,
                "allow_symlinks": False,
                "ignore_paths": list(exported_files(files)),
            },
            "resources": [{"name": path, "algorithm": _ALGORITHM, "digest": digest} for path, digest in ordered],
        },
    }
    payload = canonical_json(statement)
    signature = key.sign(pre_authentication_encoding(payload))
    return canonical_json(
        {
            "mediaType": _MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": key.key_id}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"keyid": "", "sig": base64.b64encode(signature).decode()}],
            },
        }
    )


def verify_model_signature(
    content: bytes, keys: TrustedKeys
) -> tuple[VerificationKey, dict[str, str], tuple[str, ...]]:
    """Return which trusted key signed a model, the files that it signed, and the paths that it left out.

    Args:
        content: of ``model.sig``.
        keys: the trusted keys.

    Returns:
        The key; path -> SHA-256; paths, of files or folders, that the signer ignored.

    Raises:
        EvidenceFaultError: it is damaged, of another format, or not signed by one of the keys.
    """
    try:
        data = parse_json(content)
        if data["mediaType"] != _MEDIA_TYPE:
            raise EvidenceFaultError(f"the model signature has the media type {str(data['mediaType'])[:80]!r}")
        key = _find_key(data["verificationMaterial"], keys)
        envelope = data["dsseEnvelope"]
        [signature] = envelope["signatures"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        sealed = base64.b64decode(signature["sig"], validate=True)
        is_signed = key.verifies(sealed, pre_authentication_encoding(payload), is_strict=False)
        if envelope["payloadType"] != PAYLOAD_TYPE or not is_signed:
            raise EvidenceFaultError(f"the model signature is not one of the key {key.name} over these bytes")
        files, ignored = _signed_files(parse_json(payload))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvidenceFaultError(f"the model signature is damaged: {type(error).__name__}") from error
    return key, files, ignored


def _find_key(material: Mapping[str, Any], keys: TrustedKeys) -> VerificationKey:
    """Return the trusted key that the hint in a signature means; without a hint, the only one."""
    hint = material.get("publicKey", {}).get("hint", "")
    key = keys.find(hint) if hint else keys.keys[0] if len(keys.keys) == 1 else None
    if key is None:
        named = f"the key {str(hint)[:12]}" if hint else "a key that it does not name"
        raise EvidenceFaultError(f"the model is signed with {named}; trusted: {keys}")
    return key


def _signed_files(statement: Mapping[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
    predicate = statement["predicate"]
    if statement["_type"] != _STATEMENT or statement["predicateType"] != _PREDICATE:
        raise EvidenceFaultError(f"the model signature is of the type {str(statement['predicateType'])[:80]!r}")
    serialization = predicate["serialization"]
    if serialization["method"] != "files" or serialization["hash_type"] != _ALGORITHM:
        raise EvidenceFaultError("the model signature does not list whole files by SHA-256")
    resources = predicate["resources"]
    files = {str(resource["name"]): str(resource["digest"]) for resource in resources}
    if len(files) != len(resources) or any(resource["algorithm"] != _ALGORITHM for resource in resources):
        raise EvidenceFaultError("the model signature lists a file twice, or not by SHA-256")
    [subject] = statement["subject"]
    if subject["digest"][_ALGORITHM] != _root_digest([str(resource["digest"]) for resource in resources]):
        raise EvidenceFaultError("the files in the model signature do not add up to its subject")
    return files, tuple(map(str, serialization.get("ignore_paths", ())))


def _root_digest(digests: Sequence[str]) -> str:
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()


def compare_model_folder(
    folder: Path, files: Mapping[str, str], *, ignored: Sequence[str] = (), signature: Path | None = None
) -> str:
    """Return how a model folder differs from the files that were signed; empty if it does not.

    Args:
        folder: the model.
        files: path -> SHA-256.
        ignored: paths of files and folders that are not compared.
        signature: file of the signature, which may be in the folder.

    Raises:
        OSError: a file cannot be read.
    """
    foreign = find_foreign_entry(folder)
    if foreign:
        return foreign
    left_out = {PurePosixPath(path) for path in ignored}
    if signature is not None and signature.resolve().is_relative_to(folder.resolve()):
        left_out.add(PurePosixPath(signature.resolve().relative_to(folder.resolve()).as_posix()))
    found = {
        file.path: file.sha256
        for file in iter_tree(folder)
        if not left_out.intersection((PurePosixPath(file.path), *PurePosixPath(file.path).parents))
    }
    differences = sorted(path for path in {*found, *files} if found.get(path) != files.get(path))
    if not differences:
        return ""
    kinds = (
        (path, "changed" if path in found and path in files else "missing" if path in files else "added")
        for path in differences
    )
    shown = ", ".join(f"{path} ({kind})" for path, kind in list(kinds)[:_SHOWN])
    return f"{len(differences)} of its files differ from what was signed: {shown}"
