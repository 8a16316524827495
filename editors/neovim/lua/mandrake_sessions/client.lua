--- One server process for each workspace, started again when it ends.
local Connection, connections = {}, {}
Connection.__index = Connection
local MAX_FAILURES = 6

--- Show an error. Not at once: an error message inside an autocommand aborts it, with a traceback.
function Connection.tell(message)
  local text = "mandrake-sessions: " .. message:gsub("\r\n?", "\n")
  vim.schedule(function() vim.notify(text, vim.log.levels.ERROR) end)
end

function Connection.get(root)
  local new = { root = root, views = {}, subscriptions = {}, failures = 0 }
  connections[root] = connections[root] or setmetatable(new, Connection)
  return connections[root]
end

--- The server process, or nil and the reason why it cannot be started.
function Connection:spawn()
  local cmd = require("mandrake_sessions").config.cmd
  if vim.fn.executable(cmd[1]) == 0 then
    return nil, ("command not found: %s. See :help mandrake_sessions-install"):format(cmd[1])
  end
  local ok, process
  ok, process = pcall(vim.lsp.rpc.start, cmd, {
    notification = function(_, params)
      local topic = self.process == process and self.subscriptions[params.subscriptionId]
      if topic and topic.view.generation then topic.view:receive(topic, params) end
    end,
    on_exit = vim.schedule_wrap(function(code, signal) self:exited(code, signal) end),
  })
  if ok and process then return process end
  return nil, ("cannot start %s. Run it in a terminal to see why"):format(cmd[1])
end

--- Start the server unless it runs. Returns nil, or the reason why it cannot be started.
function Connection:try_start()
  if self.process then return end
  local process, reason = self:spawn()
  if not process then return reason end
  self.process, self.started = process, vim.uv.now()
  local params = { processId = vim.uv.os_getpid(), rootUri = vim.uri_from_fname(self.root) }
  params.capabilities = vim.empty_dict()
  -- The server takes requests in order, so none has to wait for this answer.
  self:request("initialize", params, function(err) return err and self.tell(err.message) end)
  for _, view in pairs(self.views) do view:subscribe() end
end

--- Start the server unless it runs, and tell if it cannot be started.
function Connection:start()
  local reason = self:try_start()
  if reason then self.tell(reason) end
end

function Connection:exited(code, signal)
  if vim.uv.now() - self.started > 10000 then self.failures = 0 end
  self.process, self.subscriptions, self.failures = nil, {}, self.failures + 1
  self.ending = signal == 0 and "exit code " .. code or "signal " .. signal
  local function restart() self:start() end
  if self.failures <= MAX_FAILURES then return vim.defer_fn(restart, 50 * 2 ^ self.failures) end
  self.failures = 0
  self.tell(("the server keeps ending (%s); R in its buffers starts it again. See %s"):format(self.ending,
    vim.lsp.get_log_path()))
end

--- If the server ends before it answers, nothing is called: the views subscribe again at the next one.
function Connection:request(method, params, done)
  local process = self.process
  if not process then return self:start() end
  process.request(method, params, function(err, result)
    if process == self.process then done(err, result) end
  end)
end
return Connection
