"""Events against 300 rules: 100,000 events in a second, and against `json.loads` of the same events.

Each event matches one rule of 300: uploads below prefixes of one bucket and to buckets of their own, calls recorded by
a trail, approvals and failed executions.

Usage: ``python benchmarks/triggers.py``
"""

from __future__ import annotations

import json
import sys

from measuring import Ratio, Timing, medians, report, timed
from mlops_sagemaker.triggers.arrivals import created_event, trail_event
from mlops_sagemaker.triggers.patterns import EventPattern, RuleIndex
from mlops_sagemaker.triggers.rules import PACKAGE_CHANGE, event_rules

from mlops_core.watching import ApprovalRule, Arrival, ObjectRule, PrefixRule, ProposalRule

RULES, EVENTS, DIFFERENT = 300, 100_000, 1_000
PLACE = {"account": "111122223333", "region": "eu-central-1"}


def rules() -> RuleIndex:
    """Return the index of 300 rules, 60 of each kind of pattern."""
    made = []
    for number in range(RULES // 5):
        own = {"use_case": f"CASE_{number}"}
        made += [
            ObjectRule(name=f"object-{number}", bucket=f"bucket-{number}", key="train/intel.zip", **own),
            PrefixRule(name=f"shared-{number}", bucket="shared", prefix=f"team-{number}/annotations/", **own),
            PrefixRule(name=f"own-{number}", bucket=f"bucket-{number}", prefix="in/", suffix=".zip", **own),
            ApprovalRule(name=f"approval-{number}", **own),
            ProposalRule(name=f"failure-{number}", on=("pipeline-failed",), **own),
        ]
    return RuleIndex({each.name: EventPattern.of(each.pattern) for each in event_rules(made)})


def events() -> list[str]:
    """Return different events as texts."""
    texts = []
    for number in range(DIFFERENT):
        team = number % (RULES // 5)
        if number % 4 == 0:
            made = trail_event(Arrival(bucket=f"bucket-{team}", key="train/intel.zip", version="v", at=number), **PLACE)
        elif number % 4 == 1:
            key = f"team-{team}/annotations/{number}.csv"
            made = created_event(Arrival(bucket="shared", key=key, version="v", at=number), **PLACE)
        elif number % 4 == 2:
            key = f"in/{number}.zip"
            made = created_event(Arrival(bucket=f"bucket-{team}", key=key, version="v", at=number), **PLACE)
        else:
            detail = {"ModelPackageGroupName": f"CASE-{team}", "ModelApprovalStatus": "Approved"}
            made = {"source": "aws.sagemaker", "detail-type": PACKAGE_CHANGE, "detail": detail}
        texts.append(json.dumps(made))
    return texts


def main() -> int:
    """Measure and print the table."""
    index, texts = rules(), events()
    decoded = [json.loads(text) for text in texts]
    if not all(len(index.match(event)) == 1 for event in decoded):
        sys.exit("each event must match one rule")
    rounds = EVENTS // DIFFERENT

    def match() -> None:
        for _ in range(rounds):
            for event in decoded:
                index.match(event)

    def decode() -> None:
        for _ in range(rounds):
            for text in texts:
                json.loads(text)

    ours, parsed = medians([lambda: timed(match), lambda: timed(decode)], repetitions=5)
    processor = Timing(wall_s=ours.processor_s, processor_s=ours.processor_s)
    name = f"{EVENTS:,} events, {RULES} rules"
    return report(
        [
            Ratio(name=name, ours=ours, peer="json.loads of the events", peer_time=parsed, target=2.0),
            Ratio(name=f"{name}, processor time", ours=processor, peer="a second", peer_time=1.0, target=1.0),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
