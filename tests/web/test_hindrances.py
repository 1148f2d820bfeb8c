"""`mlops ui` on what is damaged, missing, huge or hostile: one clear line, or a page that says what is missing."""

import json
import os
import shutil
import sqlite3
import threading

import mlops_core
from mlops_core.errors import ExitCode
from mlops_core.web.pages.runs.stored_report import read_stored_report

HOSTILE = "<img src=x onerror=alert(1)>"


def test_a_workspace_of_a_newer_version_is_refused_in_one_line(ran, workspace, call):
    with sqlite3.connect(workspace / "mlops.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    code, _, errors = call("--workspace", workspace, "ui", "--port", "0")
    assert code == ExitCode.STEP
    assert errors.count("\n") == 1
    assert "has version 99; this mlops reads version" in errors


def test_a_port_that_is_in_use_is_one_line(ran, workspace, start, call):
    ui = start(workspace)
    code, _, errors = call("--workspace", workspace, "ui", "--port", str(ui.port))
    assert code == ExitCode.USAGE
    assert errors == (
        f"mlops: error: --port {ui.port} is in use on 127.0.0.1; stop what listens there, or choose another port "
        "(0 for a free one)\n"
    )


def test_two_servers_show_one_workspace(ran, workspace, start):
    servers = [start(workspace), start(workspace)]
    answers = []

    def ask(ui):
        answers.extend(ui.page("/") for _ in range(5))

    threads = [threading.Thread(target=ask, args=(ui,)) for ui in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(status, ran.run_id in text) for status, text in answers] == [(200, True)] * 10


def test_damaged_runs_are_shown_with_what_is_left(ran, workspace, start):
    ui = start(workspace)
    folder = workspace / "runs" / ran.run_id
    report = (folder / "report.html").read_text()

    (folder / "report.html").write_text("half")
    status, text = ui.page(f"/runs/{ran.run_id}/")
    assert (status, "not one that can be read" in text, "Write the report" in text) == (200, True, True)
    assert 'id="metrics"' in text  # from the record
    (folder / "report.html").unlink()
    assert ui.request(f"/runs/{ran.run_id}/report.html")[0] == 404
    status, headers, _ = ui.post(f"/runs/{ran.run_id}/report", {"confirmed": "yes"}, page=f"/runs/{ran.run_id}/")
    assert (status, headers["location"]) == (303, f"/runs/{ran.run_id}/?done=report")
    assert "The report was written." in ui.page(headers["location"])[1]

    record = json.loads((folder / "run.json").read_text())
    for text in ("", "{", json.dumps({**record, "status": "unheard of"}), json.dumps({**record, "steps": 3})):
        (folder / "run.json").write_text(text)
        status, page = ui.page(f"/runs/{ran.run_id}/")
        assert (status, "cannot be read" in page, "logs/train.log" in page) == (200, True, True)
        assert ui.page("/")[0] == 200
    record["dataset"]["path"] = str(workspace / "datasets" / "gone")
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "report.html").write_text(report)
    for status, is_damaged in (("unheard of", True), ("accepted", False)):
        with sqlite3.connect(workspace / "mlops.db") as db:
            db.execute("UPDATE runs SET status = ?", (status,))
        db.close()
        assert ("its row in mlops.db is damaged" in ui.page("/")[1]) is is_damaged

    shutil.rmtree(workspace / "objects")
    digest = ran.dataset.digest
    for path, expected in {
        f"/parts/datasets/{digest}/inspection": "no longer at the path",
        f"/parts/datasets/{digest}/samples": "no longer in the workspace",
        "/models/TOY/1": "Model card",
    }.items():
        status, page = ui.page(path)
        assert (status, expected in page) == (200, True), page
    workspace.rename(workspace.with_name("elsewhere"))
    status, page = ui.page("/")
    assert (status, "has disappeared" in page) == (503, True)
    assert not workspace.exists()


def test_only_the_end_of_a_huge_log_is_read(ran, workspace, start):
    ui = start(workspace)
    log = workspace / "runs" / ran.run_id / "logs" / "train.log"
    with log.open("wb") as stream:
        stream.truncate(100_000_000)
        stream.seek(0, os.SEEK_END)
        stream.write(f"\n\x1b[31mred\x1b[0m {HOSTILE} the end\n".encode())
    status, _, body = ui.request(f"/runs/{ran.run_id}/logs/train.log")
    assert status == 200
    assert len(body) < 1_000_000
    assert b"red &lt;img src=x onerror=alert(1)&gt; the end" in body
    assert b"of 95.4 MiB" in body
    log.write_text("short")
    headers, body = ui.request(f"/runs/{ran.run_id}/logs/train.log?save=yes")[1:]
    assert body == b"short"
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["content-disposition"] == f'attachment; filename="{ran.run_id}-train.log"'


