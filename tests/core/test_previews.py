"""Previews of samples."""

import pytest

from mlops_core.datasets.previews import PREVIEW_LIMIT, Preview
from mlops_core.errors import PluginError


def test_executable_or_too_large_preview_is_refused():
    with pytest.raises(PluginError, match="media type 'text/html'; expected one of audio/flac"):
        Preview(media_type="text/html", data=b"<script>")
    with pytest.raises(PluginError, match=f"at most {PREVIEW_LIMIT}"):
        Preview(media_type="image/png", data=bytes(PREVIEW_LIMIT + 1))
    assert Preview(media_type="audio/wav", data=b"").kind == "audio"
