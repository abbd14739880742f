"""The state machine of a job, as Lua scripts: each transition is atomic, counted, and announced with the change.

queued -> running -> succeeded | failed | cancelled

- An attempt number fences a job: whoever holds an old one cannot change it any more.
- A lease (owner and attempt, expiring) says that a running job is alive. A message for a job that another owner holds
  is dropped; one from the same owner is not, because an owner runs one job at a time, so its former run is dead.
- What is counted is passed in as pairs of a field of the metrics' hash and an amount.

Callers: `api.store` and `worker.store`.
"""

_PRELUDE = """
local function count(from)
  for i = from, #ARGV - 1, 2 do redis.call('HINCRBYFLOAT', 'vdmini:metrics', ARGV[i], ARGV[i + 1]) end
end
local function outcome(job, status)
  local labels = '["' .. redis.call('HGET', job, 'task') .. '", "' .. redis.call('HGET', job, 'variant') .. '", "'
  redis.call('HINCRBYFLOAT', 'vdmini:metrics', '["vdmini_jobs_total", ' .. labels .. status .. '"], "value"]', 1)
end
local function close(job, id, status, now)
  redis.call('HSET', job, 'status', status, 'finished_at', now)
  redis.call('ZREM', 'vdmini:active', id)
  redis.call('DEL', 'vdmini:lease:' .. id, 'vdmini:image:' .. id)
  outcome(job, status)
  redis.call('PUBLISH', 'vdmini:finished', id)
end
"""

# KEYS job, jobs, active, image. ARGV id, created_at, most active jobs, image or '', field, value, ...
# Returns 1, or 0 when too many jobs are active.
CREATE = """
if redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[3]) then return 0 end
for i = 5, #ARGV - 1, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
if ARGV[4] ~= '' then redis.call('SET', KEYS[4], ARGV[4]) end
return 1
"""

# KEYS job, lease. ARGV id, owner, now, lease in ms, most attempts, problem when those are used up.
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
if tonumber(redis.call('HGET', KEYS[1], 'attempts')) >= tonumber(ARGV[5]) then
  redis.call('HSET', KEYS[1], 'error', ARGV[6])
  close(KEYS[1], ARGV[1], 'failed', ARGV[3])
  return 0
end
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
# Returns 1, also when this attempt has finished it so before: the answer was lost and the client library asks again.
# Returns 0 when the job is no longer this attempt's.
FINISH = (
    _PRELUDE
    + """
if redis.call('HGET', KEYS[1], 'status') == ARGV[3] and redis.call('HGET', KEYS[1], 'attempts') == ARGV[2] then
  return 1
end
if redis.call('HGET', KEYS[1], 'status') ~= 'running' or redis.call('HGET', KEYS[1], 'attempts') ~= ARGV[2] then
  return 0
end
if ARGV[3] == 'succeeded' then redis.call('HSET', KEYS[1], 'progress', '1') end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'result', ARGV[5]) end
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

# KEYS job, lease. ARGV id, now, most attempts, problem when those are used up, age at which to publish again.
# Returns 1 when the job must be published (again), else 0.
RECOVER = (
    _PRELUDE
    + """
local status = redis.call('HGET', KEYS[1], 'status')
if status == 'queued' then
  if redis.call('HGET', KEYS[1], 'published') == '1' then return 0 end
  if tonumber(ARGV[2]) - tonumber(redis.call('HGET', KEYS[1], 'created_at')) < tonumber(ARGV[5]) then return 0 end
  return 1
end
if status ~= 'running' then redis.call('ZREM', 'vdmini:active', ARGV[1]) return 0 end
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
if redis.call('HGET', KEYS[1], 'cancel') == '1' then close(KEYS[1], ARGV[1], 'cancelled', ARGV[2]) return 0 end
if tonumber(redis.call('HGET', KEYS[1], 'attempts')) >= tonumber(ARGV[3]) then
  redis.call('HSET', KEYS[1], 'error', ARGV[4])
  close(KEYS[1], ARGV[1], 'failed', ARGV[2])
  return 0
end
redis.call('HSET', KEYS[1], 'status', 'queued', 'published', '0', 'progress', '0')
return 1
"""
)
