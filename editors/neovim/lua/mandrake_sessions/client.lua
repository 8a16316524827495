--- One server process for each workspace, started again when it ends.
local Connection, connections = {}, {}
Connection.__index = Connection
local MAX_FAILURES = 6

function Connection.tell(message) vim.notify("mandrake-sessions: " .. message, vim.log.levels.ERROR) end

function Connection.get(root)
  local new = { root = root, views = {}, subscriptions = {}, failures = 0 }
  connections[root] = connections[root] or setmetatable(new, Connection)
  return connections[root]
end

function Connection:start()
  local cmd = require("mandrake_sessions").config.cmd
  if self.process then return end
  if vim.fn.executable(cmd[1]) == 0 then return self.tell(("the command %q is not found"):format(cmd[1])) end
  local process
  process = vim.lsp.rpc.start(cmd, {
    notification = function(_, params)
      local topic = self.process == process and self.subscriptions[params.subscriptionId]
      if topic and topic.view.generation then topic.view:receive(topic, params) end
    end,
    on_exit = vim.schedule_wrap(function() self:exited() end),
  })
  self.process, self.started = process, vim.uv.now()
  local params = { processId = vim.uv.os_getpid(), rootUri = vim.uri_from_fname(self.root) }
  params.capabilities = vim.empty_dict()
  -- The server takes requests in order, so none has to wait for this answer.
  self:request("initialize", params, function(err) return err and self.tell(err.message) end)
  for _, view in pairs(self.views) do view:subscribe() end
end

function Connection:exited()
  if vim.uv.now() - self.started > 10000 then self.failures = 0 end
  self.process, self.subscriptions, self.failures = nil, {}, self.failures + 1
  local function restart() self:start() end
  if self.failures <= MAX_FAILURES then return vim.defer_fn(restart, 50 * 2 ^ self.failures) end
  self.failures = 0
  self.tell("the server keeps ending; R in its buffers starts it again. See " .. vim.lsp.get_log_path())
end

--- If the server ends before it answers, nothing is called: views attach anew to the next one.
function Connection:request(method, params, done)
  local process = self.process
  if not process then return self:start() end
  process.request(method, params, function(err, result)
    if process == self.process then done(err, result) end
  end)
end
return Connection
