"""Training with TensorFlow, a few updates only: the loss falls, the model is kept and loaded, bad files are named."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from mlops_object_detection.data.images import read_image  # noqa: E402
from mlops_object_detection.model import network  # noqa: E402
from mlops_object_detection.model.crops import CropMaker, Page, Style  # noqa: E402
from mlops_object_detection.model.detector import Detector  # noqa: E402
from mlops_object_detection.model.fitting import Schedule, fit  # noqa: E402
from mlops_object_detection.model.plan import PageBoxes, make_plan  # noqa: E402
from mlops_object_detection.model.predictor import DetectionPredictor  # noqa: E402
from PIL import Image  # noqa: E402

from mlops_core import DatasetError, StepError  # noqa: E402

SHAPE = {
    "channels": 1,
    "classes": 2,
    "width": 0.5,
    "is_deep": False,
    "mean": [240.0],
    "deviation": [40.0],
}


def discs():
    """A page of black discs and squares on paper."""
    pixels = np.full((200, 260, 1), 245, np.uint8)
    boxes, labels = [], []
    y, x = np.mgrid[0:200, 0:260]
    for index, (cx, cy) in enumerate([(40, 40), (120, 50), (200, 45), (50, 140), (130, 150), (210, 145)]):
        is_disc = index % 2
        mask = (x - cx) ** 2 + (y - cy) ** 2 <= 256 if is_disc else (abs(x - cx) <= 16) & (abs(y - cy) <= 16)
        pixels[mask] = 20
        boxes.append((cx - 16, cy - 16, cx + 17, cy + 17))
        labels.append(is_disc)
    return Page(pixels=pixels, boxes=np.array(boxes, np.float32), labels=np.array(labels, np.int32))


def trained(updates, *, seed=3):
    keras.utils.set_random_seed(seed)
    page = discs()
    fill = np.array([245], np.uint8)
    style = Style(side=96, jitter=0.1, copy_paste=0.5, is_line_art=True, has_flips=False, tones=0.5, fill=fill)
    model = network.build(**SHAPE)
    schedule = Schedule(
        epochs=2,
        steps_per_epoch=updates // 2,
        batch_size=4,
        learning_rate=0.004,
        warmup_steps=4,
        weight_decay=0.01,
        optimizer="adamw",
        ema_momentum=0.8,
    )
    records = fit(model, CropMaker([page], style), schedule, seed=seed, on_epoch=lambda _: None)
    plan = make_plan(
        [PageBoxes(width=260, height=200, boxes=page.boxes.astype(float))],
        tile=640,
        overlap_share=0.2,
        labels=[["x"] * 6],
    )
    metadata = {
        "classes": ["square", "disc"],
        "plan": plan.to_json(),
        "network": SHAPE,
        "fill": [245],
        "nms_iou_threshold": 0.5,
        "box_score_threshold": 0.3,
        "box_detections_per_image": 20,
    }
    return model, metadata, records


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    model, metadata, records = trained(40)
    assert records[1].loss < 0.9 * records[0].loss
    network.save(model, place, metadata)
    return place


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_is_kept_and_answers_for_files(folder, tmp_path):
    Image.fromarray(discs().pixels[..., 0]).save(tmp_path / "page.png")
    predictor = DetectionPredictor(folder)
    predictor.warm_up()
    (answer,) = predictor.predict([tmp_path / "page.png"])
    assert predictor.classes == ("square", "disc")
    assert 0 < len(answer.scores) <= 20
    assert all(0 <= box[0] < box[2] <= 260 and 0 <= box[1] < box[3] <= 200 for box in answer.boxes)
    found, _ = Detector.load(folder).detect(read_image(tmp_path / "page.png"))
    assert tuple(found.scores.tolist()) == answer.scores
    assert list(predictor.predict([tmp_path / "page.png"])) == [answer]
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="bad.png"):
        list(predictor.predict([tmp_path / "bad.png"]))


def test_a_folder_without_a_model_is_named(folder, tmp_path):
    with pytest.raises(StepError, match="does not hold a detector"):
        network.load(tmp_path)
    (tmp_path / network.METADATA_FILE).write_text((folder / network.METADATA_FILE).read_text())
    (tmp_path / network.WEIGHTS_FILE).write_bytes(b"PK")
    with pytest.raises(StepError, match=str(tmp_path)):
        network.load(tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = network.build(**SHAPE)
    weights = model.get_weights()
    weights[0] = weights[0] * np.nan
    model.set_weights(weights)
    with pytest.raises(StepError, match="not finite"):
        network.save(model, tmp_path, {})


@pytest.mark.slow_suite
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_training_is_repeatable():
    first, second = (trained(10)[0].get_weights() for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_medium_network_has_about_six_hundred_thousand_weights():
    shape = SHAPE | {"width": 1.0, "classes": 32}
    assert 500_000 < network.build(**shape).count_params() < 700_000
    assert network.build(**shape | {"is_deep": True, "channels": 3}).count_params() < 850_000
