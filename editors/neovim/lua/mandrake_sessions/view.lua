--- A live buffer: loaded once, then kept up by subscriptions that outlive the server process.
local Connection, methods = require("mandrake_sessions.client"), require("mandrake_sessions.methods")

local View = { ns = vim.api.nvim_create_namespace("mandrake_sessions") }
View.__index = View
local api, BATCH_MS, RETRY_MS, MAX_PARSED_LINES = vim.api, 25, 500, 2000
for name, link in pairs({ Title = "Title", Thought = "Comment", Failed = "DiagnosticError" }) do
  api.nvim_set_hl(0, "MandrakeSessions" .. name, { link = link, default = true })
end

-- The buffer keeps \r\n as it is stored, and the screen shows the end of a line without ^M.
api.nvim_set_decoration_provider(api.nvim_create_namespace("mandrake_sessions_crlf"), {
  on_win = function(_, _, buf) return vim.bo[buf].filetype == "mandrake_sessions" end,
  on_line = function(_, _, buf, row)
    local line = api.nvim_buf_get_lines(buf, row, row + 1, false)[1] or ""
    if line:sub(-1) ~= "\r" then return end
    local blank = { virt_text = { { "  ", "Normal" } }, virt_text_pos = "overlay", ephemeral = true }
    api.nvim_buf_set_extmark(buf, View.ns, row, #line - 1, blank)
  end,
})

vim.treesitter.language.register("markdown", "mandrake_sessions")

--- Treesitter highlights Markdown. Each change makes it parse the whole buffer again (7 µs a line), so the syntax file
--- takes over when the buffer is long, or if Neovim has no Markdown parser.
function View:highlight_markdown()
  if self.highlighter == "syntax" then return end
  if api.nvim_buf_line_count(self.buf) <= MAX_PARSED_LINES then
    if self.highlighter or pcall(vim.treesitter.start, self.buf, "markdown") then
      self.highlighter = "treesitter"
      return
    end
  end
  vim.treesitter.stop(self.buf)
  vim.bo[self.buf].syntax = "markdown"
  self.highlighter = "syntax"
end

--- Make a buffer a view of a kind: a class with load(view, done), apply(view, queue) and its settings.
function View.open(kind, buf, root, what)
  local self = setmetatable({ buf = buf, what = what, queue = {}, generation = 0 }, kind)
  self.topics = vim.tbl_map(function(name) return { name = name, view = self } end, kind.topics)
  self.connection = Connection.get(root)
  vim.cmd("setlocal buftype=nowrite noswapfile undolevels=-1 nomodifiable buflisted linebreak")
  vim.bo.filetype = "mandrake_sessions"
  if self.markdown then self:highlight_markdown() end
  vim.keymap.set("n", "q", "<Cmd>bdelete<CR>", { buffer = buf, nowait = true })
  for key, action in pairs({ R = self.reload, m = self.more, ["<CR>"] = self.open_session }) do
    vim.keymap.set("n", key, function() action(self) end, { buffer = buf, nowait = true })
  end
  api.nvim_create_autocmd("BufUnload", { buffer = buf, once = true, callback = function() self:closed() end })
  self.connection.views[buf] = self
  self:subscribe()
end

function View:closed()
  self.loaded, self.generation, self.connection.views[self.buf] = false, nil, nil
  for id, topic in pairs(self.connection.subscriptions) do
    local method = topic.view == self and methods[topic.name .. "_unsubscribe"]
    if method then self.connection:request(method, { subscriptionId = id }, function() end) end
  end
end

--- The answer counts only until the view is closed or reads all again. An error goes to `failed`, or is told.
function View:request(method, params, done, failed)
  local generation = self.generation
  self.connection:request(method, params, function(err, result)
    if generation ~= self.generation then return end
    if not err then return done(result) end
    if failed then failed(err) else self:refused(err) end
  end)
end

function View:refused(err) self.connection.tell(err.message) end

--- Read the state again; what is pushed meanwhile is held back.
function View:reload()
  self.loaded = false
  if not self.connection.process then return self.connection:start() end
  self.queue, self.generation = {}, self.generation + 1
  self:load(function(seq)
    for _, topic in ipairs(self.topics) do topic.since = seq end
    self.loaded = true
    self:subscribe()
    self:resume()
  end)
end

--- There is a new server process, or a subscription has ended.
function View:subscribe()
  if not self.loaded then return self.generation and self:reload() end
  local connection = self.connection
  local function is_missing(topic) return topic.process ~= connection.process end
  for _, topic in ipairs(vim.tbl_filter(is_missing, self.topics)) do
    topic.process = connection.process
    local params = { sessionId = self.session_id, since = topic.since, storeId = self.store_id }
    connection:request(methods[topic.name .. "_subscribe"], params, function(err, result)
      if err then return self.generation and self:refused(err) end
      connection.subscriptions[result.subscriptionId], self.store_id = topic, result.storeId
      if result.reset then self:reload() end
    end)
  end
end

function View:receive(topic, params)
  topic.since = params.seq
  if params.reason then -- the end of the subscription
    topic.process = nil
    return params.reason ~= "deleted" and vim.defer_fn(function() self:subscribe() end, RETRY_MS)
  end
  table.insert(self.queue, params)
  if #self.queue == 1 then vim.defer_fn(function() return self.loaded and self:resume() end, BATCH_MS) end
end

function View:resume()
  local queue = self.queue
  self.loaded, self.queue = true, {}
  self:edit(function() self:apply(queue) end)
end

--- Change the buffer; a cursor on the last line of a session stays on the last line.
function View:edit(change)
  local function follows(win) return self.session_id and vim.fn.line(".", win) == vim.fn.line("$", win) end
  local following = vim.tbl_filter(follows, vim.fn.win_findbuf(self.buf))
  vim.bo[self.buf].modifiable = true
  change()
  vim.bo[self.buf].modifiable, vim.bo[self.buf].modified = false, false
  if self.markdown then self:highlight_markdown() end
  local last = api.nvim_buf_line_count(self.buf)
  for _, win in ipairs(following) do api.nvim_win_set_cursor(win, { last, 0 }) end
end
return View
