-- Chat requests that differ from one another: arguments SIZE KIND SEED KEY. Half of a body is shared by one in 64.
local count, seed, size, kind, key = 0, 0, 200, "whole", ""
local shared = {}

function init(args)
  size, kind, seed, key = tonumber(args[1]), args[2], tonumber(args[3]), args[4]
  local filler = string.rep("the quick brown fox jumps over the lazy dog ", 200)
  for group = 0, 63 do
    shared[group] = string.format("group %02d of run %06d ", group, seed) .. filler
  end
  wrk.headers["content-type"] = "application/json"
  wrk.headers["authorization"] = "Bearer " .. key
end

function request()
  count = count + 1
  local room = size - 110
  local half = math.floor(room / 2)
  local own = string.format("%09d ", count) .. shared[count % 64]
  local rest = ""
  if kind == "burst" then rest = ', "stream": true' end
  local mark = ""
  if kind == "paced" then rest, mark = ', "stream": true', "[paced] " end
  local body = '{"model": "mock", "max_tokens": 50, "messages": [{"role": "user", "content": "' .. mark
    .. shared[(count * 7) % 64]:sub(1, half) .. own:sub(1, room - half) .. '"}]' .. rest .. "}"
  return wrk.format("POST", "/v1/chat/completions", nil, body)
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('\nRESULT {"requests": %d, "duration_s": %f, "p50_ms": %f, "p99_ms": %f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
