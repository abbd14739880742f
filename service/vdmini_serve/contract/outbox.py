"""Webhooks that must be sent: how they lie in Redis, and how they change. Sending them is left to `api.webhooks`.

A job's last state puts its id into the outbox in the same Lua script (`close` in `contract.transitions`), so none is
lost. Taking one is atomic and holds it for a while, so that two replicas never send it at the same time; if the sender
dies it is due again afterwards. It is thus sent at least once, and sometimes twice: receivers go by its id.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from vdmini_serve.contract.record import Record

DeliveryStatus = Literal["waiting", "pending", "delivered", "failed"]
SECRET_BYTES = range(24, 65)
"""What the Standard Webhooks specification allows."""
SECRET_PREFIX = "whsec_"  # noqa: S105  # the mark of one, not one


class WebhookDelivery(Record):
    """How the sending of a job's webhook stands. The URL may hold a secret and is not shown."""

    status: DeliveryStatus = Field(
        description="waiting for the job's end, pending until sent, delivered (answered with 2xx), failed (given up)"
    )
    attempts: int = Field(description="how often it was tried")
    last_error: str | None = Field(default=None, description="why the last attempt failed")


def encode_webhook(url: str | None) -> dict[str, str]:
    """The part of a new job's Redis hash."""
    return {} if url is None else {"webhook_url": url}


def decode_delivery(fields: Mapping[str, str]) -> WebhookDelivery | None:
    """How a job's hash says its webhook stands; None when it has none."""
    if "webhook_url" not in fields:
        return None
    unsent = "waiting" if fields["status"] in ("queued", "running") else "pending"
    return WebhookDelivery.model_validate(
        {
            "status": fields.get("webhook_status", unsent),
            "attempts": int(fields.get("webhook_attempts", 0)),
            "last_error": fields.get("webhook_error"),
        }
    )


def check_secret(text: str) -> None:
    """Check a key that signs webhooks.

    Raises:
        ValueError: when it is none, without repeating it.
    """
    try:
        if not text.startswith(SECRET_PREFIX):
            raise ValueError(f"a webhook secret starts with {SECRET_PREFIX}; this one doesn't")
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"behind {SECRET_PREFIX} a webhook secret is base64 (RFC 4648, with padding)") from None
    if len(key) not in SECRET_BYTES:
        few, many = SECRET_BYTES[0], SECRET_BYTES[-1]
        raise ValueError(
            f"a webhook secret has {few} to {many} bytes, this one {len(key)}; try `openssl rand -base64 32`"
        )


_NOW = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
"""
"""Redis' own clock, the same for all replicas."""

# KEYS outbox, metrics. ARGV seconds to hold them, most attempts, how many, metrics field of failures.
# An attempt counts when it begins, so that one which kills its sender cannot be repeated for ever.
# Returns id, attempt, id, attempt, ...
TAKE = (
    _NOW
    + """
local taken = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[3])) do
  local job = 'vdmini:job:' .. id
  if redis.call('HEXISTS', job, 'webhook_url') == 0 then
    redis.call('ZREM', KEYS[1], id)
  elseif tonumber(redis.call('HGET', job, 'webhook_attempts') or '0') >= tonumber(ARGV[2]) then
    redis.call('HSET', job, 'webhook_status', 'failed')
    redis.call('ZREM', KEYS[1], id)
    redis.call('HINCRBYFLOAT', KEYS[2], ARGV[4], 1)
  else
    redis.call('ZADD', KEYS[1], now + ARGV[1], id)
    taken[#taken + 1] = id
    taken[#taken + 1] = redis.call('HINCRBY', job, 'webhook_attempts', 1)
  end
end
return taken
"""
)

# KEYS job, outbox, metrics. ARGV id, attempt, status, seconds until the next attempt, error or '', metrics field.
# Returns 1, or 0 when the webhook is no longer this attempt's, or the job is gone.
SETTLE = (
    _NOW
    + """
if redis.call('HGET', KEYS[1], 'webhook_attempts') ~= ARGV[2] or not redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  return 0
end
redis.call('HSET', KEYS[1], 'webhook_status', ARGV[3])
if ARGV[5] == '' then redis.call('HDEL', KEYS[1], 'webhook_error')
else redis.call('HSET', KEYS[1], 'webhook_error', ARGV[5]) end
if ARGV[3] == 'pending' then redis.call('ZADD', KEYS[2], now + ARGV[4], ARGV[1])
else redis.call('ZREM', KEYS[2], ARGV[1]) end
redis.call('HINCRBYFLOAT', KEYS[3], ARGV[6], 1)
return 1
"""
)
