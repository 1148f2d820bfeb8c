"""One CloudFormation template with what a project needs in an account, which is otherwise set up by hand.

The artifact bucket, the execution role and the role that submits pipelines, the image repository, the projects that
build and deploy, the pipeline of the CI service or the role for GitHub, and the event rules. Parameters are named as
the environment variables that they become: ``UsecaseName`` is USECASE_NAME.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.service.policy import Audience, Names, policy
from mlops_sagemaker.triggers.resources import template_resources

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_sagemaker.settings import CompileSettings
    from mlops_sagemaker.triggers.rules import EventRule

CODEPIPELINE, GITHUB = "codepipeline", "github"
PROVIDERS = (CODEPIPELINE, GITHUB)
_PARTITION, _REGION, _ACCOUNT, _ROLE = "@partition@", "@region@", "@account@", "@role@"
_BUCKET, _PIPELINE = "@bucket@", "@pipeline@"
_ROLE_ARN = f"arn:{_PARTITION}:iam::{_ACCOUNT}:role/{_ROLE}"
_SUBSTITUTES = {
    _ROLE_ARN: "${PipelineRole.Arn}",
    _PARTITION: "${AWS::Partition}",
    _REGION: "${AWS::Region}",
    _ACCOUNT: "${AWS::AccountId}",
    _BUCKET: "${ArtifactBucket}",
    _PIPELINE: "${SagemakerProjectNameId}",
}
"""Marks in a policy, and what they are in a template; a policy is computed with the marks as names."""
_IMAGE = "aws/codebuild/amazonlinux2-x86_64-standard:5.0"
_RETAIN = {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
_PUBLIC = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
_GITHUB_ISSUER = "token.actions.githubusercontent.com"


def infrastructure(
    use_case: str, settings: CompileSettings, *, provider: str = CODEPIPELINE, rules: Sequence[EventRule] = ()
) -> dict[str, Any]:
    """Return the template.

    Args:
        use_case: name of the use case.
        settings: of the account; names in them that the template creates are not used.
        provider: `CODEPIPELINE` or `GITHUB`.
        rules: event rules.
    """
    resources = {
        **_storage(),
        **_roles(use_case, settings),
        **_projects(provider),
        **(_codepipeline() if provider == CODEPIPELINE else _github()),
        **(template_resources(rules) if rules else {}),
    }
    parameters = {**_parameters(use_case), **_provider_parameters(provider)}
    if rules:
        resources = json.loads(json.dumps(resources).replace("project/${DeployProject}", "project/${DeployBuild}"))
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"What {use_case} needs in an account: storage, roles, image repository, CI and event rules.",
        "Parameters": parameters,
        "Resources": resources,
        "Outputs": _outputs(),
    }


def _parameters(use_case: str) -> dict[str, Any]:
    return {
        "SagemakerProjectName": _text("SAGEMAKER_PROJECT_NAME", default=use_case.lower().replace("_", "-")),
        "SagemakerProjectId": _text("SAGEMAKER_PROJECT_ID", default="local"),
        "SagemakerProjectNameId": _text(
            "SAGEMAKER_PROJECT_NAME_ID",
            default=f"{use_case.lower().replace('_', '-')}-local",
            AllowedPattern="[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
        ),
        "UsecaseName": _text("USECASE_NAME", default=use_case),
        "DatasetName": _text("DATASET_NAME", default=""),
    }


def _provider_parameters(provider: str) -> dict[str, Any]:
    if provider == GITHUB:
        pattern = "[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+"
        return {
            "GithubRepository": _text("GITHUB_REPOSITORY", AllowedPattern=pattern),
            "GithubOidcProviderArn": _text("GITHUB_OIDC_PROVIDER_ARN", AllowedPattern="arn:.*:oidc-provider/.*"),
            "BranchName": _text("BRANCH_NAME", default="main"),
        }
    return {
        "ConnectionArn": _text("CONNECTION_ARN", AllowedPattern="arn:.*:connection/.*"),
        "RepositoryId": _text("REPOSITORY_ID", AllowedPattern="[^/]+/.+"),
        "BranchName": _text("BRANCH_NAME", default="main"),
    }


def _text(variable: str, *, default: str | None = None, **more: str) -> dict[str, Any]:
    given = {} if default is None else {"Default": default}
    return {"Type": "String", "Description": f"The environment variable {variable}.", **given, **more}


# --- Storage ----------------------------------------------------------------------------------------------


def _storage() -> dict[str, Any]:
    arn, inside = {"Fn::GetAtt": ["ArtifactBucket", "Arn"]}, {"Fn::Sub": "${ArtifactBucket.Arn}/*"}
    insecure = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, inside],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    encryption = [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": True}]
    expired = {
        "Id": "noncurrent",
        "Status": "Enabled",
        "NoncurrentVersionExpiration": {"NoncurrentDays": 90},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }
    return {
        "ArtifactBucket": {
            "Type": "AWS::S3::Bucket",
            **_RETAIN,
            "Properties": {
                "PublicAccessBlockConfiguration": dict.fromkeys(_PUBLIC, True),
                "BucketEncryption": {"ServerSideEncryptionConfiguration": encryption},
                "VersioningConfiguration": {"Status": "Enabled"},
                "NotificationConfiguration": {"EventBridgeConfiguration": {"EventBridgeEnabled": True}},
                "LifecycleConfiguration": {"Rules": [expired]},
            },
        },
        "ArtifactBucketPolicy": {
            "Type": "AWS::S3::BucketPolicy",
            "Properties": {"Bucket": {"Ref": "ArtifactBucket"}, "PolicyDocument": _document(insecure)},
        },
        "StepImageRepository": {
            "Type": "AWS::ECR::Repository",
            **_RETAIN,
            "Properties": {
                "ImageScanningConfiguration": {"ScanOnPush": True},
                "ImageTagMutability": "IMMUTABLE",
                "EncryptionConfiguration": {"EncryptionType": "AES256"},
            },
        },
    }


# --- Roles ------------------------------------------------------------------------------------------------


def _roles(use_case: str, settings: CompileSettings) -> dict[str, Any]:
    names = Names(
        pipeline=_PIPELINE,
        use_case=settings.account.prefix or use_case.lower(),
        group=_PIPELINE,
        bucket=_BUCKET,
        role=_ROLE_ARN,
        region=_REGION,
        image=f"{_ACCOUNT}.dkr.ecr.{_REGION}.amazonaws.com/*",
        settings=settings,
    )
    trust = _substituted(policy(names, Audience.TRUST))
    return {
        "PipelineRole": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust}},
        "PipelinePolicy": _attached("pipeline", policy(names, Audience.ROLE), "PipelineRole"),
        "SubmitterPolicy": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"PolicyDocument": _substituted(policy(names, Audience.SUBMITTER))},
        },
        "ImagePolicy": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"PolicyDocument": _document(*_image_statements())},
        },
    }


def _image_statements() -> list[dict[str, Any]]:
    """Return what lets a build push the step image."""
    push = (
        "BatchCheckLayerAvailability",
        "BatchGetImage",
        "CompleteLayerUpload",
        "DescribeImages",
        "GetDownloadUrlForLayer",
        "InitiateLayerUpload",
        "PutImage",
        "UploadLayerPart",
    )
    repository = {"Fn::GetAtt": ["StepImageRepository", "Arn"]}
    return [
        {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
        {"Effect": "Allow", "Action": [f"ecr:{name}" for name in push], "Resource": repository},
    ]


def _attached(name: str, document: Mapping[str, Any], role: str) -> dict[str, Any]:
    properties = {"PolicyName": name, "PolicyDocument": _substituted(document), "Roles": [{"Ref": role}]}
    return {"Type": "AWS::IAM::Policy", "Properties": properties}


def _substituted(value: Any) -> Any:
    """Return a document in which marks are references of the template."""
    if isinstance(value, dict):
        return {name: _substituted(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_substituted(each) for each in value]
    if not isinstance(value, str) or not re.search("@[a-z]+@", value):
        return value
    for mark, reference in _SUBSTITUTES.items():
        value = value.replace(mark, reference)
    if value == "${PipelineRole.Arn}":
        return {"Fn::GetAtt": ["PipelineRole", "Arn"]}
    return {"Fn::Sub": value}


def _document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _trusting(service: str) -> dict[str, Any]:
    account = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    principal = {"Service": f"{service}.amazonaws.com"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": account}
    return _document(statement)


# --- CI ---------------------------------------------------------------------------------------------------


def _projects(provider: str) -> dict[str, Any]:
    policies = [{"Ref": "SubmitterPolicy"}, {"Ref": "ImagePolicy"}]
    logs = {
        "Effect": "Allow",
        "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": {
            "Fn::Sub": "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:/aws/codebuild/*"
        },
    }
    artifacts = {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"],
        "Resource": {"Fn::Sub": "${ArtifactBucket.Arn}/codepipeline/*"},
    }
    role = {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": _trusting("codebuild"),
            "ManagedPolicyArns": policies,
            "Policies": [{"PolicyName": "build", "PolicyDocument": _document(logs, artifacts)}],
        },
    }
    deploy = _project("NO_SOURCE", _deploy_buildspec(), is_privileged=False)
    resources = {"BuildRole": role, "DeployBuild": deploy}
    if provider == CODEPIPELINE:
        resources["Build"] = _project("CODEPIPELINE", "buildspec.yml", is_privileged=True)
    return resources


def _deploy_buildspec() -> str:
    """Return what deploys the package that an event names: never the latest one."""
    version = "${MODEL_PACKAGE_ARN##*/}"
    commands = [
        "pip install mlops-usecases mlops-sagemaker",
        f'mlops deploy --usecase "$USECASE_NAME" --to "$DEPLOYMENT_STAGE" --runner sagemaker --model "{version}"',
    ]
    return json.dumps({"version": 0.2, "env": {"shell": "bash"}, "phases": {"build": {"commands": commands}}}, indent=1)


def _project(source: str, buildspec: str, *, is_privileged: bool) -> dict[str, Any]:
    variables = {
        "ARTIFACT_BUCKET": {"Ref": "ArtifactBucket"},
        "DATASET_NAME": {"Ref": "DatasetName"},
        "SAGEMAKER_PIPELINE_ROLE_ARN": {"Fn::GetAtt": ["PipelineRole", "Arn"]},
        "SAGEMAKER_PROJECT_ID": {"Ref": "SagemakerProjectId"},
        "SAGEMAKER_PROJECT_NAME": {"Ref": "SagemakerProjectName"},
        "SAGEMAKER_PROJECT_NAME_ID": {"Ref": "SagemakerProjectNameId"},
        "STEP_IMAGE_REPOSITORY": {"Fn::GetAtt": ["StepImageRepository", "RepositoryUri"]},
        "USECASE_NAME": {"Ref": "UsecaseName"},
    }
    environment = {
        "Type": "LINUX_CONTAINER",
        "ComputeType": "BUILD_GENERAL1_MEDIUM",
        "Image": _IMAGE,
        "PrivilegedMode": is_privileged,
        "EnvironmentVariables": [{"Name": name, "Value": value} for name, value in variables.items()],
    }
    artifacts = {"Type": "CODEPIPELINE" if source == "CODEPIPELINE" else "NO_ARTIFACTS"}
    return {
        "Type": "AWS::CodeBuild::Project",
        "Properties": {
            "ServiceRole": {"Fn::GetAtt": ["BuildRole", "Arn"]},
            "Source": {"Type": source, "BuildSpec": buildspec},
            "Artifacts": artifacts,
            "Environment": environment,
            "TimeoutInMinutes": 480,
        },
    }


def _codepipeline() -> dict[str, Any]:
    statements = [
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"],
            "Resource": {"Fn::Sub": "${ArtifactBucket.Arn}/codepipeline/*"},
        },
        {"Effect": "Allow", "Action": "s3:GetBucketVersioning", "Resource": {"Fn::GetAtt": ["ArtifactBucket", "Arn"]}},
        {
            "Effect": "Allow",
            "Action": ["codebuild:BatchGetBuilds", "codebuild:StartBuild"],
            "Resource": {"Fn::GetAtt": ["Build", "Arn"]},
        },
        {
            "Effect": "Allow",
            "Action": ["codestar-connections:UseConnection", "codeconnections:UseConnection"],
            "Resource": {"Ref": "ConnectionArn"},
        },
    ]
    role = {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": _trusting("codepipeline"),
            "Policies": [{"PolicyName": "stages", "PolicyDocument": _document(*statements)}],
        },
    }
    source = _action(
        "Source",
        "CodeStarSourceConnection",
        owner="AWS",
        OutputArtifacts=[{"Name": "source"}],
        Configuration={
            "ConnectionArn": {"Ref": "ConnectionArn"},
            "FullRepositoryId": {"Ref": "RepositoryId"},
            "BranchName": {"Ref": "BranchName"},
        },
    )
    build = _action(
        "Build",
        "CodeBuild",
        owner="AWS",
        InputArtifacts=[{"Name": "source"}],
        OutputArtifacts=[{"Name": "ml"}],
        Configuration={"ProjectName": {"Ref": "Build"}},
    )
    return {
        "DeliveryRole": role,
        "Delivery": {
            "Type": "AWS::CodePipeline::Pipeline",
            "Properties": {
                "PipelineType": "V2",
                "RoleArn": {"Fn::GetAtt": ["DeliveryRole", "Arn"]},
                "ArtifactStore": {"Type": "S3", "Location": {"Ref": "ArtifactBucket"}},
                "Stages": [{"Name": "Source", "Actions": [source]}, {"Name": "Train", "Actions": [build]}],
            },
        },
    }


def _action(category: str, provider: str, *, owner: str, **more: Any) -> dict[str, Any]:
    kind = {"Category": category, "Owner": owner, "Provider": provider, "Version": "1"}
    return {"Name": category, "ActionTypeId": kind, **more}


def _github() -> dict[str, Any]:
    subject = {"Fn::Sub": "repo:${GithubRepository}:ref:refs/heads/${BranchName}"}
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": {"Ref": "GithubOidcProviderArn"}},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{_GITHUB_ISSUER}:aud": "sts.amazonaws.com", f"{_GITHUB_ISSUER}:sub": subject}},
    }
    role = {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": _document(statement),
            "ManagedPolicyArns": [{"Ref": "SubmitterPolicy"}, {"Ref": "ImagePolicy"}],
        },
    }
    return {"OidcRole": role}


def _outputs() -> dict[str, Any]:
    return {
        "ArtifactBucketName": {"Description": "ARTIFACT_BUCKET", "Value": {"Ref": "ArtifactBucket"}},
        "PipelineRoleArn": {
            "Description": "SAGEMAKER_PIPELINE_ROLE_ARN",
            "Value": {"Fn::GetAtt": ["PipelineRole", "Arn"]},
        },
        "StepImageRepositoryUri": {
            "Description": "STEP_IMAGE_REPOSITORY",
            "Value": {"Fn::GetAtt": ["StepImageRepository", "RepositoryUri"]},
        },
    }
