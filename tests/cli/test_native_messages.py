"""Notes of native libraries are held back, nothing else is."""

import os

import pytest

from mlops_core.cli.native_messages import without_native_notes

NOTES = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    b"I0000 00:00:1795251770.156601    7444 port.cc:153] custom operations are on.\n"
    b"I0000 00:00:1795251770.304305    7444 cpu_feature_guard.cc:227] This binary is optimized.\n"
    b"To enable the following instructions: AVX2 FMA, in other operations, rebuild with the appropriate flags.\n"
)
WARNINGS = (
    b"W0000 00:00:1795251770.156601    7444 memory.cc:1] it is little\n"
    b"E0000 00:00:1795251770.156601    7444 disk.cc:1] it is full\n"
    b"I wrote this myself\n"
)


def test_notes_are_dropped_and_warnings_and_other_lines_stay(capfd):
    with without_native_notes():
        os.write(2, NOTES + WARNINGS + NOTES)
    os.write(2, NOTES)
    assert capfd.readouterr().err.encode() == WARNINGS + NOTES


def test_what_was_written_before_a_failure_is_not_lost(capfd):
    def fail():
        with without_native_notes():
            os.write(2, WARNINGS + NOTES)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert capfd.readouterr().err.encode() == WARNINGS
