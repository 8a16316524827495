local M, methods = {}, require("mandrake_sessions.methods")

function M.check()
  local connection = require("mandrake_sessions.client").get(require("mandrake_sessions").root())
  connection:start()
  local info, state
  connection:request(methods.server_info, vim.empty_dict(), function(_, result) info = result end)
  connection:request(methods.server_health, vim.empty_dict(), function(_, result) state = result end)
  vim.wait(10000, function() return info and state end, 10)
  if not (info and state) then return vim.health.error("no answer, see " .. vim.lsp.get_log_path()) end
  vim.health.ok(("version %s, protocol %d"):format(info.version, info.protocolVersion))
  for _, store in ipairs(state.stores) do vim.health.info(store.path .. ": " .. store.status) end
end
return M
