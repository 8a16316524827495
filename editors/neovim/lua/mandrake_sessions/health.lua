local M, methods = {}, require("mandrake_sessions.methods")
local TIMEOUT_MS = 10000

--- What the server says of itself and of its stores; or nil and the reason why it says nothing.
local function ask(connection)
  local reason = connection:try_start()
  if reason then return nil, reason end
  local process, answers, refusal = connection.process, {}, nil
  for _, method in ipairs({ methods.server_info, methods.server_health }) do
    connection:request(method, vim.empty_dict(), function(err, result)
      answers[method], refusal = result, refusal or err
    end)
  end
  local function has_ended() return connection.process ~= process end
  local function is_settled() return refusal or has_ended() or vim.tbl_count(answers) == 2 end
  if not vim.wait(TIMEOUT_MS, is_settled, 10) then reason = "no answer in 10 seconds" end
  if has_ended() then reason = ("the server ended with %s"):format(connection.ending) end
  if refusal then reason = refusal.message end
  if reason then return nil, reason .. ". See " .. vim.lsp.get_log_path() end
  return answers[methods.server_info], answers[methods.server_health]
end

function M.check()
  vim.health.start("mandrake-sessions")
  local info, state = ask(require("mandrake_sessions.client").get(require("mandrake_sessions").root()))
  if not info then return vim.health.error(state) end
  vim.health.ok(("version %s, protocol %d"):format(info.version, info.protocolVersion))
  for _, store in ipairs(state.stores) do
    vim.health.info(store.path .. ": " .. store.status)
    for _, warning in ipairs(store.warnings) do vim.health.warn(store.path .. ": " .. warning) end
  end
end
return M