def test_texts_of_runs_and_of_the_address_never_become_markup(toy, workspace, start):
    record = mlops_core.run("TOY", workspace=workspace, overrides=["training.behaviour=raise"])
    folder = workspace / "runs" / record.run_id
    data = json.loads((folder / "run.json").read_text())
    data |= {"error": HOSTILE, "plugin": HOSTILE, "config": f"training: {{'{HOSTILE}': '{HOSTILE}'}}"}
    data["dataset"]["name"] = data["dataset"]["licence"] = HOSTILE
    (folder / "run.json").write_text(json.dumps(data))
    (folder / "logs" / f"{HOSTILE.replace('/', '')}.log").write_text(HOSTILE)
    with sqlite3.connect(workspace / "mlops.db") as db:
        db.execute("UPDATE runs SET use_case = ?, runner = ?", (HOSTILE, HOSTILE))
    db.close()
    ui = start(workspace)
    (folder / "report.html").unlink()
    quoted = "%3Cimg%20src=x%20onerror=alert(1)%3E"
    paths = ["/", f"/runs/{record.run_id}/", "/datasets", f"/datasets/{data['dataset']['digest']}", "/use-cases"]
    paths += [f"/?key=training.{quoted}&value={quoted}&text={quoted}&metric={quoted}&use_case={quoted}", f"/{quoted}"]
    paths += [f"/runs/{quoted}/", f"/models/{quoted}", f"/models/TOY/{quoted}", f"/compare?run={quoted}&run=x"]
    paths += [
        f"/parts/use-cases/{quoted}",
        f"/runs/{record.run_id}/logs/{quoted}",
        f"/runs/{record.run_id}/logs/{quoted}.log",
    ]
    for path in paths:
        status, text = ui.page(path)
        assert status < 500, path
        assert "<img src=x" not in text, path


def test_a_stored_report_is_rebuilt_from_what_reports_consist_of(tmp_path):
    page = tmp_path / "report.html"
    page.write_text(
        '<html><body><main id="top"><header class="page-header" onclick="x()"><h1>Run</h1></header>'
        '<section id="verdict"><h2 id="verdict-title">Verdict &amp; more</h2><script>alert(1)</script>'
        '<svg viewBox="0 0 1 1" onload="x()"><rect width="1"></rect><foreignObject><p>kept</p></foreignObject></svg>'
        '<a href="javascript:alert(1)">a</a><a href="//evil/x">b</a><a href="/models/x">c</a><a href="logs/a.log">d</a>'
        '<img src="http://evil/x.png" onerror="x()"><img src="data:image/png;base64,AA"><img src="data:text/html,x">'
        '<form action="/models/TOY/1/status" method="post"><button>Approve</button></form><iframe src="x"></iframe>'
        '<div data-load="/models" style="position:fixed"><input type="text"><input type="radio" name="r"></div>'
        "<p>&lt;script&gt;</p></section></main></body></html>"
    )
    stored = read_stored_report(page)
    assert stored.header.html == '<header class="page-header"><h1>Run</h1></header>'
    ((anchor, title, section),) = stored.sections
    assert (anchor, title) == ("verdict", "Verdict & more")
    assert section.html == (
        '<section id="verdict"><h2 id="verdict-title">Verdict &amp; more</h2>'
        '<svg viewbox="0 0 1 1"><rect width="1"></rect><p>kept</p></svg>'
        '<a>a</a><a>b</a><a>c</a><a href="logs/a.log">d</a><img><img src="data:image/png;base64,AA"><img>'
        '<div><input type="radio" name="r"></div><p>&lt;script&gt;</p></section>'
    )
    for text in ("", "<main", "<main></main>", "</main><main>", "<main><section>", "<main>text</main>"):
        page.write_text(text)
        assert read_stored_report(page) is None
    assert read_stored_report(tmp_path / "none.html") is None


def test_a_report_of_the_kit_is_taken_over_completely(ran, workspace):
    path = workspace / "runs" / ran.run_id / "report.html"
    stored = read_stored_report(path)
    text = path.read_text()
    for _, title, section in stored.sections:
        assert title in text
        assert section.html.lower() in text.lower()
    assert len(stored.sections) == text.count("<section ")
