"""The state machine of a job, as Lua scripts: each transition is atomic, counted, and announced with the change.

queued -> running -> succeeded | failed | cancelled

- An attempt number fences a job: whoever holds an old one cannot change it any more.
- A lease (owner and attempt, expiring) says that a running job is alive. A message for a job that another owner holds
  is dropped; one from the same owner is not: its message comes back only when the child that ran it died. (A job whose
  MP4 is still written beside the next one has no message any more; if that is lost, its lease runs out.)
- A finished job has a time at which it expires; `contract.expiry` has what happens then.
- What is counted is passed in as pairs of a field of the metrics' hash and an amount.

Callers: `api.store` and `worker.store`.
"""

_PRELUDE = """
local function count(from)
  for i = from, #ARGV - 1, 2 do redis.call('HINCRBYFLOAT', 'vdmini:metrics', ARGV[i], ARGV[i + 1]) end
end
local function outcome(job, status)
  local labels = '["' .. redis.call('HGET', job, 'task') .. '", "' .. redis.call('HGET', job, 'variant') .. '", "'
  local function add(name, last)
    redis.call('HINCRBYFLOAT', 'vdmini:metrics', '["' .. name .. '", ' .. labels .. last .. '"], "value"]', 1)
  end
  add('vdmini_jobs_total', status)
  if status == 'failed' then
    local problem = cjson.decode(redis.call('HGET', job, 'error') or '{}')
    add('vdmini_job_failures_total', string.match(problem['type'] or 'internal-error', '[^:]+$'))
  end
end
local function close(job, id, status, now)
  redis.call('HSET', job, 'status', status, 'finished_at', now)
  redis.call('ZREM', 'vdmini:active', id)
  redis.call('SREM', 'vdmini:active:of:' .. (redis.call('HGET', job, 'owner') or ''), id)
  redis.call('DECRBY', 'vdmini:active:cost', redis.call('HGET', job, 'cost') or '0')
  redis.call('DEL', 'vdmini:lease:' .. id, 'vdmini:image:' .. id)
  local expires_at = now + (redis.call('HGET', job, 'ttl_seconds') or 604800)
  redis.call('HSET', job, 'expires_at', expires_at)
  redis.call('ZADD', 'vdmini:expiring', expires_at, id)
  outcome(job, status)
  if redis.call('HEXISTS', job, 'webhook_url') == 1 then redis.call('ZADD', 'vdmini:webhooks', 0, id) end
  redis.call('PUBLISH', 'vdmini:finished', id)
end
local function fail(job, id, problem, now)
  redis.call('HSET', job, 'error', problem)
  close(job, id, 'failed', now)
end
local function too_late(job, now)
  local latest = redis.call('HGET', job, 'start_before')
  return latest and latest ~= '' and tonumber(now) > tonumber(latest)
end
"""

# KEYS job, jobs, active, image, idempotency, jobs of the owner, active of the owner.
# ARGV limits and ticket as JSON, id, created_at, image or '', field, value, ...
# Returns {'created'}, {'replayed', job} or {'conflict', job} for an Idempotency-Key that was used, or what is full:
# {'jobs'}, {'cost'}, {'owner'}.
CREATE = """
local asked = cjson.decode(ARGV[1])
if asked.body then
  local former = redis.call('HMGET', KEYS[5], 'job', 'body')
  if former[1] and redis.call('EXISTS', 'vdmini:job:' .. former[1]) == 1 then
    return {former[2] == asked.body and 'replayed' or 'conflict', former[1]}
  end
end
local cost = tonumber(redis.call('GET', 'vdmini:active:cost') or '0')
if redis.call('ZCARD', KEYS[3]) >= asked.max_jobs then return {'jobs'} end
if asked.max_cost and cost > 0 and cost + asked.cost > asked.max_cost then return {'cost'} end
if asked.max_of_owner and redis.call('SCARD', KEYS[7]) >= asked.max_of_owner then return {'owner'} end
for i = 5, #ARGV - 1, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[2])
redis.call('ZADD', KEYS[6], ARGV[3], ARGV[2])
redis.call('SADD', KEYS[7], ARGV[2])
redis.call('INCRBY', 'vdmini:active:cost', asked.cost)
if ARGV[4] ~= '' then redis.call('SET', KEYS[4], ARGV[4]) end
if asked.body then
  redis.call('HSET', KEYS[5], 'job', ARGV[2], 'body', asked.body)
  redis.call('EXPIRE', KEYS[5], asked.remember_seconds)
end
return {'created'}
"""

