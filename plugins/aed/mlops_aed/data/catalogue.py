"""The data sets of the use case."""

from __future__ import annotations

from mlops_core import Dataset, GeneratedSource, Source, SplitSource

_ESC50 = Source(  # the archive of one commit, so that its content cannot change
    url="https://github.com/karolpiczak/ESC-50/archive/33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6.zip",
    sha256="661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f",
    size=645_832_161,
    strip=1,
)
_FSD50K = "https://zenodo.org/records/4060432/files/FSD50K."
_PART_BYTES = 3_221_225_472
_DEV_PARTS = (
    ("z01", "faa7cf4cc076fc34a44a479a5ed862a3", _PART_BYTES),
    ("z02", "8f9b66153e68571164fb1315d00bc7bc", _PART_BYTES),
    ("z03", "1196ef47d267a993d30fa98af54b7159", _PART_BYTES),
    ("z04", "d088ac4e11ba53daf9f7574c11cccac9", _PART_BYTES),
    ("z05", "81356521aa159accd3c35de22da28c7f", _PART_BYTES),
    ("zip", "c480d119b8f7a7e32fdb58f3ea4d6c5a", 2_306_663_327),
)
_EVAL_PARTS = (
    ("z01", "3090670eaeecc013ca1ff84fe4442aeb", _PART_BYTES),
    ("zip", "6fa47636c3a3ad5c7dfeba99f2637982", 3_037_675_767),
)
_ONTOLOGY = Source(
    url="https://raw.githubusercontent.com/audioset/ontology/d417d32bf59c711abb5910fd2f76a0eb44697991/ontology.json",
    sha256="9c685f4403eecc3ca9be37fd7285cf212feaaea6ff7229d3e7ca89e0d1f2d15d",
    size=342_780,
    unpack=False,
)
_FSD50K_FILES = (
    "FSD50K.ground_truth/dev.csv",
    "FSD50K.ground_truth/eval.csv",
    "FSD50K.dev_audio/*.wav",
    "FSD50K.eval_audio/*.wav",
    "ontology.json",
)


def _split(name: str, parts: tuple[tuple[str, str, int], ...]) -> SplitSource:
    return SplitSource(
        parts=tuple(Source(url=f"{_FSD50K}{name}.{end}", md5=md5, size=size) for end, md5, size in parts)
    )


_FSD50K_SOURCES = (  # small ones first, so that their faults are seen before 24 GB are downloaded
    Source(url=f"{_FSD50K}ground_truth.zip", md5="ca27382c195e37d2269c4c866dd73485", size=334_701),
    _ONTOLOGY,
    _split("eval_audio", _EVAL_PARTS),
    _split("dev_audio", _DEV_PARTS),
)
_ESC_FILES = ("meta/esc50.csv", "audio/*.wav")

DATASETS = (
    Dataset(
        name="AED_Dataset",
        title="400 generated clips of ten kinds of sound, 2 s each",
        licence="Apache-2.0",
        description="Made by code from the run's seed, in the layout of ESC-50; not recordings of the world.",
        sources=(GeneratedSource(run="mlops_aed.data.synthetic:generate"),),
        required=_ESC_FILES,
        accepts_other_layouts=True,
    ),
    Dataset(
        name="ESC-10",
        title="the ten-class subset of ESC-50: 400 recordings, 5 s each",
        licence="CC-BY-3.0",
        homepage="https://github.com/karolpiczak/ESC-50",
        description="Field recordings in five folds; clips of one source recording are in one fold.",
        size_bytes=645_832_161,
        sources=(_ESC50,),
        required=_ESC_FILES,
        accepts_other_layouts=True,
    ),
    Dataset(
        name="ESC-50",
        title="2,000 environmental recordings of 50 classes, 5 s each",
        licence="CC-BY-NC-3.0",
        homepage="https://github.com/karolpiczak/ESC-50",
        description="Field recordings in five folds; clips of one source recording are in one fold.",
        size_bytes=645_832_161,
        sources=(_ESC50,),
        required=_ESC_FILES,
        accepts_other_layouts=True,
    ),
    Dataset(
        name="AED_Dataset_FSD50K",
        title="170 generated clips of ten kinds of sound, some of two, with an ontology",
        licence="Apache-2.0",
        description="Made by code from the run's seed, in the layout of FSD50K; not recordings of the world.",
        sources=(GeneratedSource(run="mlops_aed.data.synthetic_fsd50k:generate"),),
        required=_FSD50K_FILES,
        accepts_other_layouts=True,
    ),
    Dataset(
        name="FSD50K",
        title="51,197 recordings of 200 classes of AudioSet's ontology, 0.3 to 30 s",
        licence="CC-BY-4.0",
        homepage="https://zenodo.org/records/4060432",
        description="Sounds of Freesound with several labels each, in the publisher's three parts; each clip has a "
        "licence of its own (CC0, CC BY, CC BY-NC, CC Sampling+). The ontology is CC BY-SA 4.0.",
        size_bytes=24_671_691_926 + 334_701 + 342_780,
        sources=_FSD50K_SOURCES,
        required=_FSD50K_FILES,
        accepts_other_layouts=True,
    ),
)
