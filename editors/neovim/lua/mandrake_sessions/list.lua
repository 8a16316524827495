--- The sessions of a workspace, last changed first.
local View, methods = require("mandrake_sessions.view"), require("mandrake_sessions.methods")
local plugin, api = require("mandrake_sessions"), vim.api

local List = setmetatable({ topics = { "session" }, syntax = "", ids = {} }, View)
List.__index = List

function List:load(done)
  self:request(methods.session_list, { limit = self.limit or plugin.config.page }, function(page)
    self.sessions, self.has_more = {}, page.nextCursor
    for _, session in ipairs(page.sessions) do self.sessions[session.id] = session end
    done(page.seq)
  end)
end

function List:apply(queue)
  for _, params in ipairs(queue) do
    local known = self.sessions[params.sessionId]
    local session = params.session and not params.session.archivedAt and params.session or nil
    if not known or params.seq > known.seq then self.sessions[params.sessionId] = session end
  end
  local shown = vim.tbl_values(self.sessions)
  table.sort(shown, function(a, b) return a.seq > b.seq end)
  local lines, ids, rows = { "Sessions in " .. self.connection.root, "" }, {}, {}
  for _, session in ipairs(shown) do
    local label = vim.trim((session.title or session.preview or "(nothing asked yet)"):gsub("%s+", " "))
    lines[#lines + 1] = ("%s %s  %4d %-6s  %s"):format(session.streaming and "●" or " ",
      os.date("%Y-%m-%d %H:%M", session.updatedAt / 1000), session.roundCount,
      session.roundCount == 1 and "round" or "rounds", label)
    ids[#lines], rows[session.id] = session.id, #lines
  end
  if self.has_more then lines[#lines + 1] = "  … more: press m" end
  api.nvim_buf_set_lines(self.buf, 0, -1, true, lines)
  for _, win in ipairs(vim.fn.win_findbuf(self.buf)) do -- its cursor stays on its session
    local row = api.nvim_win_get_cursor(win)[1]
    api.nvim_win_set_cursor(win, { math.min(rows[self.ids[row]] or math.max(row, 3), #lines), 0 })
  end
  self.ids = ids
end

function List:more()
  self.limit = math.min((self.limit or plugin.config.page) + plugin.config.page, 1000)
  self:reload()
end

function List:open_session()
  local id = self.ids[api.nvim_win_get_cursor(0)[1]]
  if id then plugin.open(id, self.connection.root) else self:more() end
end
return List
