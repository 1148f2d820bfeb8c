"""The values that the expressions of an execution refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_sagemaker.emulator.definition import JOB_VARIABLES
from mlops_sagemaker.emulator.faults import FaultKind, StepFault
from mlops_sagemaker.emulator.history import now
from mlops_sagemaker.emulator.objects import parse_uri
from mlops_sagemaker.service.executions import ExecutionStepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_sagemaker.emulator.definition import Definition
    from mlops_sagemaker.emulator.objects import ObjectStore
    from mlops_sagemaker.service.executions import ExecutionRecord


class ExecutionScope:
    """The values that the expressions of an execution refer to."""

    def __init__(self, record: ExecutionRecord, definition: Definition, *, objects: ObjectStore, job: str = "") -> None:
        """Read values from the state of an execution.

        Args:
            record: state of the execution.
            definition: definition that is executed.
            objects: the objects behind ``s3://`` URIs.
            job: name of the job whose arguments are resolved; empty if there is none.
        """
        self._record = record
        self._definition = definition
        self._objects = objects
        self._job = job

    def parameters(self) -> Mapping[str, Any]:
        """Return the parameter values by name."""
        return self._record.parameters

    def execution(self) -> Mapping[str, Any]:
        """Return the execution variables by name."""
        return {
            "PipelineName": self._record.pipeline,
            "PipelineArn": self._record.arn.partition("/execution/")[0],
            "PipelineExecutionId": self._record.execution_id,
            "PipelineExecutionArn": self._record.arn,
            "StartDateTime": self._record.start,
            "CurrentDateTime": now(),
            **(dict.fromkeys(JOB_VARIABLES.values(), self._job) if self._job else {}),
        }

    def properties(self, step: str) -> Mapping[str, Any]:
        """Return the properties of a step that succeeded.

        Raises:
            StepFault: the step has not succeeded.
        """
        state = self._record.step(step)
        if state is None or state.status is not ExecutionStepStatus.SUCCEEDED:
            raise StepFault(FaultKind.CLIENT, f"Steps.{step}: the step has not succeeded in this execution")
        return state.properties

    def property_file(self, step: str, name: str) -> str:
        """Return the text of a property file.

        Raises:
            StepFault: the step declares no such file, or has not written it.
        """
        declared = {file.name: file for file in self._definition.steps[step].property_files}
        if name not in declared:
            raise StepFault(FaultKind.CLIENT, f"Steps.{step}.PropertyFiles.{name}: the step declares no such file")
        file = declared[name]
        outputs = (self.properties(step).get("ProcessingOutputConfig") or {}).get("Outputs") or ()
        for output in outputs:
            if output["OutputName"] == file.output:
                return self.document(str(parse_uri(output["S3Output"]["S3Uri"]).join(file.path)))
        raise StepFault(FaultKind.CLIENT, f"property file '{name}': step '{step}' has no output '{file.output}'")

    def document(self, uri: str) -> str:
        """Return the text of an object in S3.

        Raises:
            StepFault: the object does not exist.
        """
        return self._objects.read(parse_uri(uri)).decode("utf-8")
