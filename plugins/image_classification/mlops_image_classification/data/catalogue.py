"""The catalogue of data sets of each use case."""

from __future__ import annotations

from mlops_core import Dataset, GeneratedSource, Source

_ERDA = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370"
_CLASS_FOLDERS = ("train/*/*.png", "test/*/*.png")

_GTSRB = Dataset(
    name="GTSRB",
    title="German Traffic Sign Recognition Benchmark: 39,209 and 12,630 images of 43 signs",
    licence="not stated by its publisher; free for research, cite Stallkamp et al., 2012",
    homepage="https://benchmark.ini.rub.de/gtsrb_dataset.html",
    description="Photographs cut from videos, with regions of interest; a track is up to 30 images of one sign.",
    size_bytes=365_372_996,
    sources=(
        Source(
            url=f"{_ERDA}/GTSRB_Final_Training_Images.zip", md5="f33fd80ac59bff73c82d25ab499e03a3", size=276_294_756
        ),
        Source(url=f"{_ERDA}/GTSRB_Final_Test_Images.zip", md5="c7e4e6327067d32654124b0fe9e82185", size=88_978_620),
        Source(url=f"{_ERDA}/GTSRB_Final_Test_GT.zip", md5="fe31e9c9270bbcd7b84b7f21a9d9d9e5", size=99_620),
    ),
    required=("GTSRB/Final_Training/Images/*/GT-*.csv", "GTSRB/Final_Test/Images/*.ppm", "GT-final_test.csv"),
    accepts_other_layouts=True,
)
_INTEL = Dataset(
    name="INTEL",
    title="Intel image classification: 14,034 and 3,000 scenes of 6 kinds, 150x150 pixels",
    licence="not stated by its publisher",
    homepage="https://www.kaggle.com/datasets/puneet6060/intel-image-classification",
    description="Photographs of buildings, forests, glaciers, mountains, seas and streets; seg_pred has no labels.",
    size_bytes=363_000_000,
    sources=(
        Source(
            url="https://www.kaggle.com/api/v1/datasets/download/puneet6060/intel-image-classification",
            md5="7ca81e130042cf96ee43c0802da46daf",
        ),
    ),
    required=("seg_train/**/*.jpg", "seg_test/**/*.jpg"),
    accepts_other_layouts=True,
)

DATASETS: dict[str, tuple[Dataset, ...]] = {
    "ROAD_SIGN": (
        Dataset(
            name="ROAD_SIGN_Dataset",
            title="528 generated images of twelve traffic signs, in tracks of four",
            licence="Apache-2.0",
            description="Drawn by code from the run's seed, with file names like those of GTSRB; not photographs.",
            sources=(GeneratedSource(run="mlops_image_classification.data.synthetic_signs:generate"),),
            required=_CLASS_FOLDERS,
            accepts_other_layouts=True,
        ),
        _GTSRB,
    ),
    "SCENE": (
        Dataset(
            name="SCENE_Dataset",
            title="288 generated landscapes of six kinds, 96x96 pixels",
            licence="Apache-2.0",
            description="Drawn by code from the run's seed, in the layout of the Intel scenes; not photographs.",
            sources=(GeneratedSource(run="mlops_image_classification.data.synthetic_scenes:generate"),),
            required=("seg_train/*/*.jpg", "seg_test/*/*.jpg"),
            accepts_other_layouts=True,
        ),
        _INTEL,
    ),
}