# KEYS job, lease. ARGV id, owner, now, lease in ms, most attempts, problem when those are used up, problem when it is
# too late.
# Returns the attempt, or 0 when there is nothing to do.
CLAIM = (
    _PRELUDE
    + """
local status = redis.call('HGET', KEYS[1], 'status')
if status ~= 'queued' and status ~= 'running' then return 0 end
if status == 'running' then
  local lease = redis.call('GET', KEYS[2])
  if lease and lease ~= ARGV[2] then return 0 end
end
if redis.call('HGET', KEYS[1], 'cancel') == '1' then close(KEYS[1], ARGV[1], 'cancelled', ARGV[3]) return 0 end
local attempts = tonumber(redis.call('HGET', KEYS[1], 'attempts'))
if attempts >= tonumber(ARGV[5]) then fail(KEYS[1], ARGV[1], ARGV[6], ARGV[3]) return 0 end
if attempts == 0 and too_late(KEYS[1], ARGV[3]) then fail(KEYS[1], ARGV[1], ARGV[7], ARGV[3]) return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[4])
redis.call('HSET', KEYS[1], 'status', 'running', 'started_at', ARGV[3], 'progress', '0')
return redis.call('HINCRBY', KEYS[1], 'attempts', 1)
"""
)

# KEYS job, lease. ARGV owner, attempt, lease in ms, progress or ''.
# Returns 'ok', 'cancel' when the client asked for it, or 'lost' when the job is no longer this attempt's.
BEAT = """
if redis.call('HGET', KEYS[1], 'status') ~= 'running' or redis.call('HGET', KEYS[1], 'attempts') ~= ARGV[2] then
  return 'lost'
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'progress', ARGV[4]) end
if redis.call('HGET', KEYS[1], 'cancel') == '1' then return 'cancel' end
return 'ok'
"""

# KEYS job. ARGV id, attempt, status, now, result or '', error or '', metric, amount, ...
# Returns 1, or 0 when the job is no longer this attempt's. A success that is told twice is still one: the client
# library repeats a call whose answer was lost, and a 0 would make the worker remove the clip.
FINISH = (
    _PRELUDE
    + """
local before, attempts = unpack(redis.call('HMGET', KEYS[1], 'status', 'attempts'))
if ARGV[3] == 'succeeded' and before == 'succeeded' and attempts == ARGV[2] then return 1 end
if before ~= 'running' or attempts ~= ARGV[2] then return 0 end
if ARGV[3] == 'succeeded' then redis.call('HSET', KEYS[1], 'progress', '1') end
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[1], 'result', ARGV[5])
  if ARGV[3] == 'succeeded' then
    redis.call('INCRBY', 'vdmini:results:bytes', tonumber(cjson.decode(ARGV[5])['size_bytes']) or 0)
  end
end
if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'error', ARGV[6]) end
close(KEYS[1], ARGV[1], ARGV[3], ARGV[4])
count(7)
return 1
"""
)

# KEYS job. ARGV id, now. A queued job is cancelled at once, a running one when its worker reads the flag.
# Returns 1, or 0 when there is no such job.
CANCEL = (
    _PRELUDE
    + """
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return 0 end
if status == 'queued' then close(KEYS[1], ARGV[1], 'cancelled', ARGV[2]) end
if status == 'running' then redis.call('HSET', KEYS[1], 'cancel', '1') end
return 1
"""
)

# KEYS job. ARGV id, now. An unfinished job ends as cancelled, so that it is counted and those who wait are woken; its
# worker finds that the job is no longer its own. Then its time is over, see `contract.expiry`.
# Returns 1, or 0 when there is no such job.
END = (
    _PRELUDE
    + """
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return 0 end
if status == 'queued' or status == 'running' then close(KEYS[1], ARGV[1], 'cancelled', ARGV[2]) end
redis.call('ZADD', 'vdmini:expiring', 'XX', 0, ARGV[1])
return 1
"""
)

# KEYS job. ARGV now. The broker has it. Nothing is written when it was deleted meanwhile.
PUBLISHED = """
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'published', '1', 'published_at', ARGV[1]) end
"""

# KEYS job, lease. ARGV id, now, most attempts, problem when those are used up, age at which to publish again, problem
# when it is too late.
# Returns 1 when the job must be published (again), else 0.
RECOVER = (
    _PRELUDE
    + """
local status = redis.call('HGET', KEYS[1], 'status')
if status == 'queued' then
  if redis.call('HGET', KEYS[1], 'attempts') == '0' and too_late(KEYS[1], ARGV[2]) then
    fail(KEYS[1], ARGV[1], ARGV[6], ARGV[2])
    return 0
  end
  if redis.call('HGET', KEYS[1], 'published') == '1' then return 0 end
  if tonumber(ARGV[2]) - tonumber(redis.call('HGET', KEYS[1], 'created_at')) < tonumber(ARGV[5]) then return 0 end
  return 1
end
if status ~= 'running' then redis.call('ZREM', 'vdmini:active', ARGV[1]) return 0 end
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
if redis.call('HGET', KEYS[1], 'cancel') == '1' then close(KEYS[1], ARGV[1], 'cancelled', ARGV[2]) return 0 end
if tonumber(redis.call('HGET', KEYS[1], 'attempts')) >= tonumber(ARGV[3]) then
  fail(KEYS[1], ARGV[1], ARGV[4], ARGV[2])
  return 0
end
redis.call('HSET', KEYS[1], 'status', 'queued', 'published', '0', 'progress', '0')
return 1
"""
)
