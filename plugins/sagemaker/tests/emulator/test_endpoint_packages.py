"""The model registry of the endpoint: versions, updates, duplicates."""

import pytest

pytest.importorskip("boto3", reason="boto3 is not installed")
pytest.importorskip("moto", reason="moto is not installed")
from botocore.exceptions import ClientError
from mlops_sagemaker.emulator.endpoint.server import SageMakerEndpoint

CONTAINERS = {"Containers": [{"Image": "image:1", "ModelDataUrl": "s3://b/model.tar.gz"}]}


@pytest.fixture(scope="module")
def sagemaker(tmp_path_factory):
    with SageMakerEndpoint(tmp_path_factory.mktemp("endpoint")) as endpoint:
        yield endpoint.client("sagemaker")


@pytest.fixture
def group(sagemaker, request):
    name = f"G{abs(hash(request.node.name))}"
    sagemaker.create_model_package_group(ModelPackageGroupName=name)
    return name


def create(sagemaker, group, **more):
    return sagemaker.create_model_package(ModelPackageGroupName=group, **more)["ModelPackageArn"]


def versions(sagemaker, group):
    listed = sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
    return [package["ModelPackageVersion"] for package in listed]


@pytest.mark.parametrize("deleted", [(1,), (2,), (1, 2), (3,), (1, 2, 3)])
def test_version_is_never_used_again(sagemaker, group, deleted):
    arns = [create(sagemaker, group, ModelPackageDescription=str(number)) for number in (1, 2, 3)]
    for number in deleted:
        sagemaker.delete_model_package(ModelPackageName=arns[number - 1])
    assert create(sagemaker, group).endswith("/4")
    assert versions(sagemaker, group) == [*(number for number in (1, 2, 3) if number not in deleted), 4]
    for number in {1, 2, 3} - set(deleted):
        described = sagemaker.describe_model_package(ModelPackageName=arns[number - 1])
        assert described["ModelPackageDescription"] == str(number)


def test_update_keeps_what_it_does_not_name(sagemaker, group):
    arn = create(
        sagemaker,
        group,
        InferenceSpecification=CONTAINERS,
        ModelPackageDescription="text",
        CustomerMetadataProperties={"a": "1", "b": "2"},
        Domain="COMPUTER_VISION",
    )
    before = sagemaker.describe_model_package(ModelPackageName=arn)
    assert before["ModelApprovalStatus"] == "PendingManualApproval"
    updates = (
        {"ModelApprovalStatus": "Approved", "ApprovalDescription": "good"},
        {"CustomerMetadataProperties": {"b": "3", "c": "4"}},
        {"CustomerMetadataPropertiesToRemove": ["a", "unknown"]},
        {"SourceUri": "s3://b/source"},
    )
    for update in updates:
        sagemaker.update_model_package(ModelPackageArn=arn, **update)
    after = sagemaker.describe_model_package(ModelPackageName=arn)
    assert after["CustomerMetadataProperties"] == {"b": "3", "c": "4"}
    assert (after["ModelApprovalStatus"], after["ApprovalDescription"]) == ("Approved", "good")
    assert after["LastModifiedTime"] >= after["CreationTime"]
    kept = ("InferenceSpecification", "ModelPackageDescription", "Domain", "CreationTime", "ModelPackageVersion")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}


def test_refused_update_changes_nothing(sagemaker, group):
    arn = create(sagemaker, group, CustomerMetadataProperties={"a": "1"})
    before = sagemaker.describe_model_package(ModelPackageName=arn)
    many = {f"k{number}": "v" for number in range(50)}
    with pytest.raises(ClientError, match="ValidationException.*limit is 50"):
        sagemaker.update_model_package(
            ModelPackageArn=arn, ModelApprovalStatus="Approved", CustomerMetadataProperties=many
        )
    after = sagemaker.describe_model_package(ModelPackageName=arn)
    assert {**after, "ResponseMetadata": None} == {**before, "ResponseMetadata": None}


