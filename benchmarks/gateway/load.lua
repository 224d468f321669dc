-- Chat requests that differ from one another: arguments SIZE KIND SEED KEY. Half of a body is shared by one in 64.
local count, seed, size, kind, key = 0, 0, 200, "whole", ""
local shared, first, last = {}, {}, {}
local before, after, head = "", "", nil

function init(args)
  size, kind, seed, key = tonumber(args[1]), args[2], tonumber(args[3]), args[4]
  local filler = string.rep("the quick brown fox jumps over the lazy dog ", 200)
  local room = size - 110
  local half = math.floor(room / 2)
  local rest, mark = "", ""
  if kind == "burst" then rest = ', "stream": true' end
  if kind == "paced" then rest, mark = ', "stream": true', "[paced] " end
  before = '{"model": "mock", "max_tokens": 50, "messages": [{"role": "user", "content": "' .. mark
  after = '"}]' .. rest .. "}"
  for group = 0, 63 do
    shared[group] = string.format("group %02d of run %06d ", group, seed) .. filler
    first[group] = shared[group]:sub(1, half)
    last[group] = shared[group]:sub(1, room - half - 10) .. after
  end
  wrk.headers["content-type"] = "application/json"
  wrk.headers["authorization"] = "Bearer " .. key
end

-- All requests of a run are of one length and so have one head: it is made once, so that the load stays cheap.
function request()
  count = count + 1
  local own = first[(count * 7) % 64] .. string.format("%09d ", count) .. last[count % 64]
  if head == nil then
    local body = before .. own
    local whole = wrk.format("POST", "/v1/chat/completions", nil, body)
    head = whole:sub(1, #whole - #body) .. before
  end
  return head .. own
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('\nRESULT {"requests": %d, "duration_s": %f, "p50_ms": %f, "p99_ms": %f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
