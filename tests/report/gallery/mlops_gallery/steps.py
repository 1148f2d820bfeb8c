import math
import struct
import time
import wave
import zlib

from mlops_core import HistoryRow, Prediction, SplitRow, row_digest, write_history, write_predictions, write_split
from mlops_gallery.plugin import Training

CLASSES = (
    "alarm",
    "<script>document.title = 'owned'</script>",
    "quoted \" and & ' signs",
    "שלום עולם",
    "a name that is much longer than any column of a matrix could ever be, and has no end",
    "bell",
    "chirp",
    "engine",
)
KINDS = ("wav", "png", "txt", "bad", "none")


def generate(folder, *, seed, progress):
    with wave.open(str(folder / "sound.wav"), "wb") as stream:
        stream.setparams((1, 2, 8000, 0, "NONE", ""))
        stream.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(n / 3))) for n in range(32_000)))
    (folder / "picture.png").write_bytes(_png(24))


def _png(size):
    lines = b"".join(b"\0" + bytes(value for x in range(size) for value in (x * 8, y * 8, 120)) for y in range(size))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def half(context):
    time.sleep(0.4)
    (context.output("half") / "half.txt").write_text("half")


def train(context):
    settings = context.section("training", Training)
    context.log.info("training <begins>")
    if settings.behaviour == "raise":
        raise ValueError("no <b>model</b> today")
    rows = (
        HistoryRow(step=n, values={"loss": 2 / n, "val_loss": 2.2 / n + n / 90, "val_accuracy": 1 - 1 / n})
        for n in range(1, 31)
    )
    write_history(context.output("model"), rows, step_name="epoch")
    (context.output("model") / "skill.txt").write_text(str(settings.skill))
    write_split(context.output("model"), _manifest())


def _manifest():
    for label in CLASSES:
        yield SplitRow(sample=f"train {label}", group=label, label=label, part="train", digest=row_digest([label]))
    for n in range(80):
        sample = _sample(n)
        label = CLASSES[n % len(CLASSES)]
        yield SplitRow(sample=sample, group=f"g{n // 4}", label=label, part="test", digest=row_digest([sample]))


def _sample(n):
    return f"{n:02d}<&\"'>.{KINDS[n % len(KINDS)]}"


def evaluate(context):
    skill = float((context.input("model") / "skill.txt").read_text())
    rows = []
    for n in range(80):
        truth = n % len(CLASSES)
        prediction = truth if n / 80 < skill else (truth + 1 + n % 3) % len(CLASSES)
        scores = [0.3 / (len(CLASSES) - 1)] * len(CLASSES)
        scores[prediction] = 0.7
        rows.append(Prediction(sample=_sample(n), group=f"g{n // 4}", label=CLASSES[truth], scores=tuple(scores)))
    write_predictions(context.output("predictions"), CLASSES, rows)
