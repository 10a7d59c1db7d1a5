-- Where logs stand.
-- KEYS: meta of each log. ARGV: replication id, fresh nonce.
-- Returns the nonce and the offset of the newest message of each; two empty texts where there never was one.
local tops = {}
for place, key in ipairs(KEYS) do
    local meta = redis.call('HMGET', key, 'nonce', 'primary', 'top')
    local nonce, top = meta[1] or '', meta[3] or ''
    if meta[1] and meta[2] ~= ARGV[1] then
        -- What another primary acknowledged may be lost: no offset that it may have given is given again.
        nonce, top = ARGV[2], string.format('%.0f', tonumber(top) + 1048576)
        redis.call('HSET', key, 'nonce', nonce, 'primary', ARGV[1], 'top', top, 'base', top)
    end
    tops[2 * place - 1], tops[2 * place] = nonce, top
end
return tops
