vim.api.nvim_create_user_command("MandrakeSessions", function() require("mandrake_sessions").open() end, {
  desc = "List the agent conversations of this workspace, live",
})
vim.api.nvim_create_autocmd("BufReadCmd", {
  group = vim.api.nvim_create_augroup("mandrake_sessions", {}),
  pattern = "mandrake-sessions://*",
  callback = function(event) require("mandrake_sessions").read(event.buf, event.match) end,
})
