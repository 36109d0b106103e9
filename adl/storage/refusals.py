"""What a bucket refuses, however often it is asked, and what to do about it."""

from __future__ import annotations

import re

from botocore.exceptions import ClientError, NoCredentialsError, PartialCredentialsError

from adl.errors import AdlError

CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (of OBS: its AK and SK)"
_FORBIDDEN = 403

_CLOCK = "This machine's clock differs too much from the storage's. Set it right."
_TOKEN = (
    "The session token is no longer valid, or never was. Get new temporary credentials, and set AWS_SESSION_TOKEN "
    "with the two keys that belong to it; with permanent keys, leave it unset."
)
_POLICY = (
    "The key is known, but may not do this. Check the policies of the bucket and of the key's owner: a job lists, "
    "reads, writes and deletes below train_url, and lists and reads below data_url."
)
_ACCOUNT = "The account may not use the storage: arrears, or not registered. Settle that with the provider."
_HOST = (
    "This storage wants the bucket in the host name. Name an endpoint whose host begins with obs, as in "
    "https://obs.REGION.myhuaweicloud.com: AWS_ENDPOINT_URL."
)
_REGION = (
    "The bucket is in another region. Name the endpoint of its region: AWS_ENDPOINT_URL, and for AWS itself "
    "AWS_DEFAULT_REGION."
)
_ARCHIVED = "This object is archived. Restore it first."
_FULL = "The bucket has reached its quota. Raise that, or delete what is not needed."
_KEY = f"Check {CREDENTIALS}."

REMEDIES = {
    "RequestTimeTooSkewed": _CLOCK,
    **dict.fromkeys(("ExpiredToken", "InvalidToken", "TokenRefreshRequired"), _TOKEN),
    **dict.fromkeys(("AccessDenied", "AccessForbidden", "AllAccessDisabled"), _POLICY),
    **dict.fromkeys(
        (
            *("InArrearOrInsufficientBalance", "AccountProblem", "NotSignedUp", "Unauthorized"),
            *("DeregisterUserId", "FrozenUserId"),
        ),
        _ACCOUNT,
    ),
    **dict.fromkeys(("VirtualHostDomainRequired", "SecondLevelDomainForbidden"), _HOST),
    **dict.fromkeys(
        ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
        _REGION,
    ),
    "InvalidObjectState": _ARCHIVED,
    "InsufficientStorageSpace": _FULL,
    **dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "TooManyWrongSignature"), _KEY
    ),
}  # fmt: skip
"""Error code of S3 or of OBS → what is wrong and what to do."""


def refusal(where: str, error: Exception) -> AdlError | None:
    """The error to end with, if another attempt would meet the same; else None."""
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return AdlError(f"{where}: {error}. Set {CREDENTIALS}.")
    code, status = _answer(error)
    if code in REMEDIES:
        return AdlError(f"{where}: access is refused ({code}: {error}). {REMEDIES[code]}")
    if isinstance(error, PermissionError) or status == _FORBIDDEN:
        return AdlError(f"{where}: access is refused ({error}). {_KEY}")
    if isinstance(error, FileNotFoundError):
        return AdlError(f"{where}: does not exist ({error}). Check the bucket and the path.")
    return None


def _answer(error: Exception) -> tuple[str, int]:
    """Error code and HTTP status that the storage gave; moxing has the code only in its text."""
    cause = error.__cause__
    if isinstance(cause, ClientError):
        answer = cause.response
        return answer["Error"].get("Code", ""), answer["ResponseMetadata"]["HTTPStatusCode"]
    words = re.findall(r"\w+", str(error))
    return next((word for word in words if word in REMEDIES), ""), 0