@pytest.mark.parametrize("change", [str, str.lower, str.upper])
def test_group_cannot_be_created_twice(sagemaker, group, change):
    create(sagemaker, group)
    with pytest.raises(ClientError, match="ValidationException.*already exists"):
        sagemaker.create_model_package_group(ModelPackageGroupName=change(group))
    assert versions(sagemaker, group) == [1]


def test_package_without_a_group_cannot_be_created_twice(sagemaker):
    arn = sagemaker.create_model_package(ModelPackageName="alone", ModelPackageDescription="first")["ModelPackageArn"]
    with pytest.raises(ClientError, match="ConflictException"):
        sagemaker.create_model_package(ModelPackageName="alone", ModelPackageDescription="second")
    assert sagemaker.describe_model_package(ModelPackageName="alone")["ModelPackageDescription"] == "first"
    assert arn.endswith(":model-package/alone")


def test_repeated_request_with_one_token_creates_one_package(sagemaker, group):
    arns = {create(sagemaker, group, ClientToken="token-1") for _ in range(2)}
    assert len(arns) == 1
    assert versions(sagemaker, group) == [1]
    with pytest.raises(ClientError, match="ConflictException"):
        create(sagemaker, group, ClientToken="token-1", ModelPackageDescription="other")


def test_package_is_found_by_arn_and_by_group_and_version(sagemaker, group):
    arn = create(sagemaker, group)
    for name in (arn, f"{group}/1"):
        assert sagemaker.describe_model_package(ModelPackageName=name)["ModelPackageArn"] == arn
    with pytest.raises(ClientError, match="ValidationException"):
        sagemaker.describe_model_package(ModelPackageName=group)
    answer = sagemaker.batch_describe_model_package(ModelPackageArnList=[arn, f"{arn}7"])
    assert (list(answer["ModelPackageSummaries"]), list(answer["BatchDescribeModelPackageErrorMap"])) == (
        [arn],
        [f"{arn}7"],
    )


def test_packages_are_listed_by_status_order_and_page(sagemaker, group):
    arns = [create(sagemaker, group) for _ in range(5)]
    sagemaker.update_model_package(ModelPackageArn=arns[2], ModelApprovalStatus="Rejected")
    options = {"ModelPackageGroupName": group, "SortBy": "CreationTime"}
    rejected = sagemaker.list_model_packages(**options, ModelApprovalStatus="Rejected")["ModelPackageSummaryList"]
    assert [package["ModelPackageArn"] for package in rejected] == [arns[2]]
    pages = sagemaker.get_paginator("list_model_packages").paginate(
        **options, SortOrder="Descending", PaginationConfig={"PageSize": 2}
    )
    listed = [package["ModelPackageArn"] for page in pages for package in page["ModelPackageSummaryList"]]
    assert listed == arns[::-1]


def test_packages_are_listed_by_name_or_arn_of_their_group_and_those_of_an_unknown_group_are_none(sagemaker, group):
    create(sagemaker, group)
    arn = sagemaker.describe_model_package_group(ModelPackageGroupName=group)["ModelPackageGroupArn"]
    assert (versions(sagemaker, group), versions(sagemaker, arn), versions(sagemaker, "unknown")) == ([1], [1], [])
    assert versions(sagemaker, arn.replace("us-east-1", "eu-west-1")) == []


def test_model_cannot_be_created_twice(sagemaker):
    create_model = {"ModelName": "model", "PrimaryContainer": {"Image": "image:1"}}
    sagemaker.create_model(**create_model)
    with pytest.raises(ClientError, match="ValidationException.*already existing model"):
        sagemaker.create_model(**create_model)
    assert [model["ModelName"] for model in sagemaker.list_models()["Models"]] == ["model"]


def test_tags_with_one_key_replace_each_other(sagemaker, group):
    arn = sagemaker.describe_model_package_group(ModelPackageGroupName=group)["ModelPackageGroupArn"]
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    added = sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "3"}])["Tags"]
    assert added == [{"Key": "a", "Value": "3"}, {"Key": "b", "Value": "2"}]
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == added
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a", "unknown"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]
    with pytest.raises(ClientError, match="ValidationException.*limit is 50"):
        sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": f"k{number}", "Value": "v"} for number in range(50)])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]
