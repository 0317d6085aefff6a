/*
 * The Lua half of `result-documents.ts`.
 */

/** Lua: `finished(document)` gives `SUCCESS`, `FAILURE` or `REVOKED` where that is the state of a stored document. */
export const LUA_FINISHED = `
local FINISHED = { SUCCESS = true, FAILURE = true, REVOKED = true }

local function finished(document)
  local first = document:byte() or 0
  local state
  if first == 123 then
    state = document:match('^{%s*"status"%s*:%s*"([^"]*)"')
    if not state then
      local ok, meta = pcall(cjson.decode, document)
      state = ok and type(meta) == 'table' and meta.status
    end
  elseif first < 128 then
    state = ('\\n' .. document):match('\\n"?status"?: "?(%u+)"?\\n')
  else
    state = document:sub(1, 64):match('^.-status\\148?\\140?[\\7\\167](%u%u%u%u%u%u%u)')
  end
  return FINISHED[state] and state
end
`;
