"""The expressions of a pipeline definition: references to parameters, properties and property files, and joins."""

from __future__ import annotations

from typing import Any, TypeAlias

Expression: TypeAlias = dict[str, Any]
JsonValue: TypeAlias = Any
"""A value in a definition: a JSON type or an expression."""

EXECUTION_ID = {"Get": "Execution.PipelineExecutionId"}
PIPELINE_NAME = {"Get": "Execution.PipelineName"}


def parameter(name: str) -> Expression:
    """Return a reference to a pipeline parameter."""
    return {"Get": f"Parameters.{name}"}


def step_property(step: str, path: str) -> Expression:
    """Return a reference to a property of a step's job, for example ``ModelArtifacts.S3ModelArtifacts``."""
    return {"Get": f"Steps.{step}.{path}"}


def processing_output(step: str, output: str) -> Expression:
    """Return a reference to the S3 URI of an output of a processing step."""
    return step_property(step, f"ProcessingOutputConfig.Outputs['{output}'].S3Output.S3Uri")


def join(separator: str, *values: JsonValue) -> Expression:
    """Return an expression that joins several values to a text."""
    return {"Std:Join": {"On": separator, "Values": list(values)}}


def s3_uri(bucket: JsonValue, *parts: JsonValue) -> Expression:
    """Return an expression for ``s3://bucket/part/part``."""
    return join("/", "s3:/", bucket, *parts)


def json_get(step: str, property_file: str, path: str) -> Expression:
    """Return a reference to a value in a property file."""
    return {"Std:JsonGet": {"PropertyFile": {"Get": f"Steps.{step}.PropertyFiles.{property_file}"}, "Path": path}}
