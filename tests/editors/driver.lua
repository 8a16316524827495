-- What the tests ask of a running Neovim.
_G.Test = { notified = {}, written = 0 }
local notify = vim.notify
vim.notify = function(message, ...)
  table.insert(Test.notified, message)
  notify(message, ...)
end
require("mandrake_sessions").setup({ cmd = vim.json.decode(vim.env.TEST_COMMAND) })

local function connection() return require("mandrake_sessions.client").get(require("mandrake_sessions").root()) end

function Test.view() return connection().views[vim.api.nvim_get_current_buf()] end

--- The text of a turn, or nil if the view does not have it.
function Test.text(turn)
  local view = Test.view()
  local block = view.by_id and view.by_id[turn]
  return block and view:text(block)
end

function Test.press(keys) vim.api.nvim_input(keys) end

--- The process id of the server, or nil while there is none that answers.
function Test.pid()
  local pid
  connection():request("server/info", vim.empty_dict(), function(_, info) pid = info.pid end)
  vim.wait(2000, function() return pid end, 5)
  return pid
end

--- The highlight of the first extmark on a line that has the text.
function Test.highlighted(text)
  local row = vim.fn.search(text, "cnw") - 1
  for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(0, -1, { row, 0 }, { row, -1 }, { details = true })) do
    if mark[4].hl_group then return mark[4].hl_group end
  end
end

--- All virtual text, from the top.
function Test.notes()
  local notes = {}
  for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(0, -1, 0, -1, { details = true })) do
    if mark[4].virt_text then table.insert(notes, mark[4].virt_text[1][1]) end
    for _, line in ipairs(mark[4].virt_lines or {}) do table.insert(notes, line[1][1]) end
  end
  return notes
end

--- How a text in the buffer is drawn: the highlight groups of Treesitter and of the syntax, and the number that
--- stands for its attributes on the screen.
function Test.drawn(text)
  vim.cmd.redraw()
  local row, col = unpack(vim.fn.searchpos("\\V" .. text, "cnw"))
  local found, groups = vim.inspect_pos(0, row - 1, col - 1), {}
  for _, item in ipairs(vim.list_extend(found.treesitter, found.syntax)) do table.insert(groups, item.hl_group) end
  local place = vim.fn.screenpos(0, row, col)
  return { groups = groups, attributes = vim.fn.screenattr(place.row, place.col) }
end

--- The screen, a text a line.
function Test.screen()
  vim.cmd.redraw()
  local lines = {}
  for row = 1, vim.o.lines do
    local cells = {}
    for col = 1, vim.o.columns do cells[col] = vim.fn.screenstring(row, col) end
    lines[row] = vim.trim(table.concat(cells))
  end
  return lines
end

--- From now on Test.written counts the lines that change in the buffer.
function Test.count_lines_written()
  Test.written = 0
  vim.api.nvim_buf_attach(0, false, {
    on_lines = function(_, _, _, first, _, last) Test.written = Test.written + last - first end,
  })
end

-- A line in is a Lua expression as JSON; the line out [true, its value] or [false, its error].
local server, address = vim.uv.new_pipe(false), vim.env.TEST_SOCKET
server:bind(address .. ".new")
server:listen(1, function()
  local socket, rest = vim.uv.new_pipe(false), ""
  server:accept(socket)
  socket:read_start(vim.schedule_wrap(function(_, data)
    if not data then return socket:close() end
    rest = rest .. data
    local line, after = rest:match("^(.-)\n(.*)$")
    if not line then return end
    rest = after
    local answer = { pcall(loadstring("return " .. vim.json.decode(line))) }
    socket:write(vim.json.encode({ answer[1], answer[2] }) .. "\n")
  end))
end)
os.rename(address .. ".new", address)
