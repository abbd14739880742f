"""How a finished job goes, as Lua scripts: its record when its time has come, its file a grace time later.

`contract.transitions` notes when a job expires as it finishes. The file follows later so that downloads that have begun
can end; until it is gone it stays on a list, so neither a crash nor a store that is away forgets it.

Caller: `api.expiry`.
"""

# KEYS job, jobs, expiring, removals, bytes. ARGV id, now, when its files may go.
# Returns 1, or 0 when the job is live, gone already, or has time left.
EXPIRE = """
local due = redis.call('ZSCORE', KEYS[3], ARGV[1])
if not due or tonumber(due) > tonumber(ARGV[2]) then return 0 end
local status = redis.call('HGET', KEYS[1], 'status')
redis.call('ZREM', KEYS[3], ARGV[1])
if status == 'queued' or status == 'running' then return 0 end
local attempts = redis.call('HGET', KEYS[1], 'attempts')
if attempts and attempts ~= '0' then redis.call('ZADD', KEYS[4], ARGV[3], ARGV[1] .. '.' .. attempts) end
local result = status == 'succeeded' and redis.call('HGET', KEYS[1], 'result')
if result then redis.call('DECRBY', KEYS[5], tonumber(cjson.decode(result)['size_bytes']) or 0) end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', 'vdmini:jobs:of:' .. (redis.call('HGET', KEYS[1], 'owner') or ''), ARGV[1])
redis.call('DEL', KEYS[1])
return 1
"""

# KEYS removals. ARGV now, most entries, when they are due again unless they are done by then.
# Returns what the caller alone removes now.
TAKE = """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, entry in ipairs(due) do redis.call('ZADD', KEYS[1], ARGV[3], entry) end
return due
"""

# KEYS removals, metrics. ARGV id.attempts, metric, files that were there.
# Returns 1, or 0 when another replica has counted them.
REMOVED = """
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
if ARGV[3] ~= '0' then redis.call('HINCRBYFLOAT', KEYS[2], ARGV[2], ARGV[3]) end
return 1
"""
