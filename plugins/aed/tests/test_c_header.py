"""The tables for firmware: they compile as C, and C computes the training features with them."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from mlops_aed.audio.features import log_mel
from mlops_aed.config import FeatureExtraction, Preprocessing
from mlops_aed.export.c_header import write

CLASSES = ("rain", 'a "quoted" \\ name', "dog?", "Äther")
YAMNET = FeatureExtraction()
MINIRESNET = FeatureExtraction(
    patch_length=50,
    n_fft=1024,
    hop_length=320,
    window_length=1024,
    center=True,
    power=2.0,
    fmin=20,
    norm="slaney",
    htk=False,
    to_db=True,
)
PROGRAM = r"""
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "ai_model_config.h"
#include "user_mel_tables.h"
#define NFFT CTRL_X_CUBE_AI_SPECTROGRAM_NFFT
#define WIN CTRL_X_CUBE_AI_SPECTROGRAM_WINDOW_LENGTH
#define HOP CTRL_X_CUBE_AI_SPECTROGRAM_HOP_LENGTH
#define NMEL CTRL_X_CUBE_AI_SPECTROGRAM_NMEL
#define TURN 6.283185307179586
static const char *names[] = CTRL_X_CUBE_AI_MODE_CLASS_LIST;
static double magnitude[NFFT / 2 + 1], cosine[NFFT], sine[NFFT];

static void transform(const float *frame) {
  for (unsigned bin = 0; bin <= NFFT / 2; ++bin) {
    double re = 0, im = 0;
    for (unsigned i = 0; i < WIN; ++i) {
      double x = (double)frame[i] * user_win[i];
      re += x * cosine[bin * i % NFFT];
      im += x * sine[bin * i % NFFT];
    }
    double power = re * re + im * im;
    magnitude[bin] = CTRL_X_CUBE_AI_SPECTROGRAM_POWER == 2 ? power : sqrt(power);
  }
}

int main(void) {
  static float wave[1 << 20];
  static double mel[1 << 20];
  unsigned pad = CTRL_X_CUBE_AI_SPECTROGRAM_CENTER ? NFFT / 2 : 0;
  unsigned samples = pad + (unsigned)fread(wave + pad, sizeof(float), (1 << 20) - 2 * pad, stdin) + pad;
  unsigned frames = 1 + (samples - NFFT) / HOP;
  double largest = 1e-10;
  for (unsigned i = 0; i < NFFT; ++i) { cosine[i] = cos(TURN * i / NFFT); sine[i] = sin(TURN * i / NFFT); }
  for (unsigned frame = 0; frame < frames; ++frame) {
    transform(wave + frame * HOP + (NFFT - WIN) / 2);
    const float *weight = user_melFilterLut;
    for (unsigned band = 0; band < NMEL; ++band) {
      double sum = 0;
      for (unsigned i = 0; i < user_melFiltersLengths[band]; ++i)
        sum += *weight++ * magnitude[user_melFiltersStartIndices[band] + i];
      mel[frame * NMEL + band] = sum;
      if (sum > largest) largest = sum;
    }
  }
  for (unsigned i = 0; i < frames * NMEL; ++i) {
    double value = log(mel[i] + CTRL_X_CUBE_AI_SPECTROGRAM_LOG_OFFSET);
    if (CTRL_X_CUBE_AI_SPECTROGRAM_TO_DB) value = 10 * log10(fmax(mel[i], 1e-10)) - 10 * log10(largest);
    if (CTRL_X_CUBE_AI_SPECTROGRAM_TO_DB && value < -80) value = -80;
    printf("%.9g\n", value);
  }
  if (sizeof names / sizeof *names != CTRL_X_CUBE_AI_MODE_NB_OUTPUT) return 1;
  for (unsigned i = 0; i < CTRL_X_CUBE_AI_MODE_NB_OUTPUT; ++i) fprintf(stderr, "%s\n", names[i]);
  return 0;
}
"""
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler gcc on this machine")


def compiled(folder, settings, *, classes=CLASSES):
    write(folder, classes=classes, preprocessing=Preprocessing(), features=settings)
    (folder / "log_mel.c").write_text(PROGRAM)
    flags = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2")
    sources = ("log_mel.c", "user_mel_tables.c", "-lm", "-o", "log_mel")
    subprocess.run(["gcc", *flags, *sources], cwd=folder, check=True)
    return folder / "log_mel"


def sound(seconds):
    time = np.arange(int(seconds * 16_000)) / 16_000
    noise = np.random.default_rng(3).standard_normal(len(time))
    return (0.3 * np.sin(2 * np.pi * (300 + 2000 * time) * time) + 0.02 * noise * (time > 0.4)).astype(np.float32)


@needs_gcc
@pytest.mark.parametrize("settings", [YAMNET, MINIRESNET], ids=["yamnet", "miniresnet"])
def test_log_mel_in_c_equals_the_training_features(tmp_path, settings):
    wave = sound(1.0)
    found = subprocess.run([compiled(tmp_path, settings)], input=wave.tobytes(), capture_output=True, check=True)
    expected = log_mel(wave, settings, rate=16_000)
    values = np.array([float(line) for line in found.stdout.split()]).reshape(expected.shape[1], settings.n_mels).T
    assert np.abs(values - expected).max() < 1e-3


@needs_gcc
def test_c_knows_the_class_names_in_the_order_of_the_outputs(tmp_path):
    found = subprocess.run([compiled(tmp_path, YAMNET)], input=b"\0" * 64_000, capture_output=True, check=True)
    assert found.stderr.decode().splitlines() == list(CLASSES)


def test_a_mel_table_holds_every_weight_of_the_filters_and_nothing_else(tmp_path):
    write(tmp_path, classes=("a", "b"), preprocessing=Preprocessing(), features=YAMNET)
    text = (tmp_path / "user_mel_tables.c").read_text()
    sizes = dict(re.findall(r"const \w+ (\w+)\[(\d+)\]", text))
    lengths = re.search(r"user_melFiltersLengths\[\d+\] = \{([^}]*)\}", text)[1]
    assert int(sizes["user_win"]) == 400
    assert int(sizes["user_melFiltersStartIndices"]) == 64
    assert sum(map(int, lengths.split(","))) == int(sizes["user_melFilterLut"])
