"""Which requests `mlops ui` answers, with what headers, and what its forms change."""

import re

import pytest

from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

PATHS = (
    "/",
    "/?part=table",
    "/runs/{run}/",
    "/runs/{run}/report.html",
    "/runs/{run}/logs/train.log",
    "/use-cases",
    "/use-cases/toy",
    "/parts/use-cases/TOY",
    "/models",
    "/models/toy",
    "/models/TOY/1",
    "/models/TOY/1/card",
    "/models/TOY/1/bundle.tar",
    "/datasets",
    "/datasets/{digest}",
    "/parts/datasets/{digest}/inspection",
    "/parts/datasets/{digest}/samples",
    "/tuning",
    "/static/ui.css",
    "/static/ui.js",
)


def test_every_page_answers_with_a_strict_policy(ran, workspace, start):
    ui = start(workspace)
    for path in PATHS:
        status, headers, body = ui.request(path.format(run=ran.run_id, digest=ran.dataset.digest))
        assert status == 200, (path, body[-2000:])
        policy = headers["content-security-policy"]
        assert "unsafe" not in policy, path
        assert policy.startswith("default-src 'none'"), path
        assert headers["x-content-type-options"] == "nosniff", path
        if not path.endswith("report.html"):
            assert "script-src 'self';" in policy, path
            assert b"<script>" not in body, path
            assert not re.search(rb"<[^>]+\s(on\w+|style)=", body), path
        else:  # its own script by digest, in an origin of its own
            assert re.search(r"script-src 'sha256-[^']+';", policy), path
            assert "sandbox allow-scripts" in policy
            assert "allow-same-origin" not in policy
    for path in (
        "/runs/nope/",
        "/runs/..%2f..%2fmlops.db/",
        "/models/NOPE",
        "/models/TOY/9",
        "/datasets/nope",
        "/nope",
    ):
        assert ui.request(path)[0] == 404, path
    for path in ("/compare?run=nope", "/compare", f"/tuning/{ran.run_id}", "/models/TOY/one"):
        status, text = ui.page(path)
        assert status == 400, path
        assert "Not possible" in text


def test_paths_lead_to_nothing_outside_of_a_run(ran, workspace, start):
    ui = start(workspace)
    (workspace / "runs" / ran.run_id / "logs" / "link.log").symlink_to("/etc/passwd")
    secret = workspace / "runs" / ran.run_id / "secret.log"
    secret.write_text("secret")
    names = (
        "../secret.log",
        "..%2fsecret.log",
        "%2e%2e/secret.log",
        "..%5csecret.log",
        "link.log",
        "%00",
        "../../run.json",
    )
    for name in names:
        status, _, body = ui.request(f"/runs/{ran.run_id}/logs/{name}")
        assert (status, b"secret" in body.replace(b"secret.log", b"")) == (404, False), name
    for name in ("../mlops_core/web/server.py", "%2e%2e%2fserver.py", "server.py"):
        assert ui.request(f"/static/{name}")[0] == 404


def test_the_token_is_needed_and_exchanged_for_a_cookie(ran, workspace, start):
    ui = start(workspace, token=True)
    assert ui.path.startswith("/?token=")
    for path in ("/", f"/runs/{ran.run_id}/", "/events/runs", "/models/TOY/1/bundle.tar", "/parts/use-cases/TOY"):
        status, _, body = ui.request(path)
        assert (status, ran.run_id.encode() in body) == (401, False), path
    assert ui.request("/?token=wrong")[0] == 401
    assert ui.request("/static/ui.css")[0] == 200
    status, headers, _ = ui.request(f"/models{ui.path[1:]}&q=1")
    assert (status, headers["location"]) == (303, "/models?q=1")
    cookie = headers["set-cookie"]
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert f"mlops_ui_{ui.port}=" in cookie
    assert ui.path.partition("=")[2] not in cookie
    assert ui.request("/", headers={"Cookie": cookie.partition(";")[0]})[0] == 200
    assert ui.request("/", headers={"Cookie": f"mlops_ui_{ui.port}=x"})[0] == 401
    wrong = ui.request("/login", method="POST", form={"token": "x"}, headers={"Origin": ui.url})
    right = ui.request("/login", method="POST", form={"token": ui.path.partition("=")[2]}, headers={"Origin": ui.url})
    assert (wrong[0], right[0]) == (401, 303)
    status, headers, _ = ui.request(f"//example.org/{ui.path[1:]}")
    assert headers["location"].startswith("/example.org")


