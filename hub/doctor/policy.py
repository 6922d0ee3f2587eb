"""Does the policy file hold what the hub can follow?"""

from hub.doctor.subject import Subject
from hub.policy import load
from wire.failures import TenderError
from wire.operating.findings import Finding

NAME = "policy"


async def check(subject: Subject) -> Finding:
    if subject.policy_file is None:
        return Finding(NAME, "pass", "no policy file; the defaults hold")
    try:
        rules = load(subject.policy_file)
    except TenderError as error:
        return Finding(NAME, "fail", f"{subject.policy_file}: {error.message}"[:500], error.hint or "mend the file")
    return Finding(NAME, "pass", f"{subject.policy_file}: quotas for {len(rules.namespaces)} namespaces")
