"""The typed model of the default configuration, ``symbol_detection.yaml``."""

from __future__ import annotations

import os.path
import posixpath
import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from mlops_core import (
    EarlierSplit,
    GateSection,
    KeyFaultError,
    Section,
    TuningSection,
    UseCaseConfig,
    normalise_path,
)

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
FileNames = tuple[str, ...]
_SEPARATOR = ";"
_GRID = re.compile(r"([1-9]\d?)x([1-9]\d?)")


class DatasetSection(Section):
    """The pictures and labels to use.

    Attributes:
        name: catalogue entry.
        path: folder to use in place of the entry's.
        input_image_data_path: folder of the images, where labels are in another one; with `input_label_data_path`, and
            in place of `path`. The data set is the folder that holds both; nothing else in it is used.
        input_label_data_path: folder of the label files.
        layout: of the labels; ``auto`` finds it.
        label_config_map: file with the names of the classes, below the data set; None to look for it.
        input_images_string_absolute_path: address of the data set, such as
            ``azureml://datastores/NAME/paths/PATH``, that precedes the names of the pictures in the annotation files;
            None for the names alone.
        is_fast_training: use the first 20 pictures only.
        group_pattern: part of a file name that names its drawing, as a regular expression with one group; None for
            pictures that are independent.
    """

    name: Annotated[str, Field(min_length=1)]
    path: str | None = None
    input_image_data_path: str | None = None
    input_label_data_path: str | None = None
    layout: Literal["auto", "jsonl", "coco", "voc", "npy", "yolo"] = "auto"
    label_config_map: str | None = None
    input_images_string_absolute_path: Annotated[str, Field(min_length=1)] | None = None
    is_fast_training: bool = False
    group_pattern: str | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        folders = (self.input_image_data_path, self.input_label_data_path)
        if not any(folders):
            return self
        if not all(folders):
            missing = "input_label_data_path" if folders[0] else "input_image_data_path"
            raise KeyFaultError(missing, "is missing; the folders of images and of labels are given together")
        if self.path:
            raise KeyFaultError("path", "is the whole data set; expected it, or the folders of images and labels")
        common = self.folder
        if common in (None, "", ".", "..", "/"):
            raise KeyFaultError(
                "input_label_data_path",
                f"is in no folder together with the images, '{folders[0]}'; expected folders of one data set, such as "
                "data/images and data/labels",
            )
        return self

    @property
    def folder(self) -> str | None:
        """Return the folder of the data set, if the user has it: `path`, or what holds images and labels."""
        if self.path or not self.input_image_data_path or not self.input_label_data_path:
            return self.path
        folders = [normalise_path(each) for each in (self.input_image_data_path, self.input_label_data_path)]
        try:
            return os.path.commonpath([posixpath.normpath(each) for each in folders])
        except ValueError:  # one is absolute
            return None

    @property
    def parts(self) -> tuple[str, str]:
        """Return where images and labels are below the data set's folder; ``.`` for anywhere."""
        if self.path or not self.input_image_data_path or not self.input_label_data_path:
            return ".", "."
        folders = (self.input_image_data_path, self.input_label_data_path)
        images, labels = (posixpath.relpath(normalise_path(each), self.folder) for each in folders)
        return images, labels

    @field_validator("group_pattern")
    @classmethod
    def _names_a_group(cls, value: str | None) -> str | None:
        try:
            if value is not None and re.compile(value).groups != 1:
                raise ValueError("expected a regular expression with one group in brackets, which names the drawing")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value


class SplitSection(Section):
    """Assignment of pictures to training, validation and test.

    Attributes:
        use_stratified_split: balance the classes over the parts; False: draw pictures at random.
        stratified_split_n_fold: number of folds; one of them is the test part.
        test_fold: which one, from 0.
        validation_split: share of the other pictures that is the validation part; 0 for none.
        mandatory_train_filenames: names of pictures that must be in the training part.
        mandatory_val_filenames: likewise, in the validation part.
        mandatory_test_filenames: likewise, in the test part. Only these are then tested.
        train_dataset: registered data asset, ``NAME`` or ``NAME:VERSION``, with the training part of an earlier split,
            which is used again; None for a split of the run's own.
        val_dataset: likewise, with the validation part; None to draw it from the training part.
        dataset_version_path: file that names the version of each part and, if the earlier split has one, the asset of
            the test part; required with `train_dataset`.
        use_folders: pictures below a folder ``train``, ``valid`` or ``test``, or in one of VOC's lists
            ``ImageSets/Main/train.txt``, ``val.txt`` and ``test.txt``, keep that part.
    """

    use_stratified_split: bool = True
    stratified_split_n_fold: Annotated[int, Field(ge=2, le=100)] = 5
    test_fold: Annotated[int, Field(ge=0)] = 0
    validation_split: Annotated[float, Field(ge=0, lt=0.5)] = 0.125
    mandatory_train_filenames: FileNames = ()
    mandatory_val_filenames: FileNames = ()
    mandatory_test_filenames: FileNames = ()
    train_dataset: str | None = None
    val_dataset: str | None = None
    dataset_version_path: str | None = None
    use_folders: bool = True

    @field_validator("mandatory_train_filenames", "mandatory_val_filenames", "mandatory_test_filenames", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        """Accept a text of names separated by semicolons; a semicolon alone means none."""
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(_SEPARATOR) if name.strip())
        return value

    @field_validator("train_dataset", "val_dataset", "dataset_version_path", mode="before")
    @classmethod
    def _is_set(cls, value: object) -> object:
        """Take an empty text, as of a variable that is not set, for None."""
        return None if isinstance(value, str) and not value.strip() else value

    @model_validator(mode="after")
    def _earlier_split_is_whole(self) -> Self:
        if self.train_dataset is None:
            for key in ("val_dataset", "dataset_version_path"):
                if getattr(self, key) is not None:
                    raise KeyFaultError(key, "is set without train_dataset; an earlier split is used again with both")
            return self
        if self.dataset_version_path is None:
            raise KeyFaultError(
                "train_dataset",
                "is set without dataset_version_path; expected the path of the file dataset_version that names the "
                "versions of the parts (mlops datasets export --format dataset-version)",
            )
        for key in ("mandatory_train_filenames", "mandatory_val_filenames", "mandatory_test_filenames"):
            if getattr(self, key):
                raise KeyFaultError(key, "is set with train_dataset; the images keep the parts of the earlier split")
        return self

    @property
    def earlier_split(self) -> EarlierSplit | None:
        """Return the data assets of the earlier split that is used again; None for a split of the run's own."""
        if self.train_dataset is None or self.dataset_version_path is None:
            return None
        keys = ("split.train_dataset", "split.val_dataset", "split.dataset_version_path")
        return EarlierSplit(
            train=self.train_dataset, val=self.val_dataset or "", versions=self.dataset_version_path, keys=keys
        )

    @model_validator(mode="after")
    def _fold_exists(self) -> Self:
        if self.test_fold >= self.stratified_split_n_fold:
            raise ValueError(
                f"test_fold {self.test_fold} does not exist; expected 0 to {self.stratified_split_n_fold - 1}"
            )
        return self


