"""The template of an account: clean to the linter, complete, and as narrow as the policies that it is made from."""

import json

import pytest
from click.testing import CliRunner
from mlops_sagemaker.commands import command
from mlops_sagemaker.delivery.ci import SECRETS
from mlops_sagemaker.delivery.infrastructure import PROVIDERS, infrastructure
from mlops_sagemaker.settings import load_settings
from mlops_sagemaker.triggers.rules import event_rules

from mlops_core.watching import ApprovalRule, PrefixRule, ScheduleRule

RULES = event_rules(
    [
        PrefixRule(name="labels", use_case="SCENE", bucket="uploads", prefix="annotations/"),
        ApprovalRule(name="deploy", use_case="SCENE"),
        ScheduleRule(name="weekly", use_case="SCENE", expression="rate(7 days)"),
    ]
)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_template_passes_the_linter_of_the_service(provider):
    from cfnlint.api import lint

    rules = RULES if provider == "codepipeline" else ()
    text = json.dumps(infrastructure("SCENE", load_settings(), provider=provider, rules=rules))
    assert [str(match) for match in lint(text)] == []
    assert len(text) < 51_200  # what a template may have without an upload


def test_parameters_are_named_as_the_variables_of_the_project_templates():
    made = infrastructure("SCENE", load_settings())
    described = {each["Description"].split()[3].rstrip(".") for each in made["Parameters"].values()}
    described |= {each["Description"] for each in made["Outputs"].values()}
    for name, parameter in made["Parameters"].items():
        variable = parameter["Description"].split()[3].rstrip(".")
        assert name.lower() == variable.replace("_", "").lower()
    automatic = {"AWS_REGION", "SAGEMAKER_PROJECT_ARN", "AWS_DEV_ACCOUNT_NUMBER"}
    assert set(SECRETS) - automatic <= described


def test_no_role_may_do_everything_and_no_mark_remains():
    text = json.dumps(infrastructure("SCENE", load_settings(), rules=RULES))
    assert '"Action": "*"' not in text
    assert "iam:*" not in text
    assert "@role@" not in text
    assert "@bucket@" not in text
    resources = json.loads(text)["Resources"]
    users = [name for name, each in resources.items() if each["Type"] in ("AWS::IAM::User", "AWS::IAM::AccessKey")]
    assert users == []  # no long-lived keys


def test_an_approval_deploys_the_package_of_the_event():
    made = infrastructure("SCENE", load_settings(), rules=RULES)["Resources"]
    (target,) = made["RuleDeploy"]["Properties"]["Targets"]
    assert target["Arn"]["Fn::Sub"].endswith("project/${DeployBuild}")
    assert target["InputTransformer"]["InputPathsMap"] == {"package": "$.detail.ModelPackageArn"}
    buildspec = json.loads(made["DeployBuild"]["Properties"]["Source"]["BuildSpec"])
    assert "${MODEL_PACKAGE_ARN##*/}" in buildspec["phases"]["build"]["commands"][-1]


def test_the_command_writes_the_file(tmp_path):
    file = tmp_path / "infrastructure.json"
    result = CliRunner().invoke(command, ["infrastructure", "-u", "SCENE", "--ci", "github", "-o", str(file)])
    assert result.exception is None, result.output
    assert "OidcRole" in json.loads(file.read_text())["Resources"]
