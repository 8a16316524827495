--- One conversation. Below its title the buffer is a list of blocks (requests, and turns as the server has
--- them), each of whole lines and an empty one. A mark spans a block's text, which the buffer alone holds.
local View, methods = require("mandrake_sessions.view"), require("mandrake_sessions.methods")
local plugin, api, ns = require("mandrake_sessions"), vim.api, View.ns

local Session = setmetatable({ topics = { "turn", "session" }, markdown = true }, View)
Session.__index = Session
local SIGNS = { pending = "○", in_progress = "◐", completed = "✓", failed = "✗" }
local COLOURS = { request = "MandrakeSessionsTitle", thought = "MandrakeSessionsThought" }
local FAILURES = { error = true, cancelled = true, interrupted = true }
local MAX_TURNS = 2 ^ 32

function Session:load(done, cursor, seq)
  self.session_id = self.what
  local params = { sessionId = self.what, cursor = cursor, limit = plugin.config.page }
  self:request(methods.session_history, params, function(history)
    self:edit(function()
      local window = vim.fn.winsaveview()
      if not cursor then self:clear(history.session.title) end
      for _, round in ipairs(history.rounds) do self:add_round(round, round.request, round.response) end
      if api.nvim_get_current_buf() == self.buf then vim.fn.winrestview(window) end
    end)
    seq, cursor = seq or history.seq, history.nextCursor
    if cursor then self:load(done, cursor, seq) else done(seq) end
  end)
end

function Session:refused(err)
  if err.data.entity == "round" then return self:reload() end -- it was deleted before we asked for it
  if not self.blocks or err.data.entity ~= "session" then return View.refused(self, err) end
  self:edit(function() self:clear("This session was deleted") end)
end

function Session:clear(title)
  self.blocks, self.by_id = {}, {}
  api.nvim_buf_clear_namespace(self.buf, ns, 0, -1)
  api.nvim_buf_set_lines(self.buf, 0, -1, true, { "", "" })
  self:name(title)
end

function Session:name(title)
  local line = "# " .. (title or "Session " .. self.what):gsub("%s+", " ")
  if vim.fn.getbufoneline(self.buf, 1) ~= line then api.nvim_buf_set_lines(self.buf, 0, 1, true, { line }) end
end

--- Where the text of a block is: row, column, end row, end column.
function Session:span(block)
  local row, col, more = unpack(api.nvim_buf_get_extmark_by_id(self.buf, ns, block.mark, { details = true }))
  return row, col, more.end_row, more.end_col
end

function Session:text(block)
  local row, col, end_row, end_col = self:span(block)
  return table.concat(api.nvim_buf_get_text(self.buf, row, col, end_row, end_col, {}), "\n")
end

--- A mark with the reason of a failure: its first line behind the text, the others below.
local function failure_note(status, reason)
  local note = (" [%s%s]"):format(status, reason and ": " .. vim.trim(reason) or "")
  local lines = vim.tbl_map(function(line)
    return { { line, "MandrakeSessionsFailed" } }
  end, vim.split(note:gsub("\r\n?", "\n"):gsub("\t", "    "), "\n"))
  return { virt_text = table.remove(lines, 1), virt_lines = lines[1] and lines }
end

function Session:render(block, text)
  local place = #self.blocks
  while self.blocks[place] ~= block do place = place - 1 end
  local after = self.blocks[place + 1]
  local last = after and self:span(after) or api.nvim_buf_line_count(self.buf)
  local row = block.mark and self:span(block) or last
  local lines = (text ~= "" or #block.toolCalls == 0) and vim.split(text, "\n") or {}
  local end_row, end_col = row + math.max(#lines - 1, 0), #(lines[#lines] or "")
  if #lines > 0 and #block.toolCalls > 0 then table.insert(lines, "") end
  for _, call in ipairs(block.toolCalls) do
    local name = (call.title or call.methodName or call.id):gsub("%s+", " ")
    local kind = call.kind and " (" .. call.kind .. ")" or ""
    table.insert(lines, ("- %s %s%s"):format(SIGNS[call.status], name, kind))
  end
  table.insert(lines, "")
  api.nvim_buf_clear_namespace(self.buf, ns, row, last)
  api.nvim_buf_set_lines(self.buf, row, last, true, lines)
  block.mark = api.nvim_buf_set_extmark(self.buf, ns, row, 0, { end_row = end_row, end_col = end_col,
    end_right_gravity = true, hl_group = COLOURS[block.kind] })
  if FAILURES[block.status] then
    api.nvim_buf_set_extmark(self.buf, ns, end_row, end_col, failure_note(block.status, block.error))
  end
end

--- The change that comes often: only the end of the text is touched.
function Session:append(block, text)
  local row, col, end_row, end_col = self:span(block)
  if row == end_row and col == end_col then return self:render(block, text) end
  api.nvim_buf_set_text(self.buf, end_row, end_col, end_row, end_col, vim.split(text, "\n"))
end

function Session:add(block, order)
  if self.by_id[block.id] then return end
  local place, text = #self.blocks + 1, block.content
  while place > 1 and self.blocks[place - 1].order > order do place = place - 1 end
  table.insert(self.blocks, place, block)
  self.by_id[block.id], block.order, block.content = block, order, nil
  self:render(block, text)
end

local function heading(request) return "> ## " .. request.content:gsub("\n", "\n> ") end

function Session:add_round(round, request, response)
  local order = round.index * MAX_TURNS
  self:add({ id = round.id, kind = "request", content = heading(request), toolCalls = {}, status = response.status,
    error = response.stopReason }, order)
  for _, turn in ipairs(response.turns or {}) do self:add(turn, order + turn.index + 1) end
end

--- A call that is new or changed, or the id of one that was deleted.
function Session:change_call(block, call, deleted)
  local place = 1
  while block.toolCalls[place] and block.toolCalls[place].id ~= (deleted or call.id) do place = place + 1 end
  if call then block.toolCalls[place] = call else table.remove(block.toolCalls, place) end
  self:render(block, self:text(block))
end

function Session:change(block, changes)
  block.status = changes.status or block.status
  block.error = changes.error or changes.stopReason or block.error
  self:render(block, changes.content or self:text(block))
end

function Session:apply(queue)
  for i, params in ipairs(queue) do
    local kind, block = params.kind, self.by_id[params.turnId]
    local round = self.by_id[params.roundId]
    if kind:lower():find("deleted") and kind ~= "toolCallDeleted" then return self:reload() end
    if kind == "created" and params.roundId and not round then
      -- A turn came before its round, which the other subscription tells of: ask for it; what came after it waits.
      self.loaded, self.queue = false, vim.list_slice(queue, i)
      return self:request(methods.round_get, { roundId = params.roundId }, function(found)
        self:edit(function() self:add_round(found.round, found.request, found.response) end)
        self:resume()
      end)
    end
    if params.session then self:name(params.session.title) end
    if kind == "roundCreated" then self:add_round(params.round, params.request, params.response) end
    if kind == "requestUpdated" and round then self:render(round, heading(params.request)) end
    if kind == "responseUpdated" and round then self:change(round, params.response) end
    if params.turn then self:add(params.turn, round.order + params.turn.index + 1) end
    if block and params.seq > block.seq then
      block.seq = params.seq
      if kind == "appended" then self:append(block, params.content) end
      if kind == "updated" then self:change(block, params.changes) end
      if kind == "toolCallUpdated" then self:change_call(block, params.toolCall) end
      if kind == "toolCallDeleted" then self:change_call(block, nil, params.toolCallId) end
    end
  end
end
return Session
