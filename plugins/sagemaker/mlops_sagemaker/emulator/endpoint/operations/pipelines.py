"""The operations for pipelines and their versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.core.exceptions import ServiceException
from moto.s3.models import s3_backends

from mlops_sagemaker.checking import check_text
from mlops_sagemaker.emulator.endpoint.protocol.errors import ConflictError, ValidationError
from mlops_sagemaker.emulator.endpoint.protocol.listing import in_order, is_between, page
from mlops_sagemaker.emulator.endpoint.state import Pipeline, PipelineVersion, Region, now, present

if TYPE_CHECKING:
    from collections.abc import Mapping

    Request = Mapping[str, Any]
    Response = dict[str, Any]

_SHOWN = 5
_CREATED = {"after": "CreatedAfter", "before": "CreatedBefore"}


def create_pipeline(region: Region, request: Request) -> Response:
    """``CreatePipeline``; a repeated request with the same token creates nothing."""
    name = request["PipelineName"]
    existing = region.pipelines.get(name)
    if existing:
        if existing.request == request:
            return {"PipelineArn": existing.arn}
        raise ValidationError(
            "Pipeline names must be unique within an AWS account and region. "
            f"Pipeline with name ({name}) already exists."
        )
    text, time = _definition(region, request), now()
    pipeline = Pipeline(
        name=name,
        arn=region.arn("pipeline", name),
        role=request["RoleArn"],
        created=time,
        modified=time,
        request=request,
        display_name=request.get("PipelineDisplayName"),
        description=request.get("PipelineDescription"),
        parallelism=request.get("ParallelismConfiguration"),
    )
    first = PipelineVersion(number=1, definition=text, created=time)
    pipeline.assign(first, request.get("PipelineVersionAliases") or [])
    region.add_tags(pipeline.arn, request.get("Tags"))
    pipeline.versions.append(first)
    region.pipelines[name] = pipeline
    return {"PipelineArn": pipeline.arn}


def update_pipeline(region: Region, request: Request) -> Response:
    """``UpdatePipeline``: what the request does not name is kept; another definition is a new version."""
    pipeline = region.pipeline(request["PipelineName"])
    names, time = ("PipelineDefinition", "PipelineDefinitionS3Location"), now()
    text = _definition(region, request) if any(name in request for name in names) else pipeline.latest.definition
    aliases = request.get("PipelineVersionAliases") or []
    if text != pipeline.latest.definition:
        version = PipelineVersion(number=pipeline.latest.number + 1, definition=text, created=time)
        pipeline.assign(version, aliases)
        pipeline.versions.append(version)
    elif aliases:
        raise ValidationError("PipelineVersionAliases can be used only when the update changes the definition")
    pipeline.role = request.get("RoleArn", pipeline.role)
    pipeline.display_name = request.get("PipelineDisplayName", pipeline.display_name)
    pipeline.description = request.get("PipelineDescription", pipeline.description)
    pipeline.parallelism = request.get("ParallelismConfiguration", pipeline.parallelism)
    pipeline.modified = time
    return {"PipelineArn": pipeline.arn, "PipelineVersionId": pipeline.latest.number}


def describe_pipeline(region: Region, request: Request) -> Response:
    """``DescribePipeline``, of any version."""
    pipeline = region.pipeline(request["PipelineName"])
    version = pipeline.version(request)
    return present(
        {
            **_summary(pipeline),
            "LastExecutionTime": None,
            "LastRunTime": pipeline.last_run,
            "PipelineDefinition": version.definition,
            "PipelineStatus": "Active",
            "CreatedBy": {},
            "LastModifiedBy": {},
            "ParallelismConfiguration": pipeline.parallelism,
            "PipelineVersionDisplayName": version.display_name,
            "PipelineVersionDescription": version.description,
            "PipelineVersionAliases": version.aliases or None,
        }
    )


def delete_pipeline(region: Region, request: Request) -> Response:
    """``DeletePipeline``, with its executions; refused while one of them runs."""
    name, token = request["PipelineName"], request["ClientRequestToken"]
    if name not in region.pipelines and (name, token) in region.deleted:
        return {"PipelineArn": region.deleted[name, token]}
    pipeline = region.pipeline(name)
    running = [arn for arn, execution in pipeline.executions.items() if not execution.record.status.is_final]
    if running:
        raise ConflictError(f"Pipeline '{name}' has running executions, stop them first: {', '.join(running)}")
    del region.pipelines[name]
    region.tags.pop(pipeline.arn, None)
    region.deleted[name, token] = pipeline.arn
    return {"PipelineArn": pipeline.arn}


def list_pipelines(region: Region, request: Request) -> Response:
    """``ListPipelines``."""
    prefix = request.get("PipelineNamePrefix", "")
    matching = [
        pipeline
        for pipeline in region.pipelines.values()
        if pipeline.name.startswith(prefix)
        and is_between(request, pipeline.created, **_CREATED)
        and request.get("ManagedBy") != "AWS"
    ]
    keys = {"Name": lambda pipeline: pipeline.name, "CreationTime": lambda pipeline: pipeline.created}
    ordered = in_order(matching, request, keys=keys, default="CreationTime", is_descending=True)
    return page(request, [present(_summary(pipeline)) for pipeline in ordered], name="PipelineSummaries")


def list_pipeline_versions(region: Region, request: Request) -> Response:
    """``ListPipelineVersions``."""
    pipeline = region.pipeline(request["PipelineName"])
    matching = [version for version in pipeline.versions if is_between(request, version.created, **_CREATED)]
    keys = {"Number": lambda version: version.number}
    ordered = in_order(matching, request, keys=keys, default="Number", is_descending=True)
    listed = [_version_summary(pipeline, version) for version in ordered]
    return page(request, listed, name="PipelineVersionSummaries")


def update_pipeline_version(region: Region, request: Request) -> Response:
    """``UpdatePipelineVersion``."""
    pipeline = region.pipeline(request["PipelineArn"])
    version = pipeline.version(request)
    aliases = request.get("PipelineVersionAliasOperations") or {}
    missing = [alias for alias in aliases.get("Remove") or () if alias not in version.aliases]
    if missing:
        raise ValidationError(f"version {version.number} has no alias '{missing[0]}'")
    pipeline.assign(version, aliases.get("Add") or [])
    version.aliases = [alias for alias in version.aliases if alias not in (aliases.get("Remove") or ())]
    version.display_name = request.get("PipelineVersionDisplayName", version.display_name)
    version.description = request.get("PipelineVersionDescription", version.description)
    pipeline.modified = now()
    return {"PipelineArn": pipeline.arn, "PipelineVersionId": version.number}


def _summary(pipeline: Pipeline) -> Response:
    return {
        "PipelineArn": pipeline.arn,
        "PipelineName": pipeline.name,
        "PipelineDisplayName": pipeline.display_name or pipeline.name,
        "PipelineDescription": pipeline.description,
        "RoleArn": pipeline.role,
        "CreationTime": pipeline.created,
        "LastModifiedTime": pipeline.modified,
        "LastExecutionTime": pipeline.last_run,
    }


def _version_summary(pipeline: Pipeline, version: PipelineVersion) -> Response:
    executions = [execution.arn for execution in pipeline.executions.values() if execution.version is version]
    return present(
        {
            "PipelineArn": pipeline.arn,
            "PipelineVersionId": version.number,
            "CreationTime": version.created,
            "PipelineVersionDescription": version.description,
            "PipelineVersionDisplayName": version.display_name,
            "LastExecutionPipelineExecutionArn": executions[-1] if executions else None,
            "PipelineVersionAliases": version.aliases or None,
        }
    )


def _definition(region: Region, request: Request) -> str:
    """Return the definition of a request as text.

    Raises:
        ValidationError: there is no definition, or two, or it has faults; contains the first ones.
    """
    text, location = request.get("PipelineDefinition"), request.get("PipelineDefinitionS3Location")
    if (text is None) is (location is None):
        raise ValidationError("Pass either PipelineDefinition or PipelineDefinitionS3Location.")
    text = _from_s3(region, location) if location else str(text)
    faults = check_text(text)
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise ValidationError(f"Unable to parse pipeline definition. {'; '.join(map(str, faults[:_SHOWN]))}{more}")
    return text


def _from_s3(region: Region, location: Mapping[str, str]) -> str:
    try:
        key = s3_backends[region.account]["aws"].get_object(
            location["Bucket"], location["ObjectKey"], version_id=location.get("VersionId")
        )
        if key is not None:
            return bytes(key.value).decode()
    except ServiceException as error:
        raise ValidationError(f"Cannot read the pipeline definition {dict(location)}: {error.message}") from error
    except UnicodeDecodeError as error:
        raise ValidationError(f"The pipeline definition {dict(location)} is not UTF-8: {error}") from error
    raise ValidationError(f"The pipeline definition {dict(location)} does not exist.")
