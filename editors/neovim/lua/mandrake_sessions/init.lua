local SCHEME = "mandrake-sessions://"
local MAX_PAGE = 1000 -- the most rows that the server gives at a time
--- The settings: see :help mandrake_sessions.setup()
local M = { config = { cmd = { "mandrake-sessions", "serve" }, root_dir = nil, page = 50 } }

function M.setup(options)
  M.config = vim.tbl_extend("force", M.config, options or {})
  M.config.page = math.min(M.config.page, MAX_PAGE)
end

function M.root()
  local root = vim.is_callable(M.config.root_dir) and M.config.root_dir() or M.config.root_dir
  return vim.fs.normalize(root or vim.fs.root(vim.fn.getcwd(), ".git") or vim.fn.getcwd())
end

--- Show a session, or the list of them, in the current window.
function M.open(session_id, root)
  root = root or M.root()
  local buf = vim.fn.bufadd(SCHEME .. (session_id or root))
  vim.b[buf].mandrake_sessions_root = root
  vim.api.nvim_set_current_buf(buf)
end

--- Fill a buffer by its name: mandrake-sessions://<session id>, or mandrake-sessions://<path> for the list.
function M.read(buf, name)
  local what = name:sub(#SCHEME + 1)
  local path = what:find("/", 1, true) and what
  local kind = require((path or what == "") and "mandrake_sessions.list" or "mandrake_sessions.session")
  kind.open(kind, buf, vim.b[buf].mandrake_sessions_root or path or M.root(), what)
end
return M