class Tiling(Section):
    """How pictures that are too large for the network are cut.

    Attributes:
        image_size: largest side of a tile, in pixels at the working scale; raised if objects need more.
        tile_grid_size: number of tiles, ``"3x2"`` for 3 along the width and 2 along the height; sets the side of a
            tile in place of `image_size`.
        tile_overlap_ratio: smallest overlap of neighbouring tiles; raised to the largest training box.
    """

    image_size: Annotated[int, Field(ge=64, le=4096)] = 640
    tile_grid_size: str | None = None
    tile_overlap_ratio: Annotated[float, Field(ge=0, lt=0.9)] = 0.2

    @field_validator("tile_grid_size")
    @classmethod
    def _is_a_grid(cls, value: str | None) -> str | None:
        if value is not None and not _GRID.fullmatch(value):
            raise ValueError("expected columns x rows, such as '3x2'")
        return value

    @property
    def grid(self) -> tuple[int, int] | None:
        """Return columns and rows; None if the grid is not set."""
        found = _GRID.fullmatch(self.tile_grid_size or "")
        return (int(found[1]), int(found[2])) if found else None


class DataAugmentation(Section):
    """Changes of the training crops.

    Attributes:
        copy_paste: probability that objects of other pictures are pasted into a crop; 0 disables it.
        horizontal_flip: mirror half of the crops; None: on photographs, not on drawings.
        scale_jitter: logarithm of the largest change of scale; None: from the spread of the training boxes.
        tones: strength of the changes of contrast, brightness and colour.
    """

    copy_paste: Share = 0.7
    horizontal_flip: bool | None = None
    scale_jitter: Annotated[float, Field(ge=0, le=1)] | None = None
    tones: Share = 1.0


class Training(Section):
    """Training of the network, and what it detects.

    Attributes:
        model_size: ``small`` has three quarters of the filters of ``medium``.
        optimizer: ``adamw``, ``adam`` or ``sgd``.
        learning_rate: its peak.
        warmup_steps: updates in which it rises to the peak.
        weight_decay: of AdamW and SGD.
        number_of_epochs: an epoch is `steps_per_epoch` updates, because crops are drawn at random.
        steps_per_epoch: updates per epoch.
        training_batch_size: crops per update.
        crop_size: side of a crop; None: from the training boxes.
        ema_momentum: of the running average of the weights, which is kept.
        box_score_threshold: smallest score that counts for precision, recall and the confusion matrix.
        nms_iou_threshold: largest overlap of two detections of a class.
        validation_iou_threshold: smallest overlap with a true box at which a detection is right.
        box_detections_per_image: most detections of a picture; None: three times the most boxes of a training picture,
            and at least 100.
    """

    model_size: Literal["small", "medium"] = "medium"
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.003
    warmup_steps: Annotated[int, Field(ge=0)] = 40
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.02
    number_of_epochs: Positive = 20
    steps_per_epoch: Positive = 100
    training_batch_size: Positive = 6
    crop_size: Annotated[int, Field(ge=64, le=1024, multiple_of=32)] | None = None
    ema_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.995
    box_score_threshold: Share = 0.3
    nms_iou_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    validation_iou_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    box_detections_per_image: Positive | None = None


class PrecisionGate(GateSection):
    """Default threshold of the gate, and the condition that replaces it."""

    mean_average_precision: Share = 0.9


class DetectionConfig(UseCaseConfig):
    """The whole configuration."""

    dataset: DatasetSection
    split: SplitSection = SplitSection()
    tiling: Tiling = Tiling()
    data_augmentation: DataAugmentation = DataAugmentation()
    training: Training = Training()
    gate: PrecisionGate = PrecisionGate()
    tuning: TuningSection = TuningSection()

    @model_validator(mode="after")
    def _uses_all_images_of_an_earlier_split(self) -> Self:
        if self.dataset.is_fast_training and self.split.train_dataset is not None:
            raise KeyFaultError(
                "dataset.is_fast_training",
                "uses the first 20 images, and split.train_dataset all of an earlier split",
            )
        return self
