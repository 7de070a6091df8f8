-- Written by Sealgate; changes here are lost.
local families = {
  "sealgate-",
  "x-envoy-",
  "forwarded",
  "x-forwarded",
  "x-forward-",
  "x-real-",
  "x-client-",
  "x-cluster-client-",
  "x-proxyuser-",
  "true-client-",
  "cf-connecting-",
  "fastly-client-",
  "x-appengine-",
  "cloudfront-",
  "client-cert",
  "x-ssl",
  "ssl-",
  "x-tls-",
  "remote-",
  "x-remote-",
  "x-auth-request-",
  "x-amzn-mtls-",
  "x-authenticated-",
  "x-goog-authenticated-user-",
  "x-ms-client-principal",
  "x-webauth-",
  "x-pomerium-",
  "x-original-",
  "x-rewrite-",
}
local names = {
  ["via"] = true,
  ["client-ip"] = true,
  ["wl-proxy-client-ip"] = true,
  ["proxy-client-ip"] = true,
  ["incap-client-ip"] = true,
  ["fly-client-ip"] = true,
  ["x-azure-clientip"] = true,
  ["x-azure-socketip"] = true,
  ["x-consumer-id"] = true,
  ["x-consumer-username"] = true,
  ["x-consumer-custom-id"] = true,
  ["x-arr-clientcert"] = true,
  ["x-scheme"] = true,
  ["x-url-scheme"] = true,
  ["x-proto"] = true,
  ["front-end-https"] = true,
  ["x-arr-ssl"] = true,
  ["x-host"] = true,
  ["x-http-host-override"] = true,
  ["x-script-name"] = true,
  ["proxy"] = true,
}

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
local known, count = {}, 0

local function claims_as_known(name)
  local claim = known[name]
  if claim == nil then
    claim = claims(name)
    if #name <= 64 then
      if count == 200 then
        known, count = {}, 0
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