def test_other_hosts_and_pages_elsewhere_are_refused(ran, workspace, start):
    ui = start(workspace, "--trusted-host", "proxy.example")
    own = {"Host": f"localhost:{ui.port}"}
    assert ui.request("/", headers=own)[0] == 200
    assert ui.request("/", headers={"Host": "proxy.example"})[0] == 200
    for host in ("attacker.example", f"attacker.example:{ui.port}", "127.0.0.1.attacker.example", "", "a@127.0.0.1"):
        status, _, body = ui.request("/", headers={"Host": host})
        assert (status, ran.run_id.encode() in body) == (403, False), host
    for origin in ("http://attacker.example", "null", "http://127.0.0.1", f"http://localhost:{ui.port}"):
        assert ui.request("/", headers={"Origin": origin})[0] == 403, origin


def test_forms_of_other_pages_change_nothing(ran, workspace, start):
    ui = start(workspace)
    form = {"status": "approve", "why": "x", "expected": "PendingManualApproval", "confirmed": "yes"}
    path = "/models/TOY/1/status"
    assert ui.request(path, method="POST", form=form)[0] == 403
    assert ui.request(path, method="POST", form={**form, "csrf": "0" * 64})[0] == 403
    assert ui.post(path, form, headers={"Origin": "http://attacker.example"})[0] == 403
    assert ui.post(path, form, headers={"Content-Type": "text/plain"})[0] == 403
    assert ui.post(path, {**form, "why": "x" * 70_000})[0] == 403
    assert ui.request(path)[0] == 405
    with Store(workspace) as store:
        assert Registry(store).version("TOY", 1).status == "PendingManualApproval"


def test_a_version_is_approved_rejected_and_gets_an_alias_after_confirmation(ran, workspace, start):
    ui = start(workspace)
    path = "/models/TOY/1/status"
    form = {"status": "approve", "why": "good <b>enough</b>", "expected": "PendingManualApproval"}
    status, _, body = ui.post(path, form, headers={"Origin": ui.url})
    assert status == 200
    assert b"Approve TOY version 1?" in body
    assert b"good &lt;b&gt;enough" in body
    status, headers, _ = ui.post(path, {**form, "confirmed": "yes"})
    assert (status, headers["location"]) == (303, "/models/TOY/1?done=approved&best=moved")
    again, _, body = ui.post(path, {**form, "confirmed": "yes"})
    assert again == 409
    assert b"was changed in the meantime" in body
    assert ui.post(path, {**form, "why": " ", "expected": "Approved"})[0] == 409

    alias = {"alias": "production", "version": "1", "why": "rollout"}
    assert b"Point production to version 1?" in ui.post("/models/TOY/alias", alias)[2]
    assert ui.post("/models/TOY/alias", {**alias, "expected": "", "confirmed": "yes"})[0] == 303
    assert ui.post("/models/TOY/alias", {**alias, "expected": "", "confirmed": "yes"})[0] == 409
    assert ui.post("/models/TOY/alias", {**alias, "alias": "Not Legal", "confirmed": "yes"})[0] == 409
    removal = {"alias": "production", "expected": "1", "why": "end", "confirmed": "yes"}
    assert ui.post("/models/TOY/alias", removal)[0] == 303

    reject = {"status": "reject", "why": "drift", "expected": "Approved"}
    assert b"moves back to its version before" in ui.post(path, reject)[2]
    assert ui.post(path, {**reject, "confirmed": "yes"})[0] == 409  # it is 'best'
    assert ui.post(path, {**reject, "confirmed": "yes", "moves_aliases": "yes"})[0] == 303
    with Store(workspace) as store:
        registry = Registry(store)
        assert registry.version("TOY", 1).status == "Rejected"
        changes = [(entry.subject, entry.value, entry.why) for entry in registry.history("TOY")][-5:]
    assert changes == [
        ("version 1", "Approved", "good <b>enough</b>"),
        ("alias production", "1", "rollout"),
        ("alias production", "", "end"),
        ("alias best", "", "version 1 was rejected: drift"),
        ("version 1", "Rejected", "drift"),
    ]


def test_an_address_that_others_reach_needs_the_token(workspace, call):
    code, _, errors = call("--workspace", workspace, "ui", "--host", "0.0.0.0", "--no-token", "--port", "0")
    assert code == 2
    assert "can be reached from other machines, which need a token" in errors


@pytest.mark.parametrize("host", ["::1"])
def test_it_listens_on_ipv6(ran, workspace, start, host):
    ui = start(workspace, "--host", host)
    assert ui.url.startswith("http://[::1]:")
    assert ui.request("/")[0] == 200
