"""Request fields that pretend to come from a proxy, kept from backends that no guard stands in front of.

Apache's directives remove fields by their whole names only, and where they take a pattern for names
(SetEnvIf), the last field that fits hides all others. So these fields are taken out by a few lines of Lua
(mod_lua), before anything else is done with them. Behind a guard it takes out what it must itself
(``guard/headers.py``), and mod_lua is not loaded.
"""

from __future__ import annotations

from collections.abc import Iterable

from sealgate.engines.servers.apache.facts import FOLDER, block, quoted
from sealgate.policy.claims import FAMILIES, NAMES, OWN

__all__ = ["LUA_MODULE", "MODULE_FOLDER", "REFUSED_NAMES", "SCRIPT", "lua_lines", "script"]

SCRIPT = "fields.lua"
"""The file of those lines."""

LUA_MODULE = "mod_lua.so"
"""The module that runs them."""

MODULE_FOLDER = "SEALGATE_MODULES"
"""What Apache's configuration knows the folder of its modules by; defined where they are loaded."""

REFUSED_NAMES = f"_|^{OWN[0]}"
"""Fields with which a request is refused, as a pattern; a second line: see above."""

_SCRIPT = """\
-- Written by Sealgate; changes here are lost.
local families = {{
{families}}}
local names = {{
{names}}}

local function claims(name)
  if name:find("_", 1, true) then
    return true
  end
  local plain = name:lower():gsub("[^a-z0-9]", "-")
  if names[plain] then
    return true
  end
  for _, family in ipairs(families) do
    if plain:sub(1, #family) == family then
      return true
    end
  end
  return false
end

-- Clients send the same few names again and again; they choose them, so few and short ones are remembered.
local known, count = {{}}, 0

local function claims_as_known(name)
  local claim = known[name]
  if claim == nil then
    claim = claims(name)
    if #name <= 64 then
      if count == 200 then
        known, count = {{}}, 0
      end
      known[name], count = claim, count + 1
    end
  end
  return claim
end

function take_out(r)
  for name in pairs(r:headers_in_table()) do
    if claims_as_known(name) then
      r.headers_in[name] = nil
    end
  end
  return apache2.DECLINED
end
"""


def script() -> bytes:
    """The file: what begins like a family, is one of the names, or has an underscore, is taken out."""
    families = _listed(f'"{family}"' for family in OWN + FAMILIES)
    names = _listed(f'["{name}"] = true' for name in NAMES)
    return _SCRIPT.format(families=families, names=names).encode("ascii")


def _listed(entries: Iterable[str]) -> str:
    return "".join(f"  {entry},\n" for entry in entries)


def lua_lines() -> list[str]:
    """Directives of the server that load the module; a worker thread keeps what it has read."""
    load = f'LoadModule lua_module "${{{MODULE_FOLDER}}}/{LUA_MODULE}"'
    return [
        *block("IfModule", "!lua_module", [load]),
        "LuaScope thread",
        "LuaCodeCache forever",
        f"LuaHookFixups {quoted(f'{FOLDER}/{SCRIPT}')} take_out",
    ]
