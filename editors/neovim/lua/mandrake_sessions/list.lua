--- The sessions of a workspace, last changed first.
local View, methods = require("mandrake_sessions.view"), require("mandrake_sessions.methods")
local plugin, api = require("mandrake_sessions"), vim.api

local List = setmetatable({ topics = { "session" }, sessions = {}, ids = {} }, View)
List.__index = List

--- Read a page, and further pages until there are as many sessions as are shown.
function List:load(done, read, cursor, seq)
  read = read or {}
  self:request(methods.session_list, { limit = plugin.config.page, cursor = cursor }, function(page)
    for _, session in ipairs(page.sessions) do read[session.id] = session end
    seq, cursor = seq or page.seq, page.nextCursor -- what changes after the first page is pushed
    if cursor and vim.tbl_count(read) < vim.tbl_count(self.sessions) then return self:load(done, read, cursor, seq) end
    self.sessions, self.cursor = read, cursor
    done(seq)
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
  if self.cursor then lines[#lines + 1] = "  … more: press m" end
  api.nvim_buf_set_lines(self.buf, 0, -1, true, lines)
  for _, win in ipairs(vim.fn.win_findbuf(self.buf)) do -- its cursor stays on its session
    local row = api.nvim_win_get_cursor(win)[1]
    api.nvim_win_set_cursor(win, { math.min(rows[self.ids[row]] or math.max(row, 3), #lines), 0 })
  end
  self.ids = ids
end

--- Add the next page at the end.
function List:more()
  if not (self.loaded and self.cursor) then return end
  self.loaded = false -- what is pushed from now on is newer than the page, and waits for it
  self:request(methods.session_list, { limit = plugin.config.page, cursor = self.cursor }, function(page)
    self.cursor = page.nextCursor
    for _, session in ipairs(page.sessions) do
      local known = self.sessions[session.id]
      if not known or session.seq > known.seq then self.sessions[session.id] = session end
    end
    self:resume()
  end, function(err)
    self:refused(err)
    self:resume()
  end)
end

function List:open_session()
  local id = self.ids[api.nvim_win_get_cursor(0)[1]]
  if id then plugin.open(id, self.connection.root) else self:more() end
end
return List
