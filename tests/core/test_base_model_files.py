"""Files of base models are looked for before a run on this machine begins."""

import pytest

from mlops_core import ConfigError, PretrainedModel
from mlops_core.runners.local.base_models import require_base_models


def base(source, sha256=""):
    return PretrainedModel(name="weights", licence="MIT", source=source, sha256=sha256)


@pytest.mark.parametrize("source", ["", "https://example.org/w.h5", "s3://bucket/w.h5", "publisher/model"])
def test_what_is_not_a_path_is_left_to_the_step(source):
    with pytest.raises(ConfigError, match="no file /nowhere/w.h5"):  # only the second one is refused
        require_base_models([base(source), base("/nowhere/w.h5")])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/nowhere/w.h5", "no file /nowhere/w.h5 on this machine"),
        ("~nobody-of-this-name/w.h5", "~nobody-of-this-name/w.h5 cannot be read"),
        ("/" + "x" * 300, "cannot be read: File name too long"),
    ],
)
def test_what_is_missing_is_named(source, message):
    with pytest.raises(ConfigError, match=message):
        require_base_models([base(source)])


def test_a_folder_is_accepted_and_its_digest_left_to_the_step(tmp_path):
    with pytest.raises(ConfigError, match="no file /nowhere/w.h5"):  # only the second one is refused
        require_base_models([base(str(tmp_path), "0" * 64), base("/nowhere/w.h5")])


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_run_is_refused_before_it_begins(toy, workspace, call, monkeypatch, command):
    from mlops_core.use_cases.manager import UseCase

    monkeypatch.setattr(UseCase, "base_models", lambda *_: (base("/nowhere/w.h5"),))
    code, _, err = call("--workspace", workspace, command, "-u", "TOY")
    assert code == 2
    assert "base model 'weights': no file /nowhere/w.h5 on this machine" in err
    assert call("--workspace", workspace, "runs", "list", "--json")[1].strip() == "[]"
