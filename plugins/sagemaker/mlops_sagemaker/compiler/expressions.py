"""The expressions of a pipeline definition: references to parameters, step properties and property files, and joins."""

from __future__ import annotations

from typing import Any, TypeAlias

Expression: TypeAlias = dict[str, Any]
JsonValue: TypeAlias = Any
"""What may stand in a definition: JSON types and expressions."""

EXECUTION_ID = {"Get": "Execution.PipelineExecutionId"}
PIPELINE_NAME = {"Get": "Execution.PipelineName"}


def parameter(name: str) -> Expression:
    """Return the value of a pipeline parameter."""
    return {"Get": f"Parameters.{name}"}


def step_property(step: str, path: str) -> Expression:
    """Return a property of a step's job, for example ``ModelArtifacts.S3ModelArtifacts``."""
    return {"Get": f"Steps.{step}.{path}"}


def processing_output(step: str, output: str) -> Expression:
    """Return the S3 address of a processing step's output."""
    return step_property(step, f"ProcessingOutputConfig.Outputs['{output}'].S3Output.S3Uri")


def join(separator: str, *values: JsonValue) -> Expression:
    """Return a text of several parts."""
    return {"Std:Join": {"On": separator, "Values": list(values)}}


def s3_uri(bucket: JsonValue, *parts: JsonValue) -> Expression:
    """Return ``s3://bucket/part/part``."""
    return join("/", "s3:/", bucket, *parts)


def json_get(step: str, property_file: str, path: str) -> Expression:
    """Return a value of a property file."""
    return {"Std:JsonGet": {"PropertyFile": {"Get": f"Steps.{step}.PropertyFiles.{property_file}"}, "Path": path}}
