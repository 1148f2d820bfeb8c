"""The feature settings as C code for the firmware that runs the model: window, mel filters, class names.

The tables are computed by the functions that compute the training features, so device and training agree.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from mlops_aed.audio import features as feature_functions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlops_aed.config import FeatureExtraction, Preprocessing

_PER_LINE = 8


def write(folder: Path, *, classes: Sequence[str], preprocessing: Preprocessing, features: FeatureExtraction) -> None:
    """Write ``ai_model_config.h``, ``user_mel_tables.h`` and ``user_mel_tables.c`` into `folder`.

    A mel filter is stored without its zeros: its start, its length, and its weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bank = feature_functions.mel_filters(features, rate=preprocessing.target_rate)
    starts, lengths, weights = _compact(bank)
    window = _hann(features.window_length)
    (folder / "ai_model_config.h").write_text(_config(classes, preprocessing, features), encoding="utf-8")
    (folder / "user_mel_tables.h").write_text(_declarations(len(window), len(starts), len(weights)), encoding="utf-8")
    text = "\n".join(
        [
            '#include "user_mel_tables.h"\n',
            _array("float", "user_win", [_number(value) for value in window]),
            _array("uint32_t", "user_melFiltersStartIndices", [str(value) for value in starts]),
            _array("uint32_t", "user_melFiltersLengths", [str(value) for value in lengths]),
            _array("float", "user_melFilterLut", [_number(value) for value in weights]),
        ]
    )
    (folder / "user_mel_tables.c").write_text(text, encoding="utf-8")


def _hann(length: int) -> np.ndarray:
    """Return the periodic Hann window of the features."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


def _compact(bank: np.ndarray) -> tuple[list[int], list[int], list[float]]:
    starts, lengths, weights = [], [], []
    for row in bank:
        used = np.flatnonzero(row)
        first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)
        starts.append(first)
        lengths.append(last - first)
        weights += [float(value) for value in row[first:last]]
    return starts, lengths, weights


def _config(classes: Sequence[str], preprocessing: Preprocessing, features: FeatureExtraction) -> str:
    numbers = {
        "CTRL_X_CUBE_AI_MODE_NB_OUTPUT": len(classes),
        "CTRL_X_CUBE_AI_SENSOR_ODR": preprocessing.target_rate,
        "CTRL_X_CUBE_AI_SPECTROGRAM_NMEL": features.n_mels,
        "CTRL_X_CUBE_AI_SPECTROGRAM_COL": features.patch_length,
        "CTRL_X_CUBE_AI_SPECTROGRAM_HOP_LENGTH": features.hop_length,
        "CTRL_X_CUBE_AI_SPECTROGRAM_NFFT": features.n_fft,
        "CTRL_X_CUBE_AI_SPECTROGRAM_WINDOW_LENGTH": features.window_length,
        "CTRL_X_CUBE_AI_SPECTROGRAM_POWER": int(features.power),
        "CTRL_X_CUBE_AI_SPECTROGRAM_TO_DB": int(features.to_db),
        "CTRL_X_CUBE_AI_SPECTROGRAM_CENTER": int(features.center),
    }
    names = ", ".join(f'"{_c_text(name)}"' for name in classes)
    lines = [
        "#ifndef AI_MODEL_CONFIG_H",
        "#define AI_MODEL_CONFIG_H\n",
        *(f"#define {name} ({value}U)" for name, value in numbers.items()),
        f"#define CTRL_X_CUBE_AI_SPECTROGRAM_FMIN ({_number(features.fmin)})",
        f"#define CTRL_X_CUBE_AI_SPECTROGRAM_FMAX ({_number(features.fmax)})",
        f"#define CTRL_X_CUBE_AI_SPECTROGRAM_LOG_OFFSET ({_number(feature_functions.LOG_OFFSET)})",
        f"#define CTRL_X_CUBE_AI_MODE_CLASS_LIST {{{names}}}",
        "\n#endif\n",
    ]
    return "\n".join(lines)


def _declarations(window: int, mels: int, weights: int) -> str:
    return "\n".join(
        [
            "#ifndef USER_MEL_TABLES_H",
            "#define USER_MEL_TABLES_H\n",
            "#include <stdint.h>\n",
            f"extern const float user_win[{window}];",
            f"extern const uint32_t user_melFiltersStartIndices[{mels}];",
            f"extern const uint32_t user_melFiltersLengths[{mels}];",
            f"extern const float user_melFilterLut[{weights}];",
            "\n#endif\n",
        ]
    )


def _array(kind: str, name: str, values: Sequence[str]) -> str:
    lines = [", ".join(values[start : start + _PER_LINE]) for start in range(0, len(values), _PER_LINE)]
    body = ",\n  ".join(lines)
    return f"const {kind} {name}[{len(values)}] = {{\n  {body}\n}};\n"


def _number(value: float) -> str:
    """Return a float literal that is parsed as the same single-precision number."""
    text = f"{np.float32(value):.9g}"
    return f"{text}F" if "." in text or "e" in text else f"{text}.0F"


def _c_text(name: str) -> str:
    return re.sub(r'(["\\?])', r"\\\1", name)
